//! Euler's method with fresh noise (k-diffusion's `sample_euler_ancestral`): a step down to σ_down, then noise up to σ':
//!
//! x' = σ_down/σ · x + (1 − σ_down/σ) · x̂_0 + σ_up·z,   σ_up² = σ'²·(σ² − σ'²)/σ²,   σ_down² = σ'² − σ_up²
//!
//! σ_up² is the variance of DDPM's posterior (Ho et al. 2020, equation 7) in the notation of Karras et al.

use super::euler::SigmaLadder;
use super::sampler::{Method, Point};
use super::schedule::NoiseSchedule;
use crate::models::config::SchedulerConfig;
use crate::{Result, Tensor};

pub(super) struct EulerAncestral(SigmaLadder);

impl EulerAncestral {
    pub fn new(schedule: &NoiseSchedule, config: &SchedulerConfig, steps: usize) -> Result<EulerAncestral> {
        SigmaLadder::new(schedule, config, steps, false).map(EulerAncestral)
    }
}

impl Method for EulerAncestral {
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

    fn needs_noise(&self, _i: usize) -> bool {
        true
    }

    fn step(&mut self, i: usize, at: Point<'_>) -> Result<Tensor> {
        let (from, to) = (self.0.sigmas[i], self.0.sigmas[i + 1]);
        let up = to * (1.0 - (to / from).powi(2)).max(0.0).sqrt();
        let down = to * to / from;
        at.combine(self.0.step(i, down), up)
    }
}
