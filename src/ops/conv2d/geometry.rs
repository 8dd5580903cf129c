//! Which pixels of one side of a convolution need which of the other, and the parts into which the device's limits cut them.

use super::super::span::{fitting, span};
use super::Conv;
use crate::Result;
use crate::gpu::Binding;
use crate::tensor::Tensor;
use std::ops::Range;

/// A convolution that reads one set of images and writes, or for the weight's gradient walks over, another.
#[derive(Debug, Clone, Copy)]
pub(super) struct Geometry {
    pub conv: Conv,
    /// The images that are read are the convolution's result: the gradient by its input.
    pub transposed: bool,
    pub images: usize,
    /// Rows, columns and channels of the images that are read.
    pub from: [usize; 3],
    /// The same of the others.
    pub to: [usize; 3],
    pub kernel: [usize; 2],
}

/// Images and rows of the `to` side.
#[derive(Debug, Clone)]
pub(super) struct Area {
    pub images: Range<usize>,
    pub rows: Range<usize>,
}

impl Geometry {
    pub fn new(from: &Tensor, w: &Tensor, to: &Tensor, conv: Conv, transposed: bool) -> Result<Geometry> {
        let [_, ky, kx, _] = w.dims("conv2d w", "N KY KX C")?;
        let [images, y0, x0, c0] = from.dims("conv2d x", "B Y X C")?;
        let [_, y1, x1, c1] = to.dims("conv2d y", "B Y X C")?;
        Ok(Geometry { conv, transposed, images, from: [y0, x0, c0], to: [y1, x1, c1], kernel: [ky, kx] })
    }

    /// Areas whose pixels on both sides can be bound; rows of images are cut only where a whole image is too large.
    pub fn areas(&self, x: &Tensor) -> Vec<Area> {
        let largest = 4 * size(self.from).max(size(self.to));
        let whole = self.images * largest <= x.gpu().limits().max_binding as usize;
        let (images, rows) = match fitting(x, largest) {
            _ if whole => (self.images, self.to[0]),
            0 => (1, self.rows_that_fit(x)),
            images => (images, self.to[0]),
        };
        let areas = ranges(self.images, images);
        areas.flat_map(|i| ranges(self.to[0], rows).map(move |rows| Area { images: i.clone(), rows })).collect()
    }

    /// Rows in one image such that they and the rows that they need can be bound.
    fn rows_that_fit(&self, x: &Tensor) -> usize {
        let at_once = |s: [usize; 3]| fitting(x, 4 * s[1] * s[2]);
        let fits = |rows: usize| {
            let needed = (self.rows_needed(0..rows).len() + self.kernel[0]).min(self.from[0]);
            rows <= at_once(self.to) && needed <= at_once(self.from)
        };
        let mut rows = self.to[0];
        while rows > 1 && !fits(rows) {
            rows = rows.div_ceil(2);
        }
        rows
    }

    /// Rows of the `from` side that these rows meet under some tap, at least one.
    fn rows_needed(&self, rows: Range<usize>) -> Range<usize> {
        let (stride, before, taps) = (self.conv.stride[0], self.conv.padding[0][0], self.kernel[0]);
        let (first, end) = if self.transposed {
            let first = (rows.start + before + 1).saturating_sub(taps).div_ceil(stride);
            (first, (rows.end + before).saturating_sub(1) / stride + 1)
        } else {
            ((rows.start * stride).saturating_sub(before), ((rows.end - 1) * stride + taps).saturating_sub(before))
        };
        let first = first.min(self.from[0] - 1);
        first..end.clamp(first + 1, self.from[0].max(first + 1))
    }

    /// The part of the `from` images that an area needs.
    pub fn span_from<'a>(&self, x: &'a Tensor, area: &Area) -> Result<(Binding<'a>, u32)> {
        let rows = if area.rows.len() == self.to[0] { 0..self.from[0] } else { self.rows_needed(area.rows.clone()) };
        span_rows(x, self.from, &area.images, &rows)
    }

    /// The part of the `to` images that an area is.
    pub fn span_to<'a>(&self, y: &'a Tensor, area: &Area) -> Result<(Binding<'a>, u32)> {
        span_rows(y, self.to, &area.images, &area.rows)
    }

    pub fn pixels(&self, area: &Area) -> usize {
        area.images.len() * area.rows.len() * self.to[1]
    }
}

fn size(image: [usize; 3]) -> usize {
    image.iter().product()
}

/// Rows of several images, or whole images, lie side by side.
fn span_rows<'a>(
    x: &'a Tensor,
    image: [usize; 3],
    images: &Range<usize>,
    rows: &Range<usize>,
) -> Result<(Binding<'a>, u32)> {
    let row = image[1] * image[2];
    let count = (image[0] * (images.len() - 1) + rows.len()) * row;
    span(x, (images.start * image[0] + rows.start) * row, count)
}

/// `0..length` in pieces.
pub(super) fn ranges(length: usize, piece: usize) -> impl Iterator<Item = Range<usize>> {
    let piece = piece.max(1);
    (0..length).step_by(piece).map(move |first| first..(first + piece).min(length))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_needed_are_those_that_taps_meet() {
        for (stride, before, taps, transposed) in
            [(1, 1, 3, false), (2, 0, 3, false), (3, 2, 2, false), (1, 1, 3, true), (2, 1, 3, true), (3, 0, 2, true)]
        {
            let conv = Conv { stride: [stride, 1], padding: [[before, 1], [0, 0]] };
            let image = 11;
            let out = (image + before + 1 - taps) / stride + 1;
            let (from, to) = if transposed { (out, image) } else { (image, out) };
            let geometry =
                Geometry { conv, transposed, images: 1, from: [from, 1, 1], to: [to, 1, 1], kernel: [taps, 1] };
            for rows in (0..to).flat_map(|a| (a + 1..=to).map(move |b| a..b)) {
                let meets = |t: usize, f: usize| {
                    let (image, out) = if transposed { (t, f) } else { (f, t) };
                    (0..taps).any(|k| image + before == out * stride + k)
                };
                let met: Vec<usize> = (0..from).filter(|&f| rows.clone().any(|t| meets(t, f))).collect();
                let needed = geometry.rows_needed(rows.clone());
                assert!(met.iter().all(|f| needed.contains(f)), "{geometry:?} {rows:?}: {met:?} not in {needed:?}");
                let extent = met.last().map_or(1, |last| last - met[0] + 1);
                assert!(needed.len() <= extent + stride, "{geometry:?} {rows:?}: {needed:?} for {met:?}");
            }
        }
    }
}
