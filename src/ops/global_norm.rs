//! The norm of many tensors as one vector:   `norm = √(Σ_t Σ_i x_t[i]²)`
//!
//! Gradients are clipped by it on the device, without a readback: [`clip_factor`] turns it into
//! min(1, max_norm / (norm + 10⁻⁶)), as PyTorch's `clip_grad_norm_` does, and [`AdamW::step`](super::adamw::AdamW::step) multiplies by that.
//! Every tensor's squares are added in a fixed order into a place of their own, then the places. It has no gradient.

use super::case::{Array, OpCase, operand};
use super::fill;
use super::pointwise::{clip_factor, sqrt};
use super::reduce::sum_of_squares;
use crate::Result;
use crate::gpu::{Gpu, Variant};
use crate::tensor::{DType, Tensor};

/// Tensors of any shapes → `[1]`; 0 for none.
pub fn global_norm(gpu: &Gpu, tensors: &[&Tensor]) -> Result<Tensor> {
    let tensors: Vec<&&Tensor> = tensors.iter().filter(|x| !x.is_empty()).collect();
    if tensors.is_empty() {
        return fill::zeros(gpu, [1]);
    }
    let squares = Tensor::empty(gpu, [tensors.len()], DType::F32)?;
    for (at, x) in tensors.iter().enumerate() {
        sum_of_squares(x, &squares, at)?;
    }
    sqrt(&squares.sum(&[0])?)
}

/// None of its own.
pub fn variants() -> Vec<Variant> {
    Vec::new()
}

/// Cases: no tensor, an empty one, one element, the same twice, more than one quad of tensors, one that is shared among
/// invocations and one that bindings of 64 KiB cut; the factor of a long and of a short vector.
pub fn cases() -> Vec<OpCase> {
    let shapes: [&[&[usize]]; 5] = [
        &[&[1]],
        &[&[3, 5], &[0, 7], &[4]],
        &[&[2, 3], &[5], &[1], &[2, 2, 2], &[9], &[64]],
        &[&[20_011], &[3]],
        &[&[130, 260]],
    ];
    let norm = |a: &[Array]| a.iter().flat_map(|x| &x.data).map(|x| x * x).sum::<f64>().sqrt();
    let all_of = |shapes: &[&[usize]]| shapes.iter().map(|shape| operand(shape).constant()).collect::<Vec<_>>();
    let run = |x: &[Tensor]| global_norm(x[0].gpu(), &x.iter().collect::<Vec<_>>());
    let oracle = move |a: &[Array]| Array::build(&[1], |_| norm(a));
    let case = |shapes: &[&[usize]]| OpCase::new("global_norm", format!("{shapes:?}"), all_of(shapes), run, oracle);
    let mut all: Vec<OpCase> = shapes.iter().map(|shapes| case(shapes)).collect();
    let twice = |x: &[Tensor]| global_norm(x[0].gpu(), &[&x[0], &x[0]]);
    let root = move |a: &[Array]| Array::build(&[1], |_| norm(a) * 2f64.sqrt());
    all.push(OpCase::new("global_norm", "the same twice", all_of(&[&[3, 5]]), twice, root));
    let none = |x: &[Tensor]| global_norm(x[0].gpu(), &[]);
    all.push(OpCase::new("global_norm", "of nothing", all_of(&[&[1]]), none, |_| Array::build(&[1], |_| 0.0)));
    all.extend([0.5, 100.0].map(|max| {
        let run = move |x: &[Tensor]| clip_factor(&global_norm(x[0].gpu(), &[&x[0], &x[1]])?, max);
        let oracle = move |a: &[Array]| Array::build(&[1], |_| (f64::from(max) / (norm(a) + 1e-6)).min(1.0));
        OpCase::new("global_norm", format!("factor for {max}"), all_of(&[&[3, 5], &[7]]), run, oracle)
    }));
    all
}
