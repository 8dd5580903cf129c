//! The weights cursor: a place in a checkpoint from which layers load themselves.
//!
//! `w / "layers" / 3 / "self_attn"` builds the path of a tensor the way the module tree does. Loading streams: a tensor is
//! converted and uploaded in pieces, so host memory stays near one piece however large the tensor is.

use super::lora::{self, Adapter};
use super::{Parameters, initial};
use crate::gpu::Gpu;
use crate::ops::fill::zeros;
use crate::tensor::{DType, Shape, Tensor};
use crate::weights::{Encoding, Order, StoredDType, StoredTensor, WeightSet, channels_last, encoded, rename};
use crate::{Error, Result};
use std::fmt::Display;
use std::ops::Div;

/// How the large weights are kept on the device. Norms, biases and tables of positions stay f32.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WeightFormat {
    /// As the checkpoint stores them: blocks of q8 and q4 stay blocks, f16 stays f16, everything else becomes f32. The
    /// smallest format that rounds nothing.
    #[default]
    Stored,
    /// 32 bits.
    F32,
    /// 16 bits, packed in words; arithmetic stays f32.
    F16,
    /// 8.5 bits: blocks of 32 that share a scale, see [`crate::tensor::quantised`].
    Q8,
    /// 4.5 bits.
    Q4,
}

impl WeightFormat {
    /// The format in which a stored tensor is kept, never [`WeightFormat::Stored`].
    pub fn of(self, stored: StoredDType) -> WeightFormat {
        match (self, stored) {
            (WeightFormat::Stored, StoredDType::F16) => WeightFormat::F16,
            (WeightFormat::Stored, StoredDType::Q8) => WeightFormat::Q8,
            (WeightFormat::Stored, StoredDType::Q4) => WeightFormat::Q4,
            (WeightFormat::Stored, _) => WeightFormat::F32,
            (format, _) => format,
        }
    }

    /// How a weight is stored whose rows have `row` elements, in the innermost axis `c`: in this format if its blocks or
    /// quads fill the rows, otherwise in the next wider one.
    fn dtype(self, row: usize, c: usize) -> DType {
        let wanted = match self {
            WeightFormat::Stored | WeightFormat::F32 => DType::F32,
            WeightFormat::F16 => DType::F16,
            WeightFormat::Q8 => DType::Q8,
            WeightFormat::Q4 => DType::Q4,
        };
        match row.is_multiple_of(wanted.row_multiple()) {
            _ if !c.is_multiple_of(4) => DType::F32,
            true => wanted,
            false => DType::F16,
        }
    }
}

/// A weight that a model asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// Its full official name.
    pub name: String,
    /// Its shape in a checkpoint.
    pub shape: Shape,
    /// Its element type in the file.
    pub stored: StoredDType,
    /// The order of its elements on the device.
    pub order: Order,
    /// Elements of a row and of the innermost axis, if it may be kept in any format; otherwise it is f32.
    rows: Option<[usize; 2]>,
}

impl Wanted {
    /// Its element type on the device.
    pub fn dtype(&self, format: WeightFormat) -> DType {
        self.rows.map_or(DType::F32, |[row, c]| format.of(self.stored).dtype(row, c))
    }

    /// Whether it is kept in the format that is asked for, where its shape allows.
    pub fn is_large(&self) -> bool {
        self.rows.is_some()
    }
}

/// A place in a checkpoint.
pub struct Weights<'a> {
    set: &'a WeightSet,
    gpu: &'a Gpu,
    format: WeightFormat,
    progress: &'a dyn Fn(u64),
    /// Where loaded weights are kept.
    parameters: Option<&'a Parameters>,
    /// How full names begin here.
    prefix: &'a str,
    /// Who is told what the model asks for, instead of loading it.
    survey: Option<&'a dyn Fn(Wanted)>,
    /// The seed of weights that the set does not have, which is otherwise an error.
    seed: Option<u64>,
    path: String,
}

/// Where the values of a weight come from.
enum Values<'a> {
    Stored(StoredTensor<'a>),
    Initial(Vec<f32>),
}

impl<'a> Weights<'a> {
    /// The root of a set. `progress` is told the number of stored bytes read since the last call.
    pub fn root(set: &'a WeightSet, gpu: &'a Gpu, format: WeightFormat, progress: &'a dyn Fn(u64)) -> Weights<'a> {
        let (parameters, prefix, survey, seed, path) = (None, "", None, None, String::new());
        Weights { set, gpu, format, progress, parameters, prefix, survey, seed, path }
    }

    /// Keeps every weight in `parameters`, if given, under `prefix` and its path, and takes those that are there already.
    /// Weights that are trained are f32 in any format.
    pub fn kept_in(self, parameters: Option<&'a Parameters>, prefix: &'a str) -> Weights<'a> {
        Weights { parameters, prefix, ..self }
    }

    /// Loads nothing: `survey` is told what would be loaded, under `prefix` and its path, and tensors are empty.
    pub fn surveyed(self, survey: &'a dyn Fn(Wanted), prefix: &'a str) -> Weights<'a> {
        Weights { survey: Some(survey), prefix, ..self }
    }

    /// Draws the weights that the set does not have from a seed, if one is given, by the rules of [`initial`].
    pub fn initialised(self, seed: Option<u64>) -> Weights<'a> {
        Weights { seed, ..self }
    }

    /// The device that tensors go to.
    pub fn gpu(&self) -> &'a Gpu {
        self.gpu
    }

    /// Name of this place, as errors and probes show it.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Whether the set has a tensor here.
    pub fn has(&self, name: &str) -> bool {
        self.set.contains(&(self / name).path)
    }

    /// Whether a projector's layer here has a bias: as stored, or else as the official code makes it, which gives the
    /// condition projector none.
    pub fn has_bias(&self) -> bool {
        self.has("bias") || self.seed.is_some() && !self.has("weight") && self.prefix != rename::DIFFUSION_IN_ALL
    }

    /// A small tensor in f32: a bias, a table of positions.
    pub fn vector(&self, name: &str, shape: impl Into<Shape>) -> Result<Tensor> {
        let shape = shape.into();
        self.load(name, [shape; 2], Order::RowMajor, None, name != "bias")
    }

    /// The gain of a norm that weight decay spares.
    pub fn gain(&self, c: usize) -> Result<Tensor> {
        self.load("weight", [[c].into(); 2], Order::RowMajor, None, false)
    }

    /// A table that is stored as `[1, N, C]`.
    pub fn only_row(&self, name: &str, [n, c]: [usize; 2]) -> Result<Tensor> {
        self.load(name, [[1, n, c].into(), [n, c].into()], Order::RowMajor, None, true)
    }

    /// A matrix whose rows are read by products: `[N, K]`.
    pub fn matrix(&self, name: &str, shape: [usize; 2]) -> Result<Tensor> {
        self.load(name, [shape.into(); 2], Order::RowMajor, Some([shape[1]; 2]), true)
    }

    /// The adapter of the matrix `weight` `[N, C]` here, where adapters are wanted and this is one of their places.
    pub fn adapter(&self, [n, c]: [usize; 2]) -> Result<Option<Adapter>> {
        let path = self.official("");
        let (Some(parameters), path) = (self.parameters, path.trim_end_matches('.')) else { return Ok(None) };
        let Some(lora) = parameters.lora().filter(|lora| lora.is_at(path)) else { return Ok(None) };
        let keep = |factor: &str, shape: [usize; 2], new: &dyn Fn() -> Result<Tensor>| {
            parameters.get_or_load(format!("{path}.{factor}"), shape.into(), true, new)
        };
        let a = keep(lora::A, [lora.rank, c], &|| lora.first(self.gpu, path, c))?;
        let b = keep(lora::B, [n, lora.rank], &|| zeros(self.gpu, [n, lora.rank]))?;
        Ok(Some(Adapter { a, b, scale: lora.scale() }))
    }

    /// A 1 × 1 convolution's weight, stored `[N, C, 1, 1]`, as a matrix `[N, C]`.
    pub fn pointwise(&self, name: &str, [n, c]: [usize; 2]) -> Result<Tensor> {
        self.load(name, [[n, c, 1, 1].into(), [n, c].into()], Order::RowMajor, Some([c; 2]), true)
    }

    /// A convolution's filters, stored `[N, C, KY, KX]` as PyTorch does, kept channels-last `[N, KY, KX, C]`.
    pub fn filters(&self, name: &str, [n, c, ky, kx]: [usize; 4]) -> Result<Tensor> {
        let shapes = [[n, c, ky, kx].into(), [n, ky, kx, c].into()];
        self.load(name, shapes, Order::ChannelsLast, Some([c * ky * kx, c]), true)
    }

    /// A tensor of one shape in the file and perhaps another one here. `rows` says what a row has, if the tensor may be kept
    /// in any format; weights that are trained are f32, because only f32 can take a step.
    fn load(
        &self,
        name: &str,
        [shape, here]: [Shape; 2],
        order: Order,
        rows: Option<[usize; 2]>,
        decays: bool,
    ) -> Result<Tensor> {
        let full = self.official(name);
        if let Some(known) = self.parameters.and_then(|parameters| parameters.get(&full)) {
            return Ok(known.tensor);
        }
        let values = self.values(name, shape.as_slice())?;
        let stored = match &values {
            Values::Stored(stored) => stored.dtype(),
            Values::Initial(_) => StoredDType::F32,
        };
        let rows = rows.filter(|_| self.parameters.is_none_or(|parameters| !parameters.is_trained(&full)));
        let wanted = Wanted { name: full, shape, stored, order, rows };
        let dtype = wanted.dtype(self.format);
        if let Some(survey) = self.survey {
            survey(wanted);
            return Tensor::uninit(self.gpu, [0].into(), dtype);
        }
        let load = || {
            let tensor = Tensor::uninit(self.gpu, here, dtype)?;
            match &values {
                Values::Stored(stored) => self.upload(stored, &tensor, Encoding { dtype, order })?,
                Values::Initial(drawn) => upload_drawn(drawn, shape, &tensor, order)?,
            }
            Ok(tensor)
        };
        match self.parameters {
            Some(parameters) => parameters.get_or_load(wanted.name, shape, decays, load),
            None => load(),
        }
    }

    fn values(&self, name: &str, shape: &[usize]) -> Result<Values<'a>> {
        let path = (self / name).path;
        let stored = match (self.set.get(&path), self.seed) {
            (Some(stored), _) => stored,
            (None, Some(seed)) => return Ok(Values::Initial(initial(seed, &self.official(name), shape))),
            (None, None) => return Err(Error::MissingTensor(path)),
        };
        if stored.shape() != shape {
            return Err(Error::Shape {
                op: "checkpoint".into(),
                operand: path,
                want: format!("{shape:?}"),
                got: format!("{:?}", stored.shape()),
            });
        }
        if !stored.dtype().is_float() {
            return Err(Error::Shape {
                op: "checkpoint".into(),
                operand: path,
                want: "floating-point numbers".into(),
                got: stored.dtype().to_string(),
            });
        }
        Ok(Values::Stored(stored))
    }

    /// The full name among the parameters.
    fn official(&self, name: &str) -> String {
        format!("{}{}", self.prefix, (self / name).path)
    }

    fn upload(&self, stored: &StoredTensor, tensor: &Tensor, to: Encoding) -> Result<()> {
        let bytes = |elements: usize| stored.dtype().bytes(elements).unwrap_or(0) as u64;
        stored.encode(to, |piece| {
            (self.progress)(bytes(piece.elements.len()));
            tensor.upload(to.dtype.bytes(piece.elements.start), piece.bytes)
        })
    }
}

/// Uploads drawn values in an order. A new model is small or on its way to a file, so a weight is encoded in one piece.
fn upload_drawn(drawn: &[f32], shape: Shape, tensor: &Tensor, order: Order) -> Result<()> {
    let mut turned = Vec::new();
    let values = match (order, shape.as_slice()) {
        (Order::ChannelsLast, &[_, c, ky, kx]) => {
            channels_last(drawn, [c, ky * kx], &mut turned);
            &turned
        }
        _ => drawn,
    };
    tensor.upload(0, &encoded(values, tensor.dtype()))
}

impl<'a, T: Display> Div<T> for &Weights<'a> {
    type Output = Weights<'a>;

    fn div(self, part: T) -> Weights<'a> {
        let path = if self.path.is_empty() { part.to_string() } else { format!("{}.{part}", self.path) };
        Weights { path, ..*self }
    }
}

impl<'a, T: Display> Div<T> for Weights<'a> {
    type Output = Weights<'a>;

    fn div(self, part: T) -> Weights<'a> {
        &self / part
    }
}
