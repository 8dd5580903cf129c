//! What a dispatch costs the thread that records it, in a steady state.

use super::blocks::{TransformerBlock, seeded};
use dreamllm::gpu::Gpu;
use dreamllm::{Result, Tensor, autograd};

/// One kind of work and its cost.
pub struct HostTime {
    /// What was recorded.
    pub work: &'static str,
    /// Dispatches of one round, at least 1,000.
    pub dispatches: usize,
    /// Microseconds per dispatch, of the quickest round: recording it, which is the ops' own arithmetic as well.
    pub recording: f64,
    /// The same for its share of a submission.
    pub submitting: f64,
}

/// Records and submits every kind of work `rounds` times, and waits after every round, which is not counted.
pub fn measure(gpu: &Gpu, rounds: usize) -> Result<Vec<HostTime>> {
    works(gpu)?.into_iter().map(|(work, run)| time(gpu, work, &*run, rounds)).collect()
}

/// Seconds that this thread has run, so that neighbours and the driver's own threads do not count.
#[cfg(unix)]
fn clock() -> f64 {
    let mut spent = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the call writes one timespec, which outlives it.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut spent) };
    spent.tv_sec as f64 + spent.tv_nsec as f64 * 1e-9
}

/// Seconds that have passed, where there is no such clock.
#[cfg(not(unix))]
fn clock() -> f64 {
    std::time::UNIX_EPOCH.elapsed().map_or(0.0, |passed| passed.as_secs_f64())
}

type Work = (&'static str, Box<dyn Fn() -> Result<()>>);

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
    // As many as fit a submission, and as many submissions as make a thousand dispatches.
    let batch = (500 / each).max(1);
    let batches = 1000usize.div_ceil(each * batch);
    let dispatches = each * batch * batches;
    let mut best = (f64::INFINITY, f64::INFINITY);
    for _ in 0..rounds + 2 {
        let mut spent = (0.0, 0.0);
        for _ in 0..batches {
            let begin = clock();
            (0..batch).try_for_each(|_| run())?;
            let recorded = clock();
            gpu.flush();
            spent = (spent.0 + recorded - begin, spent.1 + clock() - recorded);
        }
        pollster::block_on(gpu.finish())?;
        if spent.0 + spent.1 < best.0 + best.1 {
            best = spent;
        }
    }
    let [recording, submitting] = [best.0, best.1].map(|seconds| seconds * 1e6 / dispatches as f64);
    Ok(HostTime { work, dispatches, recording, submitting })
}
