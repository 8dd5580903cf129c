//! An average of the parameters over the last steps, which often draws better than the newest values:
//!
//!   `average ← decay · average + (1 − decay) · parameter`, beginning with the parameter itself

use crate::Result;
use crate::nn::Parameters;
use crate::ops::adamw::ema;
use crate::tensor::Tensor;
use std::collections::BTreeMap;

/// Averages of everything that is trained.
pub struct Ema {
    /// How much of the average stays at a step.
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

    /// After a step of the optimiser.
    pub fn step(&self, parameters: &Parameters) -> Result<()> {
        for (name, average) in &self.averages {
            if let Some(parameter) = parameters.get(name) {
                ema(average, &parameter.tensor.detach(), self.decay)?;
            }
        }
        Ok(())
    }

    /// The parameters with their averages in the place of what is trained, to look at or to save.
    pub fn parameters(&self, parameters: &Parameters) -> Parameters {
        parameters.replaced(self.averages.iter().map(|(name, average)| (name.as_str(), average)))
    }
}
