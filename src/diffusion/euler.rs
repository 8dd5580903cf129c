//! Euler's method on the probability flow ODE (Karras et al. 2022, arXiv 2206.00364), algorithm 2 without churn, on the
//! latent x = x_0 + σ·ε, which the UNet sees as x/√(σ² + 1):
//!
//! x' = x + (σ' − σ)·(x − x̂_0)/σ  =  σ'/σ · x + (1 − σ'/σ) · x̂_0
//!
//! The run ends at σ = 0.

use super::prediction::Estimate;
use super::sampler::{Method, Point};
use super::schedule::NoiseSchedule;
use super::sigmas::{Level, SigmaTable, in_f32, karras};
use super::spacing;
use crate::models::config::{PredictionType, SchedulerConfig, TimestepSpacing};
use crate::{Result, Tensor};

/// Timesteps, which may be fractions, and their sigmas with a 0 at the end.
pub(super) struct SigmaLadder {
    pub timesteps: Vec<f64>,
    pub sigmas: Vec<f64>,
    spacing: TimestepSpacing,
    prediction: PredictionType,
}

impl SigmaLadder {
    pub fn new(schedule: &NoiseSchedule, config: &SchedulerConfig, steps: usize, karras_sigmas: bool) -> Result<Self> {
        let table = SigmaTable::new(schedule)?;
        let spacing = config.timestep_spacing.unwrap_or(TimestepSpacing::Linspace);
        let mut timesteps = in_f32(spacing::evenly(config, spacing, steps)?);
        let mut sigmas: Vec<f64> = timesteps.iter().map(|t| table.at(*t)).collect();
        if karras_sigmas {
            let ends = (sigmas.last().copied().unwrap_or_default(), sigmas.first().copied().unwrap_or_default());
            sigmas = karras(ends.0, ends.1, steps);
            timesteps = in_f32(sigmas.iter().map(|sigma| table.timestep(*sigma)).collect());
        }
        sigmas.push(0.0);
        Ok(SigmaLadder { timesteps, sigmas: in_f32(sigmas), spacing, prediction: schedule.prediction() })
    }

    /// Where spacing reaches the last timestep the noise is all there is; else the latent has a deviation of its own.
    pub fn init_noise_sigma(&self) -> f64 {
        match (self.spacing, self.sigmas[0]) {
            (TimestepSpacing::Leading, highest) => in_f32(vec![(highest * highest + 1.0).sqrt()])[0],
            (_, highest) => highest,
        }
    }

    /// 1/√(σ² + 1)
    pub fn input_scale(&self, i: usize) -> f64 {
        Level::of(self.sigmas[i]).alpha
    }

    /// Euler's step from σ_i to `sigma`.
    pub fn step(&self, i: usize, sigma: f64) -> Estimate {
        let level = Level::of(self.sigmas[i]);
        let clean = Estimate::clean(self.prediction, level.alpha, level.sigma);
        // That is of α·x, what the UNet saw.
        let clean = Estimate { x: clean.x * level.alpha, ..clean };
        let kept = sigma / self.sigmas[i];
        Estimate::LATENT * kept + clean * (1.0 - kept)
    }
}

pub(super) struct Euler(SigmaLadder);

impl Euler {
    pub fn new(schedule: &NoiseSchedule, config: &SchedulerConfig, steps: usize, karras_sigmas: bool) -> Result<Euler> {
        SigmaLadder::new(schedule, config, steps, karras_sigmas || config.use_karras_sigmas).map(Euler)
    }
}

impl Method for Euler {
    fn timesteps(&self) -> &[f64] {
        &self.0.timesteps
    }

    fn sigmas(&self) -> Option<&[f64]> {
        Some(&self.0.sigmas)
    }

    fn levels(&self, i: usize) -> (f64, f64) {
        (1.0, self.0.sigmas[i])
    }

    fn init_noise_sigma(&self) -> f64 {
        self.0.init_noise_sigma()
    }

    fn input_scale(&self, i: usize) -> f64 {
        self.0.input_scale(i)
    }

    /// Diffusers draws noise for the churn, even where there is none.
    fn needs_noise(&self, _i: usize) -> bool {
        true
    }

    fn step(&mut self, i: usize, at: Point<'_>) -> Result<Tensor> {
        at.combine(self.0.step(i, self.0.sigmas[i + 1]), 0.0)
    }
}
