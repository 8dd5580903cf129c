//! One tensor as it lies in a file: where its storage is, its shape and strides, and how to read it as `f32`.

use std::ops::Range;

use super::bytes::FileBytes;
use super::dtype::StoredDType;
use crate::tensor::DType;
use crate::{Error, Result};

/// Where and how a tensor lies in its file. Only [`TensorLayout::new`] makes one, so every layout is in bounds.
#[derive(Debug, Clone)]
pub(super) struct TensorLayout {
    dtype: StoredDType,
    shape: Vec<usize>,
    /// Axes of the elements in row-major order. They are those of the shape, unless a file keeps rows in another order.
    axes: Vec<usize>,
    /// Distance between neighbours along each of these axes, in elements.
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
        Self::viewed(dtype, shape.clone(), shape, strides, offset, storage)
    }

    /// The same for a tensor whose elements, in row-major order of `shape`, are those of a view with other `axes`.
    pub(super) fn viewed(
        dtype: StoredDType,
        shape: Vec<usize>,
        axes: Vec<usize>,
        strides: Vec<usize>,
        offset: usize,
        storage: Range<usize>,
    ) -> Result<Self, String> {
        if axes.len() != strides.len() {
            return Err(format!("has {} axes but {} strides", axes.len(), strides.len()));
        }
        let (elements, bytes) = dtype.unit();
        let capacity = storage.len() / bytes * elements;
        let count = |sides: &[usize]| sides.iter().try_fold(1usize, |n, &s| n.checked_mul(s));
        let len = count(&shape).filter(|&len| Some(len) == count(&axes)).ok_or("has an impossible shape")?;
        if elements > 1 && offset > 0 {
            return Err("begins within a block".into());
        }
        // A view that repeats elements (stride 0) could ask for far more memory than the file has.
        if len > capacity {
            return Err(format!("wants {len} elements of a storage of {capacity}"));
        }
        let last = if len == 0 { Some(offset) } else { last_element(&axes, &strides, offset) };
        if len > 0 && last.is_none_or(|last| last >= capacity) || len == 0 && offset > capacity {
            return Err(format!("reaches beyond its storage of {capacity} elements"));
        }
        Ok(Self { dtype, shape, axes, strides, len, start: storage.start + offset * bytes })
    }

    /// The layout of a tensor whose elements follow each other in row-major order.
    pub(super) fn contiguous(dtype: StoredDType, shape: Vec<usize>, storage: Range<usize>) -> Result<Self, String> {
        let strides = row_major_strides(&shape).ok_or("has an impossible shape")?;
        Self::new(dtype, shape, strides, 0, storage)
    }

    /// The layout of filters `[N, C, KY, KX]` that lie as `[N, KY, KX, C]`.
    pub(super) fn channels_last(dtype: StoredDType, shape: Vec<usize>, storage: Range<usize>) -> Result<Self, String> {
        let strides = channels_last_strides(&shape).ok_or("is no tensor of filters")?;
        Self::new(dtype, shape, strides, 0, storage)
    }
}

/// Strides of filters that lie channels-last, none on overflow or if they are no filters.
fn channels_last_strides(shape: &[usize]) -> Option<Vec<usize>> {
    let &[_, c, ky, kx] = shape else { return None };
    let row = kx.checked_mul(c)?;
    Some(vec![ky.checked_mul(row)?, 1, row, c])
}

/// In which order a tensor's elements follow each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// That of its shape.
    RowMajor,
    /// Filters `[N, C, KY, KX]` as `[N, KY, KX, C]`.
    ChannelsLast,
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
#[derive(Clone, Copy)]
pub struct StoredTensor<'a> {
    name: &'a str,
    layout: &'a TensorLayout,
    bytes: &'a FileBytes,
}

impl<'a> StoredTensor<'a> {
    pub(super) fn new(name: &'a str, layout: &'a TensorLayout, bytes: &'a FileBytes) -> Self {
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
        if self.is_contiguous() { self.storage() } else { None }
    }

    /// Bytes in the file.
    pub fn stored_bytes(&self) -> u64 {
        self.dtype().bytes(self.len()).unwrap_or(0) as u64
    }

    /// Type and bytes of the blocks of a tensor that is stored as it lies on the device, in this order.
    pub fn blocks(&self, order: Order) -> Option<(DType, &'a [u8])> {
        let fits = match order {
            Order::RowMajor => self.is_contiguous(),
            Order::ChannelsLast => channels_last_strides(self.shape()).as_ref() == Some(&self.layout.strides),
        };
        if fits { Some((self.dtype().blocks()?, self.storage()?)) } else { None }
    }

    /// Lets the system take back the memory of the tensor's pages, which a mapped file may count as this program's. They
    /// are read again if they are looked at again.
    pub fn release(&self) {
        let end = self.layout.start.saturating_add(self.stored_bytes() as usize);
        self.bytes.release(self.layout.start..end);
    }

    fn storage(&self) -> Option<&'a [u8]> {
        let end = self.layout.start.checked_add(self.dtype().bytes(self.len())?)?;
        self.bytes.get(self.layout.start..end)
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
        let run = self.layout.axes[axis..].iter().product::<usize>().max(1);
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
        let (shape, strides) = (&self.layout.axes, &self.layout.strides);
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
            let size = self.layout.axes[a].max(1);
            offset += (index % size) * self.layout.strides[a];
            index /= size;
        }
        offset
    }

    fn append_run(&self, offset: usize, count: usize, out: &mut Vec<f32>) -> Result<()> {
        let (elements, size) = self.dtype().unit();
        let (first, last) = (offset / elements, (offset + count).div_ceil(elements));
        let bytes = self.bytes.get(self.layout.start + first * size..self.layout.start + last * size);
        let bytes = bytes.ok_or_else(|| Error::format(format!("tensor {}", self.name), "lies outside its file"))?;
        self.dtype().append_f32(bytes, offset % elements, count, out);
        Ok(())
    }
}

impl std::fmt::Debug for StoredTensor<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {} {:?}", self.name, self.dtype(), self.shape())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(n: u8) -> FileBytes {
        FileBytes::from((0..n).flat_map(|i| f32::from(i).to_le_bytes()).collect::<Vec<_>>())
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
            StoredTensor::new("t", &layout, &FileBytes::from(bytes.to_vec())).to_f32().unwrap()[0]
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
    fn blocks_that_lie_channels_last_read_in_the_order_of_their_shape() {
        let (shape, count) = (vec![2usize, 32, 3, 1], 192);
        let values: Vec<f32> = (0..count).map(|i| (i % 127) as f32).collect();
        let bytes = FileBytes::from(crate::tensor::quantised::quantise(&values, DType::Q8));
        let layout = TensorLayout::channels_last(StoredDType::Q8, shape, 0..bytes.len()).unwrap();
        let tensor = StoredTensor::new("t", &layout, &bytes);
        let got = tensor.to_f32().unwrap();
        let stored = crate::tensor::quantised::dequantise(&bytes, DType::Q8, count);
        for (i, got) in got.iter().enumerate() {
            let (n, c, ky) = (i / 96, i / 3 % 32, i % 3);
            assert_eq!(*got, stored[n * 96 + ky * 32 + c]);
        }
        assert!(tensor.blocks(Order::RowMajor).is_none());
        assert_eq!(tensor.blocks(Order::ChannelsLast), Some((DType::Q8, &bytes[..])));
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
