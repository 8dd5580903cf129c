//! Resampling of images as PyTorch's `interpolate` does it, with s = Y / Y' (X / X' for columns) rounded to f32:
//!
//! - [`upsample_nearest`]   `mode="nearest"`: `y[b, oy, ox, c] = x[b, ⌊oy · s⌋, ⌊ox · s⌋, c]`
//! - [`upsample_bilinear`]  `mode="bilinear", align_corners=False`: y lies at row (oy + ½) s − ½ of x, not below 0, and is
//!   interpolated between the rows and columns around it; smaller sizes take no average (no antialiasing)
//!
//! Gradient: dx[b, iy, ix, c] = Σ dy[b, oy, ox, c], times what (iy, ix) contributed, over the output pixels that took from it.

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

/// How pixels are found between pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// The pixel before.
    Nearest,
    /// A mean of the four around, weighted by how near they are.
    Bilinear,
}

/// x `[B, Y, X, C]` → `[B, size[0], size[1], C]`; smaller sizes drop pixels.
pub fn upsample_nearest(x: &Tensor, size: [usize; 2]) -> Result<Tensor> {
    upsample("upsample_nearest", x, size, Mode::Nearest)
}

/// x `[B, Y, X, C]` → `[B, size[0], size[1], C]`, interpolated; smaller sizes drop pixels too.
pub fn upsample_bilinear(x: &Tensor, size: [usize; 2]) -> Result<Tensor> {
    upsample("upsample_bilinear", x, size, Mode::Bilinear)
}

fn upsample(op: &'static str, x: &Tensor, size: [usize; 2], mode: Mode) -> Result<Tensor> {
    x.expect_dtype(&format!("{op} x"), DType::F32)?;
    let [b, rows, columns, c] = x.dims(&format!("{op} x"), "B Y X C")?;
    let y = Tensor::empty(x.gpu(), [b, size[0], size[1], c], DType::F32)?;
    if x.is_empty() && !y.is_empty() {
        return Err(Error::Shape {
            op: op.into(),
            operand: "x".into(),
            want: "an image with pixels".into(),
            got: x.shape().to_string(),
        });
    }
    resample(x, &y, mode, false)?;
    y.on_tape(op, &[x], || Box::new(Resample { shape: Shape::from([b, rows, columns, c]), mode }))
}

/// Writes y from x, or with `backward` x (dx) from y (dy).
fn resample(x: &Tensor, y: &Tensor, mode: Mode, backward: bool) -> Result<()> {
    let [images, x_rows, x_columns, c] = x.dims("resample x", "B Y X C")?;
    let [_, y_rows, y_columns, _] = y.dims("resample y", "B Y X C")?;
    let (from, to) = if backward { (y, x) } else { (x, y) };
    let (from_rows, to_rows) = if backward { (y_rows, x_rows) } else { (x_rows, y_rows) };
    if to.is_empty() {
        return Ok(());
    }
    let width = if c.is_multiple_of(4) { 4 } else { 1 };
    let margins = margins(from_rows, to_rows, mode, backward);
    for rows in parts(from, to, [images, from_rows, to_rows], margins) {
        // Rows of all images, one after the other. Those that a row of the other side needs lie around its place.
        let place = |row: usize| row / to_rows * from_rows + row % to_rows * from_rows / to_rows;
        let [before, behind] = margins;
        let last = (place(rows.end - 1) + behind + 1).min(images * from_rows);
        let needed = place(rows.start).saturating_sub(before)..last;
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
        variant(mode, backward, width).run(x.gpu(), &[source, target], bytemuck::bytes_of(&params), groups, work)?;
    }
    Ok(())
}

/// How many rows before and behind its place (a quotient rounded down) a row's sources may lie.
fn margins(from_rows: usize, to_rows: usize, mode: Mode, backward: bool) -> [usize; 2] {
    let ratio = from_rows.div_ceil(to_rows);
    match (mode, backward) {
        (Mode::Nearest, false) => [1, 1],
        (Mode::Bilinear, false) => [1, ratio / 2 + 2],
        (Mode::Nearest, true) => [1, ratio + 1],
        // The search for row 1 begins at the very first place.
        (Mode::Bilinear, true) => [(ratio / 2 + 2).max(ratio + 1), 3 * ratio / 2 + 3],
    }
}

/// Rows of `to` such that they and the rows of `from` that they need can be bound.
fn parts(
    from: &Tensor,
    to: &Tensor,
    [images, from_rows, to_rows]: [usize; 3],
    margins: [usize; 2],
) -> Vec<Range<usize>> {
    let limit = to.gpu().limits().max_binding as usize;
    let (all, all_from) = (images * to_rows, (images * from_rows).max(1));
    let mut at_once = all;
    if 4 * from.len().max(to.len()) > limit {
        let [before, behind] = margins;
        let from_fit = fitting(from, 4 * from.len() / all_from).saturating_sub(before + behind + 2);
        at_once = fitting(to, 4 * to.len() / all).min(from_fit * all / all_from).max(1);
    }
    (0..all).step_by(at_once).map(|first| first..(first + at_once).min(all)).collect()
}

fn variant(mode: Mode, backward: bool, width: usize) -> Variant {
    let variant = if backward { BACKWARD.plain() } else { RESAMPLE.plain() };
    let variant = variant.flag("BILINEAR", mode == Mode::Bilinear);
    if width == 4 { variant } else { variant.alias("V", "f32").set("WIDTH", 1) }
}

/// Every variant.
pub fn variants() -> Vec<Variant> {
    let directions = [Mode::Nearest, Mode::Bilinear].into_iter().flat_map(|mode| [false, true].map(|b| (mode, b)));
    directions.flat_map(|(mode, backward)| [1, 4].map(|width| variant(mode, backward, width))).collect()
}

struct Resample {
    shape: Shape,
    mode: Mode,
}

impl Backward for Resample {
    fn backward(self: Box<Self>, dy: &Tensor, _need: &[bool]) -> Result<Vec<Option<Tensor>>> {
        if dy.is_empty() {
            return Ok(vec![Some(super::fill::zeros(dy.gpu(), self.shape)?)]);
        }
        let dx = Tensor::empty(dy.gpu(), self.shape, DType::F32)?;
        resample(&dx, dy, self.mode, true)?;
        Ok(vec![Some(dx)])
    }
}

/// Cases: doubling, uneven ratios, smaller and equal results, one pixel, images that bindings of 64 KiB cut, no pixel.
pub fn cases() -> Vec<OpCase> {
    let shapes = [
        ([2, 3, 4, 4], [6, 8]),
        ([1, 3, 2, 3], [7, 5]),
        ([2, 5, 7, 1], [3, 2]),
        ([1, 1, 1, 8], [4, 3]),
        ([2, 3, 5, 4], [6, 5]),
        ([3, 20, 9, 4], [41, 30]),
        ([2, 4, 40, 8], [30, 80]),
        ([2, 64, 80, 4], [5, 40]),
        ([3, 2, 8, 1], [10, 64]),
        ([0, 2, 2, 4], [4, 4]),
        ([1, 2, 2, 4], [0, 4]),
        ([1, 2, 2, 0], [3, 4]),
        ([1, 1, 1, 1], [1, 1]),
    ];
    let modes = [Mode::Nearest, Mode::Bilinear];
    let all = shapes.iter().flat_map(|&(x, size)| modes.map(|mode| case(x, size, mode)));
    all.chain([published_case()]).collect()
}

/// The example in the documentation of `torch.nn.Upsample(scale_factor=2, mode="bilinear")`.
fn published_case() -> OpCase {
    let rows = [[1.0, 1.25, 1.75, 2.0], [1.5, 1.75, 2.25, 2.5], [2.5, 2.75, 3.25, 3.5], [3.0, 3.25, 3.75, 4.0]];
    let run =
        |x: &[Tensor]| upsample_bilinear(&Tensor::from_f32(x[0].gpu(), &[1.0, 2.0, 3.0, 4.0], [1, 2, 2, 1])?, [4, 4]);
    let oracle = move |_: &[Array]| Array::from_coordinates(&[1, 4, 4, 1], |at| rows[at[1]][at[2]]);
    OpCase::new("resample", "PyTorch's bilinear example", vec![operand(&[1]).constant()], run, oracle)
}

/// x resampled to a size.
pub fn case(x: [usize; 4], size: [usize; 2], mode: Mode) -> OpCase {
    let run = move |t: &[Tensor]| match mode {
        Mode::Nearest => upsample_nearest(&t[0], size),
        Mode::Bilinear => upsample_bilinear(&t[0], size),
    };
    // The two pixels around a place, and the share of the second one.
    let around = move |o: usize, from: usize, to: usize| match mode {
        Mode::Nearest => [((o as f32 * (from as f32 / to as f32)).floor() as usize).min(from - 1); 2].map(|i| (i, 0.5)),
        Mode::Bilinear => {
            let place = ((o as f64 + 0.5) * from as f64 / to as f64 - 0.5).max(0.0);
            let low = (place as usize).min(from - 1);
            [(low, 1.0 - (place - low as f64)), ((low + 1).min(from - 1), place - low as f64)]
        }
    };
    let oracle = move |a: &[Array]| {
        Array::from_coordinates(&[x[0], size[0], size[1], x[3]], |at| {
            let (rows, columns) = (around(at[1], x[1], size[0]), around(at[2], x[2], size[1]));
            let of_row =
                |row: usize| columns.iter().map(|(i, share)| share * a[0].at(&[at[0], row, *i, at[3]])).sum::<f64>();
            rows.iter().map(|(i, share)| share * of_row(*i)).sum()
        })
    };
    OpCase::new("resample", format!("{mode:?} {x:?} to {size:?}"), vec![operand(&x)], run, oracle)
}
