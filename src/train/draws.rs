//! The random numbers of one batch, drawn beforehand: recorded ones can be fed, and a resumed run draws the same.

use super::DiffusionOptions;
use crate::gpu::Gpu;
use crate::ops::layout::concat;
use crate::ops::random::normal;
use crate::random::philox;
use crate::tensor::Tensor;
use crate::{Error, Result};

/// What the diffusion loss draws for its N pictures, in the order in which the official code draws it.
pub struct Draws {
    /// For the sample of the autoencoder's distribution, `[N, Y, X, C]`.
    pub latent: Tensor,
    /// The noise that is added and predicted, `[N, Y, X, C]`.
    pub noise: Tensor,
    /// An offset of every channel, `[N, 1, 1, C]`, with a noise offset.
    pub offset: Option<Tensor>,
    /// More noise on the input alone, `[N, Y, X, C]`, with input perturbation.
    pub perturbation: Option<Tensor>,
    /// How far each picture is on its way to noise.
    pub timesteps: Vec<usize>,
    /// Which pictures are drawn without their condition.
    pub dropped: Vec<bool>,
}

impl Draws {
    /// From a seed, for pictures with latents of the given shape, and a schedule of `timesteps` steps. Every quantity has a
    /// stream of its own, so an option that is turned on leaves the other numbers as they were.
    pub fn seeded(
        gpu: &Gpu,
        seed: u64,
        latents: [usize; 4],
        timesteps: usize,
        options: &DiffusionOptions,
    ) -> Result<Draws> {
        let [n, _, _, c] = latents;
        let uniforms = |stream| philox::uniforms(seed, stream, n);
        let step = |u: f32| ((f64::from(u) * timesteps as f64) as usize).min(timesteps.saturating_sub(1));
        let drop = options.drop_prob.unwrap_or(0.0);
        let (offset, perturbation) = (options.noise_offset != 0.0, options.input_perturbation != 0.0);
        Ok(Draws {
            latent: normal(gpu, latents, seed, 0)?,
            noise: normal(gpu, latents, seed, 1)?,
            offset: offset.then(|| normal(gpu, [n, 1, 1, c], seed, 2)).transpose()?,
            perturbation: perturbation.then(|| normal(gpu, latents, seed, 3)).transpose()?,
            timesteps: uniforms(4).into_iter().map(step).collect(),
            dropped: uniforms(5).into_iter().map(|u| f64::from(u) < drop).collect(),
        })
    }

    /// The same for pictures with a seed each, and latents of the shape `[Y, X, C]`. What is drawn for a picture does not
    /// depend on the batch that it is in.
    pub fn for_pictures(
        gpu: &Gpu,
        seeds: &[u64],
        [y, x, c]: [usize; 3],
        timesteps: usize,
        options: &DiffusionOptions,
    ) -> Result<Option<Draws>> {
        let one = |&seed: &u64| Draws::seeded(gpu, seed, [1, y, x, c], timesteps, options);
        let all = seeds.iter().map(one).collect::<Result<Vec<_>>>()?;
        if all.is_empty() {
            return Ok(None);
        }
        let together = |of: fn(&Draws) -> Option<&Tensor>| -> Result<Option<Tensor>> {
            let parts: Vec<&Tensor> = all.iter().filter_map(of).collect();
            if parts.is_empty() { Ok(None) } else { concat(&parts, 0).map(Some) }
        };
        let missing = || Error::Input("training: no noise was drawn".into());
        Ok(Some(Draws {
            latent: together(|draws| Some(&draws.latent))?.ok_or_else(missing)?,
            noise: together(|draws| Some(&draws.noise))?.ok_or_else(missing)?,
            offset: together(|draws| draws.offset.as_ref())?,
            perturbation: together(|draws| draws.perturbation.as_ref())?,
            timesteps: all.iter().flat_map(|draws| draws.timesteps.clone()).collect(),
            dropped: all.iter().flat_map(|draws| draws.dropped.clone()).collect(),
        }))
    }
}
