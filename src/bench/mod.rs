//! Speed of the ops: time, rates, and what share of the adapter's ceilings that is.
//!
//! The shapes are the large cases of [`crate::ops::large_cases`]. Forward and backward passes are timed apart. A ceiling
//! is measured on the same adapter just before: a kernel that only copies, and one that only multiplies and adds.

mod clock;

use crate::autograd::gradients;
use crate::gpu::{Gpu, RecordedDispatch};
use crate::ops::case::OpCase;
use crate::ops::{ceiling, fill};
use crate::tensor::{DType, Tensor};
use crate::{Error, Result};
use std::collections::BTreeMap;
use std::time::Duration;

/// What to time, and for how long.
#[derive(Debug, Clone)]
pub struct BenchOptions {
    /// Part of an op's name or of a case's label.
    pub filter: String,
    /// Time for one measurement, after its warm-up.
    pub budget: Duration,
}

/// What the adapter can do at most.
#[derive(Debug, Clone, Copy, serde::Serialize)]
pub struct Ceilings {
    /// Bytes a second of a kernel that only copies, loads and stores together, in units of 10⁹; beyond the caches.
    pub copy_gb_s: f64,
    /// Floating-point operations a second of a kernel that only multiplies and adds, in units of 10⁹.
    pub fma_gflops: f64,
}

/// One op at one shape, in one direction.
#[derive(Debug, Clone, serde::Serialize)]
pub struct OpSpeed {
    /// Name of the op.
    pub op: &'static str,
    /// Shapes and options in words.
    pub case: String,
    /// `forward` or `backward`.
    pub pass: &'static str,
    /// Median milliseconds of a run.
    pub milliseconds: f64,
    /// Runs that were timed.
    pub runs: usize,
    /// Floating-point operations a second in units of 10⁹, where they are what counts.
    pub gflops: Option<f64>,
    /// Bytes of operands and results a second in units of 10⁹.
    pub gb_s: f64,
    /// Share of the arithmetic ceiling.
    pub of_fma: Option<f64>,
    /// Share of the copy ceiling. More than 1 where everything stays in a cache.
    pub of_copy: f64,
    /// The kernels of one run with their knobs, and how often each is dispatched.
    pub kernels: BTreeMap<String, usize>,
}

/// The large cases whose op or label contains `filter`; an error if there is none.
pub fn wanted(filter: &str) -> Result<Vec<OpCase>> {
    let all = crate::ops::large_cases();
    let mut ops: Vec<&str> = all.iter().map(|case| case.op).collect();
    ops.dedup();
    let names = ops.join(", ");
    let wanted: Vec<OpCase> =
        all.into_iter().filter(|case| case.op.contains(filter) || case.label.contains(filter)).collect();
    match wanted.is_empty() {
        true => Err(Error::Input(format!("no case matches \"{filter}\"; there are cases of {names}"))),
        false => Ok(wanted),
    }
}

/// Times the wanted cases; `seen` is told of every result and may stop with an error.
pub async fn bench_ops(
    gpu: &Gpu,
    options: &BenchOptions,
    ceilings: Ceilings,
    mut seen: impl FnMut(&OpSpeed) -> Result<()>,
) -> Result<Vec<OpSpeed>> {
    let mut all = Vec::new();
    for case in wanted(&options.filter)? {
        let measured = Measured { gpu, case: &case, budget: options.budget, ceilings };
        for speed in [Some(measured.forward().await?), measured.backward().await?].into_iter().flatten() {
            seen(&speed)?;
            all.push(speed);
        }
        // The next case has other sizes: what the pool keeps of this one is only in the way.
        gpu.trim()?;
    }
    Ok(all)
}

/// Bytes of the copy that is the ceiling: beyond the caches of a processor.
const COPIED: usize = 64 << 20;

/// Measures both ceilings.
pub async fn ceilings(gpu: &Gpu, budget: Duration) -> Result<Ceilings> {
    let elements = (COPIED / 4).min(gpu.limits().max_binding as usize / 4) & !63;
    let bytes = 2.0 * DType::F32.bytes(elements) as f64;
    let x = fill::full(gpu, [elements], 1.0)?;
    let copied = clock::time(gpu, budget, 256, || Ok(()), |()| ceiling::copy(&x).map(drop)).await?;
    let (elements, turns) = (1 << 18, 64);
    let x = fill::full(gpu, [elements], 1.0)?;
    let mut fastest = 0f64;
    for sums in ceiling::SUMS {
        let run = |()| ceiling::fma(&x, turns, sums).map(drop);
        let timing = clock::time(gpu, budget, 256, || Ok(()), run).await?;
        fastest = fastest.max(ceiling::fma_flops(elements, turns, sums) / timing.seconds);
    }
    Ok(Ceilings { copy_gb_s: bytes / copied.seconds / 1e9, fma_gflops: fastest / 1e9 })
}

struct Measured<'a> {
    gpu: &'a Gpu,
    case: &'a OpCase,
    budget: Duration,
    ceilings: Ceilings,
}

/// Bytes of results that wait for their backward pass in one batch.
const WAITING: usize = 256 << 20;

impl Measured<'_> {
    async fn forward(&self) -> Result<OpSpeed> {
        let x = self.case.tensors(self.gpu)?;
        let (y, log) = self.logged(|| (self.case.run)(&x))?;
        let timing = clock::time(self.gpu, self.budget, 256, || Ok(()), |()| (self.case.run)(&x).map(drop)).await?;
        let moved: u64 = x.iter().chain([&y]).map(bytes).sum();
        let moved = if self.case.bytes > 0.0 { self.case.bytes } else { moved as f64 };
        Ok(self.speed("forward", timing, self.case.flops, moved, &log))
    }

    /// None where no operand has a gradient.
    async fn backward(&self) -> Result<Option<OpSpeed>> {
        let operands = &self.case.operands;
        if !operands.iter().any(|o| o.differentiable) {
            return Ok(None);
        }
        let variables: Vec<Tensor> = (self.case.tensors(self.gpu)?.into_iter().zip(operands))
            .map(|(x, o)| if o.differentiable { x.variable() } else { x })
            .collect();
        let forward = || (self.case.run)(&variables);
        let y = forward()?;
        let dy = fill::full(self.gpu, y.shape(), 0.5)?;
        let (found, log) = self.logged(|| gradients(&y, &dy))?;
        // The gradient of an addition is dy itself: there is nothing to time.
        if log.is_empty() {
            return Ok(None);
        }
        let got = variables.iter().filter_map(|x| found.get(x)).map(bytes).sum::<u64>();
        let moved = variables.iter().chain([&dy]).map(bytes).sum::<u64>() + got;
        let most = WAITING / (bytes(&y) as usize).max(1);
        drop((y, found));
        let run = |y: Tensor| gradients(&y, &dy).map(drop);
        let timing = clock::time(self.gpu, self.budget, most.clamp(1, 64), forward, run).await?;
        Ok(Some(self.speed("backward", timing, self.case.backward_flops, moved as f64, &log)))
    }

    /// What `work` gives, and what it records.
    fn logged<T>(&self, work: impl FnOnce() -> Result<T>) -> Result<(T, Vec<RecordedDispatch>)> {
        self.gpu.start_log();
        let done = work();
        let log = self.gpu.take_log();
        Ok((done?, log))
    }

    fn speed(&self, pass: &'static str, t: clock::Timing, flops: f64, moved: f64, log: &[RecordedDispatch]) -> OpSpeed {
        let gflops = (flops > 0.0).then_some(flops / t.seconds / 1e9);
        let gb_s = moved / t.seconds / 1e9;
        let mut kernels = BTreeMap::new();
        log.iter().for_each(|dispatch| *kernels.entry(dispatch.kernel.clone()).or_default() += 1);
        OpSpeed {
            op: self.case.op,
            case: self.case.label.clone(),
            pass,
            milliseconds: t.seconds * 1e3,
            runs: t.runs,
            gflops,
            gb_s,
            of_fma: gflops.map(|rate| rate / self.ceilings.fma_gflops),
            of_copy: gb_s / self.ceilings.copy_gb_s,
            kernels,
        }
    }
}

fn bytes(x: &Tensor) -> u64 {
    x.dtype().bytes(x.len())
}
