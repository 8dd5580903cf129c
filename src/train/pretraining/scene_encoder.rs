//! Condition vectors without words: the teacher from which the image generator learns to draw, and which the dream queries
//! are to imitate.
//!
//! `condition[slot] = √V · Σ over the slot's values of weight · W[:, value]`, W `[E, V]`, one matrix. It plays the part of Stable
//! Diffusion's text encoder before DreamLLM: what the UNet attends to is given by [slots](crate::data::shapes::slots).

use crate::Result;
use crate::data::shapes::{SLOT_VALUES, SLOTS, Slots};
use crate::gpu::Gpu;
use crate::nn::{Linear, Weights};
use crate::tensor::Tensor;

/// W.
pub struct SceneEncoder(Linear);

impl SceneEncoder {
    /// Loads from `w = scene_encoder`; `width` is E.
    pub fn load(w: &Weights, width: usize) -> Result<SceneEncoder> {
        Linear::load_unbiased(w, SLOT_VALUES, width).map(SceneEncoder)
    }

    /// Slots of N pictures → `[N, 8, E]`.
    pub fn forward(&self, gpu: &Gpu, pictures: &[Slots]) -> Result<Tensor> {
        let mut values = vec![0.0; pictures.len() * SLOTS * SLOT_VALUES];
        for (row, slot) in pictures.iter().flatten().enumerate() {
            for (value, weight) in slot {
                values[row * SLOT_VALUES + value] += weight * (SLOT_VALUES as f32).sqrt();
            }
        }
        self.0.forward(&Tensor::from_f32(gpu, &values, [pictures.len(), SLOTS, SLOT_VALUES])?)
    }
}
