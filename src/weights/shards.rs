//! Finding a model's weight files in a folder: one file, or several named by an index.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Deserialize;

use super::file::WeightFile;
use crate::{Error, Result};

/// transformers' names, in its order of preference.
pub(super) const TRANSFORMERS: &[&str] = &["model.safetensors", "pytorch_model.bin"];

/// diffusers' names, in its order of preference, then the half-precision variants.
pub(super) const DIFFUSERS: &[&str] = &[
    "diffusion_pytorch_model.safetensors",
    "diffusion_pytorch_model.bin",
    "diffusion_pytorch_model.fp16.safetensors",
    "diffusion_pytorch_model.fp16.bin",
];

/// Opens the first of `names` that the folder has, whole or as shards listed in `<name>.index.json`. None is no error:
/// the list is empty then.
pub(super) fn open_weights(folder: &Path, names: &[&str]) -> Result<Vec<Arc<WeightFile>>> {
    for name in names {
        let (whole, index) = (folder.join(name), folder.join(format!("{name}.index.json")));
        if whole.is_file() {
            return Ok(vec![Arc::new(WeightFile::open(whole)?)]);
        }
        if index.is_file() {
            return shard_names(&index)?.iter().map(|shard| open_shard(folder, &index, shard)).collect();
        }
    }
    Ok(Vec::new())
}

/// The GGUF files of a folder, sorted.
pub(super) fn gguf_files(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(folder).map_err(|e| Error::file(folder, e))?;
    let paths = entries.filter_map(|entry| entry.ok().map(|entry| entry.path()));
    let mut found: Vec<PathBuf> = paths.filter(|path| path.extension().is_some_and(|end| end == "gguf")).collect();
    found.sort();
    Ok(found)
}

fn open_shard(folder: &Path, index: &Path, shard: &str) -> Result<Arc<WeightFile>> {
    let path = folder.join(shard);
    if !path.is_file() {
        return Err(Error::file(index, format!("names {shard}, which is missing")));
    }
    Ok(Arc::new(WeightFile::open(path)?))
}

/// The distinct files of an index, sorted.
fn shard_names(index: &Path) -> Result<BTreeSet<String>> {
    #[derive(Deserialize)]
    struct Index {
        weight_map: BTreeMap<String, String>,
    }
    let json = std::fs::read(index).map_err(|e| Error::file(index, e))?;
    let parsed: Index = serde_json::from_slice(&json).map_err(|e| Error::file(index, e))?;
    let shards: BTreeSet<String> = parsed.weight_map.into_values().collect();
    // An index may not reach outside its folder.
    match shards.iter().find(|shard| Path::new(shard).file_name() != Some(shard.as_ref())) {
        Some(shard) => Err(Error::file(index, format!("names {shard:?}, which is no plain file name"))),
        None => Ok(shards),
    }
}

/// The last part of a path or of a hub name.
pub(crate) fn last_part(name_or_path: &str) -> &str {
    name_or_path.trim_end_matches(['/', '\\']).rsplit(['/', '\\']).next().unwrap_or_default()
}

/// The folder of a component: the last part of a hub name, as a folder in the checkpoint or beside it, or else the path
/// as it is written.
pub(super) fn component_folder(root: &Path, key: &str, name_or_path: &str) -> Result<PathBuf> {
    let last = last_part(name_or_path);
    let plain = !matches!(last, "" | "." | "..");
    let beside = std::fs::canonicalize(root).ok().and_then(|root| root.parent().map(Path::to_path_buf));
    let mut places: Vec<PathBuf> =
        [Some(root.to_path_buf()), beside].into_iter().flatten().map(|p| p.join(last)).collect();
    places.push(PathBuf::from(name_or_path));
    places.into_iter().find(|place| plain && place.is_dir()).ok_or_else(|| {
        Error::file(root, format!("has no folder {last} in it or beside it, which {key} {name_or_path:?} names"))
    })
}
