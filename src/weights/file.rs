//! One checkpoint file of any format, recognised by its content.

use std::path::Path;

use super::bytes::FileBytes;
use super::gguf;
use super::safetensors_file;
use super::stored::{StoredTensor, TensorLayout};
use super::torch_bin;
use crate::{Error, Result};

/// A checkpoint file with its table of tensors. Opening reads the table only.
pub struct WeightFile {
    what: String,
    kind: &'static str,
    bytes: FileBytes,
    tensors: Vec<(String, TensorLayout)>,
}

impl WeightFile {
    /// Opens a safetensors file, one written by `torch.save`, or a GGUF file with a decoder of the LLaMA family.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        Self::parse(path.display().to_string(), FileBytes::open(path)?)
    }

    /// The same for bytes in memory; `what` names them in errors.
    pub fn from_bytes(what: impl Into<String>, bytes: Vec<u8>) -> Result<Self> {
        Self::parse(what.into(), FileBytes::from(bytes))
    }

    fn parse(what: String, bytes: FileBytes) -> Result<Self> {
        let (kind, tensors) = if torch_bin::is_zip(&bytes) {
            ("torch file", torch_bin::parse_zip(&what, &bytes)?)
        } else if torch_bin::is_legacy(&bytes) {
            ("torch file", torch_bin::parse_legacy(&what, &bytes)?)
        } else if gguf::is_gguf(&bytes) {
            ("GGUF file", gguf::parse(&what, &bytes)?)
        } else if bytes.starts_with(b"version https://git-lfs") {
            return Err(Error::format(what, "is a Git LFS pointer; the weights themselves were not downloaded"));
        } else {
            ("safetensors file", safetensors_file::parse(&what, &bytes)?)
        };
        Ok(Self { what, kind, bytes, tensors })
    }

    /// The file's path, or the name its bytes were given.
    pub fn what(&self) -> &str {
        &self.what
    }

    /// What kind of file it is, in words.
    pub fn kind(&self) -> &'static str {
        self.kind
    }

    /// Names of the tensors, in file order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.iter().map(|(name, _)| name.as_str())
    }

    /// Number of tensors.
    pub fn len(&self) -> usize {
        self.tensors.len()
    }

    /// Whether the file holds no tensor.
    pub fn is_empty(&self) -> bool {
        self.tensors.is_empty()
    }

    /// The `index`-th tensor under another name.
    pub(super) fn tensor<'a>(&'a self, index: usize, name: &'a str) -> Option<StoredTensor<'a>> {
        self.tensors.get(index).map(|(_, layout)| StoredTensor::new(name, layout, &self.bytes))
    }

    /// The tensor of this name.
    pub fn get<'a>(&'a self, name: &str) -> Option<StoredTensor<'a>> {
        let (name, layout) = self.tensors.iter().find(|(known, _)| known == name)?;
        Some(StoredTensor::new(name, layout, &self.bytes))
    }
}

impl std::fmt::Debug for WeightFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "WeightFile({}, {} tensors)", self.what, self.tensors.len())
    }
}
