//! Rotary positions, half-split:   for i < D/2 and the token's position t,
//!   y[i] = x[i] · cos[t, i] − x[i + D/2] · sin[t, i],   y[i + D/2] = x[i + D/2] · cos[t, i] + x[i] · sin[t, i]
//!
//! Gradient: dy turned by the negative angle. Source: Su et al., "RoFormer", 2021, in the arrangement of LLaMA's weights.

use super::case::{Array, OpCase, Operand, operand};
use crate::autograd::{Backward, no_backward};
use crate::gpu::{Gpu, Kernel, Variant};
use crate::tensor::{DType, Tensor};
use crate::{Error, Result};

static ROPE: Kernel = Kernel::new("rope", include_str!("../../shaders/rope.wgsl"));
const WG: usize = 64;

/// Turns heads x `[B, T, H, D]` by tables `[P, D/2]` at positions U32 `[B, T]`. Positions beyond the tables use the last row.
pub fn rope(x: &Tensor, cos: &Tensor, sin: &Tensor, positions: &Tensor) -> Result<Tensor> {
    no_backward("rope tables", &[cos, sin])?;
    let y = turn(x, cos, sin, positions, false)?;
    let tables = || Turned { cos: cos.clone(), sin: sin.clone(), positions: positions.clone() };
    y.on_tape("rope", &[x], || Box::new(tables()))
}

fn turn(x: &Tensor, cos: &Tensor, sin: &Tensor, positions: &Tensor, inverse: bool) -> Result<Tensor> {
    let [b, t, h, d] = x.dims("rope x", "B T H D")?;
    x.expect_dtype("rope x", DType::F32)?;
    positions.expect_dtype("rope positions", DType::U32)?;
    positions.expect_shape("rope positions", "B T", [b, t])?;
    let [rows, half] = cos.dims("rope cos", "P D/2")?;
    sin.expect_shape("rope sin", "P D/2", [rows, half])?;
    if 2 * half != d || rows == 0 {
        let (op, operand) = ("rope".into(), "cos".into());
        return Err(Error::Shape { op, operand, want: format!("[P, {d}/2]"), got: cos.shape().to_string() });
    }
    let y = x.like()?;
    let pairs = b * t * h * half;
    let params = [pairs as u32, h as u32, half as u32, rows as u32 - 1];
    let bindings = [x.bind(), cos.bind(), sin.bind(), positions.bind(), y.bind()];
    let groups = pairs.div_ceil(WG) as u64;
    variant(inverse).run(x.gpu(), &bindings, bytemuck::bytes_of(&params), groups, 6.0 * pairs as f64)?;
    Ok(y)
}

/// Tables of `positions` rows for heads of width `head_width`: `[P, D/2]` cosines and sines of (t / scale) · theta^(−2i/D).
/// Angles are rounded to f32 as transformers does, then cosine and sine are exact.
pub fn rope_tables(gpu: &Gpu, head_width: usize, positions: usize, theta: f32, scale: f32) -> Result<(Tensor, Tensor)> {
    let half = head_width / 2;
    let power = |i: usize| f64::from(theta).powf(f64::from(2.0 * i as f32 / head_width as f32)) as f32;
    let frequencies: Vec<f32> = (0..half).map(|i| 1.0 / power(i)).collect();
    let angles = (0..positions).flat_map(|t| frequencies.iter().map(move |f| f64::from(t as f32 / scale * f)));
    let (cos, sin): (Vec<f32>, Vec<f32>) = angles.map(|a| (a.cos() as f32, a.sin() as f32)).unzip();
    let table = |values: &[f32]| Tensor::from_f32(gpu, values, [positions, half]);
    Ok((table(&cos)?, table(&sin)?))
}

fn variant(inverse: bool) -> Variant {
    ROPE.plain().flag("INVERSE", inverse)
}

/// Every variant.
pub fn variants() -> Vec<Variant> {
    [false, true].map(variant).into()
}

struct Turned {
    cos: Tensor,
    sin: Tensor,
    positions: Tensor,
}

impl Backward for Turned {
    fn backward(self: Box<Self>, dy: &Tensor, _need: &[bool]) -> Result<Vec<Option<Tensor>>> {
        Ok(vec![Some(turn(dy, &self.cos, &self.sin, &self.positions, true)?)])
    }
}

/// Cases: one head and several, any even width, positions out of order and beyond the tables.
pub fn cases() -> Vec<OpCase> {
    let case = |(b, t, h, d): (usize, usize, usize, usize)| {
        let table = || operand(&[9, d / 2]).constant();
        let positions = Operand { range: (0.0, 11.0), ..operand(&[b, t]) }.dtype(DType::U32);
        let operands = vec![operand(&[b, t, h, d]), table(), table(), positions];
        let run = |x: &[Tensor]| rope(&x[0], &x[1], &x[2], &x[3]);
        let oracle = move |a: &[Array]| {
            Array::from_coordinates(&[b, t, h, d], |at| {
                let (i, low) = (at[3] % (d / 2), at[3] < d / 2);
                let row = (a[3].at(&at[..2]) as usize).min(8);
                let (c, s) = (a[1].at(&[row, i]), a[2].at(&[row, i]));
                let x = |i| a[0].at(&[at[0], at[1], at[2], i]);
                if low { x(i) * c - x(i + d / 2) * s } else { x(i + d / 2) * c + x(i) * s }
            })
        };
        OpCase::new("rope", format!("[{b}, {t}, {h}, {d}]"), operands, run, oracle)
    };
    [(1, 1, 1, 2), (2, 3, 4, 6), (1, 5, 2, 16), (3, 2, 1, 10)].map(case).into()
}
