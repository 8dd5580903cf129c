//! Drawing the next token:   `id ~ softmax(logits / temperature)` among the k largest and within the nucleus p
//!
//! The order is that of transformers: temperature, top-k, top-p. Top-k keeps what is at least the k-th largest logit. Top-p (nucleus;
//! Holtzman et al. 2020) keeps the smallest set of the most probable tokens whose probability reaches p, at least one; of
//! equal logits at its end the first ones. Temperature 0 is the argmax.
//!
//! The uniform number of row r is element r of stream `stream` of [`random::uniform`] under the seed, and the
//! token is the first one at which the cumulative probability, in the order of the vocabulary, exceeds it: the same seed
//! draws the same tokens, on another device too but for rounding. NaN is never drawn beside anything else. It has no gradient.

use super::case::{Array, OpCase, operand};
use super::layout::{rows_in_window, window};
use super::{random, select};
use crate::autograd::no_backward;
use crate::gpu::{DeviceClass, Kernel, Variant};
use crate::random::philox;
use crate::tensor::{DType, Tensor};
use crate::{Error, Result};

static SAMPLE: Kernel = Kernel::new("sample", include_str!("../../shaders/sample.wgsl"));

/// How to draw. The default draws from the plain softmax.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sampling {
    /// What logits are divided by; 0 takes the largest.
    pub temperature: f32,
    /// Only the k largest logits; 0: all.
    pub top_k: usize,
    /// Probability of the nucleus, in [0, 1]; 1: everything.
    pub top_p: f32,
}

impl Default for Sampling {
    fn default() -> Self {
        Sampling { temperature: 1.0, top_k: 0, top_p: 1.0 }
    }
}

/// logits `[.., V]` → u32 `[..]`. Every draw of a seed should have a stream of its own, such as the token's position.
pub fn sample(logits: &Tensor, how: Sampling, seed: u64, stream: u32) -> Result<Tensor> {
    sample_on(logits, how, seed, stream, logits.gpu().class())
}

fn sample_on(logits: &Tensor, how: Sampling, seed: u64, stream: u32, class: DeviceClass) -> Result<Tensor> {
    no_backward("sample", &[logits])?;
    logits.expect_dtype("sample logits", DType::F32)?;
    let [rows, v] = logits.rows("sample logits")?;
    if v == 0 && rows > 0 {
        return Err(Error::Input(format!("sample: the rows of {} are empty", logits.shape())));
    }
    let Sampling { temperature, top_k, top_p } = how;
    if !(0.0..f32::INFINITY).contains(&temperature) || !(0.0..=1.0).contains(&top_p) {
        return Err(Error::Input(format!("sample: temperature {temperature} or top-p {top_p} is out of range")));
    }
    if temperature == 0.0 {
        return select::argmax(logits);
    }
    let draws = random::uniform(logits.gpu(), [rows], seed, stream)?;
    let shape = logits.shape();
    let ids = Tensor::empty(logits.gpu(), &shape.as_slice()[..shape.rank() - 1], DType::U32)?;
    let k = if top_k == 0 { v } else { top_k.min(v) };
    let chunk = rows_in_window(logits, v);
    for row in (0..rows).step_by(chunk) {
        let count = chunk.min(rows - row);
        let (x, start) = window(logits, row * v, count * v)?;
        // The same place in both: their elements are of one size.
        let (draws, _) = window(&draws, row, count)?;
        let (ids, first) = window(&ids, row, count)?;
        let sizes = [count, v, start, first, k].map(|n| n as u32);
        let scalars = [top_p.to_bits(), (1.0 / temperature).to_bits(), 0];
        let params = [&sizes[..], &scalars[..]].concat();
        let work = (40 * count * v) as f64;
        let bindings = [x, draws, ids];
        variant(class).run(logits.gpu(), &bindings, bytemuck::cast_slice(&params), count as u64, work)?;
    }
    Ok(ids)
}

fn variant(class: DeviceClass) -> Variant {
    match class {
        DeviceClass::Software => SAMPLE.plain().set("WG", 32).flag("TREE", false),
        DeviceClass::Hardware => SAMPLE.plain(),
    }
}

const CLASSES: [DeviceClass; 2] = [DeviceClass::Software, DeviceClass::Hardware];

/// Every variant.
pub fn variants() -> Vec<Variant> {
    CLASSES.map(variant).to_vec()
}

/// Cases for both kinds of device, against a sort on the host with the same uniform numbers: every limit alone and together,
/// rows shorter and longer than a workgroup, a vocabulary as long as bindings of 64 KiB allow, ties, NaN and infinities, more
/// rows than a grid is wide.
pub fn cases() -> Vec<OpCase> {
    let of = |temperature, top_k, top_p| Sampling { temperature, top_k, top_p };
    let plain = Sampling::default();
    let mut all = Vec::new();
    for class in CLASSES {
        for (shape, how) in [
            (&[40, 9][..], plain),
            (&[2, 20, 9], of(0.5, 0, 1.0)),
            (&[40, 9], of(1.5, 4, 1.0)),
            (&[40, 9], of(1.0, 0, 0.6)),
            (&[40, 9], of(1.0, 0, 0.0)),
            (&[40, 9], of(0.0, 5, 0.9)),
            (&[40, 9], of(1e-6, 0, 1.0)),
            (&[40, 900], of(0.8, 50, 0.9)),
            (&[40, 900], of(0.8, 2000, 0.95)),
            (&[2, 16_000], of(0.7, 0, 0.9)),
            (&[5, 1], of(1.0, 1, 0.5)),
            (&[0, 4], plain),
        ] {
            all.push(case(shape, how, class));
        }
        all.extend([plain, of(1.0, 2, 1.0), of(1.0, 0, 0.5), of(2.0, 3, 0.9)].map(|how| strange_case(how, class)));
    }
    // On the form with few lanes only: those of the other one look at each other's sums, which takes minutes in software.
    all.push(case(&[66_000, 2], plain, DeviceClass::Software));
    all
}

/// By its definition: sorted, cut, drawn.
fn draw(logits: &[f64], how: Sampling, uniform: f32) -> usize {
    let key = |i: usize| if logits[i].is_nan() { (0, 0.0) } else { (1, logits[i]) };
    let mut order: Vec<usize> = (0..logits.len()).collect();
    order.sort_by(|&i, &j| key(j).partial_cmp(&key(i)).unwrap_or(std::cmp::Ordering::Equal));
    let top = key(order[0]);
    if how.temperature == 0.0 {
        return order[0];
    }
    let weight = |i: usize| match key(i) {
        key if key == top => 1.0,
        (0, _) => 0.0,
        (_, x) if top.1.is_infinite() || x.is_infinite() => 0.0,
        (_, x) => ((x - top.1) / f64::from(how.temperature)).exp(),
    };
    let k = if how.top_k == 0 { logits.len() } else { how.top_k.min(logits.len()) };
    let least = key(order[k - 1]);
    order.retain(|&i| key(i) >= least);
    let goal = f64::from(how.top_p) * order.iter().map(|&i| weight(i)).sum::<f64>();
    let mut above = 0.0;
    let mut kept = Vec::new();
    for i in order {
        if how.top_p < 1.0 && !kept.is_empty() && above >= goal {
            break;
        }
        above += weight(i);
        kept.push(i);
    }
    kept.sort_unstable();
    let target = f64::from(uniform) * above;
    let mut sum = 0.0;
    let exceeds = |&i: &usize| {
        sum += weight(i);
        sum > target
    };
    kept.iter().copied().find(exceeds).unwrap_or(0)
}

fn drawn(logits: &Array, how: Sampling) -> Array {
    let (&v, lead) = logits.shape.split_last().unwrap_or((&1, &[]));
    let uniforms = philox::uniforms(SEED, STREAM, logits.data.len() / v);
    Array::build(lead, |row| draw(&logits.data[row * v..][..v], how, uniforms[row]) as f64)
}

const SEED: u64 = 0x5eed_0123_4567_89ab;
const STREAM: u32 = 77;

fn case(shape: &[usize], how: Sampling, class: DeviceClass) -> OpCase {
    let run = move |x: &[Tensor]| sample_on(&x[0], how, SEED, STREAM, class);
    let label = format!("{shape:?} {how:?} {class:?}");
    let logits = operand(shape).range(-6.0, 6.0).constant();
    OpCase::new("sample", label, vec![logits], run, move |a| drawn(&a[0], how)).tolerance(0.0)
}

/// Ties at every limit, both zeros, infinities and NaN.
fn strange_case(how: Sampling, class: DeviceClass) -> OpCase {
    let (nan, inf) = (f32::NAN, f32::INFINITY);
    let rows: [[f32; 4]; 8] = [
        [1.0, 1.0, 1.0, 1.0],
        [0.0, -0.0, -1.0, -1.0],
        [nan, -1e30, -inf, 2.0],
        [nan, nan, nan, -nan],
        [-inf, -inf, nan, -inf],
        [inf, 3.0, nan, inf],
        [3e38, -3e38, 3e38, 0.0],
        [-inf, 5.0, 4.0, 4.0],
    ];
    // Each of them 30 times over, since a draw sees only one token.
    let data: Vec<f32> = (0..240).flat_map(|row| rows[row % 8]).collect();
    let wide = Array { shape: vec![240, 4], data: data.iter().map(|&x| f64::from(x)).collect() };
    let run = move |x: &[Tensor]| sample_on(&Tensor::from_f32(x[0].gpu(), &data, [240, 4])?, how, SEED, STREAM, class);
    let operands = vec![operand(&[1]).constant()];
    OpCase::new("sample", format!("ties and NaN {how:?} {class:?}"), operands, run, move |_| drawn(&wide, how))
        .tolerance(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gpu::{Gpu, GpuOptions};

    #[test]
    fn frequencies_are_the_probabilities() {
        let gpu = pollster::block_on(Gpu::new(&GpuOptions::from_env().unwrap())).unwrap();
        let (logits, rows) = ([0.0f32, 1.0, -1.0, 2.0, f32::NEG_INFINITY, 0.5], 20_000);
        let x = Tensor::from_f32(&gpu, &logits.repeat(rows), [rows, logits.len()]).unwrap();
        let how = Sampling { temperature: 1.3, top_k: 4, top_p: 0.95 };
        let ids = pollster::block_on(sample(&x, how, 3, 9).unwrap().read_u32()).unwrap();
        // The top 4 are 3, 1, 5, 0, and 0.95 of their probability needs all of them.
        let weight = |i: usize| if [0, 1, 3, 5].contains(&i) { (f64::from(logits[i]) / 1.3).exp() } else { 0.0 };
        let total: f64 = (0..logits.len()).map(weight).sum();
        for i in 0..logits.len() {
            let p = weight(i) / total;
            let n = ids.iter().filter(|&&id| id as usize == i).count() as f64;
            let deviation = (rows as f64 * p * (1.0 - p)).sqrt();
            assert!((n - rows as f64 * p).abs() <= 4.0 * deviation, "{i}: {n} of {rows}, probability {p}");
        }
        let again = pollster::block_on(sample(&x, how, 3, 9).unwrap().read_u32()).unwrap();
        assert_eq!(ids, again);
        assert_ne!(ids, pollster::block_on(sample(&x, how, 3, 10).unwrap().read_u32()).unwrap());
    }

    #[test]
    fn limits_out_of_range_are_refused() {
        let gpu = pollster::block_on(Gpu::new(&GpuOptions::from_env().unwrap())).unwrap();
        let x = crate::ops::fill::zeros(&gpu, [1, 4]).unwrap();
        for (temperature, top_p) in [(-1.0, 1.0), (f32::NAN, 1.0), (f32::INFINITY, 1.0), (1.0, 1.1), (1.0, f32::NAN)] {
            let how = Sampling { temperature, top_p, top_k: 0 };
            assert!(sample(&x, how, 0, 0).is_err(), "{how:?}");
        }
        assert!(sample(&x.variable(), Sampling::default(), 0, 0).is_err());
    }
}
