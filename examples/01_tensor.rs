//! 1 of 7 · Tensors: numbers on the GPU, ops on them, and the way back.
//!
//! `cargo run --example 01_tensor`

use dreamllm::gpu::{Gpu, GpuOptions};
use dreamllm::ops::matmul::matmul;
use dreamllm::ops::pointwise::silu;
use dreamllm::{Result, Tensor};

fn main() -> Result<()> {
    pollster::block_on(run())
}

// Opening the device and reading results are the only things that wait, so only they are async. A browser needs that.
async fn run() -> Result<()> {
    let gpu = Gpu::new(&GpuOptions::from_env()?).await?;
    println!("adapter: {}", gpu.report().name);

    // A tensor is memory on the device with a shape. Rows come one after the other: this is [[1, 2, 3], [4, 5, 6]].
    let x = Tensor::from_f32(&gpu, &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], [2, 3])?;
    let w = Tensor::from_f32(&gpu, &[1.0, 0.0, -1.0, 0.5, 0.5, 0.5], [2, 3])?;

    // An op checks shapes, takes memory for its result and *records* what is to be done. The GPU has not started yet.
    gpu.start_log();
    let product = matmul(&x, &w, false, true)?; // x · wᵀ; the flags say which operand is stored transposed
    let shifted = product.add(&Tensor::from_f32(&gpu, &[10.0, 20.0], [2])?)?; // [2, 2] + [2]: one row for all, as in NumPy
    let y = silu(&shifted)?;

    // What is recorded can be looked at: a line for every kernel, with the knobs it was compiled with. In a debug build
    // `fill` overwrites new memory with NaN first, so that a kernel that forgets an element is noticed.
    let recorded = gpu.take_log();
    recorded.iter().for_each(|dispatch| println!("  {dispatch}"));
    let kernels: Vec<&str> =
        recorded.iter().filter_map(|d| d.kernel.split('[').next()).filter(|k| *k != "fill").collect();
    assert!(kernels.len() == 3 && kernels[1..] == ["pointwise"; 2], "{kernels:?}"); // the product has a kernel for its shape

    // Reading submits everything that is recorded, waits, and copies.
    assert_eq!(product.read_f32().await?, [-2.0, 3.0, -2.0, 7.5]);
    assert_eq!(shifted.read_f32().await?, [8.0, 23.0, 8.0, 27.5]);
    let values = y.read_f32().await?;
    let silu_of = |v: f32| v / (1.0 + (-v).exp());
    assert!(values.iter().zip([8.0, 23.0, 8.0, 27.5]).all(|(got, v)| (got - silu_of(v)).abs() < 1e-4));
    println!("y = {values:?}, of shape {}", y.shape());

    // A reshape is another view of the same memory and records nothing.
    gpu.start_log();
    let flat = x.reshape([6])?;
    assert!(gpu.take_log().is_empty() && flat.shape().as_slice() == [6]);

    // A mistake is an error that names op, operand, wanted and found.
    let error = matmul(&x, &w, false, false).err().map(|e| e.to_string()).unwrap_or_default();
    assert!(error.contains("matmul"), "{error}");
    println!("a mistake reads: {error}");
    Ok(())
}
