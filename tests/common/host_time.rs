//! What a dispatch costs the host, on a device that does nothing.

use super::blocks::{TransformerBlock, seeded};
use dreamllm::gpu::{DeviceClass, Gpu, GpuOptions};
use dreamllm::{Result, Tensor, autograd};
use std::time::Instant;

/// One kind of work and its cost.
pub struct HostTime {
    /// What was recorded.
    pub work: &'static str,
    /// Dispatches of one round, at least 1,000.
    pub dispatches: usize,
    /// Microseconds of wall time per dispatch, of the quickest round.
    pub microseconds: f64,
}

type Work = (&'static str, Box<dyn Fn() -> Result<()>>);

/// Records and submits every kind of work `rounds` times.
pub fn measure(rounds: usize) -> Result<Vec<HostTime>> {
    let gpu = pollster::block_on(Gpu::recording(DeviceClass::Hardware, &GpuOptions::default()))?;
    works(&gpu)?.into_iter().map(|(work, run)| time(&gpu, work, &*run, rounds)).collect()
}

fn works(gpu: &Gpu) -> Result<[Work; 3]> {
    let one = seeded(gpu, 1, 1.0, &[64, 64])?;
    let block = TransformerBlock::new(gpu, [1, 16], [4, 16])?;
    let trained = block.clone().trained();
    let x = seeded(gpu, 2, 1.0, &[1, 16, 64])?;
    let (start, dy) = (x.clone(), x.clone());
    let chain = move || (0..50).try_fold(one.clone(), |x, _| x.add(&one)).map(drop);
    let forward = move || (0..4).try_fold(start.clone(), |x, _| block.forward(&x)).map(drop);
    let step = move || {
        let y: Tensor = (0..2).try_fold(x.clone(), |x, _| trained.forward(&x))?;
        autograd::gradients(&y, &dy).map(drop)
    };
    Ok([
        ("additions", Box::new(chain)),
        ("decoder layers, forward", Box::new(forward)),
        ("decoder layers, forward and backward", Box::new(step)),
    ])
}

fn time(gpu: &Gpu, work: &'static str, run: &dyn Fn() -> Result<()>, rounds: usize) -> Result<HostTime> {
    gpu.start_log();
    run()?;
    let each = gpu.take_log().len();
    let repeats = 1000usize.div_ceil(each);
    let mut quickest = f64::INFINITY;
    for _ in 0..rounds + 2 {
        let start = Instant::now();
        (0..repeats).try_for_each(|_| run())?;
        gpu.flush();
        quickest = quickest.min(start.elapsed().as_secs_f64());
    }
    let dispatches = repeats * each;
    Ok(HostTime { work, dispatches, microseconds: quickest * 1e6 / dispatches as f64 })
}
