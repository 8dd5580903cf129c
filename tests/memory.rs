//! Ten thousand forward and backward passes of a small block don't grow memory: not the device's, not the caches of
//! pipelines and bind groups, not the process. In a binary of its own, since it looks at the memory of the whole process.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use common::blocks::{TransformerBlock, seeded};
use common::{gpu, recording};
use dreamllm::gpu::{DeviceClass, Gpu};
use dreamllm::ops::epilogue::Epilogue;
use dreamllm::ops::matmul::linear;
use dreamllm::ops::norm::rms_norm;
use dreamllm::ops::pointwise::silu;
use dreamllm::{Tensor, autograd};

const PASSES: usize = 10_000;

/// What must stay level, exactly.
#[derive(Debug, PartialEq)]
struct Held {
    in_use: u64,
    pooled: u64,
    bind_groups: usize,
    pipelines: usize,
}

impl Held {
    fn by(gpu: &Gpu) -> Held {
        let (in_use, pooled) = gpu.memory();
        let (bind_groups, pipelines) = (gpu.cached_bind_groups(), gpu.compiled_variants().len());
        Held { in_use, pooled, bind_groups, pipelines }
    }
}

/// Bytes of this process in memory, where the system tells.
fn resident() -> Option<u64> {
    let pages = std::fs::read_to_string("/proc/self/statm").ok()?;
    Some(4096 * pages.split_whitespace().nth(1)?.parse::<u64>().ok()?)
}

/// Runs `step` and compares what is held after a tenth of the passes with what is held in the end. The process may grow by
/// 256 bytes a pass, which is allocators at work; a bind group that is never dropped takes more.
fn stays_level(gpu: &Gpu, step: impl Fn() -> Tensor) {
    let pass = |i: usize| {
        let y = step();
        if i % 500 == 0 {
            pollster::block_on(y.read_f32()).unwrap();
        }
    };
    (0..PASSES / 10).for_each(pass);
    let (before, process) = (Held::by(gpu), resident());
    (PASSES / 10..PASSES).for_each(pass);
    let (after, now) = (Held::by(gpu), resident());
    println!("{before:?}, process {process:?} → {now:?} bytes");
    assert_eq!(before, after);
    if let (Some(before), Some(now)) = (process, now) {
        assert!(now < before + 256 * PASSES as u64, "the process grew from {before} to {now} bytes");
    }
}

/// norm, product and activation, eight numbers each: on the adapter even an empty dispatch takes its time.
fn on_the_adapter() {
    let gpu = gpu();
    let [gain, w] = [&[8][..], &[8, 8]].map(|shape| seeded(gpu, 1, 1.0, shape).unwrap().variable());
    let (x, dy) = (seeded(gpu, 2, 1.0, &[1, 8]).unwrap(), seeded(gpu, 3, 1.0, &[1, 8]).unwrap());
    stays_level(gpu, || {
        let y = silu(&linear(&rms_norm(&x, &gain, 1e-5).unwrap(), &w, Epilogue::default()).unwrap()).unwrap();
        let gradients = autograd::gradients(&y, &dy).unwrap();
        gradients.get(&w).unwrap().clone()
    });
}

/// A whole transformer block on a device that does nothing: everything that the host holds.
fn on_the_host() {
    let gpu = recording(DeviceClass::Hardware);
    let block = TransformerBlock::new(&gpu, [1, 8], [4, 8]).unwrap().trained();
    let (x, dy) = (seeded(&gpu, 2, 1.0, &[1, 8, 32]).unwrap(), seeded(&gpu, 3, 1.0, &[1, 8, 32]).unwrap());
    stays_level(&gpu, || {
        let y = block.forward(&x).unwrap();
        let gradients = autograd::gradients(&y, &dy).unwrap();
        gradients.get(&block.weights[1]).unwrap().clone()
    });
}

#[test]
fn ten_thousand_passes_hold_no_more_than_a_thousand() {
    on_the_host();
    on_the_adapter();
}
