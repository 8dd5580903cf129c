//! Gradients by parameter, over one batch or several.

use super::Losses;
use crate::Result;
use crate::autograd::gradients;
use crate::nn::Parameters;
use crate::ops::fill::{full, zeros};
use crate::tensor::Tensor;
use crate::weights::rename::{CLIP_IN_ALL, DIFFUSION_IN_ALL, DREAM_IN_ALL};
use std::collections::BTreeMap;

/// Whether the official forward pass uses a weight in every batch. Not so the UNet and the VAE.
fn is_always_run(name: &str) -> bool {
    match name.strip_prefix(DIFFUSION_IN_ALL) {
        Some(rest) => rest.starts_with("projector."),
        None => name.starts_with(CLIP_IN_ALL) || name.starts_with(DREAM_IN_ALL),
    }
}

/// Gradients by the parameters' names. A parameter on which no loss depends is missing, unless it gets
/// [zeros](GradientSum::add_zeros).
#[derive(Default)]
pub struct GradientSum(BTreeMap<String, Tensor>);

impl GradientSum {
    /// Adds `weight` times the gradients of a batch, whose tape is used up. With a weight of 1 / n, n batches after each other
    /// give the mean that one optimiser step takes.
    pub fn add(&mut self, losses: &Losses, parameters: &Parameters, weight: f32) -> Result<()> {
        self.add_loss(&losses.sum, parameters, weight)?;
        self.add_zeros(parameters)
    }

    /// Gives zeros to the image encoder, the projectors and the queries where they learn and had no part in a batch. The official
    /// forward pass adds 0 times their result to the loss of such a batch, so that AdamW counts the step for them, lets their moments
    /// fade and moves them on.
    pub fn add_zeros(&mut self, parameters: &Parameters) -> Result<()> {
        for (name, parameter) in parameters.trained() {
            if is_always_run(&name) && !self.0.contains_key(&name) {
                self.0.insert(name, zeros(parameter.tensor.gpu(), parameter.tensor.shape())?);
            }
        }
        Ok(())
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
