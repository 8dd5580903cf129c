//! Writing a checkpoint in the official layout, as `save_pretrained` leaves one that holds everything: configs, the
//! tokenizer, and all weights under their full official names in `model-….safetensors` with an index; beside them the configs
//! of CLIP and Stable Diffusion.
//!
//! Weights are in two files: those that have changed, in f32, and the others exactly as they were stored. The second file is
//! written once and shared by all checkpoints of a run (a hard link, or a copy where there are none), so a checkpoint of a
//! projector costs the size of a projector.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::path::{Path, PathBuf};

use super::rename::{CLIP_IN_ALL, DIFFUSION_IN_ALL, DREAM_IN_ALL};
use super::{CheckpointFolder, SafetensorsWriter, StoredDType, StoredTensor, TensorHeader};
use crate::image::replace_file;
use crate::models::config::DrawingConfig;
use crate::nn::Parameters;
use crate::{Error, Result};

/// Files of the checkpoint's own folder, besides weights.
const OWN: [&str; 8] = [
    "config.json",
    DrawingConfig::FILE,
    "generation_config.json",
    "tokenizer.model",
    "tokenizer.json",
    "added_tokens.json",
    "special_tokens_map.json",
    "tokenizer_config.json",
];
/// Configs of the CLIP folder.
const CLIP: [&str; 2] = ["config.json", "preprocessor_config.json"];
/// Configs of the Stable Diffusion folder.
const DIFFUSION: [&str; 4] =
    ["model_index.json", "unet/config.json", "vae/config.json", "scheduler/scheduler_config.json"];
const CHANGED_FILE: &str = "model-00001-of-00002.safetensors";
const SAME_FILE: &str = "model-00002-of-00002.safetensors";
/// Elements that are copied at a time where a tensor is not contiguous.
const PIECE: usize = 1 << 22;

/// New values of weights, by full official name.
pub trait Values {
    /// Whether a weight has new values.
    fn has(&self, name: &str) -> bool;

    /// The new values, in the order and shape in which `old` is stored.
    fn values(&self, name: &str, old: StoredTensor<'_>) -> impl Future<Output = Result<Vec<f32>>>;
}

/// Writes a checkpoint that differs from an opened one in some weights.
pub struct OfficialWriter<'a> {
    /// The checkpoint it comes from.
    pub source: &'a CheckpointFolder,
    /// Where the file of unchanged weights is kept for the next checkpoints.
    pub shared: &'a Path,
    /// A file that may hold the new values already: it is linked if it has exactly the weights that have changed.
    pub written: Option<&'a Path>,
}

/// Writes a checkpoint whose weights are all on the device, such as a new one, into the new folder `to`. Only configs and
/// tokenizer come from the source.
pub async fn write_new(source: &CheckpointFolder, to: &Path, parameters: &Parameters) -> Result<()> {
    let writer = OfficialWriter { source, shared: to, written: None };
    writer.copy_configs(to)?;
    let all = parameters.all();
    let plan = all.iter().map(|(name, p)| TensorHeader::f32(name, p.stored.as_slice())).collect();
    let mut file = SafetensorsWriter::create_pt(to.join("model.safetensors"), plan)?;
    for (name, parameter) in &all {
        file.write_f32(name, &parameter.official(&parameter.tensor).await?)?;
    }
    file.finish()
}

impl OfficialWriter<'_> {
    /// Writes a whole folder `to`, which must be new; every file is on the disk afterwards.
    pub async fn write(&self, to: &Path, values: &impl Values) -> Result<()> {
        self.copy_configs(to)?;
        let (changed, same): (Vec<_>, Vec<_>) = self.weights().into_iter().partition(|(name, _)| values.has(name));
        let mut index = BTreeMap::new();
        if !changed.is_empty() {
            let target = to.join(CHANGED_FILE);
            match self.written.filter(|written| holds(written, &changed)) {
                Some(written) => link(written, &target)?,
                None => write_changed(&target, &changed, values).await?,
            }
            index.extend(changed.iter().map(|(name, _)| (name, CHANGED_FILE)));
        }
        if !same.is_empty() {
            self.share(&same, &to.join(SAME_FILE))?;
            index.extend(same.iter().map(|(name, _)| (name, SAME_FILE)));
        }
        let changed = changed.iter().map(|(name, t)| TensorHeader::f32(name, t.shape()));
        let all = changed.chain(same.iter().map(as_written));
        let total: u64 = all.filter_map(|header| header.bytes()).sum();
        let json = serde_json::json!({ "metadata": { "total_size": total }, "weight_map": index });
        replace_file(to.join("model.safetensors.index.json"), format!("{json:#}").as_bytes())
    }

    fn copy_configs(&self, to: &Path) -> Result<()> {
        make_folder(to)?;
        copy_files(&self.source.root, to, &OWN)?;
        copy_files(&self.source.clip_folder, &to.join(self.clip_name()?), &CLIP)?;
        copy_files(&self.source.diffusion_folder, &to.join(self.diffusion_name()?), &DIFFUSION)
    }

    /// Every weight of the checkpoint by its full official name, sorted.
    pub fn weights(&self) -> Vec<(String, StoredTensor<'_>)> {
        let CheckpointFolder { language, clip, dream, diffusion, .. } = self.source;
        let parts =
            [("", language), (CLIP_IN_ALL, clip), (DREAM_IN_ALL, dream), (DIFFUSION_IN_ALL, diffusion)].into_iter();
        // A tied head is the token table, which may have changed.
        let tied = self.source.config.tie_word_embeddings;
        let mut all: Vec<_> = parts
            .flat_map(|(prefix, set)| set.tensors().map(move |t| (format!("{prefix}{}", t.name()), t)))
            .filter(|(name, _)| !(tied && name == "lm_head.weight"))
            .collect();
        all.sort_by(|(a, _), (b, _)| a.cmp(b));
        all
    }

    /// Puts the file of unchanged weights in its place. It is made anew where the one that is kept is of other weights.
    fn share(&self, same: &[(String, StoredTensor<'_>)], to: &Path) -> Result<()> {
        if !holds(self.shared, same) {
            let name = self.shared.file_name().unwrap_or_default().to_string_lossy();
            let part = self.shared.with_file_name(format!(".{name}.{}.part", std::process::id()));
            let written = write_same(&part, same)
                .and_then(|()| std::fs::rename(&part, self.shared).map_err(|e| Error::file(self.shared, e)));
            if written.is_err() {
                let _ = std::fs::remove_file(&part); // the error that matters is the first one
            }
            written?;
        }
        link(self.shared, to)
    }

    fn clip_name(&self) -> Result<PathBuf> {
        let plugin = self.source.config.plugins.clip_vision_embedding.as_ref();
        self.component(plugin.map(|p| p.clip_vision_model_name_or_path.as_str()), "clip_vision_embedding")
    }

    fn diffusion_name(&self) -> Result<PathBuf> {
        let plugin = self.source.config.plugins.stable_diffusion_head.as_ref();
        self.component(plugin.map(|p| p.diffusion_name_or_path.as_str()), "stable_diffusion_head")
    }

    /// The folder that a reader looks for: the last part of the component's name.
    fn component(&self, name: Option<&str>, plugin: &str) -> Result<PathBuf> {
        let last = name.and_then(|name| name.trim_end_matches(['/', '\\']).rsplit(['/', '\\']).next());
        let config = || self.source.root.join("config.json");
        last.filter(|last| !matches!(*last, "" | "." | ".."))
            .map(PathBuf::from)
            .ok_or_else(|| Error::file(config(), format!("plugins_init_kwargs has no {plugin} to write")))
    }
}

async fn write_changed(path: &Path, changed: &[(String, StoredTensor<'_>)], values: &impl Values) -> Result<()> {
    let plan = changed.iter().map(|(name, tensor)| TensorHeader::f32(name, tensor.shape())).collect();
    let mut file = SafetensorsWriter::create_pt(path, plan)?;
    for (name, tensor) in changed {
        file.write_f32(name, &values.values(name, *tensor).await?)?;
    }
    file.finish()
}

/// How an unchanged weight is written: as it was stored, but blocks, which the official code does not know, as f32.
fn as_written((name, t): &(String, StoredTensor)) -> TensorHeader {
    let plain = t.dtype().unit().0 == 1;
    let dtype = if plain { t.dtype() } else { StoredDType::F32 };
    TensorHeader { name: name.clone(), dtype, shape: t.shape().to_vec() }
}

fn write_same(path: &Path, same: &[(String, StoredTensor<'_>)]) -> Result<()> {
    let mut file = SafetensorsWriter::create_pt(path, same.iter().map(as_written).collect())?;
    let mut piece = Vec::new();
    for (name, tensor) in same {
        match tensor.raw().filter(|_| tensor.dtype().unit().0 == 1) {
            Some(bytes) => file.write(name, bytes)?,
            // Values survive the way through f32 and back.
            None => {
                for first in (0..tensor.len()).step_by(PIECE) {
                    tensor.read_f32(first..(first + PIECE).min(tensor.len()), &mut piece)?;
                    file.write_f32(name, &piece)?;
                }
            }
        }
    }
    file.finish()
}

/// Whether a file has exactly these tensors, by name.
fn holds(path: &Path, same: &[(String, StoredTensor<'_>)]) -> bool {
    let Ok(file) = super::WeightFile::open(path) else { return false };
    file.names().collect::<BTreeSet<_>>() == same.iter().map(|(name, _)| name.as_str()).collect()
}

/// Copies those of the files that are there.
fn copy_files(from: &Path, to: &Path, names: &[&str]) -> Result<()> {
    for name in names.iter().filter(|name| from.join(name).is_file()) {
        let target = to.join(name);
        target.parent().map_or(Ok(()), make_folder)?;
        copy(&from.join(name), &target)?;
    }
    Ok(())
}

/// The same file once more, or a copy where a file has only one place.
fn link(from: &Path, to: &Path) -> Result<()> {
    std::fs::hard_link(from, to).or_else(|_| copy(from, to))
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    std::fs::copy(from, to).map_err(|e| Error::file(to, e))?;
    std::fs::File::open(to).and_then(|file| file.sync_all()).map_err(|e| Error::file(to, e))
}

fn make_folder(path: &Path) -> Result<()> {
    std::fs::create_dir_all(path).map_err(|e| Error::file(path, e))
}
