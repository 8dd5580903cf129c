//! The weights cursor: a place in a checkpoint from which layers load themselves.
//!
//! `w / "layers" / 3 / "self_attn"` builds the path of a tensor the way the module tree does. Loading streams: a tensor is
//! converted and uploaded in pieces, so host memory stays near one piece however large the tensor is.

use super::Parameters;
use super::lora::{self, Adapter};
use crate::gpu::Gpu;
use crate::ops::fill::zeros;
use crate::tensor::{DType, Shape, Tensor, quantised};
use crate::weights::{StoredTensor, WeightSet};
use crate::{Error, Result};
use half::f16;
use std::fmt::Display;
use std::ops::Div;

/// How the large weights are kept on the device. Norms, biases and tables of positions stay f32.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WeightFormat {
    /// 32 bits.
    #[default]
    F32,
    /// 16 bits, packed in words; arithmetic stays f32.
    F16,
    /// 8.5 bits: blocks of 32 that share a scale, see [`crate::tensor::quantised`].
    Q8,
    /// 4.5 bits.
    Q4,
}

impl WeightFormat {
    /// How a weight is stored whose rows have `row` elements, in the innermost axis `c`: in this format if its blocks or
    /// quads fill the rows, otherwise in the next wider one.
    fn dtype(self, row: usize, c: usize) -> DType {
        let wanted = match self {
            WeightFormat::F32 => DType::F32,
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

/// A place in a checkpoint.
pub struct Weights<'a> {
    set: &'a WeightSet,
    gpu: &'a Gpu,
    format: WeightFormat,
    progress: &'a dyn Fn(u64),
    /// Where loaded weights are kept, and how their names begin there.
    parameters: Option<(&'a Parameters, &'a str)>,
    path: String,
}

/// Elements that are converted at a time: 16 MiB of f32.
const PIECE: usize = 1 << 22;

impl<'a> Weights<'a> {
    /// The root of a set. `progress` is told the number of stored bytes read since the last call.
    pub fn root(set: &'a WeightSet, gpu: &'a Gpu, format: WeightFormat, progress: &'a dyn Fn(u64)) -> Weights<'a> {
        Weights { set, gpu, format, progress, parameters: None, path: String::new() }
    }

    /// Keeps every weight in `parameters`, if given, under `prefix` and its path, and takes those that are there already.
    /// Weights that are trained are f32 in any format.
    pub fn kept_in(self, parameters: Option<&'a Parameters>, prefix: &'a str) -> Weights<'a> {
        Weights { parameters: parameters.map(|parameters| (parameters, prefix)), ..self }
    }

    /// The device that tensors go to.
    pub fn gpu(&self) -> &'a Gpu {
        self.gpu
    }

    /// Name of this place, as errors and probes show it.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Whether a tensor is here.
    pub fn has(&self, name: &str) -> bool {
        self.set.contains(&(self / name).path)
    }

    /// A small tensor in f32: a bias, a table of positions.
    pub fn vector(&self, name: &str, shape: impl Into<Shape>) -> Result<Tensor> {
        let shape = shape.into();
        self.stream(name, [shape; 2], DType::F32, name != "bias")
    }

    /// The gain of a norm that weight decay spares.
    pub fn gain(&self, c: usize) -> Result<Tensor> {
        self.stream("weight", [[c].into(); 2], DType::F32, false)
    }

    /// A table that is stored as `[1, N, C]`.
    pub fn only_row(&self, name: &str, [n, c]: [usize; 2]) -> Result<Tensor> {
        self.stream(name, [[1, n, c].into(), [n, c].into()], DType::F32, true)
    }

    /// A matrix whose rows are read by products: `[N, K]`.
    pub fn matrix(&self, name: &str, shape: [usize; 2]) -> Result<Tensor> {
        self.stream(name, [shape.into(); 2], self.dtype(name, shape[1], shape[1]), true)
    }

    /// The adapter of the matrix `weight` `[N, C]` here, where adapters are wanted and this is one of their places.
    pub fn adapter(&self, [n, c]: [usize; 2]) -> Result<Option<Adapter>> {
        let path = self.official("");
        let (Some((parameters, _)), path) = (self.parameters, path.trim_end_matches('.')) else { return Ok(None) };
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
        self.stream(name, [[n, c, 1, 1].into(), [n, c].into()], self.dtype(name, c, c), true)
    }

    /// A convolution's filters, stored `[N, C, KY, KX]` as PyTorch does, kept channels-last `[N, KY, KX, C]`.
    pub fn filters(&self, name: &str, shape: [usize; 4]) -> Result<Tensor> {
        self.keep(name, shape.into(), true, || self.read_filters(name, shape))
    }

    fn read_filters(&self, name: &str, [n, c, ky, kx]: [usize; 4]) -> Result<Tensor> {
        let stored = self.stored(name, &[n, c, ky, kx])?;
        let filter = c * ky * kx;
        let dtype = self.dtype(name, filter, c);
        let tensor = Tensor::uninit(self.gpu, [n, ky, kx, c].into(), dtype)?;
        // A piece begins where a unit does: after every 256 / 32 filters in quantised formats.
        let in_step = dtype.unit().0 / dtype.row_multiple();
        let at_once = (PIECE / filter.max(1)).max(1).next_multiple_of(in_step.max(1));
        let (mut source, mut turned) = (Vec::new(), Vec::new());
        for first in (0..n).step_by(at_once) {
            let last = (first + at_once).min(n);
            self.read(&stored, first * filter..last * filter, &mut source)?;
            turned.clear();
            for one in source.chunks_exact(filter.max(1)) {
                turned.extend((0..filter).map(|i| one[i % c * ky * kx + i / c]));
            }
            upload(&tensor, first * filter, &turned)?;
        }
        Ok(tensor)
    }

    fn stored(&self, name: &str, shape: &[usize]) -> Result<StoredTensor<'a>> {
        let path = (self / name).path;
        let stored = self.set.require(&path)?;
        if stored.shape() != shape {
            return Err(Error::Shape {
                op: "checkpoint".into(),
                operand: path,
                want: format!("{shape:?}"),
                got: format!("{:?}", stored.shape()),
            });
        }
        Ok(stored)
    }

    /// The format of a weight whose rows have `row` elements, in the innermost axis `c`. Only f32 can take a step.
    fn dtype(&self, name: &str, row: usize, c: usize) -> DType {
        match self.parameters {
            Some((parameters, _)) if parameters.is_trained(&self.official(name)) => DType::F32,
            _ => self.format.dtype(row, c),
        }
    }

    /// The full name among the parameters.
    fn official(&self, name: &str) -> String {
        let prefix = self.parameters.map_or("", |(_, prefix)| prefix);
        format!("{prefix}{}", (self / name).path)
    }

    fn keep(&self, name: &str, stored: Shape, decays: bool, load: impl FnOnce() -> Result<Tensor>) -> Result<Tensor> {
        match self.parameters {
            Some((parameters, _)) => parameters.get_or_load(self.official(name), stored, decays, load),
            None => load(),
        }
    }

    /// A tensor of one shape in the file and perhaps another one here, of the same elements in the same order.
    fn stream(&self, name: &str, [stored, shape]: [Shape; 2], dtype: DType, decays: bool) -> Result<Tensor> {
        self.keep(name, stored, decays, || {
            let stored = self.stored(name, stored.as_slice())?;
            let tensor = Tensor::uninit(self.gpu, shape, dtype)?;
            let mut piece = Vec::new();
            for first in (0..shape.len()).step_by(PIECE) {
                self.read(&stored, first..(first + PIECE).min(shape.len()), &mut piece)?;
                upload(&tensor, first, &piece)?;
            }
            Ok(tensor)
        })
    }

    fn read(&self, stored: &StoredTensor, range: std::ops::Range<usize>, out: &mut Vec<f32>) -> Result<()> {
        out.clear();
        (self.progress)((range.len() * stored.dtype().size()) as u64);
        stored.read_f32(range, out)
    }
}

/// Writes values from element `first` on, where a unit of the type begins; pairs of f16 stay whole.
fn upload(tensor: &Tensor, first: usize, values: &[f32]) -> Result<()> {
    let (dtype, place) = (tensor.dtype(), tensor.dtype().bytes(first));
    match dtype {
        DType::F16 => {
            let halves: Vec<f16> = values.iter().map(|&x| f16::from_f32(x)).collect();
            tensor.upload(place, bytemuck::cast_slice(&halves))
        }
        DType::Q8 | DType::Q4 => tensor.upload(place, &quantised::quantise(values, dtype)),
        _ => tensor.upload(place, bytemuck::cast_slice(values)),
    }
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
