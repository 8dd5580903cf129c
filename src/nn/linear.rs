//! Linear layer:   y = x · Wᵀ + b

use super::{Adapter, Weights};
use crate::Result;
use crate::ops::epilogue::{Activation, Epilogue};
use crate::ops::matmul::linear;
use crate::tensor::Tensor;

/// W `[N, C]` and perhaps b `[N]`.
pub struct Linear {
    /// W
    pub weight: Tensor,
    /// b
    pub bias: Option<Tensor>,
    /// What is learned beside a frozen W.
    pub adapter: Option<Adapter>,
}

impl Linear {
    /// With a bias.
    pub fn load(w: &Weights, c: usize, n: usize) -> Result<Linear> {
        Ok(Linear { bias: Some(w.vector("bias", [n])?), ..Linear::load_unbiased(w, c, n)? })
    }

    /// Without a bias.
    pub fn load_unbiased(w: &Weights, c: usize, n: usize) -> Result<Linear> {
        Ok(Linear { weight: w.matrix("weight", [n, c])?, bias: None, adapter: w.adapter([n, c])? })
    }

    /// With a bias, from a 1 × 1 convolution's weight `[N, C, 1, 1]` or a matrix, whichever `convolution` says.
    pub fn load_pointwise(w: &Weights, c: usize, n: usize, convolution: bool) -> Result<Linear> {
        if !convolution {
            return Linear::load(w, c, n);
        }
        Ok(Linear { weight: w.pointwise("weight", [n, c])?, bias: Some(w.vector("bias", [n])?), adapter: None })
    }

    /// x `[.., C]` → `[.., N]`
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        self.fused(x, None, None)
    }

    /// activation(x · Wᵀ + b)
    pub fn activated(&self, x: &Tensor, activation: Activation) -> Result<Tensor> {
        self.fused(x, Some(activation), None)
    }

    /// residual + x · Wᵀ + b
    pub fn added_to(&self, residual: &Tensor, x: &Tensor) -> Result<Tensor> {
        self.fused(x, None, Some(residual))
    }

    fn fused(&self, x: &Tensor, activation: Option<Activation>, residual: Option<&Tensor>) -> Result<Tensor> {
        let bias = self.bias.as_ref();
        let Some(adapter) = &self.adapter else {
            return linear(x, &self.weight, Epilogue { bias, activation, residual });
        };
        let learned = adapter.forward(x)?;
        let added = residual.map_or(Ok(learned.clone()), |residual| residual.add(&learned))?;
        let y = linear(x, &self.weight, Epilogue { bias, activation: None, residual: Some(&added) })?;
        activation.map_or(Ok(y.clone()), |activation| activation.apply(&y))
    }
}
