//! The model against the official PyTorch code, recorded in `tests/reference/tiny/reference`: what `dreamllm verify` does,
//! on a device as it is, as a weak one, and with f16 weights.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use common::{gpu, tiny, weak_gpu};
use dreamllm::gpu::Gpu;
use dreamllm::nn::WeightFormat;
use dreamllm::verify::{StageReport, Verdict, verify};

fn passes(gpu: &Gpu, format: WeightFormat) -> Vec<StageReport> {
    let reports = pollster::block_on(verify(&tiny(), gpu, format, |_| ())).unwrap();
    let failed: Vec<_> = reports.iter().filter(|r| r.verdict == Verdict::Failed).collect();
    assert!(failed.is_empty(), "{failed:#?}");
    reports
}

#[test]
fn every_recorded_stage_passes() {
    let reports = passes(gpu(), WeightFormat::F32);
    let passed: Vec<&str> = reports.iter().filter(|r| r.verdict == Verdict::Passed).map(|r| r.stage.as_str()).collect();
    let wanted = [
        "tokenization (tokenizer.model)",
        "tokenization (tokenizer.json)",
        "preprocess",
        "clip_vision",
        "llama",
        "generate (greedy)",
        "dream",
        "unet",
        "vae",
        "schedulers",
        "pipeline",
    ];
    assert_eq!(passed, wanted);
}

#[test]
fn a_weak_device_gives_the_same() {
    passes(weak_gpu(), WeightFormat::F32);
}

#[test]
fn f16_weights_stay_within_their_bound() {
    passes(gpu(), WeightFormat::F16);
}
