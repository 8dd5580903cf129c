//! A new model: configs and a tokenizer get weights drawn from a seed.

use crate::gpu::Gpu;
use crate::models::dreamllm::{DreamLlm, LoadOptions};
use crate::nn::{Parameters, WeightFormat};
use crate::weights::{CheckpointFolder, OpenOptions, write_new};
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
    if std::fs::read_dir(to).is_ok_and(|mut files| files.next().is_some()) {
        return Err(Error::file(to, "is there already and not empty"));
    }
    let (format, initial) = (WeightFormat::F32, Some(seed));
    let options = LoadOptions { vision: true, diffusion: true, initial, format };
    let parameters = Parameters::new(|_| false);
    DreamLlm::load_with(source, gpu, options, Some(&parameters), &|_| ())?;
    // A folder of this name is whole or not there.
    let part = to.with_extension("part");
    if part.exists() {
        std::fs::remove_dir_all(&part).map_err(|e| Error::file(&part, e))?;
    }
    write_new(source, &part, &parameters).await?;
    std::fs::rename(&part, to).map_err(|e| Error::file(to, e))?;
    Ok(parameters.all().iter().map(|(_, p)| p.stored.len()).sum())
}
