//! The TOML file of a pretraining run.

use crate::data::shapes::{Theme, World};
use crate::train::run::{OptimiserConfig, SaveConfig, parse_toml};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// What is learned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Pretraining {
    /// Pictures to latents and back.
    Autoencoder,
    /// Latents back to pictures, better: the encoder stays, and with it everything that was learned about its latents.
    Decoder,
    /// Latents from noise.
    Denoiser,
    /// Pictures to patch vectors.
    ImageEncoder,
    /// Captions, and records of pictures with words, to condition vectors.
    Imitation,
}

/// All of a run. Unknown keys are errors. Paths are relative to where the program is started.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct PretrainConfig {
    /// What is learned; the key by which such a file is told from one of [`TrainConfig`](crate::train::dream::TrainConfig).
    pub pretrain: Pretraining,
    /// The checkpoint that training begins with.
    pub model: PathBuf,
    /// The folder of the run.
    pub out: PathBuf,
    /// Seed of noise and of weights that the checkpoint does not have.
    #[serde(default)]
    pub seed: u64,
    /// Steps of the optimiser.
    pub steps: u64,
    /// Pictures or captions of a step.
    pub batch: usize,
    /// The scenes.
    #[serde(default)]
    pub world: World,
    /// Share of the scenes with a pattern.
    #[serde(default)]
    pub patterns: f32,
    /// Share of the scenes with a pattern that are of stories, with their subject; the others have it on any object.
    #[serde(default = "half")]
    pub stories: f32,
    /// Share of the scenes that the denoiser is told all about; of the others it is told what their captions, or stories, say.
    #[serde(default = "half")]
    pub told: f32,
    /// Share of the scenes that it is told nothing about.
    #[serde(default = "tenth")]
    pub drop: f32,
    /// γ of the denoiser's min-SNR weights, see [`DiffusionOptions`](crate::train::DiffusionOptions): less weight on little noise,
    /// where only edges are left to get right.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snr_gamma: Option<f64>,
    /// A file with the scene encoder that is imitated, or that a denoiser goes on with and leaves as it is; a denoiser's run writes it.
    pub scene_encoder: Option<PathBuf>,
    /// Factors of the autoencoder's loss.
    #[serde(default)]
    pub autoencoder: AutoencoderConfig,
    /// Records that imitation learns from beside captions, each with its words and its pictures.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub records: Option<RecordsConfig>,
    /// How it is minimised.
    pub optimiser: OptimiserConfig,
    /// Checkpoints.
    #[serde(default)]
    pub save: SaveConfig,
    /// Steps from one look at the model to the next; never if 0.
    #[serde(default)]
    pub show_every: u64,
}

/// Records of the world as the stages have them: the decoder learns their words, and its queries what each picture shows.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct RecordsConfig {
    /// Records of a step, which are of one theme.
    pub batch: usize,
    /// Most tokens of a record.
    #[serde(default = "tokens")]
    pub max_length: usize,
    /// How often each theme comes, relative to the others.
    pub themes: BTreeMap<Theme, f32>,
    /// How much more the squared error of condition vectors weighs than the cross-entropy of words.
    pub imitation: f32,
}

/// Factors of the autoencoder's loss.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct AutoencoderConfig {
    /// Of the absolute error.
    pub absolute: f32,
    /// Of the divergence.
    pub divergence: f32,
    /// How much more pixels at objects weigh.
    pub edges: f32,
}

impl Default for AutoencoderConfig {
    fn default() -> Self {
        AutoencoderConfig { absolute: 0.5, divergence: 1e-4, edges: 4.0 }
    }
}

fn half() -> f32 {
    0.5
}

fn tokens() -> usize {
    256
}

fn tenth() -> f32 {
    0.1
}

impl RecordsConfig {
    fn is_sound(&self) -> bool {
        let natural = |x: &f32| *x >= 0.0 && x.is_finite();
        let shares = self.themes.values();
        self.batch > 0 && natural(&self.imitation) && shares.clone().all(natural) && shares.sum::<f32>() > 0.0
    }
}

impl PretrainConfig {
    /// Reads a file. An error names the line or the key, in one line.
    pub fn open(path: &Path) -> Result<PretrainConfig> {
        let text = std::fs::read_to_string(path).map_err(|e| Error::file(path, e))?;
        let config: PretrainConfig = parse_toml(&text).map_err(|why| Error::file(path, why))?;
        config.check().map_err(|why| Error::file(path, why))?;
        Ok(config)
    }

    /// Whether a file is of this kind: it has the key `pretrain`.
    pub fn is_in(path: &Path) -> bool {
        let table = std::fs::read_to_string(path).ok().and_then(|text| text.parse::<toml::Table>().ok());
        table.is_some_and(|table| table.contains_key("pretrain"))
    }

    /// An error that names the first value that makes no sense.
    fn check(&self) -> Result<(), String> {
        let share = |x: f32| (0.0..=1.0).contains(&x);
        let natural = |x: f32| x >= 0.0 && x.is_finite();
        let AutoencoderConfig { absolute, divergence, edges } = self.autoencoder;
        let imitates = self.pretrain == Pretraining::Imitation;
        let empty = |path: &Path| path.as_os_str().is_empty();
        let checks = [
            ("model", !empty(&self.model), "is empty; it must name a checkpoint's folder"),
            ("out", !empty(&self.out), "is empty; it must name the run's folder"),
            ("scene_encoder", !self.scene_encoder.as_deref().is_some_and(empty), "is empty; leave it out instead"),
            ("steps", self.steps > 0, "must be at least 1"),
            ("batch", self.batch > 0, "must be at least 1"),
            ("patterns", share(self.patterns), "is a share, between 0 and 1"),
            ("stories", share(self.stories), "is a share, between 0 and 1"),
            ("told", share(self.told), "is a share, between 0 and 1"),
            ("drop", share(self.drop), "is a share, between 0 and 1"),
            ("snr_gamma", self.snr_gamma.is_none_or(|gamma| gamma > 0.0), "must be above 0"),
            ("snr_gamma", self.pretrain == Pretraining::Denoiser || self.snr_gamma.is_none(), "is for the denoiser"),
            ("scene_encoder", !imitates || self.scene_encoder.is_some(), "is what is imitated, and must be given"),
            ("autoencoder", [absolute, divergence, edges].into_iter().all(natural), "has factors of at least 0"),
            ("records", imitates || self.records.is_none(), "are for imitation"),
            (
                "records",
                self.records.as_ref().is_none_or(RecordsConfig::is_sound),
                "needs a batch, themes and shares of at least 0",
            ),
            ("save.every", self.save.every > 0, "must be at least 1"),
            ("save.keep", self.save.keep > 0, "must be at least 1"),
        ];
        if let Some((key, _, why)) = checks.iter().find(|(_, right, _)| !right) {
            return Err(format!("{key} {why}"));
        }
        self.optimiser.check()?;
        self.world.check().map_err(|error| format!("world: {error}"))
    }

    /// What must be the same when the run is resumed.
    pub fn settings(&self) -> Result<serde_json::Value> {
        let mut all = serde_json::to_value(self).map_err(|e| Error::format("training config", e))?;
        if let Some(all) = all.as_object_mut() {
            let free = ["model", "out", "steps", "scene_encoder", "save", "show_every"];
            free.iter().for_each(|key| drop(all.remove(*key)));
        }
        Ok(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<PretrainConfig, String> {
        let config: PretrainConfig = parse_toml(text)?;
        config.check().map(|()| config)
    }

    const IMITATION: &str =
        "pretrain = 'imitation'\nmodel = 'm'\nout = 'o'\nsteps = 1\nbatch = 1\nscene_encoder = 's'\n";
    const RATE: &str = "[optimiser]\nrate = 1e-3\n";

    #[test]
    fn settings_are_the_same_after_a_file() {
        let themes =
            "[records]\nbatch = 2\nimitation = 0.1\nthemes = { stories = 0.12, edits = 0.14, questions = 0.28 }\n";
        let settings = parse(&format!("{IMITATION}{themes}{RATE}")).unwrap().settings().unwrap();
        let read: serde_json::Value = serde_json::from_str(&settings.to_string()).unwrap();
        assert_eq!(read, settings);
    }

    #[test]
    fn weights_by_noise_are_positive_and_for_the_denoiser() {
        let with = |head: &str, gamma: &str| parse(&format!("snr_gamma = {gamma}\n{head}{RATE}"));
        let denoiser = IMITATION.replace("'imitation'", "'denoiser'");
        assert_eq!(with(&denoiser, "5.0").unwrap().snr_gamma, Some(5.0));
        for none in ["0.0", "-1.0", "nan"] {
            assert_eq!(with(&denoiser, none).unwrap_err(), "snr_gamma must be above 0", "{none}");
        }
        assert_eq!(with(IMITATION, "5.0").unwrap_err(), "snr_gamma is for the denoiser");
    }

    #[test]
    fn records_are_for_imitation_and_have_themes() {
        let records = "[records]\nbatch = 2\nimitation = 10.0\n";
        let with = |head: &str, themes: &str| parse(&format!("{head}{records}themes = {{ {themes} }}\n{RATE}"));
        let config = with(IMITATION, "questions = 1.0, edits = 0.5").unwrap();
        assert_eq!(config.records.unwrap().themes[&Theme::Edits], 0.5);
        assert!(parse(&format!("{IMITATION}{RATE}")).unwrap().records.is_none());
        let why = |head: &str, themes: &str| with(head, themes).unwrap_err();
        assert_eq!(why(&IMITATION.replace("imitation", "denoiser"), "edits = 1.0"), "records are for imitation");
        for none in ["", "edits = 0.0", "edits = -1.0", "edits = nan"] {
            assert!(why(IMITATION, none).starts_with("records needs"), "{none}");
        }
        assert!(why(IMITATION, "poems = 1.0").contains("poems"));
    }
}
