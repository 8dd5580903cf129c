//! Nearest-neighbour resampling of images, as PyTorch's `interpolate(mode="nearest")`:
//!
//!   y[b, oy, ox, c] = x[b, ⌊oy · (Y / Y')⌋, ⌊ox · (X / X')⌋, c]     with the quotients and products rounded to f32.
//!
//! Gradient: dx[b, iy, ix, c] = Σ dy[b, oy, ox, c] over the output pixels that took their value from (iy, ix).

use super::case::{Array, OpCase, operand};
use super::span::{fitting, span};
use crate::autograd::Backward;
use crate::gpu::{Kernel, Variant};
use crate::tensor::{DType, Shape, Tensor};
use crate::{Error, Result};
use std::ops::Range;

static RESAMPLE: Kernel = Kernel::new("resample", include_str!("../../shaders/resample.wgsl"));
static BACKWARD: Kernel = Kernel::new("resample_backward", include_str!("../../shaders/resample_backward.wgsl"));
const WG: usize = 64;

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Params {
    count: u32,
    first: u32,
    c: u32,
    x_rows: u32,
    x_columns: u32,
    y_rows: u32,
    y_columns: u32,
    x_start: u32,
    y_start: u32,
    scale_y: f32,
    scale_x: f32,
}

/// x `[B, Y, X, C]` → `[B, size[0], size[1], C]`; smaller sizes drop pixels.
pub fn upsample_nearest(x: &Tensor, size: [usize; 2]) -> Result<Tensor> {
    x.expect_dtype("upsample_nearest x", DType::F32)?;
    let [b, rows, columns, c] = x.dims("upsample_nearest x", "B Y X C")?;
    let y = Tensor::empty(x.gpu(), [b, size[0], size[1], c], DType::F32)?;
    if x.is_empty() && !y.is_empty() {
        return Err(Error::Shape {
            op: "upsample_nearest".into(),
            operand: "x".into(),
            want: "an image with pixels".into(),
            got: x.shape().to_string(),
        });
    }
    resample(x, &y, false)?;
    y.on_tape("upsample_nearest", &[x], || Box::new(Resample { shape: Shape::from([b, rows, columns, c]) }))
}

/// Writes y from x, or with `backward` x (dx) from y (dy).
fn resample(x: &Tensor, y: &Tensor, backward: bool) -> Result<()> {
    let [images, x_rows, x_columns, c] = x.dims("resample x", "B Y X C")?;
    let [_, y_rows, y_columns, _] = y.dims("resample y", "B Y X C")?;
    let (from, to) = if backward { (y, x) } else { (x, y) };
    let (from_rows, to_rows) = if backward { (y_rows, x_rows) } else { (x_rows, y_rows) };
    if to.is_empty() {
        return Ok(());
    }
    let width = if c.is_multiple_of(4) { 4 } else { 1 };
    for rows in parts(from, to, images * to_rows, images * from_rows) {
        // Rows of all images, one after the other. Those that a row of the other side needs lie around its place.
        let place = |row: usize| row / to_rows * from_rows + row % to_rows * from_rows / to_rows;
        let spread = from_rows.div_ceil(to_rows) + 1;
        let needed =
            place(rows.start).saturating_sub(spread)..(place(rows.end - 1) + spread + 1).min(images * from_rows);
        let row = |t: &Tensor, rows: usize| t.len() / (images * rows);
        let (from_row, to_row) = (row(from, from_rows), row(to, to_rows));
        let (source, from_start) = span(from, needed.start * from_row, needed.len() * from_row)?;
        let (target, to_start) = span(to, rows.start * to_row, rows.len() * to_row)?;
        let (x_start, y_start) = if backward { (to_start, from_start) } else { (from_start, to_start) };
        let count = rows.len() * to_row;
        let params = Params {
            count: count as u32,
            first: (rows.start * to_row) as u32,
            c: c as u32,
            x_rows: x_rows as u32,
            x_columns: x_columns as u32,
            y_rows: y_rows as u32,
            y_columns: y_columns as u32,
            x_start,
            y_start,
            scale_y: x_rows as f32 / y_rows as f32,
            scale_x: x_columns as f32 / y_columns as f32,
        };
        let groups = count.div_ceil(WG * width) as u64;
        let work = count.max(needed.len() * from_row) as f64;
        variant(backward, width).run(x.gpu(), &[source, target], bytemuck::bytes_of(&params), groups, work)?;
    }
    Ok(())
}

/// Rows of `to` such that they and the rows of `from` that they need can be bound.
fn parts(from: &Tensor, to: &Tensor, to_rows: usize, from_rows: usize) -> Vec<Range<usize>> {
    let limit = to.gpu().limits().max_binding as usize;
    let mut at_once = to_rows;
    if 4 * from.len().max(to.len()) > limit {
        let from_fit =
            fitting(from, 4 * from.len() / from_rows.max(1)).saturating_sub(2 * from_rows.div_ceil(to_rows) + 4);
        at_once = fitting(to, 4 * to.len() / to_rows).min(from_fit * to_rows / from_rows.max(1)).max(1);
    }
    (0..to_rows).step_by(at_once).map(|first| first..(first + at_once).min(to_rows)).collect()
}

fn variant(backward: bool, width: usize) -> Variant {
    let variant = if backward { BACKWARD.plain() } else { RESAMPLE.plain() };
    if width == 4 { variant } else { variant.alias("V", "f32").set("WIDTH", 1) }
}

/// Every variant.
pub fn variants() -> Vec<Variant> {
    [false, true].into_iter().flat_map(|backward| [1, 4].map(|width| variant(backward, width))).collect()
}

struct Resample {
    shape: Shape,
}

impl Backward for Resample {
    fn backward(self: Box<Self>, dy: &Tensor, _need: &[bool]) -> Result<Vec<Option<Tensor>>> {
        if dy.is_empty() {
            return Ok(vec![Some(super::fill::zeros(dy.gpu(), self.shape)?)]);
        }
        let dx = Tensor::empty(dy.gpu(), self.shape, DType::F32)?;
        resample(&dx, dy, true)?;
        Ok(vec![Some(dx)])
    }
}

/// Cases: doubling, uneven ratios, and a smaller result.
pub fn cases() -> Vec<OpCase> {
    let case = |(x, size): ([usize; 4], [usize; 2])| {
        let run = move |t: &[Tensor]| upsample_nearest(&t[0], size);
        let oracle = move |a: &[Array]| {
            let place = |o: usize, from: usize, to: usize| {
                ((o as f32 * (from as f32 / to as f32)).floor() as usize).min(from - 1)
            };
            Array::from_coordinates(&[x[0], size[0], size[1], x[3]], |at| {
                a[0].at(&[at[0], place(at[1], x[1], size[0]), place(at[2], x[2], size[1]), at[3]])
            })
        };
        OpCase::new("resample", format!("{x:?} to {size:?}"), vec![operand(&x)], run, oracle)
    };
    [
        ([2, 3, 4, 4], [6, 8]),
        ([1, 3, 2, 3], [7, 5]),
        ([2, 5, 7, 1], [3, 2]),
        ([1, 1, 1, 8], [4, 3]),
        ([2, 3, 5, 4], [6, 5]),
        ([3, 20, 9, 4], [41, 30]),
        ([0, 2, 2, 4], [4, 4]),
        ([1, 2, 2, 4], [0, 4]),
    ]
    .map(case)
    .into()
}
