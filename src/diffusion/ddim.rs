//! DDIM (Song et al. 2020, arXiv 2010.02502), equations 12 and 16, from timestep t to s = t − ⌊T/steps⌋:
//!
//! x_s = √ᾱ_s · x̂_0  +  √(1 − ᾱ_s − σ²) · ε̂  +  σ·z,   σ = η·√((1 − ᾱ_s)/(1 − ᾱ_t) · (1 − ᾱ_t/ᾱ_s))
//!
//! η = 0 is deterministic. Before the first timestep ᾱ is 1 (`set_alpha_to_one`) or that of timestep 0.

use super::ddpm::alpha_bars;
use super::prediction::Estimate;
use super::sampler::{Method, Point};
use super::schedule::{NoiseSchedule, signal_and_noise};
use super::{combination::combine, spacing};
use crate::models::config::{PredictionType, SchedulerConfig, TimestepSpacing};
use crate::ops::pointwise::clamp;
use crate::{Result, Tensor};

pub(super) struct Ddim {
    timesteps: Vec<f64>,
    /// ᾱ at the start and at the end of each step.
    alpha_bars: Vec<(f64, f64)>,
    prediction: PredictionType,
    eta: f64,
    clip: Option<f32>,
}

impl Ddim {
    pub fn new(schedule: &NoiseSchedule, config: &SchedulerConfig, steps: usize, eta: f64) -> Result<Ddim> {
        let spacing = config.timestep_spacing.unwrap_or(TimestepSpacing::Leading);
        let timesteps = spacing::rounded(spacing::evenly(config, spacing, steps)?);
        let end = if config.set_alpha_to_one.unwrap_or(true) { 1.0 } else { schedule.alpha_bar(0)? };
        let alpha_bars = alpha_bars(schedule, &timesteps, steps, end)?;
        let clip = config.clip_sample.then_some(config.clip_sample_range as f32);
        Ok(Ddim { timesteps, alpha_bars, prediction: schedule.prediction(), eta, clip })
    }
}

impl Method for Ddim {
    fn timesteps(&self) -> &[f64] {
        &self.timesteps
    }

    fn levels(&self, i: usize) -> (f64, f64) {
        signal_and_noise(self.alpha_bars[i].0)
    }

    fn needs_noise(&self, _i: usize) -> bool {
        self.eta > 0.0
    }

    fn step(&mut self, i: usize, at: Point<'_>) -> Result<Tensor> {
        let (from, to) = self.alpha_bars[i];
        let (alpha, sigma) = signal_and_noise(from);
        let variance = self.eta.powi(2) * (1.0 - to) / (1.0 - from) * (1.0 - from / to);
        // Rounding may take the difference below 0 where η = 1.
        let (on_clean, on_noise) = (to.sqrt(), (1.0 - to - variance).max(0.0).sqrt());
        let clean = Estimate::clean(self.prediction, alpha, sigma);
        let noise = Estimate::noise(self.prediction, alpha, sigma);
        let Some(clip) = self.clip else {
            return at.combine(clean * on_clean + noise * on_noise, variance.sqrt());
        };
        let clean = clamp(&at.combine(clean, 0.0)?, -clip, clip)?;
        let terms = [(on_clean, &clean), (noise.x * on_noise, at.x), (noise.prediction * on_noise, at.prediction)];
        combine(&terms.into_iter().chain(at.fresh(variance.sqrt())?).collect::<Vec<_>>())
    }
}
