//! Gradients by parameter, over one batch or several.

use super::Losses;
use crate::Result;
use crate::autograd::gradients;
use crate::nn::Parameters;
use crate::ops::fill::full;
use crate::tensor::Tensor;
use std::collections::BTreeMap;

/// Gradients by the parameters' names. A parameter on which no loss depends is missing.
#[derive(Default)]
pub struct GradientSum(BTreeMap<String, Tensor>);

impl GradientSum {
    /// Adds `weight` times the gradients of a batch, whose tape is used up. With a weight of 1 / n, n batches after each other
    /// give the mean that one optimiser step takes.
    pub fn add(&mut self, losses: &Losses, parameters: &Parameters, weight: f32) -> Result<()> {
        self.add_loss(&losses.sum, parameters, weight)
    }

    /// The same for any loss `[1]`.
    pub fn add_loss(&mut self, loss: &Tensor, parameters: &Parameters, weight: f32) -> Result<()> {
        let mut found = gradients(loss, &full(loss.gpu(), [1], weight)?)?;
        for (name, parameter) in parameters.trained() {
            let Some(gradient) = found.take(&parameter.tensor) else { continue };
            let sum = match self.0.get(&name) {
                Some(sum) => sum.add(&gradient)?,
                None => gradient,
            };
            self.0.insert(name, sum);
        }
        Ok(())
    }

    /// The gradient of a parameter.
    pub fn get(&self, name: &str) -> Option<&Tensor> {
        self.0.get(name)
    }

    /// Puts another gradient in the place of a parameter's.
    pub fn set(&mut self, name: &str, gradient: Tensor) {
        self.0.insert(name.to_string(), gradient);
    }

    /// All of them, sorted by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Tensor)> {
        self.0.iter().map(|(name, gradient)| (name.as_str(), gradient))
    }
}
