//! The Hugging Face and diffusers JSON files that describe a checkpoint, with the libraries' defaults for absent keys.
//!
//! Every config checks itself after parsing ([`Config::validate`]), so that models may divide by its numbers and index
//! its lists. What this program does not implement is one clear error here, never a wrong picture later.

mod checks;
mod clip;
mod drawing;
mod dream;
mod per_level;
mod plugins;
mod scheduler;
mod unet;
mod vae;

pub use clip::{ClipPreprocessConfig, ClipVisionConfig, Resampling, ResizeTarget, VisionActivation};
pub use drawing::DrawingConfig;
pub use dream::{DreamConfig, LossScaleSchedule, RopeScaling};
pub use per_level::PerLevel;
pub use plugins::{ClipVisionEmbeddingConfig, DreamEmbeddingConfig, Plugins, ProjectorType, StableDiffusionHeadConfig};
pub use scheduler::{BetaSchedule, PredictionType, SchedulerConfig, TimestepSpacing, VarianceType};
pub use unet::{UNetBlock, UNetConfig};
pub use vae::VaeConfig;

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::{Error, Result};

/// A configuration file.
pub trait Config: DeserializeOwned {
    /// Whether the numbers make sense together and everything asked for is implemented. The error is the reason alone.
    fn validate(&self) -> Result<(), String>;

    /// Parses and validates JSON; `file` names it in errors.
    fn from_json(file: &str, json: &[u8]) -> Result<Self> {
        let config: Self = from_object(json).map_err(|e| Error::format(file, e))?;
        config.validate().map_err(|why| Error::format(file, why))?;
        Ok(config)
    }

    /// Reads, parses and validates a file.
    fn open(path: &std::path::Path) -> Result<Self> {
        let json = std::fs::read(path).map_err(|e| match e.kind() {
            std::io::ErrorKind::NotFound => Error::file(path, "is missing"),
            _ => Error::file(path, e),
        })?;
        Self::from_json(&path.display().to_string(), &json)
    }
}

/// Parses a JSON object. A list is refused: serde would take it for the fields in order, and `[]` for all defaults.
fn from_object<T: DeserializeOwned>(json: &[u8]) -> serde_json::Result<T> {
    serde_json::from_value(serde_json::from_slice::<Map<String, Value>>(&standard_json(json))?.into())
}

/// Python writes infinities and NaN as words that JSON does not have; here they become null. Strings stay as they are.
pub(crate) fn standard_json(json: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(json.len());
    let mut rest = json;
    let mut quoted = false;
    while let Some((&byte, after)) = rest.split_first() {
        let word = ["-Infinity", "Infinity", "NaN"].iter().find(|word| !quoted && rest.starts_with(word.as_bytes()));
        if let Some(word) = word {
            out.extend_from_slice(b"null");
            rest = &rest[word.len()..];
            continue;
        }
        // An escaped character cannot end a string.
        let taken = if quoted && byte == b'\\' { 2.min(rest.len()) } else { 1 };
        quoted ^= byte == b'"';
        out.extend_from_slice(&rest[..taken]);
        rest = if taken == 1 { after } else { &rest[taken..] };
    }
    out
}

#[cfg(test)]
mod tests;
