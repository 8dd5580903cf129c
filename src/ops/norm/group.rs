//! Group norm: statistics over the pixels of an image and the channels of a group.

use super::super::epilogue::Activation;
use super::super::pointwise::{div, shift, sqrt, square};
use super::super::span::{fitting, span};
use super::chunks::{ChannelSums, Chunks};
use super::{Width, expect_channels};
use crate::autograd::Backward;
use crate::gpu::{DeviceClass, Kernel, Variant};
use crate::tensor::{DType, Tensor};
use crate::{Error, Result};

static CHUNKS: Kernel = Kernel::new("group_norm_chunks", include_str!("../../../shaders/group_norm_chunks.wgsl"));
static STATISTICS: Kernel =
    Kernel::new("group_norm_statistics", include_str!("../../../shaders/group_norm_statistics.wgsl"));
static GROUP_NORM: Kernel = Kernel::new("group_norm", include_str!("../../../shaders/group_norm.wgsl"));
static BACKWARD: Kernel = Kernel::new("group_norm_backward", include_str!("../../../shaders/group_norm_backward.wgsl"));
const WG: usize = 64;

/// Group norm:  `y = activation((x − μ) / √(σ² + eps) · gain + bias)`  with mean μ and variance σ² of every group of C / `groups`
/// channels of a sample, over all its pixels. x `[B, .., C]`, gain and bias `[C]` → `[B, .., C]`; `groups` divides C.
pub fn group_norm(
    x: &Tensor,
    groups: usize,
    gain: &Tensor,
    bias: &Tensor,
    eps: f32,
    activation: Option<Activation>,
) -> Result<Tensor> {
    let inputs = [x, gain, bias];
    if let Some(activation) = activation.filter(|_| inputs.iter().any(|x| x.is_tracked())) {
        // The backward pass of the activation needs the value before it.
        return activation.apply(&group_norm(x, groups, gain, bias, eps, None)?);
    }
    let sizes = Sizes::of(x, groups, gain, bias)?;
    let statistics = sizes.statistics(x, eps)?;
    let y = sizes.normalise(x, gain, bias, &statistics, activation)?;
    y.on_tape("group_norm", &inputs, || Box::new(GroupNorm { x: x.detach(), gain: gain.detach(), statistics, sizes }))
}

/// Group norm in ordinary ops: its definition.
pub fn group_norm_plain(
    x: &Tensor,
    groups: usize,
    gain: &Tensor,
    bias: &Tensor,
    eps: f32,
    activation: Option<Activation>,
) -> Result<Tensor> {
    let Sizes { images, pixels, c, .. } = Sizes::of(x, groups, gain, bias)?;
    let mean = |x: &Tensor| x.sum_to([images, 1, groups, 1])?.scale(groups as f32 / (pixels * c) as f32);
    let grouped = x.reshape([images, pixels, groups, c / groups])?;
    let deviation = grouped.sub(&mean(&grouped)?)?;
    let variance = mean(&square(&deviation)?)?;
    let normal = div(&deviation, &sqrt(&shift(&variance, eps)?)?)?.reshape(x.shape())?;
    let y = normal.mul(gain)?.add(bias)?;
    activation.map_or(Ok(y.clone()), |f| f.apply(&y))
}

/// x seen as `[B, R, C]`, in groups.
#[derive(Debug, Clone, Copy)]
struct Sizes {
    images: usize,
    pixels: usize,
    c: usize,
    groups: usize,
}

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct StatisticsParams {
    count: u32,
    groups: u32,
    pixels: u32,
    size: u32,
    per_image: u32,
    width: f32,
    eps: f32,
}

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Params {
    count: u32,
    first: u32,
    pixels: u32,
    c: u32,
    groups: u32,
    start: u32,
}

impl Sizes {
    fn of(x: &Tensor, groups: usize, gain: &Tensor, bias: &Tensor) -> Result<Sizes> {
        x.expect_dtype("group_norm x", DType::F32)?;
        let shape_error = |want: String| {
            let (op, operand, got) = ("group_norm".into(), "x".into(), x.shape().to_string());
            Err(Error::Shape { op, operand, want, got })
        };
        let shape = x.shape();
        let &[images, ref middle @ .., c] = shape.as_slice() else {
            return shape_error("[B .. C]".into());
        };
        expect_channels(gain, "group_norm gain", c)?;
        expect_channels(bias, "group_norm bias", c)?;
        if groups == 0 || !c.is_multiple_of(groups) {
            return shape_error(format!("a number of channels that {groups} groups divide"));
        }
        Ok(Sizes { images, pixels: middle.iter().product(), c, groups })
    }

    fn width(&self) -> Width {
        Width::of(self.c / self.groups)
    }

    /// Mean and inverse deviation of every group, `[B, G, 2]`.
    fn statistics(&self, x: &Tensor, eps: f32) -> Result<Tensor> {
        let Sizes { images, pixels, c, groups } = *self;
        let statistics = Tensor::empty(x.gpu(), [images, groups, 2], DType::F32)?;
        if x.is_empty() {
            return Ok(statistics);
        }
        let chunks = Chunks::new([images, pixels, c], groups, c / groups);
        let moments = Tensor::empty(x.gpu(), [images, chunks.per_image, groups, 2], DType::F32)?;
        chunks.run(&chunks_variant(self.width()), x.gpu(), &[x], &[&moments], groups)?;
        let params = StatisticsParams {
            count: (images * groups) as u32,
            groups: groups as u32,
            pixels: pixels as u32,
            size: chunks.size as u32,
            per_image: chunks.per_image as u32,
            width: (c / groups) as f32,
            eps,
        };
        let bindings = [moments.bind(), statistics.bind()];
        let work = (5 * moments.len()) as f64;
        let class = x.gpu().class();
        let workgroups = if class == DeviceClass::Hardware { images * groups } else { (images * groups).div_ceil(WG) };
        statistics_variant(class).run(x.gpu(), &bindings, bytemuck::bytes_of(&params), workgroups as u64, work)?;
        Ok(statistics)
    }

    fn normalise(
        &self,
        x: &Tensor,
        gain: &Tensor,
        bias: &Tensor,
        statistics: &Tensor,
        activation: Option<Activation>,
    ) -> Result<Tensor> {
        let y = x.like()?;
        let variant = variant(self.width(), activation);
        for (first, count) in self.parts(x) {
            let (x, start) = span(x, first, count)?;
            let bindings = [x, gain.bind(), bias.bind(), statistics.bind(), span(&y, first, count)?.0];
            let params = self.params(first, count, start);
            let workgroups = count.div_ceil(WG * self.width().elements()) as u64;
            variant.run(y.gpu(), &bindings, bytemuck::bytes_of(&params), workgroups, (4 * count) as f64)?;
        }
        Ok(y)
    }

    fn params(&self, first: usize, count: usize, start: u32) -> Params {
        Params {
            count: count as u32,
            first: first as u32,
            pixels: self.pixels as u32,
            c: self.c as u32,
            groups: self.groups as u32,
            start,
        }
    }

    fn input_gradient(
        &self,
        x: &Tensor,
        dy: &Tensor,
        gain: &Tensor,
        statistics: &Tensor,
        sums: &ChannelSums,
    ) -> Result<Tensor> {
        let Sizes { images, pixels, c, groups } = *self;
        let dx = x.like()?;
        if x.is_empty() {
            return Ok(dx);
        }
        let mean = |sums: &Tensor| {
            let by_group = sums.mul(gain)?.reshape([images, groups, c / groups])?;
            by_group.mean_last()?.scale(1.0 / pixels as f32)
        };
        let (mean_g, mean_gn) = (mean(&sums.dbias)?, mean(&sums.dgain)?);
        for (first, count) in self.parts(x) {
            let (x, start) = span(x, first, count)?;
            let (dy, dx_) = (span(dy, first, count)?.0, span(&dx, first, count)?.0);
            let bindings = [x, dy, gain.bind(), statistics.bind(), mean_g.bind(), mean_gn.bind(), dx_];
            let params = self.params(first, count, start);
            let workgroups = count.div_ceil(WG * self.width().elements()) as u64;
            let work = (6 * count) as f64;
            backward_variant(self.width()).run(dx.gpu(), &bindings, bytemuck::bytes_of(&params), workgroups, work)?;
        }
        Ok(dx)
    }

    /// Elements in parts that can be bound and start with a pixel's first channel: (first, count).
    fn parts(&self, x: &Tensor) -> Vec<(usize, usize)> {
        let whole = 4 * x.len() as u64 <= x.gpu().limits().max_binding;
        let at_once = if whole { x.len() } else { fitting(x, 4 * self.c) * self.c }.max(1);
        (0..x.len()).step_by(at_once).map(|first| (first, at_once.min(x.len() - first))).collect()
    }
}

struct GroupNorm {
    x: Tensor,
    gain: Tensor,
    statistics: Tensor,
    sizes: Sizes,
}

impl Backward for GroupNorm {
    fn backward(self: Box<Self>, dy: &Tensor, need: &[bool]) -> Result<Vec<Option<Tensor>>> {
        let GroupNorm { x, gain, statistics, sizes } = *self;
        let Sizes { images, pixels, c, groups } = sizes;
        let sums = ChannelSums::new(&x, dy, &statistics, [images, pixels, c], groups, false)?;
        let mut gradients = sums.gradients(need)?;
        if need[0] {
            gradients[0] = Some(sizes.input_gradient(&x, dy, &gain, &statistics, &sums)?);
        }
        Ok(gradients)
    }
}

fn backward_variant(width: Width) -> Variant {
    width.set(BACKWARD.plain())
}

fn chunks_variant(width: Width) -> Variant {
    width.total(width.set(CHUNKS.plain()))
}

fn variant(width: Width, activation: Option<Activation>) -> Variant {
    width.set(GROUP_NORM.plain()).hook(activation.map(Activation::hook))
}

/// A workgroup for every group, or an invocation.
fn statistics_variant(class: DeviceClass) -> Variant {
    STATISTICS.plain().flag("SHARED", class == DeviceClass::Hardware)
}

/// Every variant.
pub(super) fn variants() -> Vec<Variant> {
    let mut all = vec![statistics_variant(DeviceClass::Hardware), statistics_variant(DeviceClass::Software)];
    for width in Width::ALL {
        all.extend([chunks_variant(width), backward_variant(width)]);
        all.extend([None].into_iter().chain(Activation::ALL.map(Some)).map(|f| variant(width, f)));
    }
    all
}
