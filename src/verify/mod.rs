//! `verify`: recomputes every recorded stage of a checkpoint's `reference/` folder and says how far off it is.
//!
//! The recordings come from the official PyTorch code. A stage is one recorded file; it passes if everything that is
//! recorded in it was computed and lies within its bound.

mod check;
mod diffusion;
mod golden;
mod images;
mod language;
mod optimiser;
mod samplers;
mod text;
mod training;
mod training_data;

pub use check::{Measure, StageReport, Verdict};

use crate::gpu::Gpu;
use crate::models::dreamllm::{DreamLlm, LoadOptions};
use crate::nn::WeightFormat;
use crate::weights::CheckpointFolder;
use crate::{Error, Result};
use check::Check;
use std::path::{Path, PathBuf};

/// Largest errors allowed.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// A single forward pass.
    pub forward: f64,
    /// A whole sampling loop.
    pub pipeline: f64,
    /// By how much recorded greedy choices may score below the best ones. None where the recorded ids must come out.
    pub choice: Option<f64>,
    /// How errors of whole tensors are measured.
    pub measure: Measure,
}

impl Bounds {
    /// For weights of a format. For the quantised formats about one and a half times what is measured with the reference
    /// checkpoint; its whole pipelines in q4 are mostly rounding noise (guidance multiplies it), so that bound says little.
    pub fn of(format: WeightFormat) -> Bounds {
        let close = |forward, pipeline| Bounds { forward, pipeline, choice: None, measure: Measure::Largest };
        let noisy = |forward, pipeline, choice| Bounds {
            forward,
            pipeline,
            choice: Some(choice),
            measure: Measure::RootMeanSquare,
        };
        match format {
            WeightFormat::Stored | WeightFormat::F32 => close(1e-4, 1e-3),
            WeightFormat::F16 => close(5e-3, 5e-3),
            WeightFormat::Q8 => noisy(5e-2, 9e-2, 2e-3),
            WeightFormat::Q4 => noisy(6e-1, 1.0, 2.5e-1),
        }
    }
}

/// Everything that a stage works on.
struct Bench<'a> {
    model: &'a DreamLlm,
    folder: &'a CheckpointFolder,
    reference: PathBuf,
    bounds: Bounds,
}

/// How the recorded files of training begin, in the order in which a failure explains the next ones.
const TRAINING: [&str; 4] = ["train_losses", "grads_", "vm_variants", "adamw_"];

/// Runs all stages of `root/reference`; `on_stage` sees each report as it is ready, and may end it by an error.
pub async fn verify(
    root: &Path,
    gpu: &Gpu,
    format: WeightFormat,
    mut on_stage: impl FnMut(&StageReport) -> Result<()>,
) -> Result<Vec<StageReport>> {
    verify_against(root, &root.join("reference"), gpu, format, &mut on_stage).await
}

/// The same with the recordings in another folder: those of the checkpoint that `root` was converted from.
pub async fn verify_against(
    root: &Path,
    reference: &Path,
    gpu: &Gpu,
    format: WeightFormat,
    mut on_stage: impl FnMut(&StageReport) -> Result<()>,
) -> Result<Vec<StageReport>> {
    let reference = reference.to_path_buf();
    if !reference.is_dir() {
        return Err(Error::file(&reference, "there is no recording here to verify against"));
    }
    let folder = CheckpointFolder::open(root)?;
    let options = LoadOptions { format, vision: true, diffusion: true, ..Default::default() };
    let model = DreamLlm::load(&folder, gpu, options, &|_| ())?;
    let format = if format == WeightFormat::Stored { coarsest(&folder) } else { format };
    let bench = Bench { model: &model, folder: &folder, reference, bounds: Bounds::of(format) };
    let mut reports = Vec::new();
    for name in STAGES {
        if !bench.has(name) {
            continue;
        }
        for report in bench.run(name).await {
            on_stage(&report)?;
            reports.push(report);
        }
    }
    // Gradients of rounded weights are not those that are recorded.
    let training = if format == WeightFormat::F32 { bench.recorded(&TRAINING)? } else { Vec::new() };
    for name in training {
        let report = bench.train(&name).await;
        on_stage(&report)?;
        reports.push(report);
    }
    if reports.is_empty() {
        return Err(Error::file(&bench.reference, "holds no recorded stage"));
    }
    Ok(reports)
}

/// The format that rounds most of those in which a folder's weights are stored.
fn coarsest(folder: &CheckpointFolder) -> WeightFormat {
    let tensors = folder.sets().into_iter().flat_map(|(_, set)| set.tensors());
    let formats: Vec<WeightFormat> = tensors.map(|tensor| WeightFormat::Stored.of(tensor.dtype())).collect();
    let coarse = [WeightFormat::Q4, WeightFormat::Q8, WeightFormat::F16];
    coarse.into_iter().find(|format| formats.contains(format)).unwrap_or(WeightFormat::F32)
}

/// Recorded files in the order in which a failure explains the next ones.
const STAGES: [&str; 12] = [
    "tokenization",
    "preprocess",
    "clip_vision",
    "llama",
    "generate",
    "dream",
    "unet",
    "vae",
    "schedulers",
    "pipeline",
    "train_data",
    "train_batches",
];

impl Bench<'_> {
    fn has(&self, name: &str) -> bool {
        ["json", "safetensors"].iter().any(|kind| self.reference.join(format!("{name}.{kind}")).is_file())
    }

    async fn run(&self, name: &str) -> Vec<StageReport> {
        let outcome = match name {
            "tokenization" => text::tokenization(self),
            "preprocess" => images::preprocess(self),
            "clip_vision" => images::clip_vision(self).await,
            "llama" => language::llama(self).await,
            "generate" => language::generate(self).await,
            "dream" => language::dream(self).await,
            "unet" => diffusion::unet(self).await,
            "vae" => diffusion::vae(self).await,
            "schedulers" => samplers::schedulers(self).await,
            "train_data" => training_data::train_data(self),
            "train_batches" => training_data::train_batches(self),
            _ => samplers::pipeline(self).await,
        };
        outcome.unwrap_or_else(|error| vec![StageReport::broken(name, &error)])
    }

    async fn train(&self, name: &str) -> StageReport {
        let outcome = match name {
            "train_losses" => training::losses(self).await,
            "vm_variants" => training::variants(self).await,
            _ if name.starts_with("grads_") => training::gradients(self, name).await,
            _ => optimiser::adamw(self, name).await,
        };
        outcome.unwrap_or_else(|error| StageReport::broken(name, &error))
    }

    /// Names of recorded files that begin in one of some ways, in the order of these.
    fn recorded(&self, beginnings: &[&str]) -> Result<Vec<String>> {
        let entries = std::fs::read_dir(&self.reference).map_err(|e| Error::file(&self.reference, e))?;
        let mut names: Vec<(usize, String)> = entries
            .filter_map(|entry| entry.ok()?.path().file_stem()?.to_str().map(str::to_string))
            .filter_map(|name| Some((beginnings.iter().position(|b| name.starts_with(b))?, name)))
            .collect();
        names.sort();
        names.dedup();
        Ok(names.into_iter().map(|(_, name)| name).collect())
    }

    fn check(&self, stage: &str, bound: f64) -> Check {
        Check::new(stage, bound, self.bounds.measure)
    }
}
