//! Every op case on the adapter: values against the f64 oracle, gradients against its finite differences.
//! `DREAMLLM_CASES=conv2d` runs only the cases of ops whose name contains that.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use common::{gpu, open};
use dreamllm::Tensor;
use dreamllm::doctor::examine;
use dreamllm::gpu::GpuOptions;
use dreamllm::ops::{
    self,
    case::{OpCase, Operand, operand},
};
use dreamllm::tensor::DType;

fn check(cases: Vec<OpCase>, test: impl Fn(&OpCase) -> dreamllm::Result<()>) {
    let wanted = std::env::var("DREAMLLM_CASES").unwrap_or_default();
    let cases: Vec<OpCase> = cases.into_iter().filter(|case| case.op.contains(&wanted)).collect();
    assert!(!cases.is_empty(), "no op is called {wanted}");
    let failures: Vec<String> = cases.iter().filter_map(|case| test(case).err().map(|e| e.to_string())).collect();
    assert!(failures.is_empty(), "{} of {} cases fail:\n{}", failures.len(), cases.len(), failures.join("\n"));
}

#[test]
fn values() {
    check(ops::cases(), |case| pollster::block_on(case.check_value(gpu())).map(|_| ()));
}

#[test]
fn gradients() {
    check(ops::cases(), |case| pollster::block_on(case.check_gradient(gpu())).map(|_| ()));
}

/// The sizes of real models, at some elements.
#[test]
fn large_cases() {
    check(ops::large_cases(), |case| {
        pollster::block_on(case.check_value(gpu()))?;
        pollster::block_on(case.check_gradient(gpu())).map(|_| ())
    });
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
