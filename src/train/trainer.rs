//! The loop's body: losses and gradients of one batch or several, then one step.

use super::{Draws, GradientSum, Inputs, Losses, Objective, Optimiser, RateSchedule};
use crate::models::dreamllm::DreamLlm;
use crate::nn::Parameters;
use crate::tensor::Tensor;
use crate::{Error, Result};

/// A model that learns.
pub struct Trainer {
    /// The model, whose trained weights are variables.
    pub model: DreamLlm,
    /// Its weights by name.
    pub parameters: Parameters,
    /// What is minimised.
    pub objective: Objective,
    /// How.
    pub optimiser: Optimiser,
    /// How fast.
    pub rates: RateSchedule,
    /// Steps taken so far.
    pub step: u64,
}

/// What one step was made of. Its tensors are read when somebody wants to know them.
pub struct Step {
    /// Losses of every batch, before the step.
    pub losses: Vec<Losses>,
    /// Norm of the gradients before clipping, `[1]`.
    pub norm: Tensor,
    /// The learning rate.
    pub rate: f64,
}

impl Trainer {
    /// One optimiser step on the mean loss of the batches, whose gradients are accumulated one batch after the other.
    pub fn step(&mut self, batches: &[(Inputs, Option<Draws>)]) -> Result<Step> {
        if batches.is_empty() {
            return Err(Error::Input("training: a step without a batch".into()));
        }
        let mut sum = GradientSum::default();
        let mut all = Vec::new();
        for (inputs, draws) in batches {
            let losses = self.objective.losses(&self.model, inputs, draws.as_ref())?;
            sum.add(&losses, &self.parameters, 1.0 / batches.len() as f32)?;
            all.push(Losses { sum: losses.sum.detach(), ..losses });
        }
        let rate = self.rates.rate(self.step);
        let norm = self.optimiser.step(&self.model.gpu, &self.parameters, &sum, rate)?;
        self.step += 1;
        Ok(Step { losses: all, norm, rate })
    }
}
