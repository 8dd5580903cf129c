//! Where records lie: JSON files with pictures beside them, folders of captioned pictures, tar shards; or how they are made.

mod folder;
mod json_file;
mod picture;
mod shapes;
mod shard;

use super::parse::Kind;
use super::record::Record;
use super::skipped::Problem;
use crate::{Error, Result};
use std::path::Path;

pub(super) use picture::Picture;
pub use shapes::ShapesConfig;

/// An indexed source: records are read one by one, from any thread.
pub(super) trait Source: Send + Sync + std::fmt::Debug {
    /// Number of records.
    fn len(&self) -> u64;

    /// Where record `n` stands, as a reader of the summary looks for it.
    fn place(&self, n: u64) -> String;

    /// Record `n`, its pictures not yet read.
    fn record(&self, n: u64) -> Result<Record<Picture>>;
}

/// What a source is told.
#[derive(Debug, Clone, Copy)]
pub(super) struct Form<'a> {
    /// What the records are.
    pub kind: Kind,
    /// Where pictures are looked for; none for beside the JSON file.
    pub pictures: Option<&'a Path>,
    /// Where a pair has its caption.
    pub text_key: Option<&'a str>,
}

/// Names under which a folder may have its manifest.
const MANIFESTS: [&str; 4] = ["metadata.jsonl", "manifest.jsonl", "metadata.json", "manifest.json"];

/// Opens what `path` is: a `.json` or `.jsonl` file, a `.tar` shard, a folder of shards, a folder with a manifest, or a folder of
/// pictures with `.txt` captions. Parts of it that cannot be read are named in `problems`.
pub(super) fn open(path: &Path, form: Form, problems: &mut Vec<Problem>) -> Result<Box<dyn Source>> {
    let source: Box<dyn Source> = if path.is_dir() {
        let manifest = MANIFESTS.iter().map(|name| path.join(name)).find(|path| path.is_file());
        let shards = files(path, &["tar"])?;
        match manifest {
            Some(manifest) => Box::new(json_file::JsonFile::open(&manifest, form)?),
            None if shards.is_empty() => Box::new(folder::CaptionedFolder::open(path, form)?),
            None => Box::new(shard::Shards::open(&shards, form, problems)?),
        }
    } else {
        match extension(path).as_str() {
            "json" | "jsonl" | "ndjson" => Box::new(json_file::JsonFile::open(path, form)?),
            "tar" => Box::new(shard::Shards::open(&[path.to_path_buf()], form, problems)?),
            _ if !path.exists() => return Err(Error::file(path, "there is no such file or folder")),
            _ => return Err(Error::file(path, "training data is a .json, .jsonl or .tar file or a folder")),
        }
    };
    match source.len() {
        0 => Err(Error::file(path, "holds no record")),
        _ => Ok(source),
    }
}

/// A source of generated records of one kind.
pub(super) fn shapes(config: &ShapesConfig, kind: Kind) -> Result<Box<dyn Source>> {
    Ok(Box::new(shapes::Shapes::open(config, kind)?))
}

/// Files of a folder with one of some extensions, sorted by name.
fn files(folder: &Path, extensions: &[&str]) -> Result<Vec<std::path::PathBuf>> {
    let entries = std::fs::read_dir(folder).map_err(|e| Error::file(folder, e))?;
    let mut files = Vec::new();
    for entry in entries {
        let path = entry.map_err(|e| Error::file(folder, e))?.path();
        if extensions.contains(&extension(&path).as_str()) && path.is_file() {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// What stands behind the last dot, in small letters.
fn extension(path: &Path) -> String {
    path.extension().and_then(|e| e.to_str()).unwrap_or_default().to_ascii_lowercase()
}

#[cfg(test)]
pub(super) mod tests;
