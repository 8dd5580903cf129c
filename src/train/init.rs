//! A new model: configs and a tokenizer get weights drawn from a seed.

use crate::gpu::Gpu;
use crate::models::dreamllm::{DreamLlm, LoadOptions};
use crate::nn::{Parameters, WeightFormat};
use crate::weights::{CheckpointFolder, OpenOptions, Staging, write_new};
use crate::{Error, Result};
use std::path::Path;

/// Writes a complete checkpoint into the new folder `to`. `configs` is laid out like a checkpoint; the weights that it has are
/// kept, those that it lacks are drawn by the rules of [`crate::nn::initial`]. Returns the number of weights.
pub async fn init(gpu: &Gpu, configs: &Path, to: &Path, seed: u64) -> Result<usize> {
    let source =
        CheckpointFolder::open_with(configs, &OpenOptions { allow_missing_weights: true, ..Default::default() })?;
    init_from(gpu, &source, to, seed).await
}

/// The same from an opened checkpoint. Everything is written in f32.
pub async fn init_from(gpu: &Gpu, source: &CheckpointFolder, to: &Path, seed: u64) -> Result<usize> {
    // A folder of this name is whole or not there; whether it can be is known before weights are drawn.
    to.parent().map_or(Ok(()), std::fs::create_dir_all).map_err(|e| Error::file(to, e))?;
    let staging = Staging::new(to)?;
    let (format, initial) = (WeightFormat::F32, Some(seed));
    let options = LoadOptions { vision: true, diffusion: true, initial, format };
    let parameters = Parameters::new(|_| false);
    DreamLlm::load_with(source, gpu, options, Some(&parameters), &|_| ())?;
    write_new(source, staging.path(), &parameters).await?;
    staging.publish()?;
    Ok(parameters.all().iter().map(|(_, p)| p.stored.len()).sum())
}
