//! A study from its plan to its report, resumable cell by cell.

use super::budget::Budget;
use super::cell::Cell;
use super::start::{self, start};
use super::{Findings, page};
use crate::data::Objective;
use crate::diffusion::pipeline::DrawOptions;
use crate::eval::{Benchmark, Dreamer, Recorded, Report, TextOnly};
use crate::gpu::Gpu;
use crate::image::replace_file;
use crate::models::answer::AnswerOptions;
use crate::models::dreamllm::{DreamLlm, LoadOptions};
use crate::models::preflight::resolution;
use crate::nn::WeightFormat;
use crate::train::run::Progress;
use crate::train::{Ranks, dream};
use crate::weights::CheckpointFolder;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What is to be found out, and where the findings go.
#[derive(Debug, Clone)]
pub struct Study {
    /// The model whose image encoder and image generator all cells take.
    pub model: PathBuf,
    /// The folder of the report; a study that is there is continued.
    pub out: PathBuf,
    /// How many seeds, and the first of them. Machines that took some seeds each put their folders `seed-N` together, or of each cell
    /// the `result.json` alone; a study of all seeds then finds them done.
    pub seeds: u64,
    /// The first one.
    pub first_seed: u64,
    /// Steps and tasks of every cell.
    pub budget: Budget,
}

/// Measured cell: the content of its `result.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// Which one.
    pub cell: Cell,
    /// Of which seed.
    pub seed: u64,
    /// What the benchmark found.
    pub report: Report,
    /// The same drawing tasks without their pictures, for the cell that only ever learned to draw from text.
    pub text_only: Option<Report>,
    /// Seconds that training and asking took together.
    pub seconds: f64,
    /// The adapter.
    pub adapter: String,
}

/// What a study tells while it goes on. The receiver may end it by an error.
pub enum Event<'a> {
    /// Before anything is trained: cells that are still to be trained, and how long that will take.
    Plan(usize, Duration),
    /// A seed's common start is prepared, or a cell is trained: its name, its seed, and the step.
    Training(&'a str, u64, &'a Progress),
    /// A cell is asked: its name, its seed, tasks done and all tasks.
    Asking(&'a str, u64, usize, usize),
    /// A cell is done: its name, its seed, and how long the rest will take.
    Done(&'a str, u64, Duration),
}

/// What a folder is a study of.
const STUDY: &str = "study.json";
/// What a finished cell leaves.
const RESULT: &str = "result.json";
/// Tokens of an answer of one word.
const TOKENS: usize = 8;
/// Pictures that are drawn at once.
const BATCH: usize = 16;
/// Steps by which the time is estimated, after one that compiles.
const TIMED: u64 = 2;

impl Study {
    /// Does what is not done yet, and writes `report.md`, `report.json`, `curves.svg` and `index.html`.
    pub async fn run(&self, gpu: &Gpu, mut seen: impl FnMut(Event<'_>) -> Result<()>) -> Result<Findings> {
        let is_claimed = self.check()?;
        let mut open: Vec<(u64, Cell)> = (self.first_seed..self.first_seed + self.seeds)
            .flat_map(|seed| Cell::all().into_iter().map(move |cell| (seed, cell)))
            .collect();
        let mut outcomes = Vec::new();
        for (seed, cell) in std::mem::take(&mut open) {
            match self.outcome(seed, cell)? {
                Some(outcome) => outcomes.push(outcome),
                None => open.push((seed, cell)),
            }
        }
        let mut pace = Pace { cells: open.len(), of_a_cell: Duration::ZERO, measured: Vec::new() };
        if !open.is_empty() {
            start::check(&self.model, &self.budget)?;
        }
        // A study that cannot be made claims no folder.
        if !is_claimed {
            self.claim()?;
        }
        if !open.is_empty() {
            pace.of_a_cell = self.estimate(gpu, &mut seen).await?;
            seen(Event::Plan(open.len(), pace.left()))?;
        }
        for (seed, cell) in open {
            let outcome = self.cell(gpu, seed, cell, &mut seen).await?;
            pace.done(Duration::from_secs_f64(outcome.seconds));
            seen(Event::Done(&cell.name(), seed, pace.left()))?;
            outcomes.push(outcome);
        }
        outcomes.sort_by_key(|outcome| (outcome.seed, Cell::all().iter().position(|cell| *cell == outcome.cell)));
        let findings = Findings::new(&self.budget, outcomes);
        findings.write(&self.out)?;
        page::write(self, &findings)?;
        Ok(findings)
    }

    /// The folder of a cell.
    pub(super) fn folder(&self, seed: u64, cell: Cell) -> PathBuf {
        self.out.join(format!("seed-{seed}")).join(cell.name())
    }

    /// The seed whose pictures, answers and losses are shown: the first one that has them. A study that was put together may have
    /// nothing but the `result.json` of others.
    pub(super) fn shown_seed(&self) -> u64 {
        let has_all = |seed: &u64| Cell::all().iter().all(|cell| self.folder(*seed, *cell).join(page::FOLDER).is_dir());
        (self.first_seed..self.first_seed + self.seeds).find(has_all).unwrap_or(self.first_seed)
    }

    /// The benchmark of all cells.
    pub(super) fn benchmark(&self) -> Result<Benchmark> {
        Ok(self.budget.benchmark(resolution(&CheckpointFolder::open(&self.model)?)))
    }

    /// Whether the folder holds this study; an error if it holds another one.
    fn check(&self) -> Result<bool> {
        let (path, settings) = (self.out.join(STUDY), self.settings()?);
        if !path.is_file() {
            return Ok(false);
        }
        let json = std::fs::read(&path).map_err(|e| Error::file(&path, e))?;
        let found: serde_json::Value = serde_json::from_slice(&json).map_err(|e| Error::file(&path, e))?;
        match found == settings {
            true => Ok(true),
            false => Err(Error::file(&path, "is of a study with another model or budget; take another folder")),
        }
    }

    /// Makes the folder one of this study.
    fn claim(&self) -> Result<()> {
        std::fs::create_dir_all(&self.out).map_err(|e| Error::file(&self.out, e))?;
        replace_file(self.out.join(STUDY), format!("{:#}\n", self.settings()?).as_bytes())
    }

    /// What tells studies apart.
    fn settings(&self) -> Result<serde_json::Value> {
        let model = CheckpointFolder::open(&self.model)?;
        Ok(serde_json::json!({ "model": model.fingerprint(), "budget": self.budget }))
    }

    /// What a finished cell has left.
    fn outcome(&self, seed: u64, cell: Cell) -> Result<Option<Outcome>> {
        let path = self.folder(seed, cell).join(RESULT);
        if !path.is_file() {
            return Ok(None);
        }
        let json = std::fs::read(&path).map_err(|e| Error::file(&path, e))?;
        serde_json::from_slice(&json).map(Some).map_err(|e| Error::file(&path, e))
    }

    /// Trains and asks one cell.
    async fn cell(
        &self,
        gpu: &Gpu,
        seed: u64,
        cell: Cell,
        seen: &mut impl FnMut(Event<'_>) -> Result<()>,
    ) -> Result<Outcome> {
        let (begun, name) = (Instant::now(), cell.name());
        let below = self.out.join(format!("seed-{seed}"));
        let mut wrong = Ok(());
        let mut watch = |name: &str, progress: &Progress| {
            wrong = seen(Event::Training(name, seed, progress));
            wrong.is_ok()
        };
        let model = start(gpu, &self.model, &below, &self.budget, seed, |step| watch("preparation", step)).await;
        let model = match model {
            Ok(model) => model,
            Err(error) => return wrong.and(Err(error)),
        };
        let (side, run) = (resolution(&CheckpointFolder::open(&model)?), self.folder(seed, cell));
        let config = cell.config(&self.budget, seed, side, &model, &run)?;
        if !run.join("final").is_dir() {
            let ranks = Arc::new(Ranks::alone());
            let mut run = dream::begin(gpu, &config, true, WeightFormat::F32, &ranks, &|_, _| ())?;
            if !run.train(|step| watch(&name, step)).await? {
                return wrong.and(Err(Error::Cancelled));
            }
        }
        let (report, text_only) = self.ask(gpu, seed, cell, seen).await?;
        let (seconds, adapter) = (begun.elapsed().as_secs_f64(), gpu.report().name.clone());
        let outcome = Outcome { cell, seed, report, text_only, seconds, adapter };
        let json = serde_json::to_vec_pretty(&outcome).map_err(|e| Error::format(RESULT, e))?;
        replace_file(run.join(RESULT), &json)?;
        remove_checkpoints(&run)?;
        Ok(outcome)
    }

    /// Puts its part of the benchmark to a trained cell, and keeps what the page shows.
    async fn ask(
        &self,
        gpu: &Gpu,
        seed: u64,
        cell: Cell,
        seen: &mut impl FnMut(Event<'_>) -> Result<()>,
    ) -> Result<(Report, Option<Report>)> {
        let (run, name) = (self.folder(seed, cell), cell.name());
        let folder = CheckpointFolder::open(run.join("final"))?;
        let model = load(gpu, &folder)?;
        let whole = self.benchmark()?;
        let benchmark = cell.benchmark(&whole);
        let total = benchmark.drawings().len() + benchmark.questions().len();
        let mut pupil = Recorded::new(self.dreamer(&model, &folder)?);
        let report = benchmark.run(&mut pupil, |done, _| seen(Event::Asking(&name, seed, done, total))).await?;
        page::keep(&run, &benchmark, &pupil)?;
        if cell != (Cell { objective: Objective::Creation, interleaved: false }) {
            return Ok((report, None));
        }
        let contexts = Benchmark { one_object: 0, two_objects: 0, ..benchmark };
        let total = contexts.drawings().len();
        let mut pupil = Recorded::new(TextOnly(self.dreamer(&model, &folder)?));
        let text_only = contexts.run(&mut pupil, |done, _| seen(Event::Asking("text only", seed, done, total))).await?;
        page::keep(&run.join("text-only"), &contexts, &pupil)?;
        Ok((report, Some(text_only)))
    }

    fn dreamer<'a>(&self, model: &'a DreamLlm, folder: &CheckpointFolder) -> Result<Dreamer<'a>> {
        let side = resolution(folder);
        let (width, height, steps, batch) = (side, side, self.budget.denoising, BATCH);
        let drawing = DrawOptions { width, height, steps, batch, ..folder.drawing.options()? };
        let answering = AnswerOptions { max_tokens: TOKENS, ..AnswerOptions::default() };
        Ok(Dreamer { model, drawing, answering, on_step: &|| Ok(()) })
    }

    /// How long a cell that learns everything takes, from a few steps and tasks of one. All cells of a seed share its preparation.
    async fn estimate(&self, gpu: &Gpu, seen: &mut impl FnMut(Event<'_>) -> Result<()>) -> Result<Duration> {
        let trial = self.out.join(".trial");
        let _ = std::fs::remove_dir_all(&trial); // of a study that was stopped here
        let prepare = self.budget.prepare.min(1 + TIMED);
        let budget = Budget { prepare, steps: 1 + TIMED, tasks: 1, ..self.budget.clone() };
        let study = Study { out: trial.clone(), budget, ..self.clone() };
        let mut times = [Duration::ZERO; 2];
        let mut last = Instant::now();
        let cell = Cell { objective: Objective::Joint, interleaved: true };
        let mut timed = |event: Event<'_>| {
            let now = Instant::now();
            match &event {
                Event::Training("preparation", _, step) if step.line.step > 1 => times[0] += now - last,
                Event::Training(_, _, step) if step.line.step > 1 => times[1] += now - last,
                _ => {}
            }
            last = now;
            seen(event)
        };
        study.cell(gpu, 0, cell, &mut timed).await?;
        let asking = self.time_of_asking(gpu, &study.folder(0, cell).join("final")).await?;
        std::fs::remove_dir_all(&trial).map_err(|e| Error::file(&trial, e))?;
        let [prepare, train] = times.map(|time| time / TIMED as u32);
        let cells = Cell::all().len() as f64;
        Ok(prepare.mul_f64(self.budget.prepare as f64 / cells) + train.mul_f64(self.budget.steps as f64) + asking)
    }

    /// A batch of pictures and a few answers, as a part of all.
    async fn time_of_asking(&self, gpu: &Gpu, model: &Path) -> Result<Duration> {
        let folder = CheckpointFolder::open(model)?;
        let model = load(gpu, &folder)?;
        let whole = self.benchmark()?;
        let few = Benchmark { one_object: BATCH as u64, questions: BATCH as u64, ..whole.clone() };
        let [pictures, answers] = [
            Benchmark {
                two_objects: 0,
                edits: 0,
                subjects: 0,
                compositions: 0,
                questions: 0,
                over_two: 0,
                over_three: 0,
                ..few.clone()
            },
            Benchmark {
                one_object: 0,
                two_objects: 0,
                edits: 0,
                subjects: 0,
                compositions: 0,
                over_two: 0,
                over_three: 0,
                ..few
            },
        ];
        let mut sum = Duration::ZERO;
        for (part, all) in [(pictures, whole.drawings().len()), (answers, whole.questions().len())] {
            let begun = Instant::now();
            part.run(&mut self.dreamer(&model, &folder)?, |_, _| Ok(())).await?;
            sum += begun.elapsed().mul_f64(all as f64 / BATCH as f64);
        }
        // Two of three cells draw, two of three answer.
        Ok(sum.mul_f64(2.0 / 3.0))
    }
}

fn load(gpu: &Gpu, folder: &CheckpointFolder) -> Result<DreamLlm> {
    let options = LoadOptions { format: WeightFormat::F32, vision: true, diffusion: true, ..Default::default() };
    DreamLlm::load(folder, gpu, options, &|_| ())
}

/// A finished cell keeps its model, its log and its curves.
fn remove_checkpoints(run: &Path) -> Result<()> {
    let entries = std::fs::read_dir(run).map_err(|e| Error::file(run, e))?;
    for entry in entries {
        let path = entry.map_err(|e| Error::file(run, e))?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() && name.starts_with("step-") {
            std::fs::remove_dir_all(&path).map_err(|e| Error::file(&path, e))?;
        }
    }
    Ok(())
}

/// How fast the cells go.
struct Pace {
    cells: usize,
    of_a_cell: Duration,
    measured: Vec<Duration>,
}

impl Pace {
    fn done(&mut self, time: Duration) {
        self.cells -= 1;
        self.measured.push(time);
        self.of_a_cell = self.measured.iter().sum::<Duration>() / self.measured.len() as u32;
    }

    fn left(&self) -> Duration {
        self.of_a_cell * self.cells as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_seed_that_has_pictures_is_shown() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().to_path_buf();
        let study = Study { model: out.clone(), out, seeds: 3, first_seed: 4, budget: Budget::SMOKE };
        assert_eq!(study.shown_seed(), 4);
        for (seed, cells) in [(5, &Cell::all()[..2]), (6, &Cell::all()[..])] {
            for cell in cells {
                std::fs::create_dir_all(study.folder(seed, *cell).join(page::FOLDER)).unwrap();
            }
        }
        assert_eq!(study.shown_seed(), 6);
    }
}
