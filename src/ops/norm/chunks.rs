//! Chunks of pixels, summed apart so that there is work for every core and no sum is long; and what is summed over them
//! for the gradients of gain and bias.

use super::super::span::{fitting, span};
use super::Width;
use crate::Result;
use crate::gpu::{Binding, Gpu, Kernel, Variant};
use crate::tensor::{DType, Tensor};

static CHANNELS: Kernel =
    Kernel::new("norm_channels_backward", include_str!("../../../shaders/norm_channels_backward.wgsl"));
const WG: usize = 64;

/// x seen as `[B, R, C]` with groups of channels, cut into chunks of pixels.
#[derive(Debug, Clone, Copy)]
pub(super) struct Chunks {
    pub images: usize,
    pub pixels: usize,
    pub c: usize,
    pub groups: usize,
    /// Pixels of a chunk.
    pub size: usize,
    /// Chunks of an image.
    pub per_image: usize,
}

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Params {
    count: u32,
    first: u32,
    pixels: u32,
    c: u32,
    groups: u32,
    size: u32,
    per_image: u32,
    start: u32,
}

impl Chunks {
    /// With about as many chunks as elements that a chunk has of every set of `width` channels.
    pub fn new([images, pixels, c]: [usize; 3], groups: usize, width: usize) -> Chunks {
        let width = width.max(1);
        let size = (pixels * width).isqrt().div_ceil(width).max(1);
        Chunks { images, pixels, c, groups, size, per_image: pixels.div_ceil(size) }
    }

    /// The first element of a chunk; chunks are numbered through all images.
    fn element(&self, chunk: usize) -> usize {
        (chunk / self.per_image * self.pixels + chunk % self.per_image * self.size) * self.c
    }

    /// Runs a kernel that reads `inputs`, shaped like x, and the bindings after them, with `each` invocations per chunk.
    pub fn run(&self, variant: &Variant, gpu: &Gpu, inputs: &[&Tensor], rest: &[&Tensor], each: usize) -> Result<()> {
        let Some(x) = inputs.first().filter(|x| !x.is_empty()) else { return Ok(()) };
        let total = self.images * self.per_image;
        let whole = 4 * x.len() as u64 <= gpu.limits().max_binding;
        let at_once = if whole { total } else { fitting(x, 4 * self.size * self.c).max(1) };
        for first in (0..total).step_by(at_once) {
            let count = at_once.min(total - first);
            let elements = self.element(first)..self.element(first + count);
            let (mut bindings, mut start): (Vec<Binding>, u32) = (Vec::new(), 0);
            for input in inputs {
                let (binding, place) = span(input, elements.start, elements.len())?;
                bindings.push(binding);
                start = place;
            }
            bindings.extend(rest.iter().map(|t| t.bind()));
            let params = Params {
                count: count as u32,
                first: first as u32,
                pixels: self.pixels as u32,
                c: self.c as u32,
                groups: self.groups as u32,
                size: self.size as u32,
                per_image: self.per_image as u32,
                start,
            };
            let work = (5 * elements.len()) as f64;
            variant.run(gpu, &bindings, bytemuck::bytes_of(&params), (count * each).div_ceil(WG) as u64, work)?;
        }
        Ok(())
    }
}

/// What a norm's gain and bias get from every image, `[B, C]`: Σ over the pixels of dy · n, and of dy.
pub(super) struct ChannelSums {
    pub dgain: Tensor,
    pub dbias: Tensor,
}

impl ChannelSums {
    /// Of x and dy as `[B, R, C]`, with statistics of groups, or per row.
    pub fn new(
        x: &Tensor,
        dy: &Tensor,
        statistics: &Tensor,
        sizes: [usize; 3],
        groups: usize,
        per_row: bool,
    ) -> Result<ChannelSums> {
        let (gpu, [images, _, c]) = (x.gpu(), sizes);
        if x.is_empty() {
            let zeros = super::super::fill::zeros(gpu, [images, c])?;
            return Ok(ChannelSums { dgain: zeros.clone(), dbias: zeros });
        }
        let chunks = Chunks::new(sizes, groups, 1);
        let parts = || Tensor::empty(gpu, [images, chunks.per_image, c], DType::F32);
        let (gains, biases) = (parts()?, parts()?);
        let width = Width::of(c / groups);
        let rest = [statistics, &gains, &biases];
        chunks.run(&variant(width, per_row), gpu, &[x, dy], &rest, c / width.elements())?;
        let add = |parts: Tensor| parts.sum_to([images, 1, c])?.reshape([images, c]);
        Ok(ChannelSums { dgain: add(gains)?, dbias: add(biases)? })
    }

    /// The gradients of a norm's inputs (x, gain, bias), without the one by x.
    pub fn gradients(&self, need: &[bool]) -> Result<Vec<Option<Tensor>>> {
        let sum = |x: &Tensor| x.sum_to([x.shape().last()]);
        let wanted = |i: usize| match (i, need[i]) {
            (1, true) => sum(&self.dgain).map(Some),
            (2, true) => sum(&self.dbias).map(Some),
            _ => Ok(None),
        };
        (0..need.len()).map(wanted).collect()
    }
}

fn variant(width: Width, per_row: bool) -> Variant {
    width.set(CHANNELS.plain()).flag("PER_ROW", per_row)
}

/// Every variant.
pub(super) fn variants() -> Vec<Variant> {
    Width::ALL.into_iter().flat_map(|width| [false, true].map(|per_row| variant(width, per_row))).collect()
}
