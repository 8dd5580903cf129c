//! Timing on the device: batches of runs with one wait each.

use crate::Result;
use crate::gpu::Gpu;
use std::time::{Duration, Instant};

/// How long one run takes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Timing {
    /// Median seconds of a run.
    pub seconds: f64,
    /// Runs that were timed.
    pub runs: usize,
}

/// Work of a batch: long beside the wait at its end, short beside the budget.
const BATCH: Duration = Duration::from_millis(40);
const LEAST_BATCHES: usize = 3;

/// The median over batches of `run`, for about `budget` after a warm-up. `prepare` makes what one run consumes; its time
/// does not count. At most `most` runs are prepared at once.
pub(super) async fn time<T>(
    gpu: &Gpu,
    budget: Duration,
    most: usize,
    prepare: impl Fn() -> Result<T>,
    run: impl Fn(T) -> Result<()>,
) -> Result<Timing> {
    // The first run compiles the kernels, the second one fills the pool of buffers.
    let mut one = Duration::ZERO;
    for _ in 0..3 {
        one = batch(gpu, 1, &prepare, &run).await?;
    }
    let size = (BATCH.as_secs_f64() / one.as_secs_f64().max(1e-6)).clamp(1.0, most.max(1) as f64) as usize;
    let mut samples = Vec::new();
    let start = Instant::now();
    while samples.len() < LEAST_BATCHES || start.elapsed() < budget {
        samples.push(batch(gpu, size, &prepare, &run).await?.as_secs_f64() / size as f64);
    }
    let runs = size * samples.len();
    samples.sort_by(f64::total_cmp);
    Ok(Timing { seconds: samples[samples.len() / 2], runs })
}

async fn batch<T>(
    gpu: &Gpu,
    size: usize,
    prepare: &impl Fn() -> Result<T>,
    run: &impl Fn(T) -> Result<()>,
) -> Result<Duration> {
    let ready = (0..size).map(|_| prepare()).collect::<Result<Vec<T>>>()?;
    gpu.finish().await?;
    let start = Instant::now();
    ready.into_iter().try_for_each(run)?;
    gpu.finish().await?;
    Ok(start.elapsed())
}
