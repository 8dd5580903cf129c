//! What the TOML files of all runs have in common: how it is minimised, and when it is saved.

use crate::ops::adamw::AdamW;
use crate::train::{Decay, RateSchedule};
use serde::{Deserialize, Serialize};

/// AdamW and the learning rate.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct OptimiserConfig {
    /// The highest learning rate.
    pub rate: f64,
    /// `cosine` or `constant`.
    #[serde(default)]
    pub decay: Decay,
    /// Share of the steps in which the rate rises.
    #[serde(default = "warmup")]
    pub warmup: f64,
    /// β₁ and β₂.
    #[serde(default = "betas")]
    pub betas: [f64; 2],
    /// ε.
    #[serde(default = "eps")]
    pub eps: f64,
    /// Decoupled weight decay, but for biases and gains of norms.
    #[serde(default)]
    pub weight_decay: f64,
    /// The longest gradient; 0 for any length.
    #[serde(default = "clip")]
    pub clip: f32,
    /// Decay of an average of the parameters.
    pub ema: Option<f64>,
}

/// When checkpoints are written, and how many stay.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct SaveConfig {
    /// Steps from one to the next.
    pub every: u64,
    /// The newest that are kept.
    pub keep: usize,
}

impl Default for SaveConfig {
    fn default() -> Self {
        SaveConfig { every: 500, keep: 3 }
    }
}

fn warmup() -> f64 {
    0.003
}

fn betas() -> [f64; 2] {
    [0.9, 0.999]
}

fn eps() -> f64 {
    1e-8
}

fn clip() -> f32 {
    1.0
}

/// A value from TOML, or one line that says what is wrong where.
pub(in crate::train) fn parse_toml<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, String> {
    toml::from_str(text).map_err(|error| {
        let why = error.message().replace('\n', " ");
        match error.span().filter(|span| span.start < text.len()) {
            Some(span) => {
                let line = text[..span.start].matches('\n').count();
                let shown = text.lines().nth(line).unwrap_or_default().trim();
                format!("line {}, `{shown}`: {why}", line + 1)
            }
            None => why,
        }
    })
}

impl OptimiserConfig {
    /// The learning rates of a run. The warm-up is rounded up, as transformers does.
    pub fn rates(&self, steps: u64) -> RateSchedule {
        let warmup = (steps as f64 * self.warmup).ceil() as u64;
        RateSchedule { peak: self.rate, warmup, total: steps, decay: self.decay }
    }

    /// The optimiser's constants.
    pub fn adamw(&self) -> AdamW {
        let [beta1, beta2] = self.betas;
        AdamW { beta1, beta2, eps: self.eps, weight_decay: self.weight_decay }
    }

    /// An error that names the first value that makes no sense.
    pub fn check(&self) -> Result<(), String> {
        let OptimiserConfig { rate, warmup, betas, eps, weight_decay, clip, ema, .. } = *self;
        let positive = |x: f64| x > 0.0 && x.is_finite();
        let natural = |x: f64| x >= 0.0 && x.is_finite();
        let below_one = |x: f64| (0.0..1.0).contains(&x);
        let checks = [
            ("rate", positive(rate), "must be a number above 0"),
            ("warmup", (0.0..=1.0).contains(&warmup), "is a share of the steps, between 0 and 1"),
            ("betas", betas.into_iter().all(below_one), "must be at least 0 and below 1"),
            ("eps", positive(eps), "must be a number above 0"),
            ("weight_decay", natural(weight_decay), "must be a number of at least 0"),
            ("clip", natural(f64::from(clip)), "must be a number of at least 0"),
            ("ema", ema.is_none_or(below_one), "must be at least 0 and below 1"),
        ];
        let wrong = checks.into_iter().find(|(_, right, _)| !right);
        wrong.map_or(Ok(()), |(key, _, why)| Err(format!("optimiser.{key} {why}")))
    }
}
