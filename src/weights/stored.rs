//! One tensor as it lies in a file: where its storage is, its shape and strides, and how to read it as `f32`.

use std::ops::Range;

use super::dtype::StoredDType;
use crate::{Error, Result};

/// Where and how a tensor lies in its file. Only [`TensorLayout::new`] makes one, so every layout is in bounds.
#[derive(Debug, Clone)]
pub(super) struct TensorLayout {
    dtype: StoredDType,
    shape: Vec<usize>,
    /// Distance between neighbours along each axis, in elements.
    strides: Vec<usize>,
    /// Elements, the product of the shape.
    len: usize,
    /// Byte position of element 0 in the file.
    start: usize,
}

impl TensorLayout {
    /// Checks that every element of the view (`offset` and `strides` in elements) lies inside `storage`, a byte range of
    /// the file. The error is the reason only; the caller knows the names.
    pub(super) fn new(
        dtype: StoredDType,
        shape: Vec<usize>,
        strides: Vec<usize>,
        offset: usize,
        storage: Range<usize>,
    ) -> Result<Self, String> {
        if shape.len() != strides.len() {
            return Err(format!("has {} axes but {} strides", shape.len(), strides.len()));
        }
        let capacity = storage.len() / dtype.size();
        let len = shape.iter().try_fold(1usize, |n, &s| n.checked_mul(s)).ok_or("has an impossible shape")?;
        // A view that repeats elements (stride 0) could ask for far more memory than the file has.
        if len > capacity {
            return Err(format!("wants {len} elements of a storage of {capacity}"));
        }
        let last = if len == 0 { Some(offset) } else { last_element(&shape, &strides, offset) };
        if len > 0 && last.is_none_or(|last| last >= capacity) || len == 0 && offset > capacity {
            return Err(format!("reaches beyond its storage of {capacity} elements"));
        }
        Ok(Self { dtype, shape, strides, len, start: storage.start + offset * dtype.size() })
    }

    /// The layout of a tensor whose elements follow each other in row-major order.
    pub(super) fn contiguous(dtype: StoredDType, shape: Vec<usize>, storage: Range<usize>) -> Result<Self, String> {
        let strides = row_major_strides(&shape).ok_or("has an impossible shape")?;
        Self::new(dtype, shape, strides, 0, storage)
    }
}

/// Position of the last element of a view, none on overflow.
fn last_element(shape: &[usize], strides: &[usize], offset: usize) -> Option<usize> {
    shape
        .iter()
        .zip(strides)
        .try_fold(offset, |at, (&size, &stride)| at.checked_add(size.saturating_sub(1).checked_mul(stride)?))
}

/// Strides of a row-major tensor, none on overflow.
fn row_major_strides(shape: &[usize]) -> Option<Vec<usize>> {
    let mut strides = vec![1usize; shape.len()];
    for axis in (1..shape.len()).rev() {
        strides[axis - 1] = strides[axis].checked_mul(shape[axis].max(1))?;
    }
    Some(strides)
}

/// A tensor in a checkpoint file, not read yet.
#[derive(Debug, Clone, Copy)]
pub struct StoredTensor<'a> {
    name: &'a str,
    layout: &'a TensorLayout,
    bytes: &'a [u8],
}

impl<'a> StoredTensor<'a> {
    pub(super) fn new(name: &'a str, layout: &'a TensorLayout, bytes: &'a [u8]) -> Self {
        Self { name, layout, bytes }
    }

    /// Name, as the weight set calls it.
    pub fn name(&self) -> &'a str {
        self.name
    }

    /// Element type in the file.
    pub fn dtype(&self) -> StoredDType {
        self.layout.dtype
    }

    /// Sizes of the axes, PyTorch order. A scalar has none.
    pub fn shape(&self) -> &'a [usize] {
        &self.layout.shape
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        self.layout.len
    }

    /// Whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.layout.len == 0
    }

    /// Whether elements follow each other in row-major order in the file.
    pub fn is_contiguous(&self) -> bool {
        self.contiguous_from() == 0
    }

    /// The stored bytes (little-endian, row-major) without conversion, if the tensor is contiguous.
    pub fn raw(&self) -> Option<&'a [u8]> {
        let end = self.layout.start.checked_add(self.layout.len.checked_mul(self.dtype().size())?)?;
        if self.is_contiguous() { self.bytes.get(self.layout.start..end) } else { None }
    }

    /// Replaces the content of `out` by the elements of `range` (row-major, logical order) as `f32`. Strides are
    /// honoured, so a transposed view reads as the tensor that PyTorch would show.
    pub fn read_f32(&self, range: Range<usize>, out: &mut Vec<f32>) -> Result<()> {
        out.clear();
        if range.start > range.end || range.end > self.len() {
            let why = format!("elements {}..{} of {} were asked for", range.start, range.end, self.len());
            return Err(Error::format(format!("tensor {}", self.name), why));
        }
        out.reserve_exact(range.len());
        let axis = self.contiguous_from();
        let run = self.layout.shape[axis..].iter().product::<usize>().max(1);
        let mut at = range.start;
        while at < range.end {
            let within = at % run;
            let count = (run - within).min(range.end - at);
            self.append_run(self.element_offset(axis, at / run) + within, count, out)?;
            at += count;
        }
        Ok(())
    }

    /// All elements as `f32`.
    pub fn to_f32(&self) -> Result<Vec<f32>> {
        let mut out = Vec::new();
        self.read_f32(0..self.len(), &mut out)?;
        Ok(out)
    }

    /// The first axis from which on the elements are contiguous: 0 for an ordinary tensor, the rank if none is.
    fn contiguous_from(&self) -> usize {
        let (shape, strides) = (&self.layout.shape, &self.layout.strides);
        if self.is_empty() {
            return 0;
        }
        let mut wanted = 1;
        for axis in (0..shape.len()).rev() {
            if shape[axis] != 1 && strides[axis] != wanted {
                return axis + 1;
            }
            wanted *= shape[axis];
        }
        0
    }

    /// Offset in elements of the `index`-th run over the axes before `axis`.
    fn element_offset(&self, axis: usize, mut index: usize) -> usize {
        let mut offset = 0;
        for a in (0..axis).rev() {
            let size = self.layout.shape[a].max(1);
            offset += (index % size) * self.layout.strides[a];
            index /= size;
        }
        offset
    }

    fn append_run(&self, offset: usize, count: usize, out: &mut Vec<f32>) -> Result<()> {
        let size = self.dtype().size();
        let start = self.layout.start + offset * size;
        let bytes = self.bytes.get(start..start + count * size);
        let bytes = bytes.ok_or_else(|| Error::format(format!("tensor {}", self.name), "lies outside its file"))?;
        self.dtype().append_f32(bytes, out);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(n: u8) -> Vec<u8> {
        (0..n).flat_map(|i| f32::from(i).to_le_bytes()).collect()
    }

    #[test]
    fn strided_views_read_in_logical_order() {
        let bytes = numbers(12);
        // The transpose of a 3 x 4 matrix, without its first row.
        let layout = TensorLayout::new(StoredDType::F32, vec![4, 2], vec![1, 4], 4, 0..48).unwrap();
        let tensor = StoredTensor::new("t", &layout, &bytes);
        assert!(!tensor.is_contiguous() && tensor.raw().is_none());
        assert_eq!(tensor.to_f32().unwrap(), [4., 8., 5., 9., 6., 10., 7., 11.]);
        let mut out = vec![99.0];
        tensor.read_f32(3..6, &mut out).unwrap();
        assert_eq!(out, [9., 6., 10.]);
    }

    #[test]
    fn rows_with_a_gap_read_by_runs() {
        let bytes = numbers(12);
        let layout = TensorLayout::new(StoredDType::F32, vec![3, 2, 1], vec![4, 1, 7], 1, 0..48).unwrap();
        let tensor = StoredTensor::new("t", &layout, &bytes);
        let mut out = Vec::new();
        tensor.read_f32(1..5, &mut out).unwrap();
        assert_eq!(out, [2., 5., 6., 9.]);
    }

    #[test]
    fn views_outside_their_storage_are_refused() {
        let view = |shape: &[usize], strides: &[usize], offset| {
            TensorLayout::new(StoredDType::F32, shape.to_vec(), strides.to_vec(), offset, 0..48)
        };
        assert!(view(&[3, 4], &[4, 1], 0).is_ok());
        assert!(view(&[3, 4], &[4, 1], 1).is_err());
        assert!(view(&[2], &[usize::MAX], 0).is_err());
        assert!(view(&[usize::MAX, 3], &[0, 0], 0).is_err());
        assert!(view(&[1 << 40], &[0], 0).is_err());
        assert!(view(&[2], &[1, 1], 0).is_err());
        assert!(view(&[0], &[1], 13).is_err());
        assert!(view(&[], &[], 11).is_ok());
        assert!(view(&[], &[], 12).is_err());
    }

    #[test]
    fn every_element_type_converts() {
        let read = |dtype, bytes: &[u8]| {
            let layout = TensorLayout::contiguous(dtype, vec![1], 0..bytes.len()).unwrap();
            StoredTensor::new("t", &layout, bytes).to_f32().unwrap()[0]
        };
        assert_eq!(read(StoredDType::F64, &(-1.5f64).to_le_bytes()), -1.5);
        assert_eq!(read(StoredDType::F16, &[0x00, 0xc1]), -2.5);
        assert_eq!(read(StoredDType::BF16, &[0x20, 0x40]), 2.5);
        assert_eq!(read(StoredDType::I64, &(-7i64).to_le_bytes()), -7.0);
        assert_eq!(read(StoredDType::I32, &(-7i32).to_le_bytes()), -7.0);
        assert_eq!(read(StoredDType::I16, &(-7i16).to_le_bytes()), -7.0);
        assert_eq!(read(StoredDType::I8, &[0xff]), -1.0);
        assert_eq!(read(StoredDType::U8, &[0xff]), 255.0);
        assert_eq!(read(StoredDType::Bool, &[2]), 1.0);
    }

    #[test]
    fn ranges_are_checked() {
        let bytes = numbers(4);
        let layout = TensorLayout::contiguous(StoredDType::F32, vec![4], 0..16).unwrap();
        let tensor = StoredTensor::new("t", &layout, &bytes);
        let mut out = Vec::new();
        assert!(tensor.read_f32(2..5, &mut out).is_err());
        tensor.read_f32(4..4, &mut out).unwrap();
        assert!(out.is_empty());
    }
}
