//! `dreamllm synergy`: does creating help understanding?

use super::{Output, check_interrupt, device, progress};
use crate::synergy::{Budget, Event, Study};
use crate::train::run::length_of;
use crate::{Error, Result};
use clap::Args;
use std::path::PathBuf;

const EXAMPLES: &str = "\
Examples:
  dreamllm synergy --budget smoke --seeds 1 --out smoke
  dreamllm synergy --budget laptop --out report
  dreamllm synergy --steps 400 --tasks 50 --seeds 2 --out report

A study that was stopped goes on where it was when it is started again with the same folder.";

#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct SynergyArguments {
    /// The model whose image encoder and image generator are taken [default: the small model inside the program].
    #[arg(short, long, value_name = "CHECKPOINT")]
    model: Option<PathBuf>,
    /// Seeds: each has six models, trained for creation, comprehension and both, with documents and without.
    #[arg(long, default_value_t = 3, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1000))]
    seeds: u64,
    /// The first of them: machines may take some seeds each, with the same other options, and put their seed-N folders together.
    #[arg(long, default_value_t = 0, value_name = "N", value_parser = clap::value_parser!(u64).range(0..=1_000_000))]
    first_seed: u64,
    /// smoke: minutes, to see that it works; laptop: some fifteen hours on two cores; full: as much as the default model had, and more.
    #[arg(long, default_value = "laptop", value_name = "NAME")]
    budget: Budget,
    /// Steps of every model, if not the budget's.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    steps: Option<u64>,
    /// Steps of preparation, in which decoders learn what words mean, if not the budget's.
    #[arg(long, value_name = "N")]
    prepare: Option<u64>,
    /// Tasks of each kind, if not the budget's.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=100_000))]
    tasks: Option<u64>,
    /// The folder of the report, and of the models while they are trained.
    #[arg(short, long, value_name = "FOLDER")]
    out: PathBuf,
}

impl SynergyArguments {
    pub async fn run(&self, device: &device::DeviceArguments, output: &Output) -> Result<()> {
        let model = self.model.clone().map_or_else(crate::default_weights::folder, Ok)?;
        let Budget { prepare, steps, tasks, .. } = self.budget;
        let budget = Budget {
            prepare: self.prepare.unwrap_or(prepare),
            steps: self.steps.unwrap_or(steps),
            tasks: self.tasks.unwrap_or(tasks),
            ..self.budget.clone()
        };
        let study = Study { model, out: self.out.clone(), seeds: self.seeds, first_seed: self.first_seed, budget };
        device::make_folder(&study.out)?;
        let gpu = device.open(output).await?;
        let mut lines = progress::Lines::new(output, 0);
        let findings = study
            .run(&gpu, |event| {
                match event {
                    Event::Plan(cells, time) => {
                        output.say(&format!("{cells} models to train, {} in all", length_of(time)))
                    }
                    Event::Training(name, seed, step) => {
                        lines.show(step.line.step, &format!("seed {seed}, {name}: {step}"));
                    }
                    Event::Asking(name, seed, done, total) => {
                        lines.show(done as u64, &format!("seed {seed}, {name}: {done} of {total} tasks"));
                    }
                    Event::Done(name, seed, left) => {
                        output.say(&format!("seed {seed}, {name}: done; {} left", length_of(left)));
                    }
                }
                check_interrupt()
            })
            .await;
        if matches!(findings, Err(Error::Cancelled)) {
            output.say("the same command goes on from here");
        }
        let findings = findings?;
        match output.json {
            true => say!("{}", serde_json::to_string(&findings).map_err(|e| Error::format("report", e))?),
            false => say!("{}\n{}", findings.to_markdown(), self.out.join("index.html").display()),
        }
        device.close(&gpu).await
    }
}
