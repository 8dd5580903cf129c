//! The TOML file of a training run.

use crate::data::{DataConfig, Objective};
use crate::models::config::LossScaleSchedule;
use crate::nn::Lora;
use crate::ops::adamw::AdamW;
use crate::train::run::{OptimiserConfig, SaveConfig, parse_toml};
use crate::train::{RateSchedule, Trained};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// All of a run. Unknown keys are errors. Paths are relative to where the program is started.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct TrainConfig {
    /// The checkpoint that training begins with.
    pub model: PathBuf,
    /// Its CLIP folder, if it is not where `config.json` says.
    pub clip_folder: Option<PathBuf>,
    /// Its Stable Diffusion folder, if it is not where `config.json` says.
    pub diffusion_folder: Option<PathBuf>,
    /// The folder of the run.
    pub out: PathBuf,
    /// Seed of noise, timesteps and dropped conditions; the data has its own.
    #[serde(default)]
    pub seed: u64,
    /// Steps of the optimiser.
    pub steps: u64,
    /// Samples that are computed at once.
    pub batch: usize,
    /// Batches for one step.
    #[serde(default = "one")]
    pub accumulate: usize,
    /// Whether decoder layers are computed twice to save memory.
    #[serde(default = "on")]
    pub activation_checkpoints: bool,
    /// Which parts learn.
    #[serde(default)]
    pub trained: Trained,
    /// Adapters at the decoder's linear layers, which then stay as they are.
    pub lora: Option<Lora>,
    /// What is learned from.
    pub data: DataConfig,
    /// How it is loaded.
    #[serde(default)]
    pub loader: LoaderConfig,
    /// What is minimised.
    #[serde(default)]
    pub loss: LossConfig,
    /// How.
    pub optimiser: OptimiserConfig,
    /// Checkpoints.
    #[serde(default)]
    pub save: SaveConfig,
    /// Looks at the model on the way.
    #[serde(default)]
    pub samples: SamplesConfig,
}

/// How data is loaded.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct LoaderConfig {
    /// Threads; without it as many as processors, eight at most.
    pub workers: Option<usize>,
    /// Whether the first record that cannot be used ends the run.
    pub strict: bool,
}

/// The losses. What is left out is as the checkpoint's config says; a loss that the objective of the data has nothing to do
/// with counts nothing.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct LossConfig {
    /// Weight of the language loss.
    pub language: Option<f64>,
    /// Weight of the diffusion loss.
    pub diffusion: Option<f64>,
    /// What the weighted sum is divided by: `none`, `l1_norm` or `l2_norm`.
    pub schedule: Option<LossScaleSchedule>,
    /// Strength of the offset of every channel of the noise.
    pub noise_offset: Option<f64>,
    /// Strength of the extra noise on the input.
    pub input_perturbation: Option<f64>,
    /// γ of min-SNR.
    pub snr_gamma: Option<f64>,
    /// Probability that a picture is drawn without its condition.
    pub drop_prob: Option<f64>,
}

/// What the model is asked on the way.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct SamplesConfig {
    /// Steps from one look to the next; never if 0.
    pub every: u64,
    /// Pictures to draw.
    pub dreams: Vec<String>,
    /// Questions to answer.
    pub asks: Vec<Ask>,
    /// Denoising steps.
    pub steps: usize,
    /// Strength of the guidance.
    pub cfg_scale: f32,
    /// Seed of the pictures.
    pub seed: u64,
    /// Tokens of an answer.
    pub max_tokens: usize,
}

/// A question, about a picture or not. Without words the picture is captioned, as pairs are.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Ask {
    /// The words.
    pub question: Option<String>,
    /// The picture.
    pub image: Option<PathBuf>,
}

impl Default for SamplesConfig {
    fn default() -> Self {
        let (dreams, asks) = (Vec::new(), Vec::new());
        SamplesConfig { every: 0, dreams, asks, steps: 50, cfg_scale: 7.5, seed: 42, max_tokens: 64 }
    }
}

fn one() -> usize {
    1
}

fn on() -> bool {
    true
}

impl TrainConfig {
    /// Reads a file. An error names the line or the key, in one line.
    pub fn open(path: &Path) -> Result<TrainConfig> {
        let text = std::fs::read_to_string(path).map_err(|e| Error::file(path, e))?;
        let config = TrainConfig::parse(&text).map_err(|why| Error::file(path, why))?;
        config.check_paths().map_err(|why| Error::file(path, why))?;
        Ok(config)
    }

    /// An error that names the first path that is empty. Text alone may leave them to whoever parses it, as a study does.
    fn check_paths(&self) -> Result<(), String> {
        let paths = [
            ("model", Some(&self.model), "must name a checkpoint's folder"),
            ("out", Some(&self.out), "must name the run's folder"),
            ("clip_folder", self.clip_folder.as_ref(), "can be left out instead"),
            ("diffusion_folder", self.diffusion_folder.as_ref(), "can be left out instead"),
        ];
        let empty = paths.iter().find(|(_, path, _)| path.is_some_and(|path| path.as_os_str().is_empty()));
        empty.map_or(Ok(()), |(key, _, why)| Err(format!("{key} is empty; it {why}")))
    }

    /// The same from text; the error is the reason only.
    pub fn parse(text: &str) -> Result<TrainConfig, String> {
        let config: TrainConfig = parse_toml(text)?;
        config.check().map(|()| config)
    }

    /// An error that names the first value that makes no sense.
    fn check(&self) -> Result<(), String> {
        let LossConfig { language, diffusion, noise_offset, input_perturbation, snr_gamma, drop_prob, .. } = self.loss;
        let optional = |x: Option<f64>, right: fn(f64) -> bool| x.is_none_or(right);
        let checks = [
            ("samples.cfg_scale", self.samples.cfg_scale.is_finite(), "must be a number"),
            ("steps", self.steps > 0, "must be at least 1"),
            ("batch", self.batch > 0, "must be at least 1"),
            ("accumulate", self.accumulate > 0, "must be at least 1"),
            ("data.sources", !self.data.sources.is_empty(), "must name at least one source"),
            ("loader.workers", self.loader.workers != Some(0), "must be at least 1"),
            ("loss.language", optional(language, |x| x >= 0.0 && x.is_finite()), "must be a number of at least 0"),
            ("loss.diffusion", optional(diffusion, |x| x >= 0.0 && x.is_finite()), "must be a number of at least 0"),
            ("loss.noise_offset", optional(noise_offset, f64::is_finite), "must be a number"),
            ("loss.input_perturbation", optional(input_perturbation, f64::is_finite), "must be a number"),
            ("loss.snr_gamma", optional(snr_gamma, |x| x > 0.0), "must be above 0"),
            ("loss.drop_prob", optional(drop_prob, |x| (0.0..=1.0).contains(&x)), "must be between 0 and 1"),
            ("save.every", self.save.every > 0, "must be at least 1"),
            ("save.keep", self.save.keep > 0, "must be at least 1"),
            ("samples.steps", self.samples.steps > 0, "must be at least 1"),
            ("trained", self.learns(), "switches on no part, and there is no lora"),
            ("lora", !(self.lora.is_some() && self.trained.decoder), "does not go with trained.decoder"),
        ];
        if let Some((key, _, why)) = checks.into_iter().find(|(_, right, _)| !right) {
            return Err(format!("{key} {why}"));
        }
        self.optimiser.check()?;
        let empty = |ask: &Ask| ask.question.is_none() && ask.image.is_none();
        if self.samples.asks.iter().any(empty) {
            return Err("samples.asks has an entry without question and image".into());
        }
        self.lora.as_ref().map_or(Ok(()), |lora| lora.check().map_err(|e| e.to_string()))
    }

    fn learns(&self) -> bool {
        self.trained != Trained::default() || self.lora.is_some()
    }

    /// Learning rates of the run.
    pub fn rates(&self) -> RateSchedule {
        self.optimiser.rates(self.steps)
    }

    /// The optimiser's constants.
    pub fn adamw(&self) -> AdamW {
        self.optimiser.adamw()
    }

    /// The part that a resumption may not change. More steps, other places and other samples are no other run.
    pub fn settings(&self) -> Result<serde_json::Value> {
        let mut all = serde_json::to_value(self).map_err(|e| Error::format("training config", e))?;
        if let Some(all) = all.as_object_mut() {
            let free = ["model", "clip_folder", "diffusion_folder", "out", "steps", "loader", "save", "samples"];
            free.iter().for_each(|key| drop(all.remove(*key)));
        }
        Ok(all)
    }

    /// Weights of the two losses, where the config or the objective of the data says something else than the checkpoint.
    pub fn weights(&self) -> [Option<f64>; 2] {
        let LossConfig { language, diffusion, .. } = self.loss;
        match self.data.objective {
            Objective::Joint => [language, diffusion],
            Objective::Comprehension => [language, diffusion.or(Some(0.0))],
            Objective::Creation => [language.or(Some(0.0)), diffusion],
        }
    }
}
