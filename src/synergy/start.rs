//! The weights that all cells of a seed begin with: image encoder and image generator of a trained model, and a new decoder with new
//! projectors and dream queries, drawn from the seed. The decoder then learns words, in the place of the language model that DreamLLM
//! begins with: what captions mean (`Pretraining::Imitation`: its condition vectors imitate the scene encoder's), and to answer
//! questions about what is described (`Theme::Descriptions`). No picture is seen in this, so comprehension and creation start from the
//! same knowledge of words.

use super::budget::Budget;
use crate::data::shapes::{Theme, World};
use crate::gpu::Gpu;
use crate::models::preflight::resolution;
use crate::train::pretraining::{PretrainConfig, Pretraining, RecordsConfig, SCENE_ENCODER_FILE};
use crate::train::run::{OptimiserConfig, Progress, SaveConfig};
use crate::train::{Decay, init_from, pretraining};
use crate::weights::CheckpointFolder;
use crate::{Error, Result};
use std::path::{Path, PathBuf};

/// An error if a model lacks what its cells are prepared with.
pub(super) fn check(model: &Path, budget: &Budget) -> Result<()> {
    let scene_encoder = model.join(SCENE_ENCODER_FILE);
    if budget.prepare > 0 && !scene_encoder.is_file() {
        let why = "is missing: pretraining leaves it beside a model, and synergy needs it to prepare the decoder";
        return Err(Error::file(scene_encoder, why));
    }
    Ok(())
}

/// Writes the start of a seed below `folder`, or finds it there, and returns the checkpoint.
pub(super) async fn start(
    gpu: &Gpu,
    model: &Path,
    folder: &Path,
    budget: &Budget,
    seed: u64,
    mut seen: impl FnMut(&Progress) -> bool,
) -> Result<PathBuf> {
    let (fresh, prepared) = (folder.join("fresh"), folder.join("prepared"));
    if !fresh.is_dir() {
        std::fs::create_dir_all(folder).map_err(|e| Error::file(folder, e))?;
        init_from(gpu, &CheckpointFolder::open(model)?.without_stages(), &fresh, seed).await?;
    }
    if budget.prepare == 0 {
        return Ok(fresh);
    }
    let done = prepared.join("final");
    if !done.is_dir() {
        let config = preparation(model, &fresh, &prepared, budget, seed)?;
        if !pretraining::begin(gpu, &config, true)?.train(&mut seen).await? {
            return Err(Error::Cancelled);
        }
    }
    Ok(done)
}

fn preparation(model: &Path, fresh: &Path, out: &Path, budget: &Budget, seed: u64) -> Result<PretrainConfig> {
    check(model, budget)?;
    let side = resolution(&CheckpointFolder::open(fresh)?);
    Ok(PretrainConfig {
        pretrain: Pretraining::Imitation,
        model: fresh.to_path_buf(),
        out: out.to_path_buf(),
        seed,
        steps: budget.prepare,
        batch: budget.batch,
        world: World { side, seed, ..World::default() },
        patterns: 0.0,
        stories: 0.5,
        told: 0.0,
        drop: 0.05,
        snr_gamma: None,
        records: Some(RecordsConfig {
            batch: budget.batch,
            max_length: 256,
            themes: [(Theme::Descriptions, 1.0)].into(),
            imitation: 10.0,
        }),
        scene_encoder: Some(model.join(SCENE_ENCODER_FILE)),
        autoencoder: Default::default(),
        optimiser: OptimiserConfig {
            rate: 1e-3,
            decay: Decay::Cosine,
            warmup: 0.03,
            betas: [0.9, 0.99],
            eps: 1e-8,
            weight_decay: 0.01,
            clip: 1.0,
            ema: None,
        },
        save: SaveConfig { every: 200, keep: 1 },
        show_every: 0,
    })
}
