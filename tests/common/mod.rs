//! One device for all tests of a binary, so that every pipeline compiles once.
#![allow(dead_code, clippy::unwrap_used, clippy::panic)]

pub mod bad_files;
pub mod blocks;
pub mod host_time;

/// Ops that may refuse a case where a binding holds 4 KiB. A case over that is cut where its op can cut, and these cannot:
/// attention within a batch, convolution between the input channels of its gradient, quantised tables and weights below a unit
/// of blocks that aligns, losses, selections and samples along a row, resampling below the rows that one row needs, softmax
/// where rows do not align.
pub const MAY_REFUSE: [&str; 9] =
    ["attention", "conv2d", "cross_entropy", "embedding", "matmul", "resample", "sample", "select", "softmax"];

use dreamllm::gpu::{DeviceClass, Gpu, GpuOptions};
use std::path::PathBuf;
use std::sync::OnceLock;

/// The adapter that `DREAMLLM_ADAPTER` and the emulation variables ask for; a missing one fails the test.
pub fn gpu() -> &'static Gpu {
    static GPU: OnceLock<Gpu> = OnceLock::new();
    GPU.get_or_init(|| open(&GpuOptions::from_env().unwrap()))
}

/// The same device as a weak one, with its pipelines: 1 MiB bindings, no f16 arithmetic, no subgroups.
pub fn weak_gpu() -> &'static Gpu {
    static GPU: OnceLock<Gpu> = OnceLock::new();
    GPU.get_or_init(|| {
        let options = GpuOptions { max_binding: Some(1 << 20), no_f16: true, no_subgroups: true, ..Default::default() };
        gpu().emulate(&options).unwrap_or_else(|e| panic!("{e}"))
    })
}

/// A device opened with options.
pub fn open(options: &GpuOptions) -> Gpu {
    pollster::block_on(Gpu::new(options)).unwrap_or_else(|e| panic!("{e}"))
}

/// A device that records and computes nothing, for which no driver is needed.
pub fn recording(class: DeviceClass) -> Gpu {
    pollster::block_on(Gpu::recording(class, &GpuOptions::default())).unwrap_or_else(|e| panic!("{e}"))
}

/// The tiny checkpoint with its recordings.
pub fn tiny() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/reference/tiny")
}
