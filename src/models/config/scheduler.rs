//! `scheduler/scheduler_config.json` of a Stable Diffusion folder. Where diffusers' schedulers disagree about a default,
//! the field is optional and the scheduler decides.

use serde::Deserialize;

use super::{Config, checks};

/// Settings of the noise schedule and of the samplers that walk it.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default)]
pub struct SchedulerConfig {
    /// The scheduler that the folder was published with. The official DreamLLM uses DDPM all the same.
    #[serde(rename = "_class_name")]
    pub class_name: Option<String>,
    /// Training steps.
    pub num_train_timesteps: usize,
    /// First beta.
    pub beta_start: f64,
    /// Last beta.
    pub beta_end: f64,
    /// The way from one to the other.
    pub beta_schedule: BetaSchedule,
    /// The betas themselves; they replace the three keys above.
    pub trained_betas: Option<Vec<f64>>,
    /// Variance of DDPM's noise.
    pub variance_type: VarianceType,
    /// What the UNet predicts.
    pub prediction_type: PredictionType,
    /// Whether the predicted image is clamped.
    pub clip_sample: bool,
    /// To what magnitude.
    pub clip_sample_range: f64,
    /// Whether the predicted image is clamped to a quantile of its values; not supported.
    pub thresholding: bool,
    /// How sampling steps are placed; absent: `leading` for DDPM, DDIM, PNDM, `linspace` for the others.
    pub timestep_spacing: Option<TimestepSpacing>,
    /// Added to the timesteps of `leading` spacing.
    pub steps_offset: usize,
    /// Whether the last step ends on alpha 1 rather than on the first alpha; absent: true for DDIM, false for PNDM.
    pub set_alpha_to_one: Option<bool>,
    /// Whether PNDM starts without Runge-Kutta steps.
    pub skip_prk_steps: bool,
    /// Whether sigmas follow Karras et al.
    pub use_karras_sigmas: bool,
    /// Whether the schedule is rescaled to end in pure noise; not supported.
    pub rescale_betas_zero_snr: bool,
}

impl Default for SchedulerConfig {
    fn default() -> Self {
        Self {
            class_name: None,
            num_train_timesteps: 1000,
            beta_start: 0.0001,
            beta_end: 0.02,
            beta_schedule: BetaSchedule::Linear,
            trained_betas: None,
            variance_type: VarianceType::FixedSmall,
            prediction_type: PredictionType::Epsilon,
            clip_sample: true,
            clip_sample_range: 1.0,
            thresholding: false,
            timestep_spacing: None,
            steps_offset: 0,
            set_alpha_to_one: None,
            skip_prk_steps: false,
            use_karras_sigmas: false,
            rescale_betas_zero_snr: false,
        }
    }
}

/// How betas grow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BetaSchedule {
    /// Linearly.
    Linear,
    /// Their square roots linearly (Stable Diffusion).
    ScaledLinear,
    /// From a squared cosine.
    #[serde(rename = "squaredcos_cap_v2")]
    SquaredCosine,
    /// Along a sigmoid.
    Sigmoid,
}

/// What the UNet predicts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PredictionType {
    /// The noise.
    Epsilon,
    /// The velocity.
    VPrediction,
    /// The clean latent.
    Sample,
}

/// How sampling steps are placed among the training steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TimestepSpacing {
    /// Evenly from the first to the last.
    Linspace,
    /// Multiples of the step width, counted from the first.
    Leading,
    /// Multiples of the step width, counted from the last.
    Trailing,
}

impl std::str::FromStr for TimestepSpacing {
    type Err = crate::Error;

    fn from_str(name: &str) -> crate::Result<Self> {
        match name {
            "leading" => Ok(TimestepSpacing::Leading),
            "linspace" => Ok(TimestepSpacing::Linspace),
            "trailing" => Ok(TimestepSpacing::Trailing),
            _ => Err(crate::Error::Input(format!("\"{name}\" is no spacing; there are leading, linspace, trailing"))),
        }
    }
}

/// Variance of the noise that a DDPM step adds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VarianceType {
    /// The posterior's.
    FixedSmall,
    /// The same through its logarithm.
    FixedSmallLog,
    /// Beta.
    FixedLarge,
    /// The same through its logarithm.
    FixedLargeLog,
}

impl Config for SchedulerConfig {
    /// diffusers saves keys that a scheduler does not use as null, which means the same as their absence.
    fn from_json(file: &str, json: &[u8]) -> crate::Result<Self> {
        let parse = || -> serde_json::Result<Self> {
            let mut keys: serde_json::Map<String, serde_json::Value> = super::from_object(json)?;
            keys.retain(|_, value| !value.is_null());
            serde_json::from_value(keys.into())
        };
        let config = parse().map_err(|e| crate::Error::format(file, e))?;
        config.validate().map_err(|why| crate::Error::format(file, why))?;
        Ok(config)
    }

    fn validate(&self) -> Result<(), String> {
        checks::size("num_train_timesteps", self.num_train_timesteps)?;
        if self.num_train_timesteps > MOST_TIMESTEPS {
            return Err(format!("num_train_timesteps is {}, over {MOST_TIMESTEPS}", self.num_train_timesteps));
        }
        let given = [self.beta_start, self.beta_end];
        let betas = self.trained_betas.as_deref().unwrap_or(&given);
        if let Some(beta) = betas.iter().find(|beta| !(**beta > 0.0 && **beta < 1.0)) {
            return Err(format!("a beta is {beta}, not between 0 and 1"));
        }
        if let Some(trained) = self.trained_betas.as_ref().filter(|betas| betas.len() != self.num_train_timesteps) {
            return Err(format!(
                "trained_betas has {} entries for {} timesteps",
                trained.len(),
                self.num_train_timesteps
            ));
        }
        if self.steps_offset >= self.num_train_timesteps {
            return Err(format!("steps_offset is {}, of {} timesteps", self.steps_offset, self.num_train_timesteps));
        }
        checks::positive("clip_sample_range", self.clip_sample_range)
    }
}

/// Room for any schedule in use (all have 1000), without tables of any size a file may ask for.
const MOST_TIMESTEPS: usize = 1_000_000;
