//! From what the UNet predicts to estimates of the clean latent x_0 and of the noise ε.
//!
//! | prediction | x_0             | ε               |
//! |------------|-----------------|-----------------|
//! | ε          | (x − σ·ε)/α     | ε               |
//! | v          | α·x − σ·v       | σ·x + α·v       |
//! | x_0        | x_0             | (x − α·x_0)/σ   |
//!
//! DDPM (arXiv 2006.11239) equation 15; v: Salimans and Ho 2022 (arXiv 2202.00512), appendix D. All are linear in x and the
//! prediction, and so is every step built from them: samplers compute with the two coefficients and run one kernel.

use crate::models::config::PredictionType;
use std::ops::{Add, Mul};

/// The linear combination `x · latent + prediction · model output`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Estimate {
    /// Coefficient of the noisy latent.
    pub x: f64,
    /// Coefficient of the UNet's output.
    pub prediction: f64,
}

impl Estimate {
    /// x_0, where x = α·x_0 + σ·ε.
    pub fn clean(kind: PredictionType, alpha: f64, sigma: f64) -> Estimate {
        match kind {
            PredictionType::Epsilon => Estimate { x: 1.0 / alpha, prediction: -sigma / alpha },
            PredictionType::VPrediction => Estimate { x: alpha, prediction: -sigma },
            PredictionType::Sample => Estimate { x: 0.0, prediction: 1.0 },
        }
    }

    /// ε.
    pub fn noise(kind: PredictionType, alpha: f64, sigma: f64) -> Estimate {
        match kind {
            PredictionType::Epsilon => Estimate { x: 0.0, prediction: 1.0 },
            PredictionType::VPrediction => Estimate { x: sigma, prediction: alpha },
            PredictionType::Sample => Estimate { x: 1.0 / sigma, prediction: -alpha / sigma },
        }
    }

    /// The latent itself.
    pub(super) const LATENT: Estimate = Estimate { x: 1.0, prediction: 0.0 };
}

impl Add for Estimate {
    type Output = Estimate;
    fn add(self, other: Estimate) -> Estimate {
        Estimate { x: self.x + other.x, prediction: self.prediction + other.prediction }
    }
}

impl Mul<f64> for Estimate {
    type Output = Estimate;
    fn mul(self, factor: f64) -> Estimate {
        Estimate { x: self.x * factor, prediction: self.prediction * factor }
    }
}
