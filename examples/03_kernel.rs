//! 3 of 7 · Kernels: a shader of your own, `03_kernel.wgsl`, as an op on tensors.
//!
//! `cargo run --example 03_kernel`

use dreamllm::gpu::{Gpu, GpuOptions, Kernel};
use dreamllm::tensor::DType;
use dreamllm::{Result, Tensor};

/// A kernel is a WGSL file with one entry point of the same name.
static MOVING_AVERAGE: Kernel = Kernel::new("moving_average", include_str!("03_kernel.wgsl"));
const WG: usize = 64;

/// x `[N]` → `[N]`, the mean of every element and its neighbours up to `radius` places away.
fn moving_average(x: &Tensor, radius: u32) -> Result<Tensor> {
    // Shapes are checked by name. The error would read: "moving_average: x should be [N], but is [2, 3]".
    let [n] = x.dims("moving_average x", "N")?;
    x.expect_dtype("moving_average x", DType::F32)?;
    let y = x.like()?;
    // A knob is a `const` of the file. Each setting is compiled once, on first use, and found again after that.
    let variant = MOVING_AVERAGE.plain().set("RADIUS", radius);
    // Bindings in the order of their numbers; the uniform block as bytes; how many workgroups; how much work it is, by
    // which submissions are cut (drivers kill work that takes seconds).
    let (groups, work) = (n.div_ceil(WG), n * (2 * radius as usize + 1));
    variant.run(x.gpu(), &[x.bind(), y.bind()], &(n as u32).to_le_bytes(), groups as u64, work as f64)?;
    Ok(y)
}

/// The definition, on the host and in double precision. Every kernel deserves one.
fn on_the_host(x: &[f32], radius: usize) -> Vec<f64> {
    let mean = |i: usize| {
        let near = &x[i.saturating_sub(radius)..(i + radius + 1).min(x.len())];
        near.iter().map(|v| f64::from(*v)).sum::<f64>() / near.len() as f64
    };
    (0..x.len()).map(mean).collect()
}

fn main() -> Result<()> {
    pollster::block_on(run())
}

async fn run() -> Result<()> {
    let gpu = Gpu::new(&GpuOptions::from_env()?).await?;
    // Sizes around the edges of a workgroup are where kernels go wrong.
    for n in [1, 2, 63, 64, 65, 1000] {
        let values: Vec<f32> = (0..n).map(|i| ((i * i) as f32 * 0.37).sin()).collect();
        let x = Tensor::from_f32(&gpu, &values, [n])?;
        for radius in [0, 1, 5] {
            let got = moving_average(&x, radius)?.read_f32().await?;
            let want = on_the_host(&values, radius as usize);
            let worst = got.iter().zip(&want).map(|(g, w)| (f64::from(*g) - w).abs()).fold(0.0, f64::max);
            println!("N = {n:4}, radius {radius}: off by {worst:.1e} at most");
            assert!(got.len() == n && worst < 1e-6);
        }
    }
    // A knob that the file does not have is an error, not a setting that does nothing.
    let error = MOVING_AVERAGE.plain().set("RADIUZ", 3).text().err().map(|e| e.to_string()).unwrap_or_default();
    assert!(error.contains("RADIUZ"), "{error}");
    // An op for the library also needs its case and its gradient: see "Adding an op" in ARCHITECTURE.md.
    Ok(())
}
