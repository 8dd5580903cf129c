//! One step of AdamW over all parameters, with clipping by the norm of all gradients. Nothing is read back.

use super::GradientSum;
use crate::gpu::Gpu;
use crate::nn::Parameters;
use crate::ops::adamw::{AdamW, Trained as Moments};
use crate::ops::fill::zeros;
use crate::ops::global_norm::global_norm;
use crate::ops::pointwise::clip_factor;
use crate::tensor::Tensor;
use crate::{Error, Result};
use std::collections::BTreeMap;

/// AdamW's constants and what it remembers of every parameter.
pub struct Optimiser {
    /// Constants. Weight decay spares biases and the gains of layer and RMS norms.
    pub adamw: AdamW,
    /// The longest gradient; longer ones are shortened to it.
    pub max_norm: Option<f32>,
    /// By parameter. One that never had a gradient has none, as in PyTorch.
    pub slots: BTreeMap<String, Slot>,
}

/// What AdamW remembers of a parameter.
pub struct Slot {
    /// Mean of its gradients.
    pub mean: Tensor,
    /// Mean of their squares.
    pub square: Tensor,
    /// Steps that it took.
    pub steps: u32,
}

impl Optimiser {
    /// Before the first step.
    pub fn new(adamw: AdamW, max_norm: Option<f32>) -> Optimiser {
        Optimiser { adamw, max_norm, slots: BTreeMap::new() }
    }

    /// Moves every parameter that has a gradient, at a learning rate. Returns the norm of the gradients before clipping, `[1]`.
    pub fn step(&mut self, gpu: &Gpu, parameters: &Parameters, sum: &GradientSum, rate: f64) -> Result<Tensor> {
        let norm = global_norm(gpu, &sum.iter().map(|(_, gradient)| gradient).collect::<Vec<_>>())?;
        let clip = self.max_norm.map(|most| clip_factor(&norm, most)).transpose()?;
        for (name, gradient) in sum.iter() {
            let parameter = parameters
                .get(name)
                .ok_or_else(|| Error::Input(format!("optimiser: a gradient of {name}, which is no parameter")))?;
            if !self.slots.contains_key(name) {
                let moment = || zeros(gpu, gradient.shape());
                self.slots.insert(name.to_string(), Slot { mean: moment()?, square: moment()?, steps: 0 });
            }
            let Some(slot) = self.slots.get_mut(name) else { continue };
            slot.steps += 1;
            let decay = if parameter.decays { self.adamw.weight_decay } else { 0.0 };
            let adamw = AdamW { weight_decay: decay, ..self.adamw };
            let moments = Moments { parameter: &parameter.tensor, mean: &slot.mean, square: &slot.square };
            adamw.step(moments, gradient, clip.as_ref(), rate, slot.steps)?;
        }
        Ok(norm)
    }
}
