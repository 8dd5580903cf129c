//! The autoencoder between pixels and latents: Stable Diffusion's `AutoencoderKL`.
//!
//! Source: Rombach et al., 2022, section 3.1, as diffusers builds it from `vae/config.json`.

use super::config::VaeConfig;
use super::resnet::ResnetBlock;
use crate::Result;
use crate::nn::{Conv2d, GroupNorm, Linear, Weights, probe};
use crate::ops::attention::{Attention, attention};
use crate::ops::conv2d::Conv;
use crate::ops::layout::slice;
use crate::ops::pointwise::{clamp, exp};
use crate::ops::resample::upsample_nearest;
use crate::tensor::Tensor;

/// Encoder and decoder.
pub struct Vae {
    encoder: Encoder,
    quant_conv: Linear,
    post_quant_conv: Linear,
    decoder: Decoder,
    /// Pixels along a latent's side.
    pub downscale: usize,
}

struct Encoder {
    conv_in: Conv2d,
    down_blocks: Vec<Level>,
    mid_block: MidBlock,
    conv_norm_out: GroupNorm,
    conv_out: Conv2d,
}

struct Decoder {
    conv_in: Conv2d,
    mid_block: MidBlock,
    up_blocks: Vec<Level>,
    conv_norm_out: GroupNorm,
    conv_out: Conv2d,
}

/// One resolution: residual blocks, then perhaps a change of size.
struct Level {
    path: String,
    resnets: Vec<ResnetBlock>,
    resampler: Option<Conv2d>,
}

struct MidBlock {
    path: String,
    resnets: [ResnetBlock; 2],
    attentions: PixelAttention,
}

/// One head over all channels.
struct PixelAttention {
    path: String,
    group_norm: GroupNorm,
    to_q: Linear,
    to_k: Linear,
    to_v: Linear,
    to_out: Linear,
}

/// The latent distribution of an image: a normal one for every element.
pub struct Posterior {
    /// Mean `[B, Y, X, C]`.
    pub mean: Tensor,
    /// Logarithm of the variance, clamped to [-30, 20].
    pub logvar: Tensor,
}

const EPS: f64 = 1e-6;

impl Posterior {
    /// mean + noise · e^(logvar / 2)
    pub fn sample(&self, noise: &Tensor) -> Result<Tensor> {
        self.mean.add(&exp(&self.logvar.scale(0.5)?)?.mul(noise)?)
    }
}

impl Vae {
    /// Loads from `w = vae`.
    pub fn load(w: &Weights, config: &VaeConfig) -> Result<Vae> {
        let latent = config.latent_channels;
        Ok(Vae {
            encoder: Encoder::load(&(w / "encoder"), config)?,
            quant_conv: Linear::load_pointwise(&(w / "quant_conv"), 2 * latent, 2 * latent, true)?,
            post_quant_conv: Linear::load_pointwise(&(w / "post_quant_conv"), latent, latent, true)?,
            decoder: Decoder::load(&(w / "decoder"), config)?,
            downscale: config.downscale(),
        })
    }

    /// Pixels in [-1, 1], `[B, Y, X, 3]` → the distribution of latents (not scaled).
    pub fn encode(&self, pixels: &Tensor) -> Result<Posterior> {
        let moments = self.quant_conv.forward(&self.encoder.forward(pixels)?)?;
        probe::see("vae.quant_conv", &moments);
        let c = moments.shape().last() / 2;
        Ok(Posterior { mean: slice(&moments, 3, 0, c)?, logvar: clamp(&slice(&moments, 3, c, c)?, -30.0, 20.0)? })
    }

    /// Latents (not scaled) `[B, Y, X, C]` → pixels around [-1, 1], `[B, Y', X', 3]`.
    pub fn decode(&self, latents: &Tensor) -> Result<Tensor> {
        self.decode_up(&self.decode_middle(latents)?)
    }

    /// The part of decoding that works at the latents' size, and in which every pixel sees every other one.
    pub(super) fn decode_middle(&self, latents: &Tensor) -> Result<Tensor> {
        let x = self.post_quant_conv.forward(latents)?;
        probe::see("vae.post_quant_conv", &x);
        self.decoder.middle(&x)
    }

    /// The part of decoding that works at growing sizes.
    pub(super) fn decode_up(&self, x: &Tensor) -> Result<Tensor> {
        self.decoder.up(x)
    }
}

impl Encoder {
    fn load(w: &Weights, config: &VaeConfig) -> Result<Encoder> {
        let (widths, groups) = (&config.block_out_channels, config.norm_num_groups);
        let (first, last) = (widths[0], widths[widths.len() - 1]);
        // One row and one column of zeros, at the bottom and on the right only.
        let halve = Conv { stride: [2, 2], padding: [[0, 1], [0, 1]] };
        let level = |i: usize| {
            let w = w / "down_blocks" / i;
            let resample = || Conv2d::load(&(&w / "downsamplers" / 0 / "conv"), widths[i], widths[i], 3, halve);
            let resampler = (i + 1 < widths.len()).then(resample).transpose()?;
            Level::load(&w, widths[i.saturating_sub(1)], widths[i], config.layers_per_block, groups, resampler)
        };
        Ok(Encoder {
            conv_in: Conv2d::load_3x3(&(w / "conv_in"), config.in_channels, first)?,
            down_blocks: (0..widths.len()).map(level).collect::<Result<_>>()?,
            mid_block: MidBlock::load(&(w / "mid_block"), last, groups)?,
            conv_norm_out: GroupNorm::load(&(w / "conv_norm_out"), last, groups, EPS)?,
            conv_out: Conv2d::load_3x3(&(w / "conv_out"), last, 2 * config.latent_channels)?,
        })
    }

    fn forward(&self, pixels: &Tensor) -> Result<Tensor> {
        let mut x = self.conv_in.forward(pixels)?;
        probe::see("vae.encoder.conv_in", &x);
        for level in &self.down_blocks {
            x = level.resnets(&x)?;
            if let Some(halve) = &level.resampler {
                x = halve.forward(&x)?;
                probe::see(&format!("{}.downsamplers.0", level.path), &x);
            }
            probe::see(&level.path, &x);
        }
        let x = self.conv_norm_out.silu(&self.mid_block.forward(&x)?)?;
        let y = self.conv_out.forward(&x)?;
        probe::see("vae.encoder.conv_out", &y);
        Ok(y)
    }
}

impl Decoder {
    fn load(w: &Weights, config: &VaeConfig) -> Result<Decoder> {
        let groups = config.norm_num_groups;
        let widths: Vec<usize> = config.block_out_channels.iter().rev().copied().collect();
        let (first, last) = (widths[0], widths[widths.len() - 1]);
        let level = |i: usize| {
            let w = w / "up_blocks" / i;
            let resample = || Conv2d::load_3x3(&(&w / "upsamplers" / 0 / "conv"), widths[i], widths[i]);
            let resampler = (i + 1 < widths.len()).then(resample).transpose()?;
            Level::load(&w, widths[i.saturating_sub(1)], widths[i], config.layers_per_block + 1, groups, resampler)
        };
        Ok(Decoder {
            conv_in: Conv2d::load_3x3(&(w / "conv_in"), config.latent_channels, first)?,
            mid_block: MidBlock::load(&(w / "mid_block"), first, groups)?,
            up_blocks: (0..widths.len()).map(level).collect::<Result<_>>()?,
            conv_norm_out: GroupNorm::load(&(w / "conv_norm_out"), last, groups, EPS)?,
            conv_out: Conv2d::load_3x3(&(w / "conv_out"), last, config.out_channels)?,
        })
    }

    fn middle(&self, latents: &Tensor) -> Result<Tensor> {
        let x = self.conv_in.forward(latents)?;
        probe::see("vae.decoder.conv_in", &x);
        self.mid_block.forward(&x)
    }

    fn up(&self, x: &Tensor) -> Result<Tensor> {
        let mut x = x.clone();
        for level in &self.up_blocks {
            x = level.resnets(&x)?;
            if let Some(conv) = &level.resampler {
                let [_, rows, columns, _] = x.dims("vae x", "B Y X C")?;
                x = conv.forward(&upsample_nearest(&x, [2 * rows, 2 * columns])?)?;
            }
            probe::see(&level.path, &x);
        }
        self.conv_out.forward(&self.conv_norm_out.silu(&x)?)
    }
}

impl Level {
    fn load(w: &Weights, c: usize, n: usize, count: usize, groups: usize, resampler: Option<Conv2d>) -> Result<Level> {
        let blocks = w / "resnets";
        let block = |i: usize| ResnetBlock::load(&(&blocks / i), if i == 0 { c } else { n }, n, groups, EPS, None);
        let resnets = (0..count).map(block).collect::<Result<_>>()?;
        Ok(Level { path: w.path().to_string(), resnets, resampler })
    }

    fn resnets(&self, x: &Tensor) -> Result<Tensor> {
        self.resnets.iter().try_fold(x.clone(), |x, block| block.forward(&x, None))
    }
}

impl MidBlock {
    fn load(w: &Weights, c: usize, groups: usize) -> Result<MidBlock> {
        let block = |i: usize| ResnetBlock::load(&(w / "resnets" / i), c, c, groups, EPS, None);
        Ok(MidBlock {
            path: w.path().to_string(),
            resnets: [block(0)?, block(1)?],
            attentions: PixelAttention::load(&(w / "attentions" / 0), c, groups)?,
        })
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let x = self.attentions.forward(&self.resnets[0].forward(x, None)?)?;
        let x = self.resnets[1].forward(&x, None)?;
        probe::see(&self.path, &x);
        Ok(x)
    }
}

impl PixelAttention {
    fn load(w: &Weights, c: usize, groups: usize) -> Result<PixelAttention> {
        // Old checkpoints store these as matrices too; the loader has renamed them.
        let project = |w: Weights| Linear::load(&w, c, c);
        Ok(PixelAttention {
            path: w.path().to_string(),
            group_norm: GroupNorm::load(&(w / "group_norm"), c, groups, EPS)?,
            to_q: project(w / "to_q")?,
            to_k: project(w / "to_k")?,
            to_v: project(w / "to_v")?,
            to_out: project(w / "to_out" / 0)?,
        })
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let [b, rows, columns, c] = x.dims("vae attention x", "B Y X C")?;
        let h = self.group_norm.forward(x)?.reshape([b, rows * columns, c])?;
        let one_head = |p: &Linear| p.forward(&h)?.reshape([b, rows * columns, 1, c]);
        let mixed =
            attention(&one_head(&self.to_q)?, &one_head(&self.to_k)?, &one_head(&self.to_v)?, Attention::default())?;
        let y = self.to_out.added_to(x, &mixed.reshape([b, rows, columns, c])?)?;
        probe::see(&self.path, &y);
        Ok(y)
    }
}
