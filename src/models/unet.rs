//! The denoiser: Stable Diffusion's UNet with cross-attention to the condition vectors.
//!
//! Source: Rombach et al., "High-Resolution Image Synthesis with Latent Diffusion Models", 2022, as diffusers' class
//! `UNet2DConditionModel` builds it from `unet/config.json`. Images are channels-last `[B, Y, X, C]`.

use super::config::UNetConfig;
use super::resnet::ResnetBlock;
use super::transformer::Transformer2D;
use crate::nn::{Conv2d, GroupNorm, Linear, Weights, probe};
use crate::ops::conv2d::Conv;
use crate::ops::epilogue::Activation;
use crate::ops::layout::concat;
use crate::ops::pointwise::silu;
use crate::ops::resample::upsample_nearest;
use crate::ops::timestep::{timestep_embedding, timestep_frequencies};
use crate::tensor::Tensor;
use crate::{Error, Result};

/// ε(x_t, t, condition), or v.
pub struct UNet {
    frequencies: Tensor,
    cos_first: bool,
    linear_1: Linear,
    linear_2: Linear,
    conv_in: Conv2d,
    down_blocks: Vec<Block>,
    mid_block: MidBlock,
    up_blocks: Vec<Block>,
    conv_norm_out: GroupNorm,
    conv_out: Conv2d,
}

/// One resolution on the way down or up.
struct Block {
    path: String,
    resnets: Vec<ResnetBlock>,
    attentions: Vec<Transformer2D>,
    /// The convolution that halves or doubles the sides, if this is not the last level.
    resampler: Option<Conv2d>,
}

struct MidBlock {
    resnets: [ResnetBlock; 2],
    attentions: Transformer2D,
}

impl UNet {
    /// Loads from `w = unet`.
    pub fn load(w: &Weights, config: &UNetConfig) -> Result<UNet> {
        let widths = &config.block_out_channels;
        let (first, last) = (widths[0], widths[widths.len() - 1]);
        let gpu = w.gpu();
        let frequencies = timestep_frequencies(first, config.freq_shift as f32, 10_000.0);
        let time = w / "time_embedding";
        Ok(UNet {
            frequencies: Tensor::from_f32(gpu, &frequencies, [frequencies.len()])?,
            cos_first: config.flip_sin_to_cos,
            linear_1: Linear::load(&(&time / "linear_1"), first, 4 * first)?,
            linear_2: Linear::load(&(&time / "linear_2"), 4 * first, 4 * first)?,
            conv_in: Conv2d::load_3x3(&(w / "conv_in"), config.in_channels, first)?,
            down_blocks: load_down(w, config)?,
            mid_block: MidBlock::load(&(w / "mid_block"), config, last)?,
            up_blocks: load_up(w, config)?,
            conv_norm_out: GroupNorm::load(&(w / "conv_norm_out"), first, config.norm_num_groups, config.norm_eps)?,
            conv_out: Conv2d::load_3x3(&(w / "conv_out"), first, config.out_channels)?,
        })
    }

    /// Latents `[B, Y, X, 4]`, timesteps `[B]`, condition `[B, Q, C]` → prediction `[B, Y, X, 4]`.
    pub fn forward(&self, latents: &Tensor, timesteps: &Tensor, condition: &Tensor) -> Result<Tensor> {
        let time = self.embed_time(timesteps)?;
        let mut x = self.conv_in.forward(latents)?;
        probe::see("unet.conv_in", &x);
        let mut skips = vec![x.clone()];
        for block in &self.down_blocks {
            x = block.down(&x, &time, condition, &mut skips)?;
        }
        x = self.mid_block.forward(&x, &time, condition)?;
        for block in &self.up_blocks {
            x = block.up(&x, &time, condition, &mut skips)?;
        }
        self.conv_out.forward(&self.conv_norm_out.silu(&x)?)
    }

    /// silu of the time embedding, `[B, 4 C]`: every residual block starts with that.
    fn embed_time(&self, timesteps: &Tensor) -> Result<Tensor> {
        let waves = timestep_embedding(timesteps, &self.frequencies, self.cos_first)?;
        probe::see("unet.time_proj", &waves);
        let time = self.linear_2.forward(&self.linear_1.activated(&waves, Activation::Silu)?)?;
        probe::see("unet.time_embedding", &time);
        silu(&time)
    }
}

/// What a level's residual blocks and attentions need to know.
struct Level<'a> {
    config: &'a UNetConfig,
    index: usize,
    has_attention: bool,
}

impl Level<'_> {
    fn width(&self) -> usize {
        self.config.block_out_channels[self.index]
    }

    fn resnet(&self, w: &Weights, c: usize) -> Result<ResnetBlock> {
        let (config, first) = (self.config, self.config.block_out_channels[0]);
        ResnetBlock::load(w, c, self.width(), config.norm_num_groups, config.norm_eps, Some(4 * first))
    }

    fn attention(&self, w: &Weights) -> Result<Transformer2D> {
        let config = self.config;
        let setting = |values: Result<Vec<usize>, String>| -> Result<usize> {
            let values = values.map_err(|why| Error::format("unet/config.json", why))?;
            Ok(values[self.index])
        };
        let heads = setting(config.heads())?;
        let (cross, depth) = (setting(config.cross_dims())?, setting(config.transformer_layers())?);
        Transformer2D::load(w, self.width(), heads, cross, depth, config.norm_num_groups, config.use_linear_projection)
    }

    /// Residual blocks of the given input widths, each with an attention where the level has them.
    fn blocks(&self, w: &Weights, inputs: &[usize]) -> Result<(Vec<ResnetBlock>, Vec<Transformer2D>)> {
        let (resnets, attentions) = (w / "resnets", w / "attentions");
        let resnets =
            inputs.iter().enumerate().map(|(i, &c)| self.resnet(&(&resnets / i), c)).collect::<Result<_>>()?;
        let count = if self.has_attention { inputs.len() } else { 0 };
        Ok((resnets, (0..count).map(|i| self.attention(&(&attentions / i))).collect::<Result<_>>()?))
    }
}

fn load_down(w: &Weights, config: &UNetConfig) -> Result<Vec<Block>> {
    let widths = &config.block_out_channels;
    let layers = config.layers().map_err(|why| Error::format("unet/config.json", why))?;
    let load = |(i, kind): (usize, &super::config::UNetBlock)| {
        let w = w / "down_blocks" / i;
        let level = Level { config, index: i, has_attention: kind.has_attention() };
        let before = if i == 0 { widths[0] } else { widths[i - 1] };
        let inputs: Vec<usize> = (0..layers[i]).map(|j| if j == 0 { before } else { widths[i] }).collect();
        let (resnets, attentions) = level.blocks(&w, &inputs)?;
        let conv = Conv::new(2, config.downsample_padding);
        let halve = || Conv2d::load(&(&w / "downsamplers" / 0 / "conv"), widths[i], widths[i], 3, conv);
        let resampler = (i + 1 < widths.len()).then(halve).transpose()?;
        Ok(Block { path: w.path().to_string(), resnets, attentions, resampler })
    };
    config.down_block_types.iter().enumerate().map(load).collect()
}

fn load_up(w: &Weights, config: &UNetConfig) -> Result<Vec<Block>> {
    let widths = &config.block_out_channels;
    let layers = config.layers().map_err(|why| Error::format("unet/config.json", why))?;
    let load = |(i, kind): (usize, &super::config::UNetBlock)| {
        let w = w / "up_blocks" / i;
        let index = widths.len() - 1 - i;
        let level = Level { config, index, has_attention: kind.has_attention() };
        let below = widths[(index + 1).min(widths.len() - 1)];
        // Skips come in the reverse order in which they were made: this level's own, and last the level before it.
        let count = layers[index] + 1;
        let skip = |j: usize| if j + 1 == count { widths[index.saturating_sub(1)] } else { widths[index] };
        let inputs: Vec<usize> = (0..count).map(|j| if j == 0 { below } else { widths[index] } + skip(j)).collect();
        let (resnets, attentions) = level.blocks(&w, &inputs)?;
        let double = || Conv2d::load_3x3(&(&w / "upsamplers" / 0 / "conv"), widths[index], widths[index]);
        let resampler = (index > 0).then(double).transpose()?;
        Ok(Block { path: w.path().to_string(), resnets, attentions, resampler })
    };
    config.up_block_types.iter().enumerate().map(load).collect()
}

impl Block {
    fn layer(&self, i: usize, x: &Tensor, time: &Tensor, condition: &Tensor) -> Result<Tensor> {
        let x = self.resnets[i].forward(x, Some(time))?;
        self.attentions.get(i).map_or(Ok(x.clone()), |attention| attention.forward(&x, condition))
    }

    fn down(&self, x: &Tensor, time: &Tensor, condition: &Tensor, skips: &mut Vec<Tensor>) -> Result<Tensor> {
        let mut x = x.clone();
        for i in 0..self.resnets.len() {
            x = self.layer(i, &x, time, condition)?;
            skips.push(x.clone());
        }
        if let Some(halve) = &self.resampler {
            x = halve.forward(&x)?;
            probe::see(&format!("{}.downsamplers.0", self.path), &x);
            skips.push(x.clone());
        }
        probe::see(&self.path, &x);
        Ok(x)
    }

    fn up(&self, x: &Tensor, time: &Tensor, condition: &Tensor, skips: &mut Vec<Tensor>) -> Result<Tensor> {
        let mut x = x.clone();
        for i in 0..self.resnets.len() {
            let skip = skips.pop().ok_or_else(|| Error::format("unet/config.json", "the up path needs more skips"))?;
            x = self.layer(i, &concat(&[&x, &skip], 3)?, time, condition)?;
        }
        if let Some(double) = &self.resampler {
            // To the size of the next skip, which is twice this one or, for odd sides, one less.
            let next = skips.last().map(|skip| skip.dims::<4>("unet skip", "B Y X C")).transpose()?;
            let [_, rows, columns, _] = next.unwrap_or(x.dims("unet x", "B Y X C")?);
            x = double.forward(&upsample_nearest(&x, [rows, columns])?)?;
            probe::see(&format!("{}.upsamplers.0", self.path), &x);
        }
        probe::see(&self.path, &x);
        Ok(x)
    }
}

impl MidBlock {
    fn load(w: &Weights, config: &UNetConfig, c: usize) -> Result<MidBlock> {
        let level = Level { config, index: config.levels() - 1, has_attention: true };
        let resnets = w / "resnets";
        Ok(MidBlock {
            resnets: [level.resnet(&(&resnets / 0), c)?, level.resnet(&(&resnets / 1), c)?],
            attentions: level.attention(&(w / "attentions" / 0))?,
        })
    }

    fn forward(&self, x: &Tensor, time: &Tensor, condition: &Tensor) -> Result<Tensor> {
        let x = self.resnets[0].forward(x, Some(time))?;
        let x = self.attentions.forward(&x, condition)?;
        let x = self.resnets[1].forward(&x, Some(time))?;
        probe::see("unet.mid_block", &x);
        Ok(x)
    }
}
