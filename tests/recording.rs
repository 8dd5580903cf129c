//! What two blocks of the model record, forward and backward, compared with `tests/golden/`. No GPU, no driver.
//!
//! A list that changed is either a mistake or the point of the change: `UPDATE_GOLDEN=1 cargo test --test recording`
//! writes the lists anew, and their diff belongs to the commit.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use common::blocks::{ResBlock, TransformerBlock, seeded};
use common::recording;
use dreamllm::gpu::{DeviceClass, Gpu};
use dreamllm::{Result, Tensor, autograd};
use std::path::Path;

/// Everything that `forward` and the walk back from its result record, a line a dispatch.
fn record(gpu: &Gpu, forward: impl Fn() -> Result<Tensor>, dy: &[usize]) -> Result<String> {
    let dy = seeded(gpu, 3, 1.0, dy)?;
    gpu.start_log();
    let y = forward()?;
    let forward = gpu.take_log();
    gpu.start_log();
    autograd::gradients(&y, &dy)?;
    let backward = gpu.take_log();
    let lines = |log: Vec<_>| log.iter().map(|dispatch| format!("{dispatch}\n")).collect::<String>();
    Ok(format!("forward\n{}backward\n{}", lines(forward), lines(backward)))
}

fn transformer(class: DeviceClass) -> Result<String> {
    let gpu = recording(class);
    let block = TransformerBlock::new(&gpu, [2, 24], [4, 16])?.trained();
    let x = seeded(&gpu, 1, 1.0, &[2, 24, 64])?.variable();
    record(&gpu, || block.forward(&x), &[2, 24, 64])
}

fn unet(class: DeviceClass) -> Result<String> {
    let gpu = recording(class);
    let block = ResBlock::new(&gpu, [32, 48, 64], 8)?.trained();
    let x = seeded(&gpu, 1, 1.0, &[2, 16, 16, 32])?.variable();
    let time = seeded(&gpu, 2, 1.0, &[2, 64])?.variable();
    record(&gpu, || block.forward(&x, &time), &[2, 16, 16, 48])
}

fn compare(name: &str, got: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name).with_extension("txt");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        return std::fs::write(&path, got).unwrap();
    }
    let want = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let number = (0..).zip(got.lines().zip(want.lines())).find(|(_, (got, want))| got != want).map(|(n, _)| n);
    let number = number.unwrap_or_else(|| got.lines().count().min(want.lines().count()));
    let line = |text: &str| text.lines().nth(number).unwrap_or("the end").to_string();
    assert!(
        got == want,
        "{name}, line {}:\n  recorded {}\n  expected {}\nIf that is meant: UPDATE_GOLDEN=1 cargo test --test recording",
        number + 1,
        line(got),
        line(&want)
    );
}

#[test]
fn a_transformer_block_for_a_gpu() {
    compare("transformer_hardware", &transformer(DeviceClass::Hardware).unwrap());
}

#[test]
fn a_transformer_block_for_a_software_driver() {
    compare("transformer_software", &transformer(DeviceClass::Software).unwrap());
}

#[test]
fn a_unet_block_for_a_gpu() {
    compare("unet_hardware", &unet(DeviceClass::Hardware).unwrap());
}

#[test]
fn a_unet_block_for_a_software_driver() {
    compare("unet_software", &unet(DeviceClass::Software).unwrap());
}

#[test]
fn the_same_block_records_the_same() {
    assert_eq!(transformer(DeviceClass::Software).unwrap(), transformer(DeviceClass::Software).unwrap());
}
