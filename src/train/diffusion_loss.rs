//! The diffusion loss:   `L_dm = mean over pictures of w(t) · mean (UNet(x_t, t, condition) − target)²`
//!
//! with x_t = √ᾱ_t · x_0 + √(1 − ᾱ_t) · ε, where x_0 is the scaled latent of the picture and the target is ε or the
//! velocity (DDPM, Ho et al. 2020; Salimans and Ho 2022).
//!
//! | option | effect |
//! |---|---|
//! | noise offset o | ε gets o · a number per channel: in the input and in the target |
//! | input perturbation p | ε gets p · more noise in the input alone (Ning et al. 2023) |
//! | min-SNR γ | w = min(s, γ) / s with s = ᾱ/(1 − ᾱ) (Hang et al. 2023); for the velocity the official code puts s + 1 in both places, where the paper has min(s, γ) / (s + 1); without it w = 1 |

use super::Draws;
use crate::diffusion::NoiseSchedule;
use crate::models::config::{PredictionType, StableDiffusionHeadConfig};
use crate::models::dreamllm::Diffusion;
use crate::nn::probe;
use crate::ops::mse::mse;
use crate::tensor::Tensor;
use crate::{Error, Result};

/// Options of the diffusion loss.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct DiffusionOptions {
    /// Strength of the offset of every channel.
    pub noise_offset: f64,
    /// Strength of the extra noise on the input.
    pub input_perturbation: f64,
    /// γ of min-SNR.
    pub snr_gamma: Option<f64>,
    /// Probability that a picture is drawn without its condition.
    pub drop_prob: Option<f64>,
}

impl From<&StableDiffusionHeadConfig> for DiffusionOptions {
    fn from(config: &StableDiffusionHeadConfig) -> Self {
        let StableDiffusionHeadConfig { noise_offset, input_perturbation, snr_gamma, drop_prob, .. } = *config;
        DiffusionOptions { noise_offset, input_perturbation, snr_gamma, drop_prob }
    }
}

/// Pixels `[N, Y, X, 3]` in [-1, 1], conditions `[N, Q, E]` → `[1]`.
pub(super) fn diffusion_loss(
    model: &Diffusion,
    pixels: &Tensor,
    condition: &Tensor,
    draws: &Draws,
    schedule: &NoiseSchedule,
    options: &DiffusionOptions,
) -> Result<Tensor> {
    let latents = model.vae.encode(pixels)?.sample(&draws.latent)?.scale(model.scaling_factor)?;
    let noise = more_noise(&draws.noise, draws.offset.as_ref(), options.noise_offset, "noise offset")?;
    let input = more_noise(&noise, draws.perturbation.as_ref(), options.input_perturbation, "input perturbation")?;
    let noisy = schedule.add_noise(&latents, &input, &draws.timesteps)?;
    let target = match schedule.prediction() {
        PredictionType::Epsilon => noise,
        PredictionType::VPrediction => schedule.velocity(&latents, &noise, &draws.timesteps)?,
        PredictionType::Sample => return Err(Error::Input("training: prediction_type sample has no loss".into())),
    };
    let prediction = model.unet.forward(&noisy, &timesteps(pixels, draws)?, condition)?;
    for (name, x) in [("unet_input", &noisy), ("unet_cond", condition), ("unet_output", &prediction)] {
        probe::see(name, x);
    }
    let weights = options.snr_gamma.map(|gamma| min_snr(pixels, draws, schedule, gamma)).transpose()?;
    mse(&prediction, &target, weights.as_ref())
}

/// noise + strength · more
fn more_noise(noise: &Tensor, more: Option<&Tensor>, strength: f64, what: &str) -> Result<Tensor> {
    match more {
        _ if strength == 0.0 => Ok(noise.clone()),
        Some(more) => noise.add(&more.scale(strength as f32)?),
        None => Err(Error::Input(format!("training: nothing was drawn for the {what}"))),
    }
}

fn timesteps(pixels: &Tensor, draws: &Draws) -> Result<Tensor> {
    let values: Vec<f32> = draws.timesteps.iter().map(|&t| t as f32).collect();
    Tensor::from_f32(pixels.gpu(), &values, [values.len()])
}

/// w(t) of every picture.
fn min_snr(pixels: &Tensor, draws: &Draws, schedule: &NoiseSchedule, gamma: f64) -> Result<Tensor> {
    let more = if schedule.prediction() == PredictionType::VPrediction { 1.0 } else { 0.0 };
    let weight = |&t: &usize| schedule.snr(t).map(|snr| ((snr + more).min(gamma) / (snr + more)) as f32);
    let weights = draws.timesteps.iter().map(weight).collect::<Result<Vec<_>>>()?;
    Tensor::from_f32(pixels.gpu(), &weights, [weights.len()])
}
