//! One device for all tests of a binary, so that every pipeline compiles once.

use dreamllm::gpu::{Gpu, GpuOptions};
use std::sync::OnceLock;

/// The adapter that `DREAMLLM_ADAPTER` and the emulation variables ask for; a missing one fails the test.
pub fn gpu() -> &'static Gpu {
    static GPU: OnceLock<Gpu> = OnceLock::new();
    GPU.get_or_init(|| {
        let options = GpuOptions::from_env().unwrap();
        pollster::block_on(Gpu::new(&options)).unwrap_or_else(|e| panic!("{e}"))
    })
}
