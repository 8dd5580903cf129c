//! Every op case on the adapter: values against the f64 oracle, gradients against its finite differences; then the same
//! as weak devices. `DREAMLLM_CASES=conv2d` runs only the cases of ops whose name contains that.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use common::{MAY_REFUSE, gpu, open};
use dreamllm::doctor::examine;
use dreamllm::gpu::{Gpu, GpuOptions};
use dreamllm::ops::{
    self,
    case::{OpCase, Operand, operand},
};
use dreamllm::tensor::DType;
use dreamllm::{Error, Result, Tensor};
use std::collections::BTreeMap;
use std::sync::LazyLock;

/// Shared by all tests, so that the oracle is asked once.
static CASES: LazyLock<Vec<OpCase>> = LazyLock::new(|| wanted(ops::cases()));
static LARGE: LazyLock<Vec<OpCase>> = LazyLock::new(|| wanted(ops::large_cases()));

/// Those of the ops that `DREAMLLM_CASES` names.
fn wanted(cases: Vec<OpCase>) -> Vec<OpCase> {
    let wanted = std::env::var("DREAMLLM_CASES").unwrap_or_default();
    assert!(ops::cases().iter().any(|case| case.op.contains(&wanted)), "no op is called {wanted}");
    cases.into_iter().filter(|case| case.op.contains(&wanted)).collect()
}

/// Runs a test over cases; `excuse` says which errors are none.
fn check(cases: &[OpCase], test: impl Fn(&OpCase) -> Result<()>, mut excuse: impl FnMut(&OpCase, &Error) -> bool) {
    let mut failures = Vec::new();
    for case in cases {
        match test(case) {
            Err(e @ Error::Format { .. }) => failures.push(e.to_string()),
            Err(e) if !excuse(case, &e) => failures.push(format!("{} [{}]: {e}", case.op, case.label)),
            _ => {}
        }
    }
    assert!(failures.is_empty(), "{} of {} cases fail:\n{}", failures.len(), cases.len(), failures.join("\n"));
}

fn value(case: &OpCase, gpu: &Gpu) -> Result<()> {
    pollster::block_on(case.check_value(gpu)).map(|_| ())
}

fn gradient(case: &OpCase, gpu: &Gpu) -> Result<()> {
    pollster::block_on(case.check_gradient(gpu)).map(|_| ())
}

#[test]
fn values() {
    check(&CASES, |case| value(case, gpu()), |_, _| false);
}

#[test]
fn gradients() {
    check(&CASES, |case| gradient(case, gpu()), |_, _| false);
}

/// Values and gradients on a weaker device. A case that does not fit may be refused if its op is listed, never be wrong.
fn check_weak(options: &GpuOptions, may_refuse: &[&str]) {
    let gpu = gpu().emulate(options).unwrap();
    let mut refused = BTreeMap::<&str, Vec<String>>::new();
    let test = |case: &OpCase| value(case, &gpu).and_then(|()| gradient(case, &gpu));
    check(&CASES, test, |case, error| {
        let excused = matches!(error, Error::TooLarge { .. }) && may_refuse.contains(&case.op);
        if excused {
            refused.entry(case.op).or_default().push(format!("{}: {error}", case.label));
        }
        excused
    });
    for (op, cases) in &refused {
        println!("{op}: {} refused, such as {}", cases.len(), cases[0]);
    }
    let all = std::env::var_os("DREAMLLM_CASES").is_none();
    let listed_in_vain: Vec<_> = may_refuse.iter().filter(|op| all && !refused.contains_key(*op)).collect();
    assert!(listed_in_vain.is_empty(), "these ops refuse nothing any more: {listed_in_vain:?}");
}

/// What a browser on an old device has, and less: 64 KiB a binding, no f16 arithmetic, no subgroups.
#[test]
fn on_a_device_with_small_bindings() {
    let options = GpuOptions {
        max_binding: Some(64 << 10),
        alignment: Some(256),
        no_f16: true,
        no_subgroups: true,
        ..Default::default()
    };
    check_weak(&options, &[]);
}

/// 4 KiB a binding, which is less than some ops need.
#[test]
fn on_a_device_with_tiny_bindings() {
    check_weak(&GpuOptions { max_binding: Some(4 << 10), alignment: Some(256), ..Default::default() }, &MAY_REFUSE);
}

/// Grids fold after seven workgroups instead of 65,535.
#[test]
fn on_a_device_that_folds_grids() {
    check_weak(&GpuOptions { max_groups: Some(7), ..Default::default() }, &[]);
}

/// The sizes of real models, at some elements.
#[test]
fn large_cases() {
    check(&LARGE, |case| value(case, gpu()).and_then(|()| gradient(case, gpu())), |_, _| false);
}

/// A broken model has to show: NaN in the first element of the first operand is in the result.
#[test]
fn nan_is_not_swallowed() {
    // Ops that overwrite it, do not read it or choose beside it, and cases, by a part of their label, that have no use for that element.
    let other = [
        ("adamw", ""),
        ("attention", "mask: true"),
        ("cache", ""),
        ("conv2d", "1x1 f32 stride [2, 2] padding"),
        ("conv2d", "gradient by [2, 6, 7, 3] of 5 3x2"),
        ("cross_entropy", "[4, 8] to ±4"),
        ("embedding", "put_rows"),
        ("fill", ""),
        ("global_norm", "of nothing"),
        ("layout", "slice"),
        ("random", ""),
        ("reduce", "max of ties"),
        ("resample", "ilinear"),
        ("sample", ""),
        ("select", ""),
        ("timestep", "[2, 1]"),
    ];
    let is_other = |case: &&OpCase| other.iter().any(|(op, part)| case.op == *op && case.label.contains(part));
    let mut seen = 0;
    let mut swallowed = Vec::new();
    for case in CASES.iter().filter(|case| !is_other(case)) {
        let (mut x, kind) = (case.tensors(gpu()).unwrap(), &case.operands[0]);
        if x[0].is_empty() || kind.dtype != DType::F32 {
            continue;
        }
        let mut values = pollster::block_on(x[0].read_f32()).unwrap();
        values[0] = f32::NAN;
        x[0] = Tensor::from_f32(gpu(), &values, x[0].shape()).unwrap();
        let y = (case.run)(&x).unwrap();
        if y.dtype() != DType::F32 || y.is_empty() {
            continue;
        }
        seen += 1;
        if !pollster::block_on(y.read_f32()).unwrap().iter().any(|y| y.is_nan()) {
            swallowed.push(format!("{} [{}]", case.op, case.label));
        }
    }
    assert!(swallowed.is_empty(), "{} of {seen} cases swallow NaN:\n{}", swallowed.len(), swallowed.join("\n"));
}

/// A check that passes everything would be worse than none.
#[test]
fn a_wrong_result_is_found() {
    let square = |x: &[Tensor]| x[0].mul(&x[0]);
    let x = || vec![operand(&[2, 300])];
    let right = OpCase::large("square", "right", x(), square, &[2, 300], |x, at| x[0].at(at).powi(2));
    let wrong = OpCase::large("square", "wrong", x(), square, &[2, 300], |x, at| x[0].at(at).powi(2) * 1.001);
    // The value agrees, but a gradient does not flow.
    let stops = |x: &[Tensor]| x[0].mul(&x[0].detach());
    let stopped = OpCase::large("square", "stopped", x(), stops, &[2, 300], |x, at| x[0].at(at).powi(2));
    let shape = OpCase::large("square", "shape", x(), square, &[300, 2], |_, _| 0.0);
    let health = |case: OpCase| pollster::block_on(examine(gpu(), &[case], |_| Ok(()))).unwrap();
    assert_eq!(health(right).failures, [] as [String; 0]);
    assert!(health(wrong).failures[0].contains("value is off by"));
    assert!(health(stopped).failures[0].contains("gradient by operand 0 is off by"));
    assert!(health(shape).failures[0].contains("[300, 2]"));
}

/// Weights that are cut must begin where a binding can and where a unit of blocks does.
#[test]
fn quantised_weights_over_the_binding_limit() {
    let limit = 16 << 10;
    let gpu = open(&GpuOptions { max_binding: Some(limit), ..GpuOptions::from_env().unwrap() });
    let quantised = |case: &OpCase| case.operands.iter().any(|o| matches!(o.dtype, DType::Q8 | DType::Q4));
    let is_cut = |case: &OpCase| {
        let bytes = |o: &Operand| o.dtype.bytes(o.shape.iter().product());
        let cut = |o: &Operand| o.dtype != DType::F32 && bytes(o) > limit;
        case.operands.iter().any(cut) && case.operands.iter().all(|o| cut(o) || bytes(o) < limit / 2)
    };
    let cases: Vec<OpCase> = ops::cases().into_iter().filter(|case| quantised(case) && is_cut(case)).collect();
    for op in ["matmul", "conv2d", "embedding"] {
        assert!(cases.iter().filter(|case| case.op == op).count() >= 2, "no cut {op} cases");
    }
    for case in cases {
        pollster::block_on(case.check_value(&gpu)).unwrap();
    }
}
