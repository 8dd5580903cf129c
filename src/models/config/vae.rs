//! `vae/config.json` of a Stable Diffusion folder. Defaults as in diffusers' `AutoencoderKL`.

use serde::Deserialize;
use serde_json::Value;

use super::{Config, checks};

/// `AutoencoderKL`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default)]
pub struct VaeConfig {
    /// Colours in.
    pub in_channels: usize,
    /// Colours out.
    pub out_channels: usize,
    /// Encoder blocks; only `DownEncoderBlock2D`.
    pub down_block_types: Vec<String>,
    /// Decoder blocks; only `UpDecoderBlock2D`.
    pub up_block_types: Vec<String>,
    /// Channels of each level, highest resolution first.
    pub block_out_channels: Vec<usize>,
    /// Residual blocks of an encoder level; one more in the decoder.
    pub layers_per_block: usize,
    /// Activation; only `silu`.
    pub act_fn: String,
    /// Channels of the latent.
    pub latent_channels: usize,
    /// Groups of every group normalisation.
    pub norm_num_groups: usize,
    /// Side of the images it was trained on.
    pub sample_size: usize,
    /// Latents are multiplied by this after encoding and divided by it before decoding.
    pub scaling_factor: f64,
    /// Not supported unless absent or 0.
    shift_factor: Option<f64>,
    use_quant_conv: Option<bool>,
    use_post_quant_conv: Option<bool>,
    mid_block_add_attention: Option<bool>,
    latents_mean: Option<Value>,
    latents_std: Option<Value>,
}

impl Default for VaeConfig {
    fn default() -> Self {
        Self {
            in_channels: 3,
            out_channels: 3,
            down_block_types: vec!["DownEncoderBlock2D".into()],
            up_block_types: vec!["UpDecoderBlock2D".into()],
            block_out_channels: vec![64],
            layers_per_block: 1,
            act_fn: "silu".into(),
            latent_channels: 4,
            norm_num_groups: 32,
            sample_size: 32,
            scaling_factor: 0.18215,
            shift_factor: None,
            use_quant_conv: None,
            use_post_quant_conv: None,
            mid_block_add_attention: None,
            latents_mean: None,
            latents_std: None,
        }
    }
}

impl VaeConfig {
    /// Image pixels per latent pixel along a side: every level but the last halves the resolution.
    pub fn downscale(&self) -> usize {
        1 << self.block_out_channels.len().saturating_sub(1)
    }

    fn validate_blocks(&self) -> Result<(), String> {
        let levels = self.block_out_channels.len();
        for (name, blocks, known) in [
            ("down_block_types", &self.down_block_types, "DownEncoderBlock2D"),
            ("up_block_types", &self.up_block_types, "UpDecoderBlock2D"),
        ] {
            if blocks.len() != levels {
                return Err(format!("{name} has {} entries, block_out_channels {levels}", blocks.len()));
            }
            blocks.iter().try_for_each(|block| checks::supported(name, block.as_str(), &[known]))?;
        }
        Ok(())
    }

    fn validate_options(&self) -> Result<(), String> {
        checks::supported("shift_factor", self.shift_factor.unwrap_or(0.0), &[0.0])?;
        for (name, on) in [
            ("use_quant_conv", self.use_quant_conv),
            ("use_post_quant_conv", self.use_post_quant_conv),
            ("mid_block_add_attention", self.mid_block_add_attention),
        ] {
            checks::supported(name, on.unwrap_or(true), &[true])?;
        }
        checks::absent("latents_mean", &self.latents_mean)?;
        checks::absent("latents_std", &self.latents_std)
    }
}

impl Config for VaeConfig {
    fn validate(&self) -> Result<(), String> {
        checks::size("the number of block_out_channels", self.block_out_channels.len())?;
        if self.block_out_channels.len() > 16 {
            return Err(format!("block_out_channels has {} levels", self.block_out_channels.len()));
        }
        checks::supported("in_channels", self.in_channels, &[3])?;
        checks::supported("out_channels", self.out_channels, &[3])?;
        checks::sizes(&[
            ("layers_per_block", self.layers_per_block),
            ("latent_channels", self.latent_channels),
            ("sample_size", self.sample_size),
        ])?;
        for &channels in &self.block_out_channels {
            checks::divides("norm_num_groups", self.norm_num_groups, "block_out_channels", channels)?;
        }
        checks::supported("act_fn", self.act_fn.as_str(), &["silu", "swish"])?;
        checks::positive("scaling_factor", self.scaling_factor)?;
        self.validate_blocks()?;
        self.validate_options()
    }
}
