//! `dreamllm.json`: where a converted folder comes from.

use super::ConvertOptions;
use crate::image::replace_file;
use crate::nn::WeightFormat;
use crate::weights::CheckpointFolder;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::Read;
use std::path::Path;

pub use crate::weights::MANIFEST;

/// A converted folder's origin.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// Version of the folder's format; [`crate::weights::FOLDER_VERSION`].
    pub format_version: u32,
    /// The program and its version.
    pub program: String,
    /// `f32`, `f16`, `q8`, `q4`, or `stored` where nothing was rounded.
    pub weights: String,
    /// Tensors in the folder.
    pub tensors: usize,
    /// [`CheckpointFolder::fingerprint`] of the source.
    pub source_fingerprint: String,
    /// Files of the source that hold weights.
    pub source_files: Vec<SourceFile>,
}

/// A file that was converted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceFile {
    /// Its name.
    pub name: String,
    /// Its length.
    pub bytes: u64,
    /// Its SHA-256, in hexadecimal digits as `sha256sum` prints them.
    pub sha256: String,
}

impl Manifest {
    pub(super) fn of(source: &CheckpointFolder, options: &ConvertOptions, tensors: usize) -> Result<Manifest> {
        let mut files: Vec<&str> = source.sets().into_iter().flat_map(|(_, set)| set.files()).collect();
        files.sort_unstable();
        files.dedup();
        let weights = match options.format {
            WeightFormat::Stored => "stored",
            WeightFormat::F32 => "f32",
            WeightFormat::F16 => "f16",
            WeightFormat::Q8 => "q8",
            WeightFormat::Q4 => "q4",
        };
        Ok(Manifest {
            format_version: crate::weights::FOLDER_VERSION,
            program: format!("dreamllm {}", env!("CARGO_PKG_VERSION")),
            weights: weights.into(),
            tensors,
            source_fingerprint: source.fingerprint(),
            source_files: files.into_iter().map(|file| SourceFile::of(Path::new(file))).collect::<Result<_>>()?,
        })
    }

    pub(super) fn write(&self, folder: &Path) -> Result<()> {
        let json = serde_json::to_vec_pretty(self).map_err(|e| Error::file(folder.join(MANIFEST), e))?;
        replace_file(folder.join(MANIFEST), &json)
    }
}

impl SourceFile {
    fn of(path: &Path) -> Result<SourceFile> {
        let wrong = |e: std::io::Error| Error::file(path, e);
        let (mut file, mut hash) = (File::open(path).map_err(wrong)?, Sha256::new());
        let (mut piece, mut bytes) = (vec![0; 1 << 20], 0);
        loop {
            match file.read(&mut piece).map_err(wrong)? {
                0 => break,
                count => {
                    hash.update(&piece[..count]);
                    bytes += count as u64;
                }
            }
        }
        let sha256 = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Ok(SourceFile { name, bytes, sha256 })
    }
}
