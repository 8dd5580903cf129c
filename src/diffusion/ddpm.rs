//! Ancestral sampling (Ho et al. 2020, arXiv 2006.11239), equations 6 and 7, from timestep t to s = t − ⌊T/steps⌋:
//!
//! x_s = √ᾱ_s·β/(1 − ᾱ_t) · x̂_0  +  √(1 − β)·(1 − ᾱ_s)/(1 − ᾱ_t) · x_t  +  √β̃ · z,   β = 1 − ᾱ_t/ᾱ_s
//!
//! with z fresh noise and β̃ = (1 − ᾱ_s)/(1 − ᾱ_t)·β ("fixed_small") or β ("fixed_large"). Before the first timestep ᾱ is 1.

use super::prediction::Estimate;
use super::sampler::{Method, Point};
use super::schedule::{NoiseSchedule, signal_and_noise};
use super::{combination::combine, spacing};
use crate::models::config::{PredictionType, SchedulerConfig, TimestepSpacing, VarianceType};
use crate::ops::pointwise::clamp;
use crate::{Result, Tensor};

pub(super) struct Ddpm {
    timesteps: Vec<f64>,
    /// ᾱ at the start and at the end of each step.
    alpha_bars: Vec<(f64, f64)>,
    prediction: PredictionType,
    variance: VarianceType,
    clip: Option<f32>,
}

impl Ddpm {
    pub fn new(schedule: &NoiseSchedule, config: &SchedulerConfig, steps: usize) -> Result<Ddpm> {
        let spacing = config.timestep_spacing.unwrap_or(TimestepSpacing::Leading);
        let timesteps = spacing::rounded(spacing::evenly(config, spacing, steps)?);
        let alpha_bars = alpha_bars(schedule, &timesteps, steps, 1.0)?;
        let clip = config.clip_sample.then_some(config.clip_sample_range as f32);
        Ok(Ddpm { timesteps, alpha_bars, prediction: schedule.prediction(), variance: config.variance_type, clip })
    }

    /// Variance of the noise that is added.
    fn variance(&self, (from, to): (f64, f64)) -> f64 {
        let beta = 1.0 - from / to;
        match self.variance {
            // The floor is diffusers': a step that ends on ᾱ = 1 draws noise and adds it with deviation 1e-10.
            VarianceType::FixedSmall | VarianceType::FixedSmallLog => ((1.0 - to) / (1.0 - from) * beta).max(1e-20),
            VarianceType::FixedLarge | VarianceType::FixedLargeLog => beta,
        }
    }
}

/// ᾱ at both ends of every step of width ⌊T/steps⌋; `end` is its value before timestep 0.
pub(super) fn alpha_bars(
    schedule: &NoiseSchedule,
    timesteps: &[f64],
    steps: usize,
    end: f64,
) -> Result<Vec<(f64, f64)>> {
    let width = schedule.timesteps() / steps;
    let ends = |t: usize| {
        let to = t.checked_sub(width).map_or(Ok(end), |s| schedule.alpha_bar(s))?;
        Ok((schedule.alpha_bar(t)?, to))
    };
    timesteps.iter().map(|t| ends(*t as usize)).collect()
}

impl Method for Ddpm {
    fn timesteps(&self) -> &[f64] {
        &self.timesteps
    }

    fn levels(&self, i: usize) -> (f64, f64) {
        signal_and_noise(self.alpha_bars[i].0)
    }

    fn needs_noise(&self, i: usize) -> bool {
        self.timesteps[i] > 0.0
    }

    fn step(&mut self, i: usize, at: Point<'_>) -> Result<Tensor> {
        let (from, to) = self.alpha_bars[i];
        let (alpha, sigma) = signal_and_noise(from);
        let beta = 1.0 - from / to;
        let on_clean = to.sqrt() * beta / (1.0 - from);
        let on_latent = (1.0 - beta).sqrt() * (1.0 - to) / (1.0 - from);
        let on_noise = if self.needs_noise(i) { self.variance((from, to)).sqrt() } else { 0.0 };
        let clean = Estimate::clean(self.prediction, alpha, sigma);
        let Some(clip) = self.clip else {
            return at.combine(clean * on_clean + Estimate::LATENT * on_latent, on_noise);
        };
        let clean = clamp(&at.combine(clean, 0.0)?, -clip, clip)?;
        let terms = [(on_clean, &clean), (on_latent, at.x)];
        combine(&terms.into_iter().chain(at.fresh(on_noise)?).collect::<Vec<_>>())
    }
}
