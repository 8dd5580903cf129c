//! Cases of attention: every kernel, causal, grouped, masked, cached, odd widths.

use super::{Attention, Form, with_form};
use crate::ops::case::{Array, OpCase, operand};
use crate::tensor::{DType, Tensor};

/// What one case varies.
#[derive(Debug, Clone, Copy)]
struct Setup {
    shape: [usize; 6],
    scale: Option<f32>,
    causal: Option<usize>,
    keys: Option<usize>,
    mask: bool,
}

/// Batches, queries, keys, query heads, key heads and head width.
const fn plain(shape: [usize; 6]) -> Setup {
    Setup { shape, scale: None, causal: None, keys: None, mask: false }
}

const SETUPS: [Setup; 11] = [
    plain([1, 1, 1, 1, 1, 1]),
    plain([2, 5, 7, 2, 2, 8]),
    Setup { scale: Some(0.7), ..plain([1, 9, 6, 4, 2, 3]) },
    Setup { causal: Some(0), ..plain([1, 37, 37, 1, 1, 4]) },
    Setup { causal: Some(4), keys: Some(9), ..plain([2, 5, 12, 2, 1, 6]) },
    Setup { mask: true, ..plain([2, 6, 5, 1, 1, 4]) },
    Setup { mask: true, causal: Some(0), ..plain([3, 5, 5, 2, 1, 4]) },
    Setup { mask: true, causal: Some(30), keys: Some(33), ..plain([1, 3, 40, 2, 2, 8]) },
    Setup { causal: Some(299), keys: Some(300), ..plain([1, 1, 310, 2, 1, 8]) },
    plain([1, 34, 35, 1, 1, 40]),
    plain([1, 2, 3, 1, 1, 72]),
];

/// Every setup by every kernel. The forms are narrow, so that 72 columns are cut into slices.
pub fn cases() -> Vec<OpCase> {
    let forms = |s: usize| [Form::Rows(16), Form::Tiled(1), Form::Split(1, if s > 256 { 3 } else { 1 })];
    let mut all: Vec<OpCase> =
        SETUPS.into_iter().flat_map(|setup| forms(setup.shape[2]).map(|form| case(setup, form))).collect();
    let wide = plain([1, 2, 3, 1, 1, 132]);
    // Over 64 KiB of queries: cut into batches where a binding may span no more.
    all.push(case(plain([20, 8, 6, 4, 4, 32]), Form::Rows(16)));
    all.extend([Form::Tiled(2), Form::Split(2, 1)].map(|form| case(wide, form)));
    all
}

fn case(setup: Setup, form: Form) -> OpCase {
    let [b, t, s, h, g, d] = setup.shape;
    let mut operands =
        vec![operand(&[b, t, h, d]).range(-2.0, 2.0), operand(&[b, s, g, d]).range(-2.0, 2.0), operand(&[b, s, g, d])];
    if setup.mask {
        operands.push(operand(&[b, s]).range(0.0, 2.0).dtype(DType::U32));
    }
    let run = move |x: &[Tensor]| {
        let Setup { scale, causal, keys, .. } = setup;
        with_form(&x[0], &x[1], &x[2], Attention { scale, causal, keys, key_mask: x.get(3) }, form)
    };
    let flops = 4 * b * t * s * h * d;
    OpCase::new("attention", format!("{form:?} {setup:?}"), operands, run, move |x| oracle(x, setup)).flops(flops)
}

fn oracle(x: &[Array], setup: Setup) -> Array {
    let [b, t, s, h, g, d] = setup.shape;
    let scale = setup.scale.map_or(1.0 / (d as f64).sqrt(), f64::from);
    let keys = setup.keys.unwrap_or(s);
    let mut y = Array::build(&[b, t, h, d], |_| 0.0);
    for (row, y) in y.data.chunks_mut(d).enumerate() {
        let (b, t, h) = (row / h / t, row / h % t, row % h);
        let g = h / (setup.shape[3] / g);
        let score = |s: usize| {
            let hidden =
                setup.causal.is_some_and(|o| s > t + o) || x.get(3).is_some_and(|mask| mask.at(&[b, s]) == 0.0);
            let product: f64 = (0..d).map(|d| x[0].at(&[b, t, h, d]) * x[1].at(&[b, s, g, d])).sum();
            if hidden { f64::from(f32::MIN) } else { scale * product }
        };
        let scores: Vec<f64> = (0..keys).map(score).collect();
        let top = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let weights: Vec<f64> = scores.iter().map(|score| (score - top).exp()).collect();
        let total: f64 = weights.iter().sum();
        for (d, y) in y.iter_mut().enumerate() {
            *y = (0..keys).map(|s| weights[s] * x[2].at(&[b, s, g, d])).sum::<f64>() / total;
        }
    }
    y
}
