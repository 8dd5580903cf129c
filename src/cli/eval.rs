//! `dreamllm eval`: how good a checkpoint is in the world of shapes.

use super::drawing::PaceArguments;
use super::{Output, check_interrupt, device, progress};
use crate::data::shapes::{Split, World};
use crate::diffusion::pipeline::DrawOptions;
use crate::eval::{Benchmark, Dreamer, Recorded};
use crate::image::{replace_file, write_png};
use crate::models::answer::AnswerOptions;
use crate::models::dreamllm::LoadOptions;
use crate::models::preflight;
use crate::{Error, Result};
use clap::Args;
use std::path::{Path, PathBuf};

/// Tokens of an answer of one word.
const TOKENS: usize = 8;

const EXAMPLES: &str = "\
Examples:
  dreamllm eval
  dreamllm eval -m runs/shapes/54-denoiser/final --count 50 --out report.json
  dreamllm eval --only one-object,edits --split train --pictures drawn";

#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct EvalArguments {
    #[command(flatten)]
    model: device::ModelArguments,
    /// Prompts of each kind, edits, stories and compositions; there are five questions for each of them.
    #[arg(long, default_value_t = 200, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=100_000))]
    count: u64,
    /// What to ask: one-object, two-objects, edits, subjects, compositions, together pictures; questions, two-images, three-images,
    /// together words.
    #[arg(long, value_delimiter = ',', value_name = "TASKS", default_value = "pictures,words")]
    only: Vec<String>,
    /// Seed of the tasks.
    #[arg(long, default_value_t = 20_230_920, value_name = "N")]
    seed: u64,
    /// heldout: compositions of docs/shapes-heldout.md, which training never has; train: of the others; all.
    #[arg(long, default_value = "heldout", value_name = "NAME")]
    split: Split,
    /// Pictures to draw at once.
    #[arg(long, default_value_t = 32, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1000))]
    batch: u16,
    #[command(flatten)]
    pace: PaceArguments,
    /// Write the figures to this file, as JSON.
    #[arg(short, long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Write what was drawn to this folder, with what was asked.
    #[arg(long, value_name = "FOLDER")]
    pictures: Option<PathBuf>,
}

/// Names of tasks, and the group of each.
const TASKS: [(&str, &str); 8] = [
    ("one-object", "pictures"),
    ("two-objects", "pictures"),
    ("edits", "pictures"),
    ("subjects", "pictures"),
    ("compositions", "pictures"),
    ("questions", "words"),
    ("two-images", "words"),
    ("three-images", "words"),
];

impl EvalArguments {
    pub async fn run(&self, device: &device::DeviceArguments, output: &Output) -> Result<()> {
        let folder = self.model.open()?;
        let benchmark = self.benchmark(preflight::resolution(&folder))?;
        self.out.iter().try_for_each(|file| device::check_output(file))?;
        self.pictures.iter().try_for_each(|folder| device::make_folder(folder))?;
        let side = preflight::resolution(&folder);
        let options = self.pace.options(&folder.drawing)?;
        let drawing =
            DrawOptions { width: side, height: side, batch: usize::from(self.batch), seed: self.seed, ..options };
        preflight::check_drawing(&folder, &drawing)?;
        let gpu = device.open(output).await?;
        let parts = LoadOptions { format: device.format(), vision: true, diffusion: true, ..Default::default() };
        let model = self.model.load(&folder, &gpu, parts, output).await?;
        let answering = AnswerOptions { max_tokens: TOKENS, ..AnswerOptions::default() };
        let mut pupil = Recorded::new(Dreamer { model: &model, drawing, answering, on_step: &check_interrupt });
        let bar = progress::tasks(output);
        let report = benchmark
            .run(&mut pupil, |done, total| {
                progress::step(&bar, done, total);
                check_interrupt()
            })
            .await?;
        let json = serde_json::json!({
            "model": self.model.name(), "fingerprint": model.fingerprint, "adapter": gpu.report().name,
            "benchmark": benchmark, "report": report,
        });
        self.out.iter().try_for_each(|file| replace_file(file, format!("{json:#}\n").as_bytes()))?;
        self.pictures.iter().try_for_each(|folder| self.write(folder, &benchmark, &pupil))?;
        match output.json {
            true => say!("{json}"),
            false => say!("{report}"),
        }
        device.close(&gpu).await
    }

    fn benchmark(&self, side: usize) -> Result<Benchmark> {
        let known = |name: &str| TASKS.iter().any(|(task, group)| [*task, *group].contains(&name));
        if let Some(wrong) = self.only.iter().find(|name| !known(name)) {
            let names: Vec<&str> = TASKS.iter().map(|(task, _)| *task).chain(["pictures", "words"]).collect();
            return Err(Error::Input(format!("\"{wrong}\" is none of {}", names.join(", "))));
        }
        let wanted = |task: &str, group: &str| self.only.iter().any(|name| [task, group].contains(&name.as_str()));
        let count = |name: &str, count| {
            let group = TASKS.iter().find(|(task, _)| *task == name).map_or("", |(_, group)| *group);
            if wanted(name, group) { count } else { 0 }
        };
        let n = self.count;
        let benchmark = Benchmark {
            world: World { side, seed: self.seed, split: self.split, ..World::default() },
            one_object: count("one-object", n),
            two_objects: count("two-objects", n),
            edits: count("edits", n),
            subjects: count("subjects", n),
            compositions: count("compositions", n),
            questions: count("questions", 5 * n),
            over_two: count("two-images", 5 * n / 2),
            over_three: count("three-images", 5 * n / 4),
        };
        benchmark.world.check()?;
        Ok(benchmark)
    }

    /// Pictures in the order of the tasks.
    fn write(&self, folder: &Path, benchmark: &Benchmark, pupil: &Recorded<Dreamer<'_>>) -> Result<()> {
        for (n, (task, picture)) in benchmark.drawings().iter().zip(&pupil.drawn).enumerate() {
            write_png(folder.join(format!("{:04}.png", n + 1)), picture, &[("prompt", &task.request.text)])?;
        }
        Ok(())
    }
}
