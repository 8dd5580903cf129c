//! Classifier-free guidance (Ho and Salimans 2022, arXiv 2207.12598), equation 6 with 1 + w = scale:
//!
//! ε = ε_u + scale · (ε_c − ε_u)
//!
//! and the rescaling of Lin et al. 2023 (arXiv 2305.08891), equations 15 and 16, against overexposed pictures:
//!
//! ε' = rescale · ε·std(ε_c)/std(ε) + (1 − rescale) · ε,   std over all of a sample

use crate::ops::pointwise::{guidance, guidance_rescale, mix, square};
use crate::{Result, Tensor};

/// The guided prediction `[B, …]` from the unconditional and the conditional one.
///
/// Up to scale 1 guidance is off, as in diffusers: the result is the conditional prediction, and a caller need not
/// compute the other one.
pub fn guide(eps_uncond: &Tensor, eps_cond: &Tensor, scale: f32, rescale: f32) -> Result<Tensor> {
    eps_uncond.expect_shape("guidance eps_uncond", "B ..", eps_cond.shape())?;
    if scale <= 1.0 {
        return Ok(eps_cond.clone());
    }
    let guided = guidance(eps_uncond, eps_cond, scale)?;
    if rescale <= 0.0 {
        return Ok(guided);
    }
    // The number that the sums would be divided by, n or n − 1, cancels in the ratio of the deviations.
    guidance_rescale(&guided, &squared_deviation(eps_cond)?, &squared_deviation(&guided)?, rescale)
}

/// Σ (x − mean)² of every sample, `[B, 1, …]`.
fn squared_deviation(x: &Tensor) -> Result<Tensor> {
    let per_sample = (1..x.shape().rank()).fold(x.shape(), |shape, axis| shape.with(axis, 1));
    let count = x.len().max(1) / per_sample.len().max(1);
    let deviation = mix(x, &x.sum_to(per_sample)?, 1.0, -1.0 / count as f32)?;
    square(&deviation)?.sum_to(per_sample)
}
