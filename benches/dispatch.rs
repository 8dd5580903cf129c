//! Host time per dispatch, on a device that computes nothing and on the adapter: `cargo bench --bench dispatch`.
//! Figures are in `benches/NOTES.md`.

#[path = "../tests/common/blocks.rs"]
mod blocks;
#[path = "../tests/common/host_time.rs"]
mod host_time;

use dreamllm::Result;
use dreamllm::gpu::{DeviceClass, Gpu, GpuOptions};

fn print(gpu: &Gpu, rounds: usize) -> Result<()> {
    println!("{}: µs of host time per dispatch, recording + submitting", gpu.report().name);
    for line in host_time::measure(gpu, rounds)? {
        let (recording, submitting) = (line.recording, line.submitting);
        println!("{recording:6.2} + {submitting:.2}  {} ({} dispatches)", line.work, line.dispatches);
    }
    Ok(())
}

fn main() -> Result<()> {
    let options = GpuOptions::from_env()?;
    print(&pollster::block_on(Gpu::recording(DeviceClass::Hardware, &options))?, 100)?;
    print(&pollster::block_on(Gpu::new(&options))?, 10)
}
