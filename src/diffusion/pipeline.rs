//! From condition vectors to pictures: the sampling loop with classifier-free guidance, then the VAE.
//!
//! Source: Ho and Salimans, "Classifier-Free Diffusion Guidance", 2022; the order of draws and the defaults are those of
//! the official pipeline (diffusers 0.24).

use super::noise::Noise;
use super::{Sampler, SamplerKind, SamplerOptions, guide};
use crate::image::{FloatImage, RgbImage, to_rgb};
use crate::models::dreamllm::Diffusion;
use crate::ops::layout::{concat, slice};
use crate::tensor::Tensor;
use crate::{Error, Result};

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
}

impl DrawOptions {
    /// Whether there is an unconditional branch.
    pub fn is_guided(&self) -> bool {
        self.cfg_scale > 1.0
    }

    /// Sides of the latents, or why the picture's size cannot be drawn.
    pub fn latent_size(&self, diffusion: &Diffusion) -> Result<[usize; 2]> {
        let cell = diffusion.vae.downscale.max(8);
        if self.width == 0 || self.height == 0 || self.width % cell != 0 || self.height % cell != 0 {
            let why =
                format!("the picture's sides must be multiples of {cell}, but are {}x{}", self.width, self.height);
            return Err(Error::Input(why));
        }
        Ok([self.height / diffusion.vae.downscale, self.width / diffusion.vae.downscale])
    }
}

/// Draws one picture for every row of `condition [B, Q, E]`; with guidance, `unconditional` has as many rows. After every
/// step `on_step` sees the number of steps done and the latents, and may stop by an error.
/// Returns the latents `[B, Y, X, C]`, scaled as the UNet has them.
pub async fn sample(
    diffusion: &Diffusion,
    condition: &Tensor,
    unconditional: Option<&Tensor>,
    options: &DrawOptions,
    noise: &mut dyn Noise,
    mut on_step: impl FnMut(usize, &Tensor) -> Result<()>,
) -> Result<Tensor> {
    let gpu = condition.gpu();
    let [rows, _, _] = condition.dims("sample condition", "B Q E")?;
    let [y, x] = options.latent_size(diffusion)?;
    let shape = [rows, y, x, diffusion.latent_channels];
    let mut sampler = Sampler::new(options.sampler, &diffusion.scheduler, options.steps, options.sampler_options)?;
    let context = match unconditional.filter(|_| options.is_guided()) {
        Some(unconditional) => concat(&[unconditional, condition], 0)?,
        None => condition.clone(),
    };
    let mut latents = noise.draw(gpu, shape)?.scale(sampler.init_noise_sigma() as f32)?;
    for (i, t) in sampler.timesteps().to_vec().into_iter().enumerate() {
        let input = sampler.scale_input(i, &latents)?;
        let predicted = predict(diffusion, &input, t, &context, options)?;
        let drawn = sampler.needs_noise(i).then(|| noise.draw(gpu, shape)).transpose()?;
        latents = sampler.step(i, &predicted, &latents, drawn.as_ref())?;
        gpu.finish().await?;
        on_step(i + 1, &latents)?;
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
    diffusion.vae.decode(&latents.scale(1.0 / diffusion.vae.scaling_factor)?)
}

/// Pictures from pixels around [-1, 1], `[B, Y, X, 3]`.
pub async fn pictures(pixels: &Tensor) -> Result<Vec<RgbImage>> {
    let [_, y, x, c] = pixels.dims("pictures pixels", "B Y X C")?;
    let values = pixels.read_f32().await?;
    if values.iter().any(|v| !v.is_finite()) {
        return Err(Error::Input("the picture came out with values that are not numbers".into()));
    }
    values.chunks(y * x * c).map(|one| to_rgb(&FloatImage::new(x, y, one.to_vec())?)).collect()
}
