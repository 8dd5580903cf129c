//! Every op case on the adapter: values against the f64 oracle, gradients against its finite differences.
//! `DREAMLLM_CASES=conv2d` runs only the cases of ops whose name contains that.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use common::gpu;
use dreamllm::ops::{self, case::OpCase};

fn check(test: impl Fn(&OpCase) -> dreamllm::Result<()>) {
    let wanted = std::env::var("DREAMLLM_CASES").unwrap_or_default();
    let cases: Vec<OpCase> = ops::cases().into_iter().filter(|case| case.op.contains(&wanted)).collect();
    assert!(!cases.is_empty(), "no op is called {wanted}");
    let failures: Vec<String> = cases.iter().filter_map(|case| test(case).err().map(|e| e.to_string())).collect();
    assert!(failures.is_empty(), "{} of {} cases fail:\n{}", failures.len(), cases.len(), failures.join("\n"));
}

#[test]
fn values() {
    check(|case| pollster::block_on(case.check_value(gpu())).map(|_| ()));
}

#[test]
fn gradients() {
    check(|case| pollster::block_on(case.check_gradient(gpu())).map(|_| ()));
}
