//! Group norm: statistics over the pixels of an image and the channels of a group.

use super::super::matmul::Activation;
use super::super::pointwise::{div, shift, sqrt, square};
use super::super::span::{fitting, span};
use super::{Width, expect_channels};
use crate::autograd::no_backward;
use crate::gpu::{Kernel, Variant};
use crate::tensor::{DType, Tensor};
use crate::{Error, Result};

static CHUNKS: Kernel = Kernel::new("group_norm_chunks", include_str!("../../../shaders/group_norm_chunks.wgsl"));
static STATISTICS: Kernel =
    Kernel::new("group_norm_statistics", include_str!("../../../shaders/group_norm_statistics.wgsl"));
static GROUP_NORM: Kernel = Kernel::new("group_norm", include_str!("../../../shaders/group_norm.wgsl"));
const WG: usize = 64;

/// x `[B, .., C]`, gain and bias `[C]` → `[B, .., C]`; the activation is applied last.
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
    no_backward("group_norm", &inputs)?;
    let sizes = Sizes::of(x, groups, gain, bias)?;
    let statistics = sizes.statistics(x, eps)?;
    sizes.normalise(x, gain, bias, &statistics, activation)
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

/// x seen as `[B, R, C]`, in groups, and in chunks of pixels whose statistics are taken apart.
#[derive(Debug, Clone, Copy)]
struct Sizes {
    images: usize,
    pixels: usize,
    c: usize,
    groups: usize,
    /// Pixels of a chunk.
    chunk: usize,
    /// Chunks of an image.
    chunks: usize,
}

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct ChunkParams {
    count: u32,
    first: u32,
    pixels: u32,
    c: u32,
    groups: u32,
    size: u32,
    per_image: u32,
    start: u32,
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
        let shape = x.shape();
        let &[images, ref middle @ .., c] = shape.as_slice() else {
            return x.dims::<3>("group_norm x", "B .. C").and(Err(Error::Input("group_norm x has no channels".into())));
        };
        expect_channels(gain, "group_norm gain", c)?;
        expect_channels(bias, "group_norm bias", c)?;
        if groups == 0 || !c.is_multiple_of(groups) {
            return Err(Error::Shape {
                op: "group_norm".into(),
                operand: "x".into(),
                want: format!("a number of channels that {groups} groups divide"),
                got: shape.to_string(),
            });
        }
        let pixels: usize = middle.iter().product();
        // As many chunks as elements in one, so that both sums are short and there is work for every core.
        let width = (c / groups).max(1);
        let chunk = (pixels * width).isqrt().div_ceil(width).max(1);
        Ok(Sizes { images, pixels, c, groups, chunk, chunks: pixels.div_ceil(chunk) })
    }

    fn width(&self) -> Width {
        Width::of(self.c / self.groups)
    }

    /// Mean and inverse deviation of every group, `[B, G, 2]`.
    fn statistics(&self, x: &Tensor, eps: f32) -> Result<Tensor> {
        let Sizes { images, pixels, c, groups, chunk, chunks: per_image } = *self;
        let statistics = Tensor::empty(x.gpu(), [images, groups, 2], DType::F32)?;
        if x.is_empty() {
            return Ok(statistics);
        }
        let chunks = Tensor::empty(x.gpu(), [images, per_image, groups, 2], DType::F32)?;
        let pixel = |chunk_index: usize| chunk_index / per_image * pixels + chunk_index % per_image * chunk;
        let at_once = if self.fits(x) { images * per_image } else { fitting(x, 4 * chunk * c).max(1) };
        for first in (0..images * per_image).step_by(at_once) {
            let end = (first + at_once).min(images * per_image);
            let past = if end % per_image == 0 { end / per_image * pixels } else { pixel(end) };
            let (x, start) = span(x, pixel(first) * c, (past - pixel(first)) * c)?;
            let params = ChunkParams {
                count: (end - first) as u32,
                first: first as u32,
                pixels: pixels as u32,
                c: c as u32,
                groups: groups as u32,
                size: chunk as u32,
                per_image: per_image as u32,
                start,
            };
            let workgroups = ((end - first) * groups).div_ceil(WG) as u64;
            let work = (5 * (past - pixel(first)) * c) as f64;
            let bindings = [x, chunks.bind()];
            chunks_variant(self.width()).run(chunks.gpu(), &bindings, bytemuck::bytes_of(&params), workgroups, work)?;
        }
        let params = StatisticsParams {
            count: (images * groups) as u32,
            groups: groups as u32,
            pixels: pixels as u32,
            size: chunk as u32,
            per_image: per_image as u32,
            width: (c / groups) as f32,
            eps,
        };
        let bindings = [chunks.bind(), statistics.bind()];
        let work = (5 * chunks.len()) as f64;
        STATISTICS.plain().run(x.gpu(), &bindings, bytemuck::bytes_of(&params), (images * groups) as u64, work)?;
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

    fn fits(&self, x: &Tensor) -> bool {
        4 * x.len() as u64 <= x.gpu().limits().max_binding
    }

    /// Elements in parts that can be bound and start with a pixel's first channel: (first, count).
    fn parts(&self, x: &Tensor) -> Vec<(usize, usize)> {
        let at_once = if self.fits(x) { x.len() } else { fitting(x, 4 * self.c) * self.c }.max(1);
        (0..x.len()).step_by(at_once).map(|first| (first, at_once.min(x.len() - first))).collect()
    }
}

fn chunks_variant(width: Width) -> Variant {
    width.total(width.set(CHUNKS.plain()))
}

fn variant(width: Width, activation: Option<Activation>) -> Variant {
    width.set(GROUP_NORM.plain()).hook(activation.map(|f| f.expr().wgsl()))
}

/// Every variant.
pub(super) fn variants() -> Vec<Variant> {
    let mut all = vec![STATISTICS.plain()];
    for width in Width::ALL {
        all.push(chunks_variant(width));
        all.extend([None].into_iter().chain(Activation::ALL.map(Some)).map(|f| variant(width, f)));
    }
    all
}
