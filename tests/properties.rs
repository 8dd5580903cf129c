//! Op cases at random shapes and options: value and gradient against the same f64 oracles as the listed cases, on the
//! adapter and as a weak device, which binds 4 KiB at once and folds grids after three workgroups.
//!
//! The shapes follow from a fixed seed, so a failure comes again; proptest shrinks it and prints the smallest.
//! `PROPTEST_RNG_SEED=7 PROPTEST_CASES=1000 cargo test --test properties` looks elsewhere, and longer.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use common::{MAY_REFUSE, gpu};
use dreamllm::Error;
use dreamllm::gpu::{DeviceClass, Gpu, GpuOptions};
use dreamllm::ops::case::{OpCase, operand};
use dreamllm::ops::conv2d::Conv;
use dreamllm::ops::{
    attention, conv2d, embedding, layout, matmul, norm, pointwise, reduce, resample, rope, select, softmax,
};
use dreamllm::tensor::DType;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select as one_of;
use proptest::test_runner::{Config, RngSeed, TestRunner};
use std::cell::Cell;
use std::sync::LazyLock;

static WEAK: LazyLock<Gpu> = LazyLock::new(|| {
    let options =
        GpuOptions { max_binding: Some(4 << 10), max_groups: Some(3), alignment: Some(256), ..Default::default() };
    gpu().emulate(&options).unwrap()
});

/// Checks the cases that `build` makes of random inputs.
fn hold<S: Strategy>(inputs: S, build: impl Fn(S::Value) -> Vec<OpCase>) {
    let from_environment = |name: &str| std::env::var_os(name).is_some();
    let mut config = Config { failure_persistence: None, ..Config::default() };
    if !from_environment("PROPTEST_CASES") {
        config.cases = 100;
    }
    if !from_environment("PROPTEST_RNG_SEED") {
        config.rng_seed = RngSeed::Fixed(3);
    }
    // Cases that the weak device computed, and all.
    let (computed, all) = (Cell::new(0), Cell::new(0));
    let outcome = TestRunner::new(config).run(&inputs, |input| {
        build(input).iter().try_for_each(|case| {
            let fits = check(case).map_err(|e| TestCaseError::fail(e.to_string()))?;
            computed.set(computed.get() + usize::from(fits));
            all.set(all.get() + 1);
            Ok(())
        })
    });
    outcome.unwrap_or_else(|e| panic!("{e}"));
    println!("the weak device computes {} of {}", computed.get(), all.get());
    assert!(computed.get() * 4 > all.get(), "the weak device computes {} of {}", computed.get(), all.get());
}

/// Whether the weak device computes the case; if it refuses one, its op is among those that may.
fn check(case: &OpCase) -> dreamllm::Result<bool> {
    let both = |gpu| pollster::block_on(async { case.check_value(gpu).await.and(case.check_gradient(gpu).await) });
    both(gpu())?;
    match both(&WEAK) {
        Err(Error::TooLarge { .. }) if MAY_REFUSE.contains(&case.op) => Ok(false),
        other => other.map(|_| true),
    }
}

fn class() -> impl Strategy<Value = DeviceClass> {
    one_of(vec![DeviceClass::Software, DeviceClass::Hardware])
}

/// Lengths of one to `rank` axes.
fn shape(rank: usize, length: std::ops::Range<usize>) -> impl Strategy<Value = Vec<usize>> {
    vec(length, 1..=rank)
}

/// A shape that broadcasts to `full`: `axes` says which axes stay, and `missing` how many leading ones are left out.
fn narrowed(full: &[usize], axes: &[bool], missing: usize) -> Vec<usize> {
    let kept = full.iter().zip(axes).map(|(&n, &keep)| if keep { n } else { 1 });
    kept.skip(missing.min(full.len())).collect()
}

#[test]
fn matmul_holds() {
    let leads: Vec<[&[usize]; 2]> = vec![[&[], &[]], [&[2], &[2]], [&[2, 3], &[2, 3]], [&[3], &[]], [&[], &[2]]];
    let sizes = (5..40usize, 1..40usize, 0..24usize);
    hold((one_of(leads), sizes, any::<bool>(), any::<bool>()), |([a, b], (m, n, k), a_t, b_t)| {
        vec![matmul::plain_case(a, b, m, n, k, a_t, b_t)]
    });
}

#[test]
fn conv2d_holds() {
    let image = [1..3usize, 1..8, 1..8, 1..9];
    let conv = ([1..4usize, 1..4], [[0..3usize, 0..3], [0..3, 0..3]]);
    let inputs = (image, 1..7usize, [1..4usize, 1..4], conv);
    hold(inputs, |(x, n, kernel, (stride, padding))| {
        let kernel = [0, 1].map(|i| kernel[i].min(x[i + 1] + padding[i].iter().sum::<usize>()));
        vec![conv2d::plain_case(x, n, kernel, Conv { stride, padding })]
    });
}

#[test]
fn attention_holds() {
    let shape = (1..3usize, 1..12usize, 1..14usize, 1..3usize, 1..3usize, 1..13usize);
    let scale = proptest::option::of(0.1..1.5f32);
    let inputs = (shape, scale, proptest::option::of(0..14usize), proptest::option::of(1..14usize), any::<bool>());
    hold(inputs, |((b, t, s, heads, group, d), scale, causal, keys, mask)| {
        let keys = keys.map(|keys| keys.min(s));
        let setup = attention::Setup { shape: [b, t, s, heads * group, heads, d], scale, causal, keys, mask };
        // Of a single key nothing depends on q and k, and their gradients cancel.
        attention::by_every_kernel(setup).map(|case| case.tolerance(1e-4)).into()
    });
}

/// What a norm does to few elements cancels almost everything.
fn norm_tolerance(elements: usize) -> f64 {
    if elements < 4 { 1e-3 } else { 1e-4 }
}

#[test]
fn layer_and_rms_norm_hold() {
    hold((shape(3, 1..12), class()), |(shape, class)| {
        let tolerance = norm_tolerance(shape[shape.len() - 1]);
        norm::row_cases(&shape, class).map(|case| case.tolerance(tolerance)).into()
    });
}

#[test]
fn group_norm_holds() {
    hold((vec(1..7usize, 1..4), 1..4usize, 1..6usize), |(mut shape, groups, width)| {
        let elements = shape[1..].iter().product::<usize>() * width;
        shape.push(groups * width);
        vec![norm::group_norm_case(&shape, groups, None).tolerance(norm_tolerance(elements))]
    });
}

#[test]
fn pointwise_broadcasting_holds() {
    let input = || (vec(any::<bool>(), 5), 0..5usize);
    hold((shape(5, 1..5), vec(input(), 4), one_of(vec!["blend", "div"])), |(full, inputs, name)| {
        let op = pointwise::table().iter().find(|op| op.name == name).unwrap();
        let shapes: Vec<Vec<usize>> = inputs.iter().map(|(axes, missing)| narrowed(&full, axes, *missing)).collect();
        let shapes: Vec<&[usize]> = shapes.iter().map(Vec::as_slice).collect();
        vec![pointwise::case(op, &shapes[..op.inputs])]
    });
}

#[test]
fn softmax_holds() {
    hold((shape(4, 1..9), any::<bool>(), class()), |(shape, log, class)| vec![softmax::case(&shape, log, class)]);
}

#[test]
fn reductions_hold() {
    hold((shape(5, 1..7), vec(any::<bool>(), 5), class()), |(shape, reduced, class)| {
        let axes: Vec<usize> = (0..shape.len()).filter(|&axis| reduced[axis]).collect();
        vec![reduce::sum_case(class, &shape, &axes), reduce::extreme_case("max", class, &shape, &axes)]
    });
}

#[test]
fn layout_holds() {
    let orders = shape(5, 0..6).prop_flat_map(|shape| {
        let order: Vec<usize> = (0..shape.len()).collect();
        (Just(shape), Just(order).prop_shuffle())
    });
    hold(orders, |(shape, order)| {
        let integers = operand(&shape).dtype(DType::U32).range(0.0, 1e6);
        vec![layout::permute_case(operand(&shape), &order), layout::permute_case(integers, &order)]
    });
    let parts = (shape(5, 1..6), any::<prop::sample::Index>(), vec(0..9usize, 2..4), 0..40usize);
    hold(parts, |(shape, axis, lengths, start)| {
        let axis = axis.index(shape.len());
        let of = |length: usize| [&shape[..axis], &[length], &shape[axis + 1..]].concat();
        let parts: Vec<Vec<usize>> = lengths.iter().map(|&n| of(n)).collect();
        let parts: Vec<&[usize]> = parts.iter().map(Vec::as_slice).collect();
        let [whole, count] = [lengths.iter().sum(), lengths[0]];
        let slice = layout::slice_case(operand(&of(whole)), axis, start % (whole - count + 1), count);
        vec![layout::concat_case(&parts, axis), slice]
    });
}

#[test]
fn rows_of_tables_hold() {
    hold((1..9usize, 1..10usize, shape(3, 0..6)), |(v, c, ids)| {
        vec![embedding::embedding_case(v, c, &ids, DType::F32)]
    });
    hold((0..9usize, 1..10usize, 0..5usize), |(r, c, n)| vec![embedding::put_case(r, c, n)]);
}

#[test]
fn rope_holds() {
    hold((1..3usize, 0..6usize, 1..4usize, 1..8usize), |(b, t, h, half)| vec![rope::case([b, t, h, 2 * half])]);
}

#[test]
fn resampling_holds() {
    let modes = [resample::Mode::Nearest, resample::Mode::Bilinear];
    hold(([1..3usize, 1..9, 1..9, 1..6], [1..14usize, 1..14]), |(x, size)| {
        modes.map(|mode| resample::case(x, size, mode)).into()
    });
}

#[test]
fn selection_holds() {
    hold((shape(2, 1..5), 1..300usize, class(), any::<prop::sample::Index>()), |(mut shape, v, class, k)| {
        shape.push(v);
        let top = [true, false].map(|values| select::top_case(class, &shape, k.index(v + 1), values));
        top.into_iter().chain([select::argmax_case(class, &shape)]).collect()
    });
}
