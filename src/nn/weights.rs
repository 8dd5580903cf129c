//! The weights cursor: a place in a checkpoint from which layers load themselves.
//!
//! `w / "layers" / 3 / "self_attn"` builds the path of a tensor the way the module tree does. Loading streams: a tensor is
//! converted and uploaded in pieces, so host memory stays near one piece however large the tensor is.

use crate::gpu::Gpu;
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
    path: String,
}

/// Elements that are converted at a time: 16 MiB of f32.
const PIECE: usize = 1 << 22;

impl<'a> Weights<'a> {
    /// The root of a set. `progress` is told the number of stored bytes read since the last call.
    pub fn root(set: &'a WeightSet, gpu: &'a Gpu, format: WeightFormat, progress: &'a dyn Fn(u64)) -> Weights<'a> {
        Weights { set, gpu, format, progress, path: String::new() }
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

    /// A small tensor in f32: a gain, a bias, a table of positions.
    pub fn vector(&self, name: &str, shape: impl Into<Shape>) -> Result<Tensor> {
        self.stream(name, shape.into(), DType::F32)
    }

    /// A matrix whose rows are read by products: `[N, K]`.
    pub fn matrix(&self, name: &str, shape: [usize; 2]) -> Result<Tensor> {
        self.stream(name, shape.into(), self.format.dtype(shape[1], shape[1]))
    }

    /// A convolution's filters, stored `[N, C, KY, KX]` as PyTorch does, kept channels-last `[N, KY, KX, C]`.
    pub fn filters(&self, name: &str, [n, c, ky, kx]: [usize; 4]) -> Result<Tensor> {
        let stored = self.stored(name, &[n, c, ky, kx])?;
        let filter = c * ky * kx;
        let dtype = self.format.dtype(filter, c);
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

    fn stream(&self, name: &str, shape: Shape, dtype: DType) -> Result<Tensor> {
        let stored = self.stored(name, shape.as_slice())?;
        let tensor = Tensor::uninit(self.gpu, shape, dtype)?;
        let mut piece = Vec::new();
        for first in (0..shape.len()).step_by(PIECE) {
            self.read(&stored, first..(first + PIECE).min(shape.len()), &mut piece)?;
            upload(&tensor, first, &piece)?;
        }
        Ok(tensor)
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
