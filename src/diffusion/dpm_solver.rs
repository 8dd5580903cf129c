//! DPM-Solver++ 2M (Lu et al. 2022, arXiv 2211.01095), algorithm 2, from level s to level t with h = λ_t − λ_s:
//!
//! x_t = σ_t/σ_s · x − α_t·(e^{−h} − 1) · D,   D = x̂_0 + (x̂_0 − x̂_0')/(2r),   r = (λ_s − λ_s')/h
//!
//! with the primes for the step before. Without one, and in the last of fewer than 15 steps, D = x̂_0, which is DDIM.

use super::combination::combine;
use super::prediction::Estimate;
use super::sampler::{Method, Point};
use super::schedule::NoiseSchedule;
use super::sigmas::{Level, multistep};
use crate::models::config::{PredictionType, SchedulerConfig};
use crate::{Result, Tensor};

/// With fewer steps the last one is of first order, for stability.
const ENOUGH_STEPS: usize = 15;

pub(super) struct DpmSolver {
    timesteps: Vec<f64>,
    sigmas: Vec<f64>,
    prediction: PredictionType,
    /// x̂_0 of the step before.
    previous: Option<Tensor>,
}

impl DpmSolver {
    pub fn new(schedule: &NoiseSchedule, config: &SchedulerConfig, steps: usize, karras: bool) -> Result<DpmSolver> {
        let (timesteps, sigmas) = multistep(schedule, config, steps, karras)?;
        Ok(DpmSolver { timesteps, sigmas, prediction: schedule.prediction(), previous: None })
    }

    /// 1/(2r), or 0 for a step of first order.
    fn extrapolation(&self, i: usize, h: f64, from: Level) -> f64 {
        let last = i + 1 == self.timesteps.len() && self.timesteps.len() < ENOUGH_STEPS;
        if self.previous.is_none() || last || i == 0 {
            return 0.0;
        }
        let before = from.lambda - Level::of(self.sigmas[i - 1]).lambda;
        // Two equal levels give no slope.
        if before > 0.0 { h / before / 2.0 } else { 0.0 }
    }
}

impl Method for DpmSolver {
    fn timesteps(&self) -> &[f64] {
        &self.timesteps
    }

    fn sigmas(&self) -> Option<&[f64]> {
        Some(&self.sigmas)
    }

    fn levels(&self, i: usize) -> (f64, f64) {
        let level = Level::of(self.sigmas[i]);
        (level.alpha, level.sigma)
    }

    fn forget(&mut self) {
        self.previous = None;
    }

    fn step(&mut self, i: usize, at: Point<'_>) -> Result<Tensor> {
        let (from, to) = (Level::of(self.sigmas[i]), Level::of(self.sigmas[i + 1]));
        let h = to.lambda - from.lambda;
        let clean = at.combine(Estimate::clean(self.prediction, from.alpha, from.sigma), 0.0)?;
        let weight = -to.alpha * (-h).exp_m1();
        let extra = self.extrapolation(i, h, from);
        let mut terms = vec![(to.sigma / from.sigma, at.x), (weight * (1.0 + extra), &clean)];
        terms.extend(self.previous.as_ref().map(|previous| (-weight * extra, previous)));
        let next = combine(&terms)?;
        self.previous = Some(clean);
        Ok(next)
    }
}
