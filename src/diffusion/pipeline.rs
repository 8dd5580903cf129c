//! From condition vectors to pictures: the sampling loop with classifier-free guidance, then the VAE.
//!
//! Source: Ho and Salimans, "Classifier-Free Diffusion Guidance", 2022; the order of draws and the defaults are those of
//! the official pipeline (diffusers 0.24).

use super::condition::Condition;
use super::noise::{BatchNoise, Noise, NoiseSource};
use super::source::Source;
use super::{Sampler, SamplerKind, SamplerOptions, guide};
use crate::image::{FloatImage, RgbImage, to_rgb};
use crate::models::dreamllm::Diffusion;
use crate::models::vae_tiles::Tiling;
use crate::ops::layout::{concat, slice};
use crate::tensor::Tensor;
use crate::{Error, Result};

/// Far over what a UNet draws well, and small enough that no size overflows.
const LONGEST_SIDE: usize = 1 << 15;

/// How to draw.
#[derive(Debug, Clone)]
pub struct DrawOptions {
    /// Denoising steps.
    pub steps: usize,
    /// Strength of the guidance; at most 1 means none.
    pub cfg_scale: f32,
    /// Share of the guided prediction that is brought back to the conditional one's deviation.
    pub guidance_rescale: f32,
    /// The sampler.
    pub sampler: SamplerKind,
    /// Its options.
    pub sampler_options: SamplerOptions,
    /// Pixels across.
    pub width: usize,
    /// Pixels down.
    pub height: usize,
    /// Pictures to draw at once.
    pub batch: usize,
    /// Seed of the first picture; the others count up.
    pub seed: u64,
    /// The generator of the noise.
    pub rng: NoiseSource,
    /// Whether the VAE decodes in tiles.
    pub tiling: Option<Tiling>,
}

impl Default for DrawOptions {
    /// The official defaults: DDPM, 50 steps, guidance 7.5, 512 x 512.
    fn default() -> Self {
        DrawOptions {
            steps: 50,
            cfg_scale: 7.5,
            guidance_rescale: 0.0,
            sampler: SamplerKind::Ddpm,
            sampler_options: SamplerOptions::default(),
            width: 512,
            height: 512,
            batch: 1,
            seed: 42,
            rng: NoiseSource::Philox,
            tiling: None,
        }
    }
}

impl DrawOptions {
    /// The sampler as the command line spells it.
    pub fn sampler_name(&self) -> String {
        format!("{}{}", self.sampler, if self.sampler_options.karras { "-karras" } else { "" })
    }

    /// Whether there is an unconditional branch.
    pub fn is_guided(&self) -> bool {
        self.cfg_scale > 1.0
    }

    /// Seed of a picture of the batch.
    pub fn seed_of(&self, index: usize) -> u64 {
        self.seed.wrapping_add(index as u64)
    }

    /// Sides of the latents of a VAE that scales down so much, or why the picture's size cannot be drawn.
    pub fn latent_size(&self, downscale: usize) -> Result<[usize; 2]> {
        let cell = downscale.max(8);
        if self.width == 0 || self.height == 0 || self.width % cell != 0 || self.height % cell != 0 {
            let why =
                format!("the picture's sides must be multiples of {cell}, but are {}x{}", self.width, self.height);
            return Err(Error::Input(why));
        }
        if self.width.max(self.height) > LONGEST_SIDE {
            let (what, need) = ("the picture".to_string(), format!("{}x{} pixels", self.width, self.height));
            return Err(Error::TooLarge { what, need, limit: format!("{LONGEST_SIDE} pixels a side") });
        }
        Ok([self.height / downscale, self.width / downscale])
    }
}

/// What a caller sees after a step.
pub struct Step<'a> {
    /// Steps done, those that a source picture spared included.
    pub done: usize,
    /// Steps in all.
    pub count: usize,
    /// The latents now, `[B, Y, X, C]`.
    pub latents: &'a Tensor,
    sampler: &'a Sampler,
    input: &'a Tensor,
    predicted: &'a Tensor,
}

impl Step<'_> {
    /// What the latents would be without noise if the UNet were right already: for previews.
    pub fn clean(&self) -> Result<Tensor> {
        self.sampler.clean(self.done - 1, self.predicted, self.input)
    }
}

/// Draws a batch of pictures from condition vectors, or redraws a source picture. After every step `on_step` may look at it,
/// and stop by an error.
pub async fn draw(
    diffusion: &Diffusion,
    condition: &Condition,
    options: &DrawOptions,
    source: Option<&Source>,
    on_step: impl AsyncFnMut(Step<'_>) -> Result<()>,
) -> Result<Vec<RgbImage>> {
    condition.check(diffusion)?;
    if options.batch == 0 {
        return Err(Error::Input("a batch of no pictures".into()));
    }
    let rows = |x: &Tensor| concat(&vec![x; options.batch], 0);
    let unconditional = options.is_guided().then(|| rows(&condition.unconditional)).transpose()?;
    let mut noise = BatchNoise::new(options.rng, options.seed, options.batch);
    let conditional = rows(&condition.condition)?;
    let latents = sample(diffusion, &conditional, unconditional.as_ref(), options, source, &mut noise, on_step).await?;
    let drawn = decode_pictures(diffusion, &latents, options.tiling).await?;
    match source {
        Some(source) => drawn.iter().map(|picture| source.restore(picture)).collect(),
        None => Ok(drawn),
    }
}

/// Draws one picture for every row of `condition [B, Q, E]`; with guidance, `unconditional` has as many rows. After every
/// step `on_step` may look at it, and stop by an error.
/// Returns the latents `[B, Y, X, C]`, scaled as the UNet has them.
pub async fn sample(
    diffusion: &Diffusion,
    condition: &Tensor,
    unconditional: Option<&Tensor>,
    options: &DrawOptions,
    source: Option<&Source>,
    noise: &mut dyn Noise,
    mut on_step: impl AsyncFnMut(Step<'_>) -> Result<()>,
) -> Result<Tensor> {
    let gpu = condition.gpu();
    let [rows, _, _] = condition.dims("sample condition", "B Q E")?;
    let [y, x] = options.latent_size(diffusion.downscale)?;
    let shape = [rows, y, x, diffusion.latent_channels];
    let mut sampler = Sampler::new(options.sampler, &diffusion.scheduler, options.steps, options.sampler_options)?;
    let context = match unconditional.filter(|_| options.is_guided()) {
        Some(unconditional) => concat(&[unconditional, condition], 0)?,
        None => condition.clone(),
    };
    // The decoder's work ends before the denoiser comes, which may take the decoder's place.
    gpu.finish().await?;
    let source = source.map(|s| s.prepare(diffusion, shape, &sampler, options.steps, noise, gpu)).transpose()?;
    let mut latents = match &source {
        Some(source) => source.start(&sampler)?,
        None => noise.draw(gpu, shape)?.scale(sampler.init_noise_sigma() as f32)?,
    };
    let (first, count) = (source.as_ref().map_or(0, |source| source.first), sampler.timesteps().len());
    for i in first..count {
        let t = sampler.timesteps()[i];
        let predicted = predict(diffusion, &sampler.scale_input(i, &latents)?, t, &context, options)?;
        let drawn = sampler.needs_noise(i).then(|| noise.draw(gpu, shape)).transpose()?;
        let input = latents;
        latents = sampler.step(i, &predicted, &input, drawn.as_ref())?;
        if let Some(source) = &source {
            latents = source.keep(&sampler, i + 1, &latents)?;
        }
        gpu.finish().await?;
        let (sampler, input, predicted) = (&sampler, &input, &predicted);
        on_step(Step { done: i + 1, count, latents: &latents, sampler, input, predicted }).await?;
    }
    Ok(latents)
}

/// The UNet's prediction, guided where the context holds both branches.
fn predict(diffusion: &Diffusion, x: &Tensor, t: f64, context: &Tensor, options: &DrawOptions) -> Result<Tensor> {
    let rows = x.shape().as_slice()[0];
    let branches = context.shape().as_slice()[0] / rows;
    let timesteps = Tensor::from_f32(x.gpu(), &vec![t as f32; rows * branches], [rows * branches])?;
    if branches == 1 {
        return diffusion.unet.forward(x, &timesteps, context);
    }
    let both = diffusion.unet.forward(&concat(&[x, x], 0)?, &timesteps, context)?;
    let (unconditional, conditional) = (slice(&both, 0, 0, rows)?, slice(&both, 0, rows, rows)?);
    guide(&unconditional, &conditional, options.cfg_scale, options.guidance_rescale)
}

/// Pixels around [-1, 1] of scaled latents: `[B, Y, X, C]` → `[B, Y', X', 3]`.
pub fn decode(diffusion: &Diffusion, latents: &Tensor) -> Result<Tensor> {
    diffusion.vae.decode(&latents.scale(1.0 / diffusion.scaling_factor)?)
}

/// Pictures of scaled latents `[B, Y, X, C]`. With tiling one after another, each in tiles.
pub async fn decode_pictures(diffusion: &Diffusion, latents: &Tensor, tiling: Option<Tiling>) -> Result<Vec<RgbImage>> {
    let Some(tiling) = tiling else { return pictures(&decode(diffusion, latents)?).await };
    let mut drawn = Vec::new();
    for row in 0..latents.shape().as_slice()[0] {
        let one = slice(latents, 0, row, 1)?.scale(1.0 / diffusion.scaling_factor)?;
        let pixels = diffusion.vae.decode_tiled(&one, tiling).await?;
        check_finite(&pixels.values)?;
        drawn.push(to_rgb(&pixels)?);
    }
    Ok(drawn)
}

/// Pictures from pixels around [-1, 1], `[B, Y, X, 3]`.
pub async fn pictures(pixels: &Tensor) -> Result<Vec<RgbImage>> {
    let [_, y, x, c] = pixels.dims("pictures pixels", "B Y X C")?;
    let values = pixels.read_f32().await?;
    check_finite(&values)?;
    values.chunks(y * x * c).map(|one| to_rgb(&FloatImage::new(x, y, one.to_vec())?)).collect()
}

fn check_finite(values: &[f32]) -> Result<()> {
    match values.iter().all(|value| value.is_finite()) {
        true => Ok(()),
        false => Err(Error::Input("the picture came out with values that are not numbers".into())),
    }
}
