//! Noise levels in the notation of Karras et al. 2022 (arXiv 2206.00364): σ = √((1 − ᾱ)/ᾱ), the deviation of the noise on
//! a latent whose signal has factor 1. Tables are f32, as in diffusers; arithmetic is f64.

use super::schedule::NoiseSchedule;
use super::spacing;
use crate::models::config::{SchedulerConfig, TimestepSpacing};
use crate::{Error, Result};

/// σ of every training timestep, rising.
pub(super) struct SigmaTable {
    sigmas: Vec<f32>,
    logarithms: Vec<f64>,
}

/// A noise level of the variance-preserving process: x = α·x_0 + σ·ε with α² + σ² = 1.
#[derive(Debug, Clone, Copy)]
pub(super) struct Level {
    pub alpha: f64,
    pub sigma: f64,
    /// ln(α/σ), half the logarithm of the signal-to-noise ratio.
    pub lambda: f64,
}

impl Level {
    /// The level whose ratio of noise to signal is `sigma`.
    pub fn of(sigma: f64) -> Level {
        let alpha = 1.0 / (sigma * sigma + 1.0).sqrt();
        Level { alpha, sigma: sigma * alpha, lambda: -sigma.ln() }
    }
}

impl SigmaTable {
    pub fn new(schedule: &NoiseSchedule) -> Result<SigmaTable> {
        let sigmas: Vec<f32> = schedule.alphas_cumprod().iter().map(|a| ((1.0 - a) / a).sqrt()).collect();
        if let Some(t) = sigmas.windows(2).position(|pair| !matches!(pair, [a, b] if a < b && b.is_finite())) {
            return Err(Error::Input(format!("the noise does not grow from timestep {t} to {}", t + 1)));
        }
        let logarithms = sigmas.iter().map(|sigma| f64::from(f64::from(*sigma).ln() as f32)).collect();
        Ok(SigmaTable { sigmas, logarithms })
    }

    /// σ at a timestep that may be a fraction, linearly between its neighbours.
    pub fn at(&self, t: f64) -> f64 {
        let (below, fraction) = (self.sigma(t as usize), t.fract());
        if fraction == 0.0 { below } else { below + fraction * (self.sigma(t as usize + 1) - below) }
    }

    /// The timestep at which the noise is `sigma`, linearly in ln σ.
    pub fn timestep(&self, sigma: f64) -> f64 {
        let wanted = sigma.max(1e-10).ln();
        let last = self.logarithms.len() - 1;
        let low = self.logarithms.partition_point(|log| *log <= wanted).saturating_sub(1).min(last.saturating_sub(1));
        let high = (low + 1).min(last);
        let (from, to) = (self.logarithms[low], self.logarithms[high]);
        let fraction = if to > from { ((from - wanted) / (from - to)).clamp(0.0, 1.0) } else { 0.0 };
        (1.0 - fraction) * low as f64 + fraction * high as f64
    }

    /// σ of the first timestep.
    pub fn lowest(&self) -> f64 {
        self.sigma(0)
    }

    /// σ of the last timestep.
    pub fn highest(&self) -> f64 {
        self.sigma(self.sigmas.len() - 1)
    }

    fn sigma(&self, t: usize) -> f64 {
        f64::from(self.sigmas[t.min(self.sigmas.len() - 1)])
    }
}

/// `count` falling sigmas, Karras et al. equation 5 with ρ = 7:
/// σ_i = (σ_max^{1/ρ} + i/(count − 1)·(σ_min^{1/ρ} − σ_max^{1/ρ}))^ρ
pub(super) fn karras(lowest: f64, highest: f64, count: usize) -> Vec<f64> {
    const RHO: f64 = 7.0;
    let (low, high) = (lowest.powf(1.0 / RHO), highest.powf(1.0 / RHO));
    spacing::linspace(1.0, count).into_iter().map(|ramp| (high + ramp * (low - high)).powf(RHO)).collect()
}

/// Timesteps and one more sigmas of DPM-Solver++ and UniPC: whole timesteps, and σ of timestep 0 at the end.
pub(super) fn multistep(
    schedule: &NoiseSchedule,
    config: &SchedulerConfig,
    steps: usize,
    karras_sigmas: bool,
) -> Result<(Vec<f64>, Vec<f64>)> {
    let table = SigmaTable::new(schedule)?;
    let (timesteps, mut sigmas): (Vec<f64>, Vec<f64>);
    if karras_sigmas || config.use_karras_sigmas {
        sigmas = karras(table.lowest(), table.highest(), steps);
        timesteps = sigmas.iter().map(|sigma| table.timestep(*sigma)).collect();
        sigmas.extend(sigmas.last().copied());
    } else {
        let spacing = config.timestep_spacing.unwrap_or(TimestepSpacing::Linspace);
        timesteps = spacing::rounded(spacing::evenly_before_end(config, spacing, steps)?);
        sigmas = timesteps.iter().map(|t| table.at(*t)).collect();
        sigmas.push(table.lowest());
    }
    Ok((spacing::rounded(timesteps), in_f32(sigmas)))
}

/// Rounds to f32.
pub(super) fn in_f32(values: Vec<f64>) -> Vec<f64> {
    values.into_iter().map(|x| f64::from(x as f32)).collect()
}
