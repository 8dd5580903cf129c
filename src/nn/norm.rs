//! Normalisation layers.

use super::{Weights, probe};
use crate::Result;
use crate::ops::epilogue::Activation;
use crate::ops::norm::{group_norm, layer_norm, rms_norm};
use crate::ops::pointwise::silu;
use crate::tensor::Tensor;

/// Over the last axis, with gain and bias.
pub struct LayerNorm {
    /// Gain `[C]`.
    pub weight: Tensor,
    /// Bias `[C]`.
    pub bias: Tensor,
    eps: f32,
}

impl LayerNorm {
    /// For width `c`.
    pub fn load(w: &Weights, c: usize, eps: f64) -> Result<LayerNorm> {
        Ok(LayerNorm { weight: w.gain(c)?, bias: w.vector("bias", [c])?, eps: eps as f32 })
    }

    /// x `[.., C]` → the same shape
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        layer_norm(x, &self.weight, &self.bias, self.eps)
    }
}

/// Over the last axis, by the root mean square, with a gain.
pub struct RmsNorm {
    /// Gain `[C]`.
    pub weight: Tensor,
    eps: f32,
}

impl RmsNorm {
    /// For width `c`.
    pub fn load(w: &Weights, c: usize, eps: f64) -> Result<RmsNorm> {
        Ok(RmsNorm { weight: w.gain(c)?, eps: eps as f32 })
    }

    /// x `[.., C]` → the same shape
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        rms_norm(x, &self.weight, self.eps)
    }
}

/// Over groups of channels of an image, with gain and bias.
pub struct GroupNorm {
    /// Gain `[C]`.
    pub weight: Tensor,
    /// Bias `[C]`.
    pub bias: Tensor,
    groups: usize,
    eps: f32,
    path: String,
}

impl GroupNorm {
    /// For `c` channels in `groups` groups.
    pub fn load(w: &Weights, c: usize, groups: usize, eps: f64) -> Result<GroupNorm> {
        let (weight, bias) = (w.vector("weight", [c])?, w.vector("bias", [c])?);
        Ok(GroupNorm { weight, bias, groups, eps: eps as f32, path: w.path().to_string() })
    }

    /// x `[B, Y, X, C]` → the same shape
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let y = group_norm(x, self.groups, &self.weight, &self.bias, self.eps, None)?;
        probe::see(&self.path, &y);
        Ok(y)
    }

    /// silu of the normalised image, in one pass unless somebody wants to see what lies between.
    pub fn silu(&self, x: &Tensor) -> Result<Tensor> {
        if probe::is_watching() {
            return silu(&self.forward(x)?);
        }
        group_norm(x, self.groups, &self.weight, &self.bias, self.eps, Some(Activation::Silu))
    }
}
