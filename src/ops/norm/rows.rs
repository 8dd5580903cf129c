//! Layer norm and RMS norm: statistics over the last axis.

use super::super::pointwise::{div, shift, sqrt, square};
use super::super::span::{fitting, span};
use super::{Width, expect_channels};
use crate::Result;
use crate::autograd::no_backward;
use crate::gpu::{DeviceClass, Kernel, Variant};
use crate::tensor::{DType, Tensor};

static LAYER_NORM: Kernel = Kernel::new("layer_norm", include_str!("../../../shaders/layer_norm.wgsl"));
const WG: usize = 64;

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Params {
    rows: u32,
    first_row: u32,
    c: u32,
    start: u32,
    eps: f32,
}

/// x `[.., C]`, gain and bias `[C]` → `[.., C]`.
pub fn layer_norm(x: &Tensor, gain: &Tensor, bias: &Tensor, eps: f32) -> Result<Tensor> {
    normalise(x, gain, Some(bias), eps)
}

/// x `[.., C]`, gain `[C]` → `[.., C]`.
pub fn rms_norm(x: &Tensor, gain: &Tensor, eps: f32) -> Result<Tensor> {
    normalise(x, gain, None, eps)
}

/// Layer norm in ordinary ops: its definition.
pub fn layer_norm_plain(x: &Tensor, gain: &Tensor, bias: &Tensor, eps: f32) -> Result<Tensor> {
    let deviation = x.sub(&x.mean_last()?)?;
    rms_norm_plain(&deviation, gain, eps)?.add(bias)
}

/// RMS norm in ordinary ops: its definition.
pub fn rms_norm_plain(x: &Tensor, gain: &Tensor, eps: f32) -> Result<Tensor> {
    let mean = square(x)?.mean_last()?;
    div(x, &sqrt(&shift(&mean, eps)?)?)?.mul(gain)
}

fn normalise(x: &Tensor, gain: &Tensor, bias: Option<&Tensor>, eps: f32) -> Result<Tensor> {
    let name = if bias.is_some() { "layer_norm" } else { "rms_norm" };
    let inputs: Vec<&Tensor> = [Some(x), Some(gain), bias].into_iter().flatten().collect();
    no_backward(name, &inputs)?;
    let (y, _) = forward(name, x, gain, bias, eps, x.gpu().class())?;
    Ok(y)
}

/// The result and the statistics of every row, `[R, 2]`.
pub(super) fn forward(
    name: &str,
    x: &Tensor,
    gain: &Tensor,
    bias: Option<&Tensor>,
    eps: f32,
    class: DeviceClass,
) -> Result<(Tensor, Tensor)> {
    x.expect_dtype(&format!("{name} x"), DType::F32)?;
    let [rows, c] = x.rows(&format!("{name} x"))?;
    expect_channels(gain, &format!("{name} gain"), c)?;
    if let Some(bias) = bias {
        expect_channels(bias, &format!("{name} bias"), c)?;
    }
    let y = x.like()?;
    let statistics = Tensor::empty(x.gpu(), [rows, 2], DType::F32)?;
    if y.is_empty() {
        return Ok((y, statistics));
    }
    let variant = variant(Width::of(c), bias.is_some(), class);
    for (first, count) in row_parts(x, rows, c) {
        let (x, start) = span(x, first * c, count * c)?;
        let mut bindings = vec![x, gain.bind()];
        bindings.extend(bias.map(Tensor::bind));
        bindings.extend([span(&y, first * c, count * c)?.0, statistics.bind()]);
        let params = Params { rows: count as u32, first_row: first as u32, c: c as u32, start, eps };
        let work = (5 * count * c) as f64;
        variant.run(y.gpu(), &bindings, bytemuck::bytes_of(&params), groups(count, class), work)?;
    }
    Ok((y, statistics))
}

/// Rows in parts that can be bound: (first, count).
fn row_parts(x: &Tensor, rows: usize, c: usize) -> Vec<(usize, usize)> {
    let whole = 4 * rows * c <= x.gpu().limits().max_binding as usize;
    let at_once = if whole { rows } else { fitting(x, 4 * c) }.max(1);
    (0..rows).step_by(at_once).map(|first| (first, at_once.min(rows - first))).collect()
}

fn groups(rows: usize, class: DeviceClass) -> u64 {
    match class {
        DeviceClass::Software => rows.div_ceil(WG) as u64,
        DeviceClass::Hardware => rows as u64,
    }
}

/// Without a bias it is RMS norm.
fn variant(width: Width, bias: bool, class: DeviceClass) -> Variant {
    let variant = width.total(width.set(LAYER_NORM.plain()));
    variant.flag("CENTRED", bias).flag("SHARED", class == DeviceClass::Hardware).enable("BIAS", bias)
}

/// Every variant.
pub(super) fn variants() -> Vec<Variant> {
    let mut all = Vec::new();
    for class in [DeviceClass::Software, DeviceClass::Hardware] {
        for width in Width::ALL {
            all.extend([false, true].map(|bias| variant(width, bias, class)));
        }
    }
    all
}
