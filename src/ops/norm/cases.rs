//! Cases: widths that fill a vec4, a vec2 or neither, values far from zero, and the plain definitions.

use super::super::case::{Array, OpCase, operand};
use super::super::epilogue::Activation;
use super::{group_norm, group_norm_plain, layer_norm, layer_norm_plain, rms_norm, rms_norm_plain, rows};
use crate::gpu::DeviceClass;
use crate::tensor::Tensor;

const EPS: f32 = 1e-5;

/// Every case.
pub fn cases() -> Vec<OpCase> {
    let mut all = Vec::new();
    let shapes: [&[usize]; 8] = [&[0, 4], &[3, 0], &[1, 1], &[3, 8], &[2, 3, 6], &[5, 7], &[1, 300], &[70, 20]];
    for shape in shapes {
        all.extend(
            [DeviceClass::Software, DeviceClass::Hardware].into_iter().flat_map(|class| row_cases(shape, class)),
        );
    }
    all.push(itself());
    all.push(layer_case(&[2, 5, 4], "layer_norm", |t| layer_norm(&t[0], &t[1], &t[2], EPS)));
    all.push(rms_case(&[2, 5, 4], "rms_norm", |t| rms_norm(&t[0], &t[1], EPS)));
    all.push(layer_case(&[2, 5], "layer_norm_plain", |t| layer_norm_plain(&t[0], &t[1], &t[2], EPS)));
    all.push(rms_case(&[2, 5], "rms_norm_plain", |t| rms_norm_plain(&t[0], &t[1], EPS)));
    for (shape, groups) in
        [([2, 3, 2, 8], 2), ([1, 2, 5, 6], 3), ([2, 1, 3, 9], 3), ([2, 1, 1, 4], 1), ([2, 9, 8, 16], 2)]
    {
        for activation in [None, Some(Activation::Silu)] {
            all.push(group_norm_case(&shape, groups, activation));
        }
    }
    all.extend([[2, 3, 4], [0, 3, 4], [2, 0, 4], [1, 1, 2]].map(|shape| group_norm_case(&shape, 2, None)));
    all.push(group_case(&[2, 2, 3, 4], 2, Some(Activation::Silu), true));
    // Far from zero relative to the spread: a mean of squares minus the square of the mean would be lost.
    let mut far = constant(group_case(&[2, 16, 16, 8], 2, None, false));
    far.operands[0].range = (1000.0, 1001.0);
    far.label += " far from zero";
    far.tolerance = 2e-4;
    all.push(far);
    all
}

/// Layer norm and RMS norm of x with a shape, by the kernels for a class of devices.
pub fn row_cases(shape: &[usize], class: DeviceClass) -> [OpCase; 2] {
    let layer = move |t: &[Tensor]| rows::normalise(&t[0], &t[1], Some(&t[2]), EPS, class);
    let rms = move |t: &[Tensor]| rows::normalise(&t[0], &t[1], None, EPS, class);
    let name = |norm: &str| format!("{norm} {class:?}");
    [layer_case(shape, &name("layer_norm"), layer), rms_case(shape, &name("rms_norm"), rms)]
}

/// Group norm of x with a shape, in groups of its last axis.
pub fn group_norm_case(shape: &[usize], groups: usize, activation: Option<Activation>) -> OpCase {
    group_case(shape, groups, activation, false)
}

/// A row that is also its own gain and bias.
fn itself() -> OpCase {
    let run = |t: &[Tensor]| layer_norm(&t[0], &t[0], &t[0], EPS);
    let x = vec![operand(&[6]).range(-0.5, 1.5)];
    OpCase::new("norm", "layer_norm of a row with itself", x, run, |a| {
        normalised(&a[0], true, |_| 0, |i| a[0].data[i], |i| a[0].data[i])
    })
}

fn constant(mut case: OpCase) -> OpCase {
    case.operands.iter_mut().for_each(|o| o.differentiable = false);
    case
}

type Run = dyn Fn(&[Tensor]) -> crate::Result<Tensor> + Send + Sync;

fn layer_case(
    shape: &[usize],
    name: &str,
    run: impl Fn(&[Tensor]) -> crate::Result<Tensor> + Send + Sync + 'static,
) -> OpCase {
    let c = shape[shape.len() - 1];
    let operands = vec![operand(shape).range(-0.5, 1.5), operand(&[c]), operand(&[c])];
    let run: Box<Run> = Box::new(run);
    OpCase::new("norm", format!("{name} {shape:?}"), operands, run, |a| {
        let c = a[1].data.len();
        normalised(&a[0], true, |i| i / c, |i| a[1].data[i % c], |i| a[2].data[i % c])
    })
}

fn rms_case(
    shape: &[usize],
    name: &str,
    run: impl Fn(&[Tensor]) -> crate::Result<Tensor> + Send + Sync + 'static,
) -> OpCase {
    let c = shape[shape.len() - 1];
    let operands = vec![operand(shape).range(-0.5, 1.5), operand(&[c])];
    OpCase::new("norm", format!("{name} {shape:?}"), operands, run, |a| {
        let c = a[1].data.len();
        normalised(&a[0], false, |i| i / c, |i| a[1].data[i % c], |_| 0.0)
    })
}

fn group_case(shape: &[usize], groups: usize, activation: Option<Activation>, plain: bool) -> OpCase {
    let c = shape[shape.len() - 1];
    let per_image: usize = shape[1..].iter().product();
    let operands = vec![operand(shape).range(-0.5, 1.5), operand(&[c]), operand(&[c])];
    let op = if plain { group_norm_plain } else { group_norm };
    let label = format!("group_norm{} {shape:?} in {groups} {activation:?}", if plain { "_plain" } else { "" });
    let run = move |t: &[Tensor]| op(&t[0], groups, &t[1], &t[2], EPS, activation);
    OpCase::new("norm", label, operands, run, move |a| {
        let set = |i: usize| i / per_image * groups + i % c / (c / groups);
        let mut y = normalised(&a[0], true, set, |i| a[1].data[i % c], |i| a[2].data[i % c]);
        if let Some(f) = activation {
            y.data.iter_mut().for_each(|y| *y = f.expr().eval(&[*y], &[]));
        }
        y
    })
}

/// The module's formula, where `set(i)` numbers the statistics that element i belongs to.
fn normalised(
    x: &Array,
    centred: bool,
    set: impl Fn(usize) -> usize,
    gain: impl Fn(usize) -> f64,
    bias: impl Fn(usize) -> f64,
) -> Array {
    let sets = (0..x.data.len()).map(&set).max().map_or(0, |last| last + 1);
    let mean_of = |value: &dyn Fn(usize) -> f64| {
        let mut sums = vec![(0.0, 0.0); sets];
        for i in 0..x.data.len() {
            let (sum, count) = &mut sums[set(i)];
            *sum += value(i);
            *count += 1.0;
        }
        sums.into_iter().map(|(sum, count)| sum / count).collect::<Vec<f64>>()
    };
    let mean = if centred { mean_of(&|i| x.data[i]) } else { vec![0.0; sets] };
    let variance = mean_of(&|i| (x.data[i] - mean[set(i)]).powi(2));
    Array::build(&x.shape, |i| {
        (x.data[i] - mean[set(i)]) / (variance[set(i)] + f64::from(EPS)).sqrt() * gain(i) + bias(i)
    })
}
