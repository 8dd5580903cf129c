//! Softmax over the last axis:   y[c] = e^(x[c] − m) / Σ_c e^(x[c] − m),   m = max_c x[c]
//!
//! Gradient:   dx = y · (dy − Σ_c dy · y)

use super::case::{Array, OpCase, operand};
use super::matmul::aligned_rows;
use crate::Result;
use crate::autograd::Backward;
use crate::gpu::{DeviceClass, Kernel, Variant};
use crate::tensor::{DType, Tensor};

static SOFTMAX: Kernel = Kernel::new("softmax", include_str!("../../shaders/softmax.wgsl"));
const WG: usize = 64;

/// x `[.., C]` → the same shape, rows that sum to 1.
pub fn softmax(x: &Tensor) -> Result<Tensor> {
    let y = forward(x, x.gpu().class())?;
    y.clone().on_tape("softmax", &[x], || Box::new(Softmax { y }))
}

fn forward(x: &Tensor, class: DeviceClass) -> Result<Tensor> {
    let [rows, columns] = x.rows("softmax x")?;
    x.expect_dtype("softmax x", DType::F32)?;
    let y = x.like()?;
    if y.is_empty() {
        return Ok(y);
    }
    let limit = x.gpu().limits().max_binding as usize;
    let at_once = if 4 * x.len() <= limit { rows } else { aligned_rows(limit, 4 * columns, [4 * columns; 2]).max(1) };
    for first in (0..rows).step_by(at_once) {
        let count = at_once.min(rows - first);
        let params = [count as u32, columns as u32, 0, 0];
        let bindings = [x.bind_rows(first, count, columns)?, y.bind_rows(first, count, columns)?];
        let groups = if is_shared(class) { count } else { count.div_ceil(WG) };
        let work = 6.0 * (count * columns) as f64;
        variant(class).run(x.gpu(), &bindings, bytemuck::bytes_of(&params), groups as u64, work)?;
    }
    Ok(y)
}

fn is_shared(class: DeviceClass) -> bool {
    class == DeviceClass::Hardware
}

fn variant(class: DeviceClass) -> Variant {
    SOFTMAX.plain().flag("SHARED", is_shared(class))
}

/// Every variant.
pub fn variants() -> Vec<Variant> {
    [DeviceClass::Software, DeviceClass::Hardware].map(variant).into()
}

struct Softmax {
    y: Tensor,
}

impl Backward for Softmax {
    fn backward(self: Box<Self>, dy: &Tensor, _need: &[bool]) -> Result<Vec<Option<Tensor>>> {
        let weighted = dy.mul(&self.y)?;
        let rank = dy.shape().rank();
        let sums = weighted.sum_to(dy.shape().with(rank - 1, 1))?;
        Ok(vec![Some(weighted.sub(&self.y.mul(&sums)?)?)])
    }
}

/// Cases: short and long rows, large values, both device classes.
pub fn cases() -> Vec<OpCase> {
    let mut all = Vec::new();
    for (shape, range) in [(vec![3, 5], 1.0), (vec![2, 3, 7], 30.0), (vec![1, 200], 3.0), (vec![70, 1], 1.0)] {
        for class in [DeviceClass::Software, DeviceClass::Hardware] {
            let run = move |x: &[Tensor]| match x[0].is_tracked() {
                true => softmax(&x[0]),
                false => forward(&x[0], class),
            };
            let operands = vec![operand(&shape).range(-range, range)];
            all.push(OpCase::new("softmax", format!("{shape:?} {class:?} to {range}"), operands, run, |a| {
                oracle(&a[0])
            }));
        }
    }
    all
}

fn oracle(x: &Array) -> Array {
    let columns = x.shape.last().copied().unwrap_or(1);
    let rows = x.data.chunks(columns).flat_map(|row| {
        let high = row.iter().fold(f64::MIN, |m, v| m.max(*v));
        let sum: f64 = row.iter().map(|v| (v - high).exp()).sum();
        row.iter().map(move |v| (v - high).exp() / sum).collect::<Vec<_>>()
    });
    Array { shape: x.shape.clone(), data: rows.collect() }
}
