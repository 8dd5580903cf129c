//! Ops at the sizes of the real models: what `dreamllm bench ops` times and `dreamllm doctor` checks beside the small cases.
//!
//! Shapes of the 7B decoder (width 4096, 32 heads of 128, gates of 11008 cut to 4096 here) and of Stable Diffusion's UNet
//! and VAE at 512². Too large for the oracle of a whole result: compared at some elements.

use super::attention::{Attention, attention};
use super::case::{Array, OpCase, Operand, operand};
use super::conv2d::{Conv, conv2d};
use super::embedding::embedding;
use super::epilogue::{Activation, Epilogue};
use super::layout::{concat, permute, slice};
use super::matmul::{linear, matmul};
use super::norm::{group_norm, layer_norm, rms_norm};
use super::pointwise::{add, geglu, swiglu};
use super::resample::upsample_nearest;
use super::rope::rope;
use super::select::argmax;
use super::softmax::{log_softmax, softmax};
use crate::tensor::{DType, Tensor};

const EPS: f32 = 1e-5;

/// Every op at realistic sizes.
pub fn large_cases() -> Vec<OpCase> {
    [products(), convolutions(), attentions(), norms(), rows(), moves(), pointwise()].into_iter().flatten().collect()
}

fn products() -> Vec<OpCase> {
    vec![
        square(1024),
        linear_case("decoder prefill", 128, 4096, 4096, DType::F32),
        linear_case("decoder one token", 1, 4096, 4096, DType::F32),
        linear_case("decoder one token", 1, 4096, 4096, DType::F16),
        linear_case("UNet projection", 4096, 320, 320, DType::F32),
        linear_case("UNet condition", 154, 640, 1024, DType::F32),
    ]
}

fn square(n: usize) -> OpCase {
    let operands = vec![operand(&[n, n]), operand(&[n, n])];
    let element = move |x: &[Array], at: &[usize]| (0..n).map(|k| x[0].at(&[at[0], k]) * x[1].at(&[k, at[1]])).sum();
    let run = |x: &[Tensor]| matmul(&x[0], &x[1], false, false);
    OpCase::large("matmul", format!("{n}x{n}x{n}"), operands, run, &[n, n], element)
        .flops(2 * n * n * n)
        .backward_flops(4 * n * n * n)
}

/// x `[M, K]`, w `[N, K]`; f16 weights have no gradient of their own.
fn linear_case(what: &str, m: usize, n: usize, k: usize, dtype: DType) -> OpCase {
    let operands = vec![operand(&[m, k]), operand(&[n, k]).dtype(dtype)];
    let element = move |x: &[Array], at: &[usize]| (0..k).map(|i| x[0].at(&[at[0], i]) * x[1].at(&[at[1], i])).sum();
    let run = |x: &[Tensor]| linear(&x[0], &x[1], Epilogue::default());
    let gradients = if dtype == DType::F32 { 2 } else { 1 };
    OpCase::large("matmul", format!("{what} {m}x{n}x{k} {dtype}"), operands, run, &[m, n], element)
        .flops(2 * m * n * k)
        .backward_flops(gradients * 2 * m * n * k)
}

fn convolutions() -> Vec<OpCase> {
    vec![
        conv_case("UNet 3x3", 32, [320, 320], 3, 1),
        conv_case("UNet 3x3 deep", 8, [1280, 1280], 3, 1),
        conv_case("UNet 3x3 down", 32, [320, 320], 3, 2),
        conv_case("UNet 3x3 in", 64, [4, 320], 3, 1),
        conv_case("VAE 3x3", 64, [128, 128], 3, 1),
        conv_case("UNet 1x1", 32, [640, 320], 1, 1),
    ]
}

fn conv_case(what: &str, size: usize, [c, n]: [usize; 2], kernel: usize, stride: usize) -> OpCase {
    let pad = kernel / 2;
    let out = (size + 2 * pad - kernel) / stride + 1;
    let operands = vec![operand(&[1, size, size, c]), operand(&[n, kernel, kernel, c]), operand(&[n])];
    let run = move |x: &[Tensor]| {
        conv2d(&x[0], &x[1], Conv::new(stride, pad), Epilogue { bias: Some(&x[2]), ..Default::default() })
    };
    let element = move |x: &[Array], at: &[usize]| {
        let taps = (0..kernel).flat_map(|ky| (0..kernel).map(move |kx| (ky, kx)));
        let inside = taps.filter_map(|(ky, kx)| {
            let place = |o: usize, k: usize| (o * stride + k).checked_sub(pad).filter(|i| *i < size);
            Some((ky, kx, place(at[1], ky)?, place(at[2], kx)?))
        });
        let sum = inside.map(|(ky, kx, y, x_)| -> f64 {
            (0..c).map(|c| x[0].at(&[0, y, x_, c]) * x[1].at(&[at[3], ky, kx, c])).sum()
        });
        x[2].data[at[3]] + sum.sum::<f64>()
    };
    let flops = 2 * out * out * n * c * kernel * kernel;
    OpCase::large(
        "conv2d",
        format!("{what} {c} to {n} at {size}x{size} by {stride}"),
        operands,
        run,
        &[1, out, out, n],
        element,
    )
    .flops(flops)
    .backward_flops(2 * flops)
}

fn attentions() -> Vec<OpCase> {
    vec![
        attention_case("UNet self", [1024, 1024, 8, 64], None),
        attention_case("UNet cross", [1024, 77, 8, 64], None),
        attention_case("decoder prefill", [256, 256, 32, 128], Some(0)),
        attention_case("decoder one token", [1, 1024, 32, 128], Some(1023)),
    ]
}

fn attention_case(what: &str, [t, s, h, d]: [usize; 4], causal: Option<usize>) -> OpCase {
    let operands = vec![operand(&[1, t, h, d]), operand(&[1, s, h, d]), operand(&[1, s, h, d])];
    let run = move |x: &[Tensor]| attention(&x[0], &x[1], &x[2], Attention { causal, ..Default::default() });
    let element = move |x: &[Array], at: &[usize]| {
        let keys = causal.map_or(s, |offset| s.min(at[1] + offset + 1));
        let score = |key: usize| -> f64 {
            let product: f64 = (0..d).map(|i| x[0].at(&[0, at[1], at[2], i]) * x[1].at(&[0, key, at[2], i])).sum();
            product / (d as f64).sqrt()
        };
        let scores: Vec<f64> = (0..keys).map(score).collect();
        let top = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let weights = scores.iter().map(|score| (score - top).exp());
        let total: f64 = weights.clone().sum();
        weights.enumerate().map(|(key, weight)| weight / total * x[2].at(&[0, key, at[2], at[3]])).sum()
    };
    // A causal mask leaves the pairs below the diagonal.
    let pairs: usize = (0..t).map(|row| causal.map_or(s, |offset| s.min(row + offset + 1))).sum();
    OpCase::large("attention", format!("{what} {t} to {s}, {h} heads of {d}"), operands, run, &[1, t, h, d], element)
        .flops(4 * pairs * h * d)
        .backward_flops(10 * pairs * h * d)
        .tolerance(2e-5)
}

fn norms() -> Vec<OpCase> {
    let gains = |c: usize| [operand(&[c]), operand(&[c])];
    let x = |shape: &[usize]| operand(shape).range(-0.5, 1.5);
    let statistics = |values: &[f64]| {
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        let variance = values.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / values.len() as f64;
        (mean, 1.0 / (variance + f64::from(EPS)).sqrt())
    };
    let [rows, c] = [128, 4096];
    let rms = OpCase::large(
        "norm",
        format!("rms_norm decoder [{rows}, {c}]"),
        vec![x(&[rows, c]), operand(&[c])],
        |x| rms_norm(&x[0], &x[1], EPS),
        &[rows, c],
        move |x, at| {
            let squares: f64 = x[0].data[at[0] * c..(at[0] + 1) * c].iter().map(|x| x * x).sum();
            x[0].at(at) / (squares / c as f64 + f64::from(EPS)).sqrt() * x[1].data[at[1]]
        },
    );
    let [rows, c] = [4096, 320];
    let layer = OpCase::large(
        "norm",
        format!("layer_norm UNet [{rows}, {c}]"),
        [vec![x(&[rows, c])], gains(c).to_vec()].concat(),
        |x| layer_norm(&x[0], &x[1], &x[2], EPS),
        &[rows, c],
        move |x, at| {
            let (mean, inverse) = statistics(&x[0].data[at[0] * c..(at[0] + 1) * c]);
            (x[0].at(at) - mean) * inverse * x[1].data[at[1]] + x[2].data[at[1]]
        },
    );
    let [pixels, c, groups] = [64 * 64, 320, 32];
    let group = OpCase::large(
        "norm",
        format!("group_norm silu UNet [1, 64, 64, {c}]"),
        [vec![x(&[1, 64, 64, c])], gains(c).to_vec()].concat(),
        move |x| group_norm(&x[0], groups, &x[1], &x[2], EPS, Some(Activation::Silu)),
        &[1, 64, 64, c],
        move |x, at| {
            let (width, channel) = (c / groups, at[3]);
            let first = channel / width * width;
            let values: Vec<f64> =
                (0..pixels).flat_map(|p| x[0].data[p * c + first..p * c + first + width].to_vec()).collect();
            let (mean, inverse) = statistics(&values);
            let y = (x[0].at(at) - mean) * inverse * x[1].data[channel] + x[2].data[channel];
            y / (1.0 + (-y).exp())
        },
    );
    vec![rms, layer, group]
}

/// Softmax, embedding, rotary embedding, and the choice of a token.
fn rows() -> Vec<OpCase> {
    let over = |x: &Array, row: usize| {
        let c = x.shape[1];
        let values = x.data[row * c..(row + 1) * c].to_vec();
        let top = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        (top, values.iter().map(|x| (x - top).exp()).sum::<f64>())
    };
    let logits = |r: usize, c: usize| vec![operand(&[r, c]).range(-4.0, 4.0)];
    let probabilities = OpCase::large(
        "softmax",
        "[2048, 1024]",
        logits(2048, 1024),
        |x| softmax(&x[0]),
        &[2048, 1024],
        move |x, at| {
            let (top, total) = over(&x[0], at[0]);
            (x[0].at(at) - top).exp() / total
        },
    );
    let logarithms = OpCase::large(
        "softmax",
        "log, vocabulary [64, 32000]",
        logits(64, 32000),
        |x| log_softmax(&x[0]),
        &[64, 32000],
        move |x, at| {
            let (top, total) = over(&x[0], at[0]);
            x[0].at(at) - top - total.ln()
        },
    );
    let token = OpCase::large(
        "select",
        "argmax vocabulary [8, 32000]",
        vec![operand(&[8, 32000]).constant()],
        |x| argmax(&x[0]),
        &[8],
        |x, at| {
            let row = &x[0].data[at[0] * 32000..(at[0] + 1) * 32000];
            (0..row.len()).fold(0, |best, i| if row[i] > row[best] { i } else { best }) as f64
        },
    );
    let (v, c, n) = (8192, 4096, 512);
    let ids = operand(&[n]).range(0.0, v as f64).dtype(DType::U32);
    let tokens = OpCase::large(
        "embedding",
        format!("{n} of {v} rows of {c}"),
        vec![operand(&[v, c]), ids],
        |x| embedding(&x[0], &x[1]),
        &[n, c],
        |x, at| x[0].at(&[x[1].data[at[0]] as usize, at[1]]),
    );
    vec![probabilities, logarithms, token, tokens.bytes(8 * n * c + 4 * n), rotary()]
}

fn rotary() -> OpCase {
    let (t, h, d) = (512, 32, 128);
    let table = || operand(&[t, d / 2]).constant();
    let positions = operand(&[1, t]).range(0.0, t as f64).dtype(DType::U32);
    let operands = vec![operand(&[1, t, h, d]), table(), table(), positions];
    let run = |x: &[Tensor]| rope(&x[0], &x[1], &x[2], &x[3]);
    OpCase::large("rope", format!("[1, {t}, {h}, {d}]"), operands, run, &[1, t, h, d], move |x, at| {
        let (i, position) = (at[3] % (d / 2), x[3].data[at[1]] as usize);
        let (cos, sin) = (x[1].at(&[position, i]), x[2].at(&[position, i]));
        let half = |i: usize| x[0].at(&[0, at[1], at[2], i]);
        let (left, right) = (half(i), half(i + d / 2));
        if at[3] < d / 2 { left * cos - right * sin } else { right * cos + left * sin }
    })
}

/// Ops that only move elements, and sums.
fn moves() -> Vec<OpCase> {
    let image = [1, 32, 32, 640];
    let joined = OpCase::large(
        "layout",
        "concat UNet skip 640 + 640 at 32x32",
        vec![operand(&image), operand(&image)],
        |x| concat(&[&x[0], &x[1]], 3),
        &[1, 32, 32, 1280],
        |x, at| x[at[3] / 640].at(&[0, at[1], at[2], at[3] % 640]),
    );
    let swapped = OpCase::large(
        "layout",
        "permute heads [1, 1024, 8, 64]",
        vec![operand(&[1, 1024, 8, 64])],
        |x| permute(&x[0], &[0, 2, 1, 3]),
        &[1, 8, 1024, 64],
        |x, at| x[0].at(&[0, at[2], at[1], at[3]]),
    );
    let half = OpCase::large(
        "layout",
        "slice gate half of [1024, 2560]",
        vec![operand(&[1024, 2560])],
        |x| slice(&x[0], 1, 1280, 1280),
        &[1024, 1280],
        |x, at| x[0].at(&[at[0], at[1] + 1280]),
    );
    let doubled = OpCase::large(
        "resample",
        "upsample_nearest 320 at 32x32 to 64x64",
        vec![operand(&[1, 32, 32, 320])],
        |x| upsample_nearest(&x[0], [64, 64]),
        &[1, 64, 64, 320],
        |x, at| x[0].at(&[0, at[1] / 2, at[2] / 2, at[3]]),
    );
    let columns = OpCase::large(
        "reduce",
        "sum of rows [4096, 320]",
        vec![operand(&[4096, 320])],
        |x| x[0].sum_to([320]),
        &[320],
        |x, at| (0..4096).map(|row| x[0].at(&[row, at[0]])).sum(),
    );
    vec![joined, swapped, half.bytes(8 * 1024 * 1280), doubled, columns]
}

fn pointwise() -> Vec<OpCase> {
    let pair = |shape: &[usize], other: &[usize]| -> Vec<Operand> { vec![operand(shape), operand(other)] };
    let gate = |x: f64| x / (1.0 + (-x).exp());
    let n = 1 << 22;
    vec![
        OpCase::large(
            "pointwise",
            format!("add [{n}]"),
            pair(&[n], &[n]),
            |x| add(&x[0], &x[1]),
            &[n],
            |x, at| x[0].at(at) + x[1].at(at),
        ),
        OpCase::large(
            "pointwise",
            "add time to [1, 64, 64, 320]",
            pair(&[1, 64, 64, 320], &[1, 1, 1, 320]),
            |x| add(&x[0], &x[1]),
            &[1, 64, 64, 320],
            |x, at| x[0].at(at) + x[1].data[at[3]],
        ),
        OpCase::large(
            "pointwise",
            "swiglu [128, 11008]",
            pair(&[128, 11008], &[128, 11008]),
            |x| swiglu(&x[0], &x[1]),
            &[128, 11008],
            move |x, at| gate(x[0].at(at)) * x[1].at(at),
        ),
        OpCase::large(
            "pointwise",
            "geglu [1024, 1280]",
            pair(&[1024, 1280], &[1024, 1280]),
            |x| geglu(&x[0], &x[1]),
            &[1024, 1280],
            move |x, at| x[0].at(at) * Activation::Gelu.expr().eval(&[x[1].at(at)], &[]),
        ),
    ]
}
