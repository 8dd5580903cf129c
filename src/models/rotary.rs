//! Rotary position tables of the decoder, plain or scaled for longer sequences.
//!
//! Source: Su et al., "RoFormer", 2021; linear scaling divides positions by a factor, dynamic NTK scaling raises the base
//! once a sequence is longer than the model was trained on, both as transformers 4.35 does.

use super::config::{DreamConfig, RopeScaling};
use crate::Result;
use crate::gpu::Gpu;
use crate::ops::rope::rope_tables;
use crate::tensor::Tensor;
use std::sync::{Mutex, PoisonError};

/// Cosines and sines `[P, D/2]` for as many positions as were needed so far.
pub struct Rotary {
    head_dim: usize,
    theta: f64,
    scaling: Option<RopeScaling>,
    trained: usize,
    tables: Mutex<Option<(usize, Tensor, Tensor)>>,
}

impl Rotary {
    /// For the decoder's heads.
    pub fn new(config: &DreamConfig) -> Rotary {
        Rotary {
            head_dim: config.head_dim(),
            theta: config.rope_theta,
            scaling: config.rope_scaling,
            trained: config.max_position_embeddings,
            tables: Mutex::new(None),
        }
    }

    /// Tables of at least `positions` rows.
    pub fn tables(&self, gpu: &Gpu, positions: usize) -> Result<(Tensor, Tensor)> {
        let mut slot = self.tables.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, cos, sin)) = slot.as_ref().filter(|(rows, ..)| *rows >= positions) {
            return Ok((cos.clone(), sin.clone()));
        }
        let (rows, theta, scale) = self.plan(positions);
        let (cos, sin) = rope_tables(gpu, self.head_dim, rows, theta as f32, scale as f32)?;
        *slot = Some((rows, cos.clone(), sin.clone()));
        Ok((cos, sin))
    }

    /// Rows, base and position divisor of tables for a sequence of `positions` tokens.
    fn plan(&self, positions: usize) -> (usize, f64, f64) {
        let rows = positions.max(self.trained);
        match self.scaling {
            None => (rows, self.theta, 1.0),
            Some(RopeScaling::Linear { factor }) => (rows, self.theta, factor),
            Some(RopeScaling::Dynamic { .. }) if positions <= self.trained => (rows, self.theta, 1.0),
            Some(RopeScaling::Dynamic { factor }) => {
                let stretch = factor * positions as f64 / self.trained as f64 - (factor - 1.0);
                let d = self.head_dim as f64;
                (rows, self.theta * stretch.powf(d / (d - 2.0)), 1.0)
            }
        }
    }
}
