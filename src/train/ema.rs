//! An average of the parameters over the last steps, which often draws better than the newest values:
//!
//! `average ← d · average + (1 − d) · parameter` with `d = min(decay, (1 + t) / (10 + t))` at step t = 0, 1, …
//!
//! The second term keeps what a short run began with from staying in the average: with a constant decay of 0.999 it would still be
//! a fifth of it after 1600 steps.

use crate::Result;
use crate::nn::Parameters;
use crate::ops::adamw::ema;
use crate::tensor::Tensor;
use std::collections::BTreeMap;

/// Averages of everything that is trained.
pub struct Ema {
    /// How much of the average stays at a late step.
    pub decay: f64,
    /// By parameter.
    pub averages: BTreeMap<String, Tensor>,
}

impl Ema {
    /// Of the parameters as they are.
    pub fn new(decay: f64, parameters: &Parameters) -> Result<Ema> {
        let copy = |(name, p): (String, crate::nn::Parameter)| Ok((name, p.tensor.detach().scale(1.0)?));
        Ok(Ema { decay, averages: parameters.trained().into_iter().map(copy).collect::<Result<_>>()? })
    }

    /// After step `t` of the optimiser; the first one is 0.
    pub fn step(&self, parameters: &Parameters, t: u64) -> Result<()> {
        let decay = self.decay.min((1 + t) as f64 / (10 + t) as f64);
        for (name, average) in &self.averages {
            if let Some(parameter) = parameters.get(name) {
                ema(average, &parameter.tensor.detach(), decay)?;
            }
        }
        Ok(())
    }

    /// The parameters with their averages in the place of what is trained, to look at or to save.
    pub fn parameters(&self, parameters: &Parameters) -> Parameters {
        parameters.replaced(self.averages.iter().map(|(name, average)| (name.as_str(), average)))
    }
}
