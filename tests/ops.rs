//! Every op case on the adapter: values against the f64 oracle, gradients against its finite differences.

mod common;

use common::gpu;
use dreamllm::ops;

#[test]
fn values() {
    let failures: Vec<String> = ops::cases()
        .iter()
        .filter_map(|case| pollster::block_on(case.check_value(gpu())).err().map(|e| e.to_string()))
        .collect();
    assert!(failures.is_empty(), "{} cases fail:\n{}", failures.len(), failures.join("\n"));
}

#[test]
fn gradients() {
    let failures: Vec<String> = ops::cases()
        .iter()
        .filter_map(|case| pollster::block_on(case.check_gradient(gpu())).err().map(|e| e.to_string()))
        .collect();
    assert!(failures.is_empty(), "{} cases fail:\n{}", failures.len(), failures.join("\n"));
}
