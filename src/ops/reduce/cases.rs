//! Cases of the reductions, for both kinds of device.

use super::super::case::{Array, OpCase, operand};
use super::super::fill;
use super::super::layout::concat;
use super::super::select::argmax;
use super::{extreme, kept, sum};
use crate::autograd::gradients;
use crate::gpu::DeviceClass;
use crate::tensor::{Shape, Tensor};

/// Leading, trailing, inner and all axes in quads and not; one and no element; few results of so many terms that they are
/// shared, also where the terms are no multiple of the shares; more results than workgroups in a row of a grid; tensors
/// that bindings of 64 KiB cut along kept and along reduced axes; equal extremes and NaN.
pub fn cases() -> Vec<OpCase> {
    let shapes: [(&[usize], &[usize]); 25] = [
        (&[37, 5], &[0]),
        (&[37, 8], &[0]),
        (&[3, 130], &[1]),
        (&[3, 132], &[1]),
        (&[2, 3, 4, 5], &[1, 2]),
        (&[2, 3, 4, 5], &[0, 2]),
        (&[2, 3, 4, 5, 6], &[1, 3]),
        (&[2, 3, 5, 2, 8], &[0, 2, 4]),
        (&[7, 11], &[0, 1]),
        (&[1, 1], &[0]),
        (&[5, 1, 4], &[1]),
        (&[3, 4], &[]),
        (&[0, 3], &[1]),
        (&[2, 0, 3], &[0, 2]),
        (&[], &[]),
        (&[4200, 2], &[1]),
        (&[1, 1, 1], &[0, 1, 2]),
        (&[70_001], &[0]),
        (&[2, 33_000], &[1]),
        (&[9001, 4], &[0]),
        (&[9001, 3], &[0]),
        (&[3, 4500, 7], &[1]),
        (&[40, 3, 900], &[0, 2]),
        (&[3, 17_000], &[0]),
        (&[70_000, 36], &[1]),
    ];
    let classes = [DeviceClass::Software, DeviceClass::Hardware];
    let mut all = Vec::new();
    for (class, &(shape, axes)) in classes.iter().flat_map(|class| shapes.iter().map(move |s| (*class, s))) {
        all.push(sum_case(class, shape, axes));
        all.push(extreme_case("max", class, shape, axes));
    }
    all.extend(classes.map(|class| extreme_case("min", class, &[3, 130], &[1])));
    all.extend(classes.iter().flat_map(|&class| [&[4, 35][..], &[11, 900], &[3, 17_000]].map(|s| ties_case(class, s))));
    all.extend(classes.map(nan_case));
    all.extend([mean_case(&[3, 7, 4], &[0, 2]), mean_case(&[2, 0, 3], &[2]), empty_case(), broadcast_case()]);
    all
}

/// Every group of terms, folded.
fn fold(x: &Array, axes: &[usize], start: f64, with: impl Fn(f64, f64) -> f64) -> Array {
    let mut shape = x.shape.clone();
    axes.iter().for_each(|&axis| shape[axis] = 1);
    let mut y = Array::build(&shape, |_| start);
    let _ = Array::from_coordinates(&x.shape, |at| {
        let flat = at.iter().zip(&shape).fold(0, |flat, (c, n)| flat * n + if *n == 1 { 0 } else { *c });
        y.data[flat] = with(y.data[flat], x.at(at));
        0.0
    });
    y
}

/// A sum over some axes, by the kernels for a class of devices.
pub fn sum_case(class: DeviceClass, shape: &[usize], axes: &[usize]) -> OpCase {
    let (axes, of_run) = (axes.to_vec(), axes.to_vec());
    let run = move |x: &[Tensor]| sum(&x[0], kept("sum", &x[0], &of_run)?, 1.0, class);
    let label = format!("sum {shape:?} over {axes:?} {class:?}");
    OpCase::new("reduce", label, vec![operand(shape)], run, move |a| fold(&a[0], &axes, 0.0, |x, y| x + y))
}

/// The `max` or `min` over some axes, by the kernels for a class of devices.
pub fn extreme_case(op: &'static str, class: DeviceClass, shape: &[usize], axes: &[usize]) -> OpCase {
    let (axes, of_run) = (axes.to_vec(), axes.to_vec());
    let label = format!("{op} {shape:?} over {axes:?} {class:?}");
    let run = move |x: &[Tensor]| extreme(op, &x[0], &of_run, class);
    let oracle = move |a: &[Array]| match op {
        "max" => fold(&a[0], &axes, f64::NEG_INFINITY, f64::max),
        _ => fold(&a[0], &axes, f64::INFINITY, f64::min),
    };
    let case = OpCase::new("reduce", label, vec![operand(shape)], run, oracle).tolerance(1e-6);
    // Of many elements some pass one another on any way.
    if shape.iter().product::<usize>() > 1000 { case.by_element() } else { case }
}

/// The gradient as a value: of equal maxima the first has all of it.
fn ties_case(class: DeviceClass, shape: &'static [usize]) -> OpCase {
    let level = |i: usize| (i * 7919 / 13 % 4) as f32;
    let run = move |x: &[Tensor]| {
        let (gpu, levels) = (x[0].gpu(), (0..shape[0] * shape[1]).map(level).collect::<Vec<f32>>());
        let x = Tensor::from_f32(gpu, &levels, shape)?.variable();
        let y = extreme("max", &x, &[1], class)?;
        let dx = gradients(&y, &fill::full(gpu, y.shape(), 1.0)?)?.take(&x);
        dx.ok_or_else(|| crate::Error::NoBackward("max".into()))
    };
    let oracle = move |_: &[Array]| {
        let first = |row: usize| (0..shape[1]).find(|c| level(row * shape[1] + c) == 3.0);
        Array::from_coordinates(shape, |at| f64::from(u8::from(first(at[0]) == Some(at[1]))))
    };
    let label = format!("max of ties {shape:?} {class:?}");
    OpCase::new("reduce", label, vec![operand(&[1]).constant()], run, oracle).tolerance(0.0)
}

/// NaN is the largest and the smallest: rows with one are told by comparing them with themselves.
fn nan_case(class: DeviceClass) -> OpCase {
    let run = move |x: &[Tensor]| {
        let (nan, inf) = (f32::NAN, f32::INFINITY);
        let data = [1.0, nan, 2.0, -nan, inf, -inf, -inf, -inf, -inf, -0.0, 0.0, -1.0];
        let x = Tensor::from_f32(x[0].gpu(), &data, [4, 3])?;
        let ends = [extreme("max", &x, &[1], class)?, extreme("min", &x, &[1], class)?];
        argmax(&concat(&[&ends[0], &ends[1], &fill::full(x.gpu(), [4, 1], -1e38)?], 1)?)
    };
    // Both ends NaN leave the third column; -inf loses against it; a zero wins.
    let oracle = |_: &[Array]| Array::build(&[4], |i| [2.0, 2.0, 2.0, 0.0][i]);
    OpCase::new("reduce", format!("extremes with NaN {class:?}"), vec![operand(&[1]).constant()], run, oracle)
}

fn mean_case(shape: &'static [usize], axes: &'static [usize]) -> OpCase {
    let terms: usize = axes.iter().map(|&axis| shape[axis]).product();
    let oracle = move |a: &[Array]| {
        let mut y = fold(&a[0], axes, 0.0, |x, y| x + y);
        y.data.iter_mut().for_each(|y| *y /= terms as f64);
        y
    };
    let run = move |x: &[Tensor]| x[0].mean(axes);
    OpCase::new("reduce", format!("mean {shape:?} over {axes:?}"), vec![operand(shape)], run, oracle)
}

/// A sum of nothing is 0.
fn empty_case() -> OpCase {
    let oracle = |_: &[Array]| Array::build(&[1, 3], |_| 0.0);
    OpCase::new("reduce", "sum [0, 3] over [0]", vec![operand(&[0, 3]).constant()], |x| x[0].sum(&[0]), oracle)
}

/// `sum_to` drops leading axes too.
fn broadcast_case() -> OpCase {
    let oracle = |a: &[Array]| {
        let mut y = fold(&a[0], &[0, 2], 0.0, |x, y| x + y);
        y.shape = Shape::from([5, 1]).as_slice().to_vec();
        y
    };
    OpCase::new("reduce", "[4, 5, 6] to [5, 1]", vec![operand(&[4, 5, 6])], |x| x[0].sum_to([5, 1]), oracle)
}
