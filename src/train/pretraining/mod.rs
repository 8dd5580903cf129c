//! What comes before DreamLLM's stages where nothing can be downloaded: an autoencoder, a denoiser and an image encoder, learned
//! from the world of shapes, and dream queries that imitate what the denoiser was conditioned on.
//!
//! | task | learns | from |
//! |---|---|---|
//! | `autoencoder` | VAE | pictures: [`AutoencoderObjective`] |
//! | `decoder` | the VAE's decoder alone | the same, of latents that stay what they are |
//! | `denoiser` | UNet and, unless it is given, [`SceneEncoder`] | pictures and what they show: the diffusion loss |
//! | `image_encoder` | CLIP vision tower | pictures and what is where in them: [`PatchHeads`] |
//! | `imitation` | decoder, queries, condition projector | captions: squared error to the [`SceneEncoder`]'s vectors |
//! | the same with [`RecordsConfig`] | these and the visual projector | the same of pictures in records, and the records' words |
//!
//! Each is a [`Task`](super::run::Task) of a [`Run`], from a [`PretrainConfig`]. Batches are made on the spot, by the
//! number of their first sample alone, so that number is all that a resumption needs.

mod agreement;
mod autoencoder;
mod batches;
mod config;
mod examples;
mod image_encoder;
mod imitation;
mod normalise;
mod records;
mod scene_encoder;
mod task;

pub use autoencoder::{AutoencoderLosses, AutoencoderObjective, edge_weights};
pub use config::{PretrainConfig, Pretraining, RecordsConfig};
pub use image_encoder::{PATCH_QUESTIONS, PatchHeads, PatchLabels};
pub use scene_encoder::SceneEncoder;
pub use task::PretrainTask;
pub(crate) use task::SCENE_ENCODER_FILE;

use super::run::{Run, RunFolder, RunOptions};
use crate::Result;
use crate::gpu::Gpu;
use crate::train::Ranks;
use std::sync::Arc;

/// Begins the run of a config, or continues it if `resume` says so and there is something to continue.
pub fn begin(gpu: &Gpu, config: &PretrainConfig, resume: bool) -> Result<Run<PretrainTask>> {
    RunFolder::check(&config.out, resume)?;
    let task = PretrainTask::new(gpu, config)?;
    let options = RunOptions {
        accumulate: 1,
        adamw: config.optimiser.adamw(),
        max_norm: Some(config.optimiser.clip).filter(|clip| *clip > 0.0),
        rates: config.optimiser.rates(config.steps),
        ema: config.optimiser.ema,
        save_every: config.save.every,
        keep: config.save.keep,
        show_every: config.show_every,
        settings: config.settings()?,
    };
    // A run that cannot begin claims no folder.
    let folder = RunFolder::claim(&config.out, resume)?;
    Run::begin(task, options, folder, Arc::new(Ranks::alone()))
}
