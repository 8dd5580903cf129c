//! `drawing_config.json`: how a checkpoint's pictures are best drawn. The official releases have none, and are drawn with 50
//! steps of DDPM and a guidance of 7.5.

use super::Config;
use crate::diffusion::SamplerKind;
use crate::diffusion::pipeline::DrawOptions;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// What a command that draws takes where it is told nothing else.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DrawingConfig {
    /// Denoising steps.
    pub steps: usize,
    /// Strength of the guidance.
    pub cfg_scale: f32,
    /// Name of the sampler, as `--sampler` takes it.
    pub sampler: String,
}

impl Default for DrawingConfig {
    fn default() -> Self {
        DrawingConfig { steps: 50, cfg_scale: 7.5, sampler: "ddpm".into() }
    }
}

impl Config for DrawingConfig {
    fn validate(&self) -> Result<(), String> {
        if self.steps == 0 {
            return Err("steps is 0".into());
        }
        if !self.cfg_scale.is_finite() {
            return Err(format!("cfg_scale is {}", self.cfg_scale));
        }
        SamplerKind::with_options(&self.sampler).map(|_| ()).map_err(|e| e.to_string())
    }
}

impl DrawingConfig {
    /// The file's name in a checkpoint.
    pub const FILE: &str = "drawing_config.json";

    /// What a folder says, or the official values.
    pub fn find(folder: &Path) -> Result<DrawingConfig> {
        let path = folder.join(Self::FILE);
        if path.is_file() { DrawingConfig::open(&path) } else { Ok(DrawingConfig::default()) }
    }

    /// Options with these, and the official ones for the rest.
    pub fn options(&self) -> Result<DrawOptions> {
        let named = SamplerKind::with_options(&self.sampler).map_err(|e| Error::format(Self::FILE, e))?;
        let (sampler, sampler_options) = named;
        let (steps, cfg_scale) = (self.steps, self.cfg_scale);
        Ok(DrawOptions { steps, cfg_scale, sampler, sampler_options, ..DrawOptions::default() })
    }
}
