//! Converting a checkpoint: into one folder that holds everything, in any weight format, and back to the official layout.
//!
//! | layout | files |
//! |---|---|
//! | one folder | `model.safetensors` (in shards with an index where it is large) with all parts under their full names, the tokenizer's files, `config.json`, the configs of CLIP and Stable Diffusion in folders of their own, `dreamllm.json` |
//! | official | the same, but the decoder alone in `model.safetensors` and the plugins in three files of `torch.save` |
//!
//! Floats keep the official shapes and order, so that other programs read them too. Tensors in q8 and q4 are U8 to those:
//! their bytes are the blocks of [`crate::tensor::quantised`] as they go to the device, and the entry `dreamllm.blocks` of
//! the header's metadata (JSON, name to `{"dtype": "q8", "shape": [...], "channels_last": false}`) says what they are.
//! Which tensors are kept in blocks is the model's own choice ([`crate::models::survey`]); so a converted folder is bit by
//! bit what loading the original with that format makes of it.
//!
//! One piece of one tensor is in memory at a time, and no GPU is needed.

mod files;
mod manifest;
mod target;

pub use manifest::{MANIFEST, Manifest, SourceFile};

use crate::models::survey::survey;
use crate::nn::WeightFormat;
use crate::weights::{CheckpointFolder, Staging};
use crate::{Error, Result};
use serde::Serialize;
use std::path::{Path, PathBuf};
use target::Target;

/// How to convert.
#[derive(Debug, Clone, Copy)]
pub struct ConvertOptions {
    /// Format of the large weights. [`WeightFormat::Stored`] changes none.
    pub format: WeightFormat,
    /// Whether to write the official layout.
    pub official: bool,
    /// Bytes of weights in one file, unless a single tensor is larger.
    pub shard_bytes: u64,
}

impl Default for ConvertOptions {
    /// One folder, nothing rounded, files of 4 GB.
    fn default() -> Self {
        ConvertOptions { format: WeightFormat::Stored, official: false, shard_bytes: 4_000_000_000 }
    }
}

/// What was written.
#[derive(Debug, Clone, Serialize)]
pub struct Converted {
    /// The folder.
    #[serde(serialize_with = "as_text")]
    pub folder: PathBuf,
    /// Its files, without the folder.
    pub files: Vec<String>,
    /// Tensors.
    pub tensors: usize,
    /// Bytes of all tensors.
    pub bytes: u64,
    /// Tensors of the source that no part of the model reads; they were left out.
    pub unused: Vec<String>,
}

/// A path for scripts; one that is no UTF-8 is shown as well as it can be.
fn as_text<S: serde::Serializer>(path: &Path, serializer: S) -> std::result::Result<S::Ok, S::Error> {
    serializer.collect_str(&path.display())
}

/// Writes a checkpoint to the folder `out`, which must be empty or not be there. It appears when it is whole. `progress`
/// is told elements as they are written, out of [`elements`], and may stop the work by an error.
pub async fn convert(
    source: &CheckpointFolder,
    out: &Path,
    options: &ConvertOptions,
    progress: &dyn Fn(u64) -> Result<()>,
) -> Result<Converted> {
    if options.official && matches!(options.format, WeightFormat::Q8 | WeightFormat::Q4) {
        return Err(Error::Input("the official layout has no quantised weights; take f16 or f32".into()));
    }
    let staging = Staging::new(out)?;
    let wanted = survey(source).await?;
    let mut targets = Vec::new();
    for wanted in &wanted {
        // Tied weights are asked for twice.
        if targets.iter().all(|target: &Target| target.name != wanted.name) {
            targets.push(Target::new(source, wanted, options)?);
        }
    }
    let unused: Vec<String> = source.sets().into_iter().flat_map(|(_, set)| set.unread()).collect();
    let (tensors, bytes) = (targets.len(), targets.iter().map(Target::bytes).sum());
    files::copy_descriptions(source, staging.path())?;
    match options.official {
        true => files::write_official(targets, staging.path(), progress)?,
        false => files::write_all(targets, staging.path(), options.shard_bytes, progress)?,
    }
    Manifest::of(source, options, tensors)?.write(staging.path())?;
    let files = files::list(staging.path())?;
    staging.publish()?;
    Ok(Converted { folder: out.to_path_buf(), files, tensors, bytes, unused })
}

/// Elements of all tensors of a checkpoint.
pub fn elements(source: &CheckpointFolder) -> u64 {
    source.sets().into_iter().flat_map(|(_, set)| set.tensors()).map(|tensor| tensor.len() as u64).sum()
}
