use dreamllm::gpu::*; use dreamllm::*;
fn main() { pollster::block_on(run()).unwrap() }
async fn run() -> Result<()> {
    let gpu = Gpu::new(&GpuOptions::from_env()?).await?;
    println!("{:?} {:?}", gpu.report(), gpu.limits());
    let n = 1024;
    let a: Vec<f32> = (0..n*n).map(|i| (i % 17) as f32 * 0.1 - 0.8).collect();
    let x = Tensor::from_f32(&gpu, &a, [n, n])?;
    let t = std::time::Instant::now();
    let y = ops::matmul::matmul(&x, &x, false, true)?; 
    let v = y.read_f32().await?;
    let want: f64 = (0..n).map(|k| a[3*n+k] as f64 * a[7*n+k] as f64).sum();
    println!("first {:?} {} {}", t.elapsed(), v[3*n+7], want);
    for (at,bt) in [(false,true),(false,false),(true,false),(true,true)] {
    let _ = ops::matmul::matmul(&x, &x, at, bt)?; gpu.finish().await?;
    let t = std::time::Instant::now();
    for _ in 0..5 { let _y = ops::matmul::matmul(&x, &x, at, bt)?; }
    gpu.finish().await?;
    println!("{at} {bt} {:.1} GFLOP/s", 5.0*2.0*(n as f64).powi(3)/t.elapsed().as_secs_f64()/1e9);
    }
    let z = ops::pointwise::silu(&x.add(&x)?)?.read_f32().await?;
    println!("{} {}", z[5], { let q = 2.0*a[5]; q/(1.0+(-q).exp())});
    Ok(())
}
