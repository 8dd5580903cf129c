//! Mean squared error, the diffusion loss:   `loss = mean over all elements of  w_b · (prediction − target)²`
//!
//! The weights are one per sample (min-SNR, Hang et al. 2023, weighs by the noise level), or missing for the plain mean;
//! their sum is not divided out. Made of a pointwise op and a reduction: the squares are written and read once, which for
//! latents of 64 × 64 × 4 is nothing beside the UNet. An empty prediction has the loss 0.
//!
//! Gradient: `dprediction = 2 w_b (prediction − target) · dy / elements`, the target's is its negative.

use super::case::{Array, OpCase, operand};
use super::fill;
use super::pointwise::{squared_error, weighted_squared_error};
use crate::gpu::Variant;
use crate::tensor::Tensor;
use crate::{Error, Result};

/// prediction and target `[B, ..]`, weights `[B]` → `[1]`.
pub fn mse(prediction: &Tensor, target: &Tensor, weights: Option<&Tensor>) -> Result<Tensor> {
    target.expect_shape("mse target", "like prediction", prediction.shape())?;
    let Some(&samples) = prediction.shape().as_slice().first() else {
        return Err(Error::Input("mse: prediction has no axis of samples".into()));
    };
    let squares = match weights {
        None => squared_error(prediction, target)?,
        Some(weights) => {
            weights.expect_shape("mse weights", "B", [samples])?;
            let mut per_sample = vec![1; prediction.shape().rank()];
            per_sample[0] = samples;
            weighted_squared_error(prediction, target, &weights.reshape(per_sample.as_slice())?)?
        }
    };
    if squares.is_empty() {
        return fill::zeros(prediction.gpu(), [1]);
    }
    let axes: Vec<usize> = (0..squares.shape().rank()).collect();
    squares.mean(&axes)?.reshape([1])
}

/// None of its own.
pub fn variants() -> Vec<Variant> {
    Vec::new()
}

/// Cases: with and without weights, one element, several axes, tensors that bindings of 64 KiB cut, a prediction that is its
/// own target.
pub fn cases() -> Vec<OpCase> {
    let shapes: [&'static [usize]; 5] = [&[1], &[3, 5], &[2, 4, 4, 4], &[2, 3, 2, 5, 4], &[3, 7000]];
    let mut all: Vec<OpCase> =
        shapes.iter().flat_map(|shape| [true, false].map(|weighted| case(shape, weighted))).collect();
    let zero = |_: &[Array]| Array::build(&[1], |_| 0.0);
    let run = |x: &[Tensor]| mse(&x[0], &x[0], None);
    all.push(OpCase::new("mse", "of a tensor with itself", vec![operand(&[3, 5])], run, zero));
    let nothing = vec![operand(&[0, 5]).constant(), operand(&[0, 5]).constant()];
    all.push(OpCase::new("mse", "of nothing", nothing, |x| mse(&x[0], &x[1], None), zero));
    all
}

fn case(shape: &'static [usize], weighted: bool) -> OpCase {
    let mut operands = vec![operand(shape), operand(shape)];
    if weighted {
        operands.push(operand(&shape[..1]).range(0.2, 3.0));
    }
    let oracle = move |a: &[Array]| {
        let row = a[0].data.len() / shape[0];
        let weight = |i: usize| a.get(2).map_or(1.0, |w| w.data[i / row]);
        let square = |i: usize| weight(i) * (a[0].data[i] - a[1].data[i]).powi(2);
        let mean = (0..a[0].data.len()).map(square).sum::<f64>() / a[0].data.len() as f64;
        Array::build(&[1], |_| mean)
    };
    let run = |x: &[Tensor]| mse(&x[0], &x[1], x.get(2));
    OpCase::new("mse", format!("{shape:?} weighted {weighted}"), operands, run, oracle)
}
