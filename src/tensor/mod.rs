//! Tensors: contiguous, rank at most five, one concrete type, runtime shapes.
//!
//! What a tensor can do beyond moving data is in [`crate::ops`]; gradients are in [`crate::autograd`].

mod dtype;
mod host;
pub mod quantised;
mod shape;

pub use dtype::DType;
pub use shape::{Shape, format_bytes, parse_bytes};

use crate::autograd::Node;
use crate::gpu::{Binding, Buffer, Gpu};
use crate::{Error, Result};
use std::sync::Arc;

/// A contiguous array on the device, row-major. Cloning shares the memory.
#[derive(Clone)]
pub struct Tensor {
    buffer: Arc<Buffer>,
    /// Bytes from the start of the buffer, a multiple of the device's storage alignment.
    offset: u64,
    shape: Shape,
    dtype: DType,
    pub(crate) node: Option<Arc<Node>>,
}

impl Tensor {
    /// A tensor with undefined contents (in debug builds every bit is set: NaN, or the largest integer).
    pub fn empty(gpu: &Gpu, shape: impl Into<Shape>, dtype: DType) -> Result<Tensor> {
        let shape = shape.into();
        let bytes = dtype.bytes(shape.len());
        let tensor = Tensor { buffer: Arc::new(gpu.buffer(padded(bytes))?), offset: 0, shape, dtype, node: None };
        if cfg!(debug_assertions) {
            crate::ops::fill::poison(&tensor)?;
        }
        Ok(tensor)
    }

    /// An f32 tensor of the same shape on the same device, contents undefined.
    pub fn like(&self) -> Result<Tensor> {
        Tensor::empty(self.gpu(), self.shape, DType::F32)
    }

    /// The device.
    pub fn gpu(&self) -> &Gpu {
        self.buffer.gpu()
    }

    /// Lengths of the axes.
    pub fn shape(&self) -> Shape {
        self.shape
    }

    /// Element type.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        self.shape.len()
    }

    /// Whether an axis is empty.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The axes as an array, named for the error: `let [b, t, c] = x.dims("attention x", "B T C")?`.
    pub fn dims<const N: usize>(&self, operand: &str, letters: &str) -> Result<[usize; N]> {
        self.shape.as_slice().try_into().map_err(|_| self.shape_error(operand, letters))
    }

    /// Leading axes flattened to rows, and the last axis: `[R, C]`.
    pub fn rows(&self, operand: &str) -> Result<[usize; 2]> {
        let &c = self.shape.as_slice().last().ok_or_else(|| self.shape_error(operand, ".. C"))?;
        let leading = &self.shape.as_slice()[..self.shape.rank() - 1];
        Ok([leading.iter().product(), c])
    }

    /// An error unless the shape is `want`.
    pub fn expect_shape(&self, operand: &str, letters: &str, want: impl Into<Shape>) -> Result<()> {
        let want = want.into();
        if self.shape == want { Ok(()) } else { Err(self.shape_error(operand, &format!("[{letters}] = {want}"))) }
    }

    /// An error unless the element type is `want`.
    pub fn expect_dtype(&self, operand: &str, want: DType) -> Result<()> {
        if self.dtype == want {
            return Ok(());
        }
        let (op, operand) = split(operand);
        Err(Error::DType { op, operand, want: want.to_string(), got: self.dtype.to_string() })
    }

    /// An error unless this is a weight that kernels can read by quads: of a float or quantised type, whose rows are
    /// `row` elements long and no block is of two rows. Only f32 can have a gradient.
    pub(crate) fn expect_weight(&self, operand: &str, row: usize) -> Result<()> {
        let multiple = self.dtype.row_multiple();
        if self.is_tracked() && self.dtype != DType::F32 {
            let (op, operand) = split(operand);
            let want = "f32 to have a gradient".to_string();
            return Err(Error::DType { op, operand, want, got: self.dtype.to_string() });
        }
        if self.dtype == DType::U32 {
            return self.expect_dtype(operand, DType::F32);
        }
        if !row.is_multiple_of(multiple) || !self.shape.last().is_multiple_of(multiple.min(4)) {
            return Err(self.shape_error(operand, &format!("{} rows of a multiple of {multiple} elements", self.dtype)));
        }
        Ok(())
    }

    fn shape_error(&self, operand: &str, want: &str) -> Error {
        let (op, operand) = split(operand);
        let want = if want.starts_with('[') { want.to_string() } else { format!("[{want}]") };
        Error::Shape { op, operand, want, got: self.shape.to_string() }
    }

    /// The same elements under another shape.
    pub fn reshape(&self, shape: impl Into<Shape>) -> Result<Tensor> {
        let shape = shape.into();
        if shape.len() != self.len() {
            return Err(self.shape_error("reshape x", &format!("as many elements as {shape}")));
        }
        let mut view = self.with_node(None);
        view.shape = shape;
        view.on_tape("reshape", &[self], || Box::new(Reshape { shape: self.shape }))
    }

    /// The same memory at another place on the tape.
    pub(crate) fn with_node(&self, node: Option<Arc<Node>>) -> Tensor {
        Tensor { node, ..self.clone() }
    }

    /// The memory as a kernel sees it.
    pub fn bind(&self) -> Binding<'_> {
        Binding { buffer: &self.buffer, offset: self.offset, size: padded(self.dtype.bytes(self.len())) }
    }

    /// Memory of the flattened rows `[start, start + rows)` where a row has `row` elements.
    /// The start must fall on the device's storage alignment, and on a unit of the element type.
    pub(crate) fn bind_rows(&self, start: usize, rows: usize, row: usize) -> Result<Binding<'_>> {
        let offset = self.offset + self.dtype.bytes(start * row);
        let size = padded(self.dtype.bytes(rows * row));
        let alignment = self.gpu().limits().storage_alignment;
        if offset % alignment != 0 || !(start * row).is_multiple_of(self.dtype.unit().0) {
            return Err(Error::TooLarge {
                what: format!("a {} tensor {}", self.dtype, self.shape),
                need: format!("a binding from byte {offset} on"),
                limit: format!("multiples of {alignment} bytes"),
            });
        }
        Ok(Binding { buffer: &self.buffer, offset, size })
    }

    /// The same memory as words of 32 bits, whatever the elements are; the last one may be half filled.
    pub(crate) fn words(&self) -> Tensor {
        let words = self.dtype.bytes(self.len()).div_ceil(4) as usize;
        Tensor { shape: Shape::from([words]), dtype: DType::U32, ..self.detach() }
    }

    /// The part `[start, start + count)` of the first axis without a copy, where the alignment allows it. Not differentiable.
    pub(crate) fn view(&self, start: usize, count: usize) -> Option<Tensor> {
        let shape = self.shape.with(0, count);
        let row = self.len() / self.shape.as_slice().first().copied().filter(|n| *n > 0)?;
        let binding = self.bind_rows(start, count, row).ok()?;
        Some(Tensor { buffer: self.buffer.clone(), offset: binding.offset, shape, dtype: self.dtype, node: None })
    }
}

impl std::fmt::Debug for Tensor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.dtype, self.shape)
    }
}

/// Bindings are rounded up so that a shader may see the memory as `vec4`s; buffers are large enough.
fn padded(bytes: u64) -> u64 {
    bytes.next_multiple_of(16).max(16)
}

/// `"attention x"` is operand x of operation attention.
fn split(operand: &str) -> (String, String) {
    let (op, operand) = operand.split_once(' ').unwrap_or((operand, "operand"));
    (op.to_string(), operand.to_string())
}

struct Reshape {
    shape: Shape,
}

impl crate::autograd::Backward for Reshape {
    fn backward(self: Box<Self>, dy: &Tensor, _need: &[bool]) -> Result<Vec<Option<Tensor>>> {
        Ok(vec![Some(dy.reshape(self.shape)?)])
    }
}
