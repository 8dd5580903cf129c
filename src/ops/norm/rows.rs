//! Layer norm and RMS norm: statistics over the last axis.

use super::super::pointwise::{div, shift, sqrt, square};
use super::super::span::{fitting, span};
use super::chunks::ChannelSums;
use super::{Width, expect_channels};
use crate::Result;
use crate::autograd::Backward;
use crate::gpu::{DeviceClass, Kernel, Variant};
use crate::tensor::{DType, Tensor};

static LAYER_NORM: Kernel = Kernel::new("layer_norm", include_str!("../../../shaders/layer_norm.wgsl"));
static LAYER_NORM_BACKWARD: Kernel =
    Kernel::new("layer_norm_backward", include_str!("../../../shaders/layer_norm_backward.wgsl"));
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

/// Layer norm:  `y = (x − μ) / √(σ² + eps) · gain + bias`  over rows;  x `[.., C]`, gain and bias `[C]` → `[.., C]`.
pub fn layer_norm(x: &Tensor, gain: &Tensor, bias: &Tensor, eps: f32) -> Result<Tensor> {
    normalise(x, gain, Some(bias), eps, x.gpu().class())
}

/// RMS norm:  `y = x / √(mean x² + eps) · gain`  over rows;  x `[.., C]`, gain `[C]` → `[.., C]`.
pub fn rms_norm(x: &Tensor, gain: &Tensor, eps: f32) -> Result<Tensor> {
    normalise(x, gain, None, eps, x.gpu().class())
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

/// Layer norm, or without a bias RMS norm, in the form for a class of devices.
pub(super) fn normalise(
    x: &Tensor,
    gain: &Tensor,
    bias: Option<&Tensor>,
    eps: f32,
    class: DeviceClass,
) -> Result<Tensor> {
    let name = if bias.is_some() { "layer_norm" } else { "rms_norm" };
    x.expect_dtype(&format!("{name} x"), DType::F32)?;
    let [rows, c] = x.rows(&format!("{name} x"))?;
    expect_channels(gain, &format!("{name} gain"), c)?;
    if let Some(bias) = bias {
        expect_channels(bias, &format!("{name} bias"), c)?;
    }
    let y = x.like()?;
    let statistics = Tensor::empty(x.gpu(), [rows, 2], DType::F32)?;
    let rest: Vec<&Tensor> = [Some(gain), bias].into_iter().flatten().collect();
    run(&variant(Width::of(c), bias.is_some(), class), &[x], &rest, &y, Some(&statistics), eps, class)?;
    let inputs: Vec<&Tensor> = [Some(x), Some(gain), bias].into_iter().flatten().collect();
    y.on_tape(name, &inputs, || {
        let (x, gain) = (x.detach(), gain.detach());
        Box::new(LayerNorm { x, gain, statistics, centred: bias.is_some(), class })
    })
}

/// Runs a kernel over the rows of `inputs` and y, in parts that can be bound; `rest` and `last` are bound whole.
fn run(
    variant: &Variant,
    inputs: &[&Tensor],
    rest: &[&Tensor],
    y: &Tensor,
    last: Option<&Tensor>,
    eps: f32,
    class: DeviceClass,
) -> Result<()> {
    let [rows, c] = y.rows("norm y")?;
    if y.is_empty() {
        return Ok(());
    }
    for (first, count) in row_parts(y, rows, c) {
        let (target, start) = span(y, first * c, count * c)?;
        let mut bindings = Vec::new();
        for input in inputs {
            bindings.push(span(input, first * c, count * c)?.0);
        }
        bindings.extend(rest.iter().map(|t| t.bind()));
        bindings.push(target);
        bindings.extend(last.map(Tensor::bind));
        let params = Params { rows: count as u32, first_row: first as u32, c: c as u32, start, eps };
        let work = (5 * count * c) as f64;
        variant.run(y.gpu(), &bindings, bytemuck::bytes_of(&params), groups(count, class), work)?;
    }
    Ok(())
}

struct LayerNorm {
    x: Tensor,
    gain: Tensor,
    statistics: Tensor,
    centred: bool,
    class: DeviceClass,
}

impl Backward for LayerNorm {
    fn backward(self: Box<Self>, dy: &Tensor, need: &[bool]) -> Result<Vec<Option<Tensor>>> {
        let LayerNorm { x, gain, statistics, centred, class } = *self;
        let [rows, c] = x.rows("norm x")?;
        let mut gradients = vec![None; need.len()];
        if need[1..].contains(&true) {
            gradients = ChannelSums::new(&x, dy, &statistics, [1, rows, c], 1, true)?.gradients(need)?;
        }
        if need[0] {
            let dx = x.like()?;
            let variant = backward_variant(Width::of(c), centred, class);
            run(&variant, &[&x, dy], &[&gain, &statistics], &dx, None, 0.0, class)?;
            gradients[0] = Some(dx);
        }
        Ok(gradients)
    }
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

fn backward_variant(width: Width, centred: bool, class: DeviceClass) -> Variant {
    let variant = width.total(width.set(LAYER_NORM_BACKWARD.plain()));
    variant.flag("CENTRED", centred).flag("SHARED", class == DeviceClass::Hardware)
}

/// Every variant.
pub(super) fn variants() -> Vec<Variant> {
    let mut all = Vec::new();
    for class in [DeviceClass::Software, DeviceClass::Hardware] {
        for width in Width::ALL {
            all.extend([false, true].map(|bias| variant(width, bias, class)));
            all.extend([false, true].map(|centred| backward_variant(width, centred, class)));
        }
    }
    all
}
