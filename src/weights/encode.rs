//! From a stored tensor to the bytes of a device or of another file, piece by piece: host memory stays near one piece
//! however large the tensor is.

use std::borrow::Cow;
use std::ops::Range;

use half::f16;

use super::stored::{Order, StoredTensor};
use crate::Result;
use crate::tensor::{DType, quantised};

/// Elements that are converted at a time: 16 MiB of f32. A whole number of units of every type.
const PIECE: usize = 1 << 22;

/// What a tensor becomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Encoding {
    /// Its element type.
    pub dtype: DType,
    /// The order of its elements.
    pub order: Order,
}

/// Some elements of a tensor that has become something else.
pub struct Piece<'a> {
    /// Which ones, in the new order. They begin where a unit of the new type does.
    pub elements: Range<usize>,
    /// Their bytes.
    pub bytes: &'a [u8],
}

impl StoredTensor<'_> {
    /// Gives the whole tensor to `sink`, in order. Blocks that are stored as they are wanted pass unchanged.
    pub fn encode(&self, to: Encoding, mut sink: impl FnMut(Piece<'_>) -> Result<()>) -> Result<()> {
        match self.blocks(to.order) {
            Some((dtype, bytes)) if dtype == to.dtype => self.pass(dtype, bytes, sink),
            _ => self.convert(to.order, |elements, values| {
                let bytes = &encoded(values, to.dtype);
                sink(Piece { elements, bytes })?;
                self.release();
                Ok(())
            }),
        }
    }

    fn pass(&self, dtype: DType, bytes: &[u8], mut sink: impl FnMut(Piece<'_>) -> Result<()>) -> Result<()> {
        for (i, bytes) in bytes.chunks(dtype.bytes(PIECE) as usize).enumerate() {
            sink(Piece { elements: i * PIECE..((i + 1) * PIECE).min(self.len()), bytes })?;
            self.release();
        }
        Ok(())
    }

    /// The elements as f32, in another order.
    fn convert(&self, order: Order, mut sink: impl FnMut(Range<usize>, &[f32]) -> Result<()>) -> Result<()> {
        let (mut source, mut turned) = (Vec::new(), Vec::new());
        let filters = match (order, self.shape()) {
            (Order::ChannelsLast, &[_, c, ky, kx]) => Some((c, ky * kx)),
            _ => None,
        };
        let filter = filters.map_or(1, |(c, pixels)| (c * pixels).max(1));
        // Every 256 filters a unit begins, whatever their size.
        let at_once = if filter == 1 { PIECE } else { filter * (PIECE / filter).next_multiple_of(256).max(256) };
        for first in (0..self.len()).step_by(at_once) {
            let elements = first..(first + at_once).min(self.len());
            self.read_f32(elements.clone(), &mut source)?;
            let Some((c, pixels)) = filters else {
                sink(elements, &source)?;
                continue;
            };
            channels_last(&source, [c, pixels], &mut turned);
            sink(elements, &turned)?;
        }
        Ok(())
    }
}

/// Values, from the beginning of a unit on, as the bytes of a type.
pub(crate) fn encoded(values: &[f32], dtype: DType) -> Cow<'_, [u8]> {
    match dtype {
        DType::F16 => {
            let halves: Vec<f16> = values.iter().map(|&x| f16::from_f32(x)).collect();
            Cow::Owned(bytemuck::cast_slice(&halves).to_vec())
        }
        DType::Q8 | DType::Q4 => Cow::Owned(quantised::quantise(values, dtype)),
        DType::F32 | DType::U32 => Cow::Borrowed(bytemuck::cast_slice(values)),
    }
}

/// Replaces `turned` by whole filters `[C, pixels]` in the order `[pixels, C]`.
pub(crate) fn channels_last(filters: &[f32], [c, pixels]: [usize; 2], turned: &mut Vec<f32>) {
    turned.clear();
    for one in filters.chunks_exact((c * pixels).max(1)) {
        turned.extend((0..c * pixels).map(|i| one[i % c * pixels + i / c]));
    }
}

#[cfg(test)]
mod tests {
    use super::super::WeightFile;
    use super::*;

    #[test]
    fn filters_are_turned_and_rounded() {
        // Filters [2, 2, 1, 3]: channel 0 holds 0, 1, 2, channel 1 holds 3, 4, 5; the second filter 6 more.
        let header = r#"{"a":{"dtype":"F32","shape":[2,2,1,3],"data_offsets":[0,48]}}"#;
        let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
        bytes.extend(header.as_bytes());
        (0..12).for_each(|i| bytes.extend((i as f32).to_le_bytes()));
        let file = WeightFile::from_bytes("f", bytes).unwrap();
        let read = |dtype, order| {
            let mut out = Vec::new();
            let mut next = 0;
            let sink = |piece: Piece<'_>| {
                assert_eq!(std::mem::replace(&mut next, piece.elements.end), piece.elements.start);
                out.extend_from_slice(piece.bytes);
                Ok(())
            };
            file.get("a").unwrap().encode(Encoding { dtype, order }, sink).unwrap();
            out
        };
        let turned = [0., 3., 1., 4., 2., 5., 6., 9., 7., 10., 8., 11.].map(f32::to_le_bytes).concat();
        assert_eq!(read(DType::F32, Order::ChannelsLast), turned);
        let straight: Vec<u8> = (0..12).flat_map(|i| f16::from_f32(i as f32).to_le_bytes()).collect();
        assert_eq!(read(DType::F16, Order::RowMajor), straight);
    }
}
