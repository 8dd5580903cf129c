//! Rotary position embedding (Su et al. 2021), half-split as in LLaMA: with angle φ of position and i < D/2,
//!
//!   `y[i] = x[i] cos φ − x[i + D/2] sin φ`,  `y[i + D/2] = x[i + D/2] cos φ + x[i] sin φ`,   φ = position / scale · theta^(−2i/D)
//!
//! Gradient: dy turned back by the same angles.

use super::case::{Array, OpCase, operand};
use super::span::aligned_rows;
use crate::autograd::{Backward, no_backward};
use crate::gpu::{Gpu, Kernel, Variant};
use crate::tensor::{DType, Tensor};
use crate::{Error, Result};

static ROPE: Kernel = Kernel::new("rope", include_str!("../../shaders/rope.wgsl"));
const WG: usize = 64;

/// x `[B, T, H, D]`, cos and sin `[P, D/2]` from [`rope_tables`], positions U32 `[B, T]` → `[B, T, H, D]`.
/// The positions should be below P: larger ones are turned like the last one.
pub fn rope(x: &Tensor, cos: &Tensor, sin: &Tensor, positions: &Tensor) -> Result<Tensor> {
    no_backward("rope tables", &[cos, sin, positions])?;
    let y = turn(x, cos, sin, positions, 1.0)?;
    y.on_tape("rope", &[x], || Box::new(Rope { cos: cos.clone(), sin: sin.clone(), positions: positions.clone() }))
}

/// Tables of cos φ and sin φ `[positions, D/2]`, rounded where transformers 4.35 rounds to f32: the exponent, the power,
/// its inverse, the scaled position, the angle and the result.
pub fn rope_tables(gpu: &Gpu, head_width: usize, positions: usize, theta: f32, scale: f32) -> Result<(Tensor, Tensor)> {
    let angles = angles(head_width, positions, theta, scale);
    let table = |f: fn(f64) -> f64| {
        let values: Vec<f32> = angles.iter().map(|&angle| f(f64::from(angle)) as f32).collect();
        Tensor::from_f32(gpu, &values, [positions, head_width / 2])
    };
    Ok((table(f64::cos)?, table(f64::sin)?))
}

fn angles(head_width: usize, positions: usize, theta: f32, scale: f32) -> Vec<f32> {
    let frequency = |i: usize| {
        let exponent = (2 * i) as f32 / head_width as f32;
        1.0 / f64::from(theta).powf(f64::from(exponent)) as f32
    };
    let frequencies: Vec<f32> = (0..head_width / 2).map(frequency).collect();
    (0..positions).flat_map(|t| frequencies.iter().map(move |f| t as f32 / scale * f)).collect()
}

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Params {
    rows: u32,
    heads: u32,
    half_width: u32,
    table: u32,
    first: u32,
    turn: f32,
    pad: [u32; 2],
}

fn turn(x: &Tensor, cos: &Tensor, sin: &Tensor, positions: &Tensor, direction: f32) -> Result<Tensor> {
    let [b, t, heads, width] = x.dims("rope x", "B T H D")?;
    let [table, _] = cos.dims("rope cos", "P D/2")?;
    cos.expect_shape("rope cos", "P D/2", [table, width / 2])?;
    sin.expect_shape("rope sin", "P D/2", [table, width / 2])?;
    positions.expect_shape("rope positions", "B T", [b, t])?;
    positions.expect_dtype("rope positions", DType::U32)?;
    for (operand, name) in [(x, "rope x"), (cos, "rope cos"), (sin, "rope sin")] {
        operand.expect_dtype(name, DType::F32)?;
    }
    if !width.is_multiple_of(2) || (table == 0 && !x.is_empty()) {
        return Err(Error::Input(format!("rope: heads of {width} by a table of {table} positions")));
    }
    let y = x.like()?;
    if x.is_empty() {
        return Ok(y);
    }
    let (rows, row) = (b * t, heads * width);
    let limit = x.gpu().limits().max_binding as usize;
    let whole = DType::F32.bytes(x.len()) <= limit as u64;
    let step = if whole { rows } else { aligned_rows(limit, 4 * row, [4 * row, 4 * row]).max(1) };
    for first in (0..rows).step_by(step) {
        let count = step.min(rows - first);
        let bindings = [
            x.bind_rows(first, count, row)?,
            cos.bind(),
            sin.bind(),
            positions.bind(),
            y.bind_rows(first, count, row)?,
        ];
        let params = Params {
            rows: count as u32,
            heads: heads as u32,
            half_width: (width / 2) as u32,
            table: table as u32,
            first: first as u32,
            turn: direction,
            pad: [0; 2],
        };
        let pairs = count * row / 2;
        variant().run(x.gpu(), &bindings, bytemuck::bytes_of(&params), pairs.div_ceil(WG) as u64, pairs as f64)?;
    }
    Ok(y)
}

fn variant() -> Variant {
    ROPE.plain()
}

/// Every variant.
pub fn variants() -> Vec<Variant> {
    vec![variant()]
}

struct Rope {
    cos: Tensor,
    sin: Tensor,
    positions: Tensor,
}

impl Backward for Rope {
    fn backward(self: Box<Self>, dy: &Tensor, _need: &[bool]) -> Result<Vec<Option<Tensor>>> {
        Ok(vec![Some(turn(dy, &self.cos, &self.sin, &self.positions, -1.0)?)])
    }
}

/// Cases: one pair, several heads, positions beyond the table, and an x that is cut where bindings span 64 KiB.
pub fn cases() -> Vec<OpCase> {
    [[1, 1, 1, 2], [2, 3, 2, 4], [1, 5, 3, 6], [3, 50, 4, 32], [2, 0, 1, 4], [2, 1, 1, 0]].map(case).into()
}

/// x with a shape `[B, T, H, D]`, turned by a table of seven positions.
pub fn case(shape: [usize; 4]) -> OpCase {
    let [b, t, _, d] = shape;
    let table = || operand(&[7, d / 2]).constant();
    let operands = vec![operand(&shape), table(), table(), operand(&[b, t]).range(0.0, 9.0).dtype(DType::U32)];
    let oracle = move |x: &[Array]| {
        Array::from_coordinates(&shape, |c| {
            let i = c[3] % (d / 2);
            let position = (x[3].at(&[c[0], c[1]]) as usize).min(6);
            let (cos, sin) = (x[1].at(&[position, i]), x[2].at(&[position, i]));
            let (left, right) = (x[0].at(&[c[0], c[1], c[2], i]), x[0].at(&[c[0], c[1], c[2], i + d / 2]));
            if c[3] < d / 2 { left * cos - right * sin } else { right * cos + left * sin }
        })
    };
    OpCase::new("rope", format!("{shape:?}"), operands, |x| rope(&x[0], &x[1], &x[2], &x[3]), oracle)
}

#[cfg(test)]
mod tests {
    use super::angles;

    #[test]
    fn frequencies_are_those_of_the_reference_checkpoint() {
        // `rotary_emb.inv_freq` of tests/reference/tiny/model.safetensors: heads of 16, theta 10000.
        let recorded = [1.0, 0.31622776, 0.1, 0.03162278, 0.01, 0.0031622779, 0.001, 0.0003162278];
        assert_eq!(angles(16, 2, 10000.0, 1.0)[8..], recorded);
        assert_eq!(angles(16, 3, 10000.0, 2.0)[16..], recorded);
    }
}
