//! Cases of attention: every kernel, causal, grouped, masked, cached, odd widths.

use super::{Attention, Form, attention_plain, with_form};
use crate::Result;
use crate::ops::case::{Array, OpCase, operand};
use crate::tensor::{DType, Tensor};

/// What one case varies.
#[derive(Debug, Clone, Copy)]
pub struct Setup {
    /// Batches, queries, keys, query heads, key heads and head width.
    pub shape: [usize; 6],
    /// As in [`Attention`].
    pub scale: Option<f32>,
    /// As in [`Attention`].
    pub causal: Option<usize>,
    /// As in [`Attention`].
    pub keys: Option<usize>,
    /// Whether about half of the keys are hidden by a mask.
    pub mask: bool,
}

const fn plain(shape: [usize; 6]) -> Setup {
    Setup { shape, scale: None, causal: None, keys: None, mask: false }
}

const SETUPS: [Setup; 14] = [
    plain([1, 0, 0, 1, 1, 4]),
    plain([1, 0, 3, 1, 1, 4]),
    plain([0, 2, 3, 1, 1, 4]),
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
    let mut all: Vec<OpCase> = SETUPS.into_iter().flat_map(by_every_kernel).collect();
    all.extend([Form::Rows(16), Form::Tiled(1), Form::Split(1, 1)].into_iter().flat_map(|f| [unseen(f), itself(f)]));
    let one_head = Setup { causal: Some(2), keys: Some(6), ..plain([2, 4, 7, 1, 1, 3]) };
    all.push(case_of(one_head, "in plain ops".into(), attention_plain));
    let wide = plain([1, 2, 3, 1, 1, 132]);
    // Over 64 KiB of queries: cut into batches where a binding may span no more.
    all.push(case(plain([20, 8, 6, 4, 4, 32]), Form::Rows(16)));
    all.extend([Form::Tiled(2), Form::Split(2, 1)].map(|form| case(wide, form)));
    all
}

/// One setup by every kernel.
pub fn by_every_kernel(setup: Setup) -> [OpCase; 3] {
    let parts = if setup.shape[2] > 256 { 3 } else { 1 };
    [Form::Rows(16), Form::Tiled(1), Form::Split(1, parts)].map(|form| case(setup, form))
}

/// Every key is hidden: a uniform average, as in PyTorch, but q and k get no gradient, which they would there: it adds
/// f32::MIN to the scores, so that they still count in the backward pass.
fn unseen(form: Form) -> OpCase {
    let mut case = case(Setup { mask: true, ..plain([2, 3, 4, 1, 1, 4]) }, form);
    case.operands[3].range = (0.0, 1.0);
    case.label += " with all hidden";
    case
}

/// One tensor as q, k and v.
fn itself(form: Form) -> OpCase {
    let setup = plain([2, 5, 5, 2, 2, 4]);
    let run = move |x: &[Tensor]| with_form(&x[0], &x[0], &x[0], Attention::default(), form);
    let oracle = move |x: &[Array]| oracle(&[x[0].clone(), x[0].clone(), x[0].clone()], setup);
    OpCase::new("attention", format!("{form:?} of a tensor with itself"), vec![operand(&[2, 5, 2, 4])], run, oracle)
}

fn case(setup: Setup, form: Form) -> OpCase {
    case_of(setup, format!("{form:?}"), move |q, k, v, options| with_form(q, k, v, options, form))
}

fn case_of(
    setup: Setup,
    label: String,
    op: impl Fn(&Tensor, &Tensor, &Tensor, Attention) -> Result<Tensor> + Send + Sync + 'static,
) -> OpCase {
    let [b, t, s, h, g, d] = setup.shape;
    let mut operands =
        [[b, t, h, d], [b, s, g, d], [b, s, g, d]].map(|shape| operand(&shape).range(-2.0, 2.0)).to_vec();
    if setup.mask {
        operands.push(operand(&[b, s]).range(0.0, 2.0).dtype(DType::U32));
    }
    let run = move |x: &[Tensor]| {
        let Setup { scale, causal, keys, .. } = setup;
        op(&x[0], &x[1], &x[2], Attention { scale, causal, keys, key_mask: x.get(3) })
    };
    OpCase::new("attention", format!("{label} {setup:?}"), operands, run, move |x| oracle(x, setup))
        .flops(4 * b * t * s * h * d)
}

fn oracle(x: &[Array], setup: Setup) -> Array {
    let [batches, queries, room, heads, kv_heads, width] = setup.shape;
    let scale = setup.scale.map_or(1.0 / (width as f64).sqrt(), f64::from);
    let keys = setup.keys.unwrap_or(room);
    let mut y = Array::build(&[batches, queries, heads, width], |_| 0.0);
    for (row, (q, y)) in x[0].data.chunks(width).zip(y.data.chunks_mut(width)).enumerate() {
        let (b, t, h) = (row / heads / queries, row / heads % queries, row % heads);
        let of_key = |x: &Array, s: usize| {
            let row = (b * room + s) * kv_heads + h / (heads / kv_heads);
            x.data[row * width..(row + 1) * width].to_vec()
        };
        let score = |s: usize| {
            let is_future = setup.causal.is_some_and(|o| s > t + o);
            let hidden = is_future || x.get(3).is_some_and(|mask| mask.at(&[b, s]) == 0.0);
            let product: f64 = q.iter().zip(of_key(&x[1], s)).map(|(q, k)| q * k).sum();
            if hidden { f64::from(f32::MIN) } else { scale * product }
        };
        let scores: Vec<f64> = (0..keys).map(score).collect();
        let top = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let total: f64 = scores.iter().map(|score| (score - top).exp()).sum();
        for (s, score) in scores.iter().enumerate() {
            let weight = (score - top).exp() / total;
            y.iter_mut().zip(of_key(&x[2], s)).for_each(|(y, v)| *y += weight * v);
        }
    }
    y
}
