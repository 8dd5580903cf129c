//! `dreamllm train`: a run from a config file.

use super::{INTERRUPTED, Output, device, progress};
use crate::Result;
use crate::train::Ranks;
use crate::train::dream::{TrainConfig, begin};
use crate::train::pretraining::{self, PretrainConfig};
use crate::train::run::{Run, Task};
use clap::Args;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::Ordering;

const EXAMPLES: &str = "\
Examples:
  dreamllm train --config configs/stage1.toml
  dreamllm train --config configs/stage1.toml --resume

Everything is in the file: the model, the data, which parts learn, the losses, the optimiser. Ctrl-C saves and stops; the exit code
is then 130.";

#[derive(Args)]
#[command(after_help = EXAMPLES)]
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
    pub async fn run(&self, device: &device::DeviceArguments, output: &Output) -> Result<ExitCode> {
        if PretrainConfig::is_in(&self.config) {
            return self.pretrain(device, output).await;
        }
        let mut config = TrainConfig::open(&self.config)?;
        config.loader.strict |= self.strict;
        let ranks = Arc::new(Ranks::started()?);
        let first =
            Output { quiet: output.quiet || ranks.rank() > 0, json: output.json && ranks.rank() == 0, ..*output };
        let output = &first;
        let gpu = device.open(output).await?;
        let bar = progress::bytes(output, 0);
        let loaded = |bytes, total| {
            bar.set_length(total);
            bar.inc(bytes);
        };
        let mut run = begin(&gpu, &config, self.resume, device.format(), &ranks, &loaded)?;
        bar.finish_and_clear();
        let done = go_on(&mut run, &config.out, config.steps, output).await?;
        if run.task.skipped().records() + run.task.skipped().pictures() > 0 {
            output.say(&run.task.skipped().to_string());
        }
        // The first rank says where the model is.
        if ranks.rank() == 0 {
            report(&run, &config.out, config.steps, done, output);
        }
        device.close(&gpu).await?;
        drop(run);
        if let Some(ranks) = Arc::into_inner(ranks) {
            ranks.leave();
        }
        Ok(ended(done))
    }

    async fn pretrain(&self, device: &device::DeviceArguments, output: &Output) -> Result<ExitCode> {
        let config = PretrainConfig::open(&self.config)?;
        let gpu = device.open(output).await?;
        let mut run = pretraining::begin(&gpu, &config, self.resume)?;
        let done = go_on(&mut run, &config.out, config.steps, output).await?;
        report(&run, &config.out, config.steps, done, output);
        device.close(&gpu).await.map(|()| ended(done))
    }
}

/// Of a run that came to its end, or that was interrupted.
fn ended(done: bool) -> ExitCode {
    if done { ExitCode::SUCCESS } else { ExitCode::from(130) }
}

/// Steps until the end or until Ctrl-C. Whether the end was reached.
async fn go_on<T: Task>(run: &mut Run<T>, out: &Path, steps: u64, output: &Output) -> Result<bool> {
    output.say(&format!("{}: from step {} to {steps}", out.display(), run.step()));
    let mut lines = progress::Lines::new(output, steps);
    let done = run.train(|progress| {
        lines.show(progress.line.step, &progress.to_string());
        !INTERRUPTED.load(Ordering::SeqCst)
    });
    let done = done.await?;
    lines.finish();
    Ok(done)
}

fn report<T: Task>(run: &Run<T>, out: &Path, steps: u64, done: bool, output: &Output) {
    let step = run.step();
    if output.json {
        say!("{}", serde_json::json!({ "out": out.display().to_string(), "step": step, "steps": steps, "done": done }));
    } else if done {
        say!("{}", out.join("final").display());
    }
    if !done {
        note!("interrupted after step {step}, which is saved; --resume continues");
    }
}
