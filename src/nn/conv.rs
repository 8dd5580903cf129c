//! Two-dimensional convolution over channels-last images.

use super::Weights;
use crate::Result;
use crate::ops::conv2d::{Conv, conv2d};
use crate::ops::epilogue::Epilogue;
use crate::tensor::Tensor;

/// Filters `[N, KY, KX, C]`, perhaps a bias `[N]`, and where they are applied.
pub struct Conv2d {
    /// Filters, channels-last.
    pub weight: Tensor,
    /// One number per output channel.
    pub bias: Option<Tensor>,
    /// Stride and padding.
    pub conv: Conv,
}

impl Conv2d {
    /// Square filters of side `kernel` with a bias.
    pub fn load(w: &Weights, c: usize, n: usize, kernel: usize, conv: Conv) -> Result<Conv2d> {
        let bias = Some(w.vector("bias", [n])?);
        Ok(Conv2d { weight: w.filters("weight", [n, c, kernel, kernel])?, bias, conv })
    }

    /// Square filters without a bias.
    pub fn load_unbiased(w: &Weights, c: usize, n: usize, kernel: usize, conv: Conv) -> Result<Conv2d> {
        Ok(Conv2d { weight: w.filters("weight", [n, c, kernel, kernel])?, bias: None, conv })
    }

    /// 3 × 3 filters that keep the size.
    pub fn load_3x3(w: &Weights, c: usize, n: usize) -> Result<Conv2d> {
        Conv2d::load(w, c, n, 3, Conv::new(1, 1))
    }

    /// x `[B, Y, X, C]` → `[B, Y', X', N]`
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        conv2d(x, &self.weight, self.conv, Epilogue { bias: self.bias.as_ref(), ..Default::default() })
    }

    /// residual + the convolution
    pub fn added_to(&self, residual: &Tensor, x: &Tensor) -> Result<Tensor> {
        let epilogue = Epilogue { bias: self.bias.as_ref(), activation: None, residual: Some(residual) };
        conv2d(x, &self.weight, self.conv, epilogue)
    }
}
