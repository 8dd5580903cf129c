//! UniPC (Zhao et al. 2023, arXiv 2302.04867), algorithms 1 and 2 for data prediction, with order 2 and B₂.
//!
//! With h = λ_t − λ_s over a step, B = e^{−h} − 1, m the estimate x̂_0 at the step's start, m' the one before and
//! r = (λ_s' − λ_s)/h, which is negative:
//!
//! predictor   x_t = σ_t/σ_s·x_s − α_t·B·[m + ½·(m' − m)/r]
//! corrector   x_t = σ_t/σ_s·x_s − α_t·B·[m + ρ₁·(m' − m)/r + ρ₂·(m_t − m)]
//!
//! The corrector redoes a step once the UNet has been asked at its end (m_t), at no extra cost. ρ solves ρ₁ + ρ₂ = b₁,
//! r·ρ₁ + ρ₂ = b₂ with b₁ = φ₂/B, b₂ = 2·φ₃/B, φ₂ = −B/h − 1, φ₃ = −φ₂/h − ½. At order 1: no m', and ρ₂ = ½.
//! The order is 1 in the first step and in the last.

use super::combination::combine;
use super::prediction::Estimate;
use super::sampler::{Method, Point};
use super::schedule::NoiseSchedule;
use super::sigmas::{Level, multistep};
use crate::models::config::{PredictionType, SchedulerConfig};
use crate::{Result, Tensor};

pub(super) struct UniPc {
    timesteps: Vec<f64>,
    sigmas: Vec<f64>,
    prediction: PredictionType,
    /// x̂_0 of the last two steps, the newer one first.
    estimates: Vec<Tensor>,
    /// The step to correct: where it started, and its order.
    last: Option<(Tensor, usize)>,
}

/// Numbers of one step.
struct Coefficients {
    /// σ_t/σ_s
    kept: f64,
    /// −α_t·B
    weight: f64,
    h: f64,
    /// 1/r, or 0 where there is no step before or it has no length.
    slope: f64,
}

impl UniPc {
    pub fn new(schedule: &NoiseSchedule, config: &SchedulerConfig, steps: usize, karras: bool) -> Result<UniPc> {
        let (timesteps, sigmas) = multistep(schedule, config, steps, karras)?;
        Ok(UniPc { timesteps, sigmas, prediction: schedule.prediction(), estimates: Vec::new(), last: None })
    }

    /// Of the step from level `i` to the next, with `order − 1` steps before it.
    fn coefficients(&self, i: usize, order: usize) -> Coefficients {
        let (from, to) = (Level::of(self.sigmas[i]), Level::of(self.sigmas[i + 1]));
        let h = to.lambda - from.lambda;
        let before = match i.checked_sub(1) {
            Some(before) if order > 1 => from.lambda - Level::of(self.sigmas[before]).lambda,
            _ => 0.0,
        };
        let slope = if before > 0.0 { -h / before } else { 0.0 };
        Coefficients { kept: to.sigma / from.sigma, weight: -to.alpha * (-h).exp_m1(), h, slope }
    }

    fn predict(&self, i: usize, x: &Tensor, order: usize) -> Result<Tensor> {
        let c = self.coefficients(i, order);
        let extra = c.slope / 2.0;
        let weights = [c.weight * (1.0 - extra), c.weight * extra];
        let estimates = weights.into_iter().zip(&self.estimates).take(order);
        combine(&[(c.kept, x)].into_iter().chain(estimates).collect::<Vec<_>>())
    }

    /// The latent at level `i`, from the step that led there.
    fn correct(&self, i: usize, x: &Tensor, arrived: &Tensor, order: usize) -> Result<Tensor> {
        let c = self.coefficients(i - 1, order);
        let (before, end) = corrector_weights(c.h, c.slope);
        let extra = before * c.slope;
        let weights = [c.weight * (1.0 - extra - end), c.weight * extra];
        let estimates = weights.into_iter().zip(&self.estimates).take(order);
        combine(&[(c.kept, x), (c.weight * end, arrived)].into_iter().chain(estimates).collect::<Vec<_>>())
    }
}

/// ρ₁ and ρ₂ from h and 1/r.
fn corrector_weights(h: f64, slope: f64) -> (f64, f64) {
    if slope == 0.0 || h == 0.0 {
        return (0.0, 0.5);
    }
    let b = (-h).exp_m1();
    let phi_2 = -b / h - 1.0;
    let phi_3 = -phi_2 / h - 0.5;
    let (b_1, b_2) = (phi_2 / b, 2.0 * phi_3 / b);
    let before = (b_1 - b_2) / (1.0 - 1.0 / slope);
    (before, b_1 - before)
}

impl Method for UniPc {
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
        self.estimates.clear();
        self.last = None;
    }

    fn step(&mut self, i: usize, at: Point<'_>) -> Result<Tensor> {
        let level = Level::of(self.sigmas[i]);
        let clean = at.combine(Estimate::clean(self.prediction, level.alpha, level.sigma), 0.0)?;
        let x = match self.last.take() {
            Some((start, order)) => self.correct(i, &start, &clean, order)?,
            None => at.x.clone(),
        };
        self.estimates.insert(0, clean);
        self.estimates.truncate(2);
        let order = self.estimates.len().min(self.timesteps.len() - i);
        let next = self.predict(i, &x, order)?;
        self.last = Some((x, order));
        Ok(next)
    }
}
