//! Constant tensors:   `y[i] = value`.

use super::case::{Array, OpCase, operand};
use crate::Result;
use crate::gpu::{Gpu, Kernel, Variant};
use crate::tensor::{DType, Shape, Tensor};

static FILL: Kernel = Kernel::new("fill", include_str!("../../shaders/fill.wgsl"));
const WG: usize = 64;

/// A tensor of one value.
pub fn full(gpu: &Gpu, shape: impl Into<Shape>, value: f32) -> Result<Tensor> {
    let y = Tensor::uninit(gpu, shape.into(), DType::F32)?;
    set(&y, value.to_bits())?;
    Ok(y)
}

/// A tensor of zeros.
pub fn zeros(gpu: &Gpu, shape: impl Into<Shape>) -> Result<Tensor> {
    full(gpu, shape, 0.0)
}

/// Fills memory that nothing has written yet, so that a kernel that forgets an element is seen. All bits set are NaN as
/// f32, two NaNs as f16 and, as u32, a row beyond every table.
pub(crate) fn poison(y: &Tensor) -> Result<()> {
    if !y.gpu().computes() {
        return Ok(());
    }
    set(&y.words(), u32::MAX)
}

fn set(y: &Tensor, bits: u32) -> Result<()> {
    let chunk = (y.gpu().limits().max_binding as usize / 4) & !63;
    for start in (0..y.len()).step_by(chunk) {
        let count = (y.len() - start).min(chunk);
        let groups = count.div_ceil(4 * WG) as u64;
        let params = [count.div_ceil(4) as u32, bits, 0, 0];
        let bindings = [y.bind_rows(start, count, 1)?];
        variant().run(y.gpu(), &bindings, bytemuck::bytes_of(&params), groups, count as f64 / 4.0)?;
    }
    Ok(())
}

fn variant() -> Variant {
    FILL.plain()
}

/// Every variant.
pub fn variants() -> Vec<Variant> {
    vec![variant()]
}

/// Cases: whole quads and not.
pub fn cases() -> Vec<OpCase> {
    let case = |n: usize| {
        let run = move |x: &[Tensor]| full(x[0].gpu(), [n], -2.5);
        OpCase::new("fill", format!("{n}"), vec![operand(&[1]).constant()], run, move |_| Array::build(&[n], |_| -2.5))
    };
    [0, 1, 3, 64, 1027].map(case).into()
}
