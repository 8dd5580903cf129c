//! How pictures are drawn; shared by all commands that draw.

use crate::diffusion::noise::NoiseSource;
use crate::diffusion::pipeline::DrawOptions;
use crate::diffusion::{SamplerKind, SamplerOptions};
use crate::models::config::{DrawingConfig, TimestepSpacing};
use crate::models::vae_tiles::Tiling;
use crate::{Error, Result};
use clap::Args;

/// What a checkpoint may have its own defaults for.
#[derive(Args)]
#[command(next_help_heading = "Drawing")]
pub(super) struct PaceArguments {
    /// Denoising steps, 1 to as many as the checkpoint was trained with (1000); more take longer, below 20 the picture suffers
    /// [default: the checkpoint's, or 50].
    #[arg(long, value_name = "N")]
    steps: Option<usize>,
    /// How closely the picture follows the words (guidance): 5 to 10 is usual, 1 and below turn it off [default: the
    /// checkpoint's, or 7.5].
    #[arg(long, value_name = "SCALE")]
    cfg_scale: Option<f32>,
    /// The sampler: ddpm, ddim, pndm, dpm++2m, euler, euler-a or unipc; with -karras for Karras' noise levels [default: the
    /// checkpoint's, or ddpm].
    #[arg(long, value_name = "NAME", value_parser = SamplerKind::with_options)]
    sampler: Option<(SamplerKind, SamplerOptions)>,
}

impl PaceArguments {
    /// An error if a number is none.
    pub fn check(&self) -> Result<()> {
        self.cfg_scale.map_or(Ok(()), |scale| finite("cfg-scale", f64::from(scale)))
    }

    /// Steps, guidance and sampler for a checkpoint; the rest as usual.
    pub fn options(&self, drawing: &DrawingConfig) -> Result<DrawOptions> {
        self.check()?;
        let own = drawing.options()?;
        let (sampler, sampler_options) = self.sampler.unwrap_or((own.sampler, own.sampler_options));
        let (steps, cfg_scale) = (self.steps.unwrap_or(own.steps), self.cfg_scale.unwrap_or(own.cfg_scale));
        Ok(DrawOptions { steps, cfg_scale, sampler, sampler_options, ..own })
    }
}

fn finite(name: &str, value: f64) -> Result<()> {
    match value.is_finite() {
        true => Ok(()),
        false => Err(Error::Input(format!("--{name} must be a number, not {value}"))),
    }
}

#[derive(Args)]
#[command(next_help_heading = "Drawing")]
pub(super) struct DrawArguments {
    /// What the picture should not show, in words.
    #[arg(short, long, default_value = "", hide_default_value = true, value_name = "TEXT")]
    pub negative_prompt: String,
    #[command(flatten)]
    pace: PaceArguments,
    /// How much of the contrast that guidance adds is taken back, from 0 to 1.
    #[arg(long, default_value_t = 0.0, value_name = "SHARE")]
    guidance_rescale: f32,
    /// Where the steps lie on the training's noise levels: leading, linspace, trailing [default: the checkpoint's].
    #[arg(long, value_name = "PLACES")]
    spacing: Option<TimestepSpacing>,
    /// Fresh noise in every step of ddim, from 0 (none) to 1.
    #[arg(long, default_value_t = 0.0, value_name = "SHARE")]
    eta: f64,
    /// Generator of the noise: philox, or torch for what PyTorch draws from this seed.
    #[arg(long, default_value = "philox", value_name = "GENERATOR")]
    rng: NoiseSource,
    /// Pixels across, a multiple of 8 [default: the checkpoint's resolution].
    #[arg(short = 'W', long, value_name = "PIXELS")]
    pub width: Option<usize>,
    /// Pixels down, a multiple of 8 [default: the checkpoint's resolution].
    #[arg(short = 'H', long, value_name = "PIXELS")]
    pub height: Option<usize>,
    /// Decode in tiles of so many cells of 8 pixels (64 if no number is given), for large pictures in little memory.
    #[arg(long, value_name = "CELLS", num_args = 0..=1, default_missing_value = "64")]
    vae_tiling: Option<usize>,
}

impl DrawArguments {
    /// An error if a number is none.
    pub fn check(&self) -> Result<()> {
        self.pace.check()?;
        if !(0.0..=1.0).contains(&self.guidance_rescale) {
            return Err(Error::Input(format!("--guidance-rescale must be 0 to 1, not {}", self.guidance_rescale)));
        }
        finite("eta", self.eta)?;
        self.vae_tiling.map(Tiling::of_side).transpose().map(|_| ())
    }

    /// The options for a picture of `[width, height]` of a checkpoint, unless the arguments say otherwise.
    pub fn options(
        &self,
        drawing: &DrawingConfig,
        [width, height]: [usize; 2],
        seed: u64,
        batch: usize,
    ) -> Result<DrawOptions> {
        self.check()?;
        let pace = self.pace.options(drawing)?;
        Ok(DrawOptions {
            guidance_rescale: self.guidance_rescale,
            sampler_options: SamplerOptions { eta: self.eta, spacing: self.spacing, ..pace.sampler_options },
            width: self.width.unwrap_or(width),
            height: self.height.unwrap_or(height),
            batch,
            seed,
            rng: self.rng,
            tiling: self.vae_tiling.map(Tiling::of_side).transpose()?,
            ..pace
        })
    }
}
