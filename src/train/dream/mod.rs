//! Training DreamLLM: a [`TrainConfig`], and the [`DreamTask`] that a [`Run`] of it learns.

mod config;
mod examples;
mod task;

pub use config::{Ask, LoaderConfig, LossConfig, SamplesConfig, TrainConfig};
pub use task::DreamTask;

use super::Ranks;
use super::run::{Run, RunFolder, RunOptions};
use crate::Result;
use crate::gpu::Gpu;
use crate::nn::WeightFormat;
use std::sync::Arc;

/// Begins the run of a config, or continues it if `resume` says so and there is something to continue; every one of several
/// processes calls this. Frozen weights are
/// kept in a format; `progress` is told stored bytes as they are read, of how many.
pub fn begin(
    gpu: &Gpu,
    config: &TrainConfig,
    resume: bool,
    format: WeightFormat,
    ranks: &Arc<Ranks>,
    progress: &dyn Fn(u64, u64),
) -> Result<Run<DreamTask>> {
    if ranks.rank() == 0 {
        RunFolder::check(&config.out, resume)?;
    }
    let task = DreamTask::new(gpu, config, format, ranks.clone(), progress)?;
    let mut settings = config.settings()?;
    settings["weights"] = format!("{format:?}").into();
    let options = RunOptions {
        accumulate: config.accumulate,
        adamw: config.adamw(),
        max_norm: Some(config.optimiser.clip).filter(|clip| *clip > 0.0),
        rates: config.rates(),
        ema: config.optimiser.ema,
        save_every: config.save.every,
        keep: config.save.keep,
        show_every: config.samples.every,
        settings,
    };
    // A run that cannot begin claims no folder; and nobody looks into it before the first process has put it in order.
    let folder = match ranks.rank() {
        0 => RunFolder::claim(&config.out, resume)?,
        _ => RunFolder::join(&config.out),
    };
    ranks.meet();
    Run::begin(task, options, folder, ranks.clone())
}
