//! `dreamllm train`: a run from a config file.

use super::{INTERRUPTED, Output, device, progress};
use crate::Result;
use crate::train::Ranks;
use crate::train::dream::{TrainConfig, begin};
use clap::Args;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;

#[derive(Args)]
pub(super) struct TrainArguments {
    /// What to train, on what, and how: a TOML file as in configs/.
    #[arg(short, long, value_name = "FILE")]
    config: PathBuf,
    /// Continue from the newest checkpoint in the run's folder, or begin if there is none.
    #[arg(long)]
    resume: bool,
    /// Stop at the first record that cannot be used.
    #[arg(long)]
    strict: bool,
}

impl TrainArguments {
    pub async fn run(&self, device: &device::DeviceArguments, output: &Output) -> Result<()> {
        let mut config = TrainConfig::open(&self.config)?;
        config.loader.strict |= self.strict;
        let ranks = Arc::new(Ranks::started()?);
        let first = Output { quiet: output.quiet || ranks.rank() > 0, json: output.json && ranks.rank() == 0 };
        let output = &first;
        let gpu = device.open(output).await?;
        let bar = progress::bytes(output, 0);
        let loaded = |bytes, total| {
            bar.set_length(total);
            bar.inc(bytes);
        };
        let mut run = begin(&gpu, &config, self.resume, device.format(), &ranks, &loaded)?;
        bar.finish_and_clear();
        let at = run.step();
        output.say(&format!("{}: from step {at} to {}", config.out.display(), config.steps));
        let mut lines = progress::Lines::new(output, config.steps);
        let done = run.train(|progress| {
            lines.show(progress.line.step, &progress.to_string());
            !INTERRUPTED.load(Ordering::SeqCst)
        });
        let done = done.await?;
        lines.finish();
        if run.task.skipped().records() + run.task.skipped().pictures() > 0 {
            output.say(&run.task.skipped().to_string());
        }
        let (step, out) = (run.step(), config.out.display().to_string());
        if output.json {
            say!("{}", serde_json::json!({ "out": out, "step": step, "steps": config.steps, "done": done }));
        } else if done && ranks.rank() == 0 {
            say!("{}", config.out.join("final").display());
        } else if !done {
            output.say(&format!("stopped after step {step}, which is saved; --resume continues"));
        }
        device.close(&gpu).await?;
        drop(run);
        if let Some(ranks) = Arc::into_inner(ranks) {
            ranks.leave();
        }
        Ok(())
    }
}
