//! What a checkpoint is made of, and what memory it takes, without loading it.

use crate::models::survey::{MemoryPlan, Part, survey};
use crate::nn::WeightFormat;
use crate::weights::{CheckpointFolder, OpenOptions, StoredTensor, WeightFile};
use crate::{Error, Result};
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::Path;

/// A checkpoint, or a single file of one.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Info {
    /// What it is.
    pub kind: String,
    /// [`CheckpointFolder::fingerprint`]; a single file has none.
    pub fingerprint: Option<String>,
    /// Its parts; a single file is one part.
    pub parts: Vec<PartInfo>,
    /// Tensors that no part of the model reads.
    pub unused: Vec<String>,
    /// Device memory of the weights in every format; none for a single file.
    pub memory: Vec<MemoryInfo>,
}

/// A part of a checkpoint as it is stored.
#[derive(Debug, Clone, Default, Serialize)]
pub struct PartInfo {
    /// Its name.
    pub name: String,
    /// Tensors.
    pub tensors: usize,
    /// Numbers in them.
    pub parameters: u64,
    /// Bytes in the files.
    pub bytes: u64,
    /// Parameters by element type.
    pub dtypes: BTreeMap<String, u64>,
}

/// Device memory of the weights in one format.
#[derive(Debug, Clone, Serialize)]
pub struct MemoryInfo {
    /// The format, as `--weights` calls it; `stored` without that.
    pub weights: String,
    /// Bytes by part.
    pub parts: Vec<(Part, u64)>,
    /// Bytes of all parts together.
    pub together: u64,
    /// Bytes at most if one part leaves before the next comes (`--low-memory`).
    pub in_turn: u64,
}

impl PartInfo {
    fn of<'a>(name: impl ToString, tensors: impl Iterator<Item = StoredTensor<'a>>) -> PartInfo {
        let mut part = PartInfo { name: name.to_string(), ..PartInfo::default() };
        for tensor in tensors {
            part.tensors += 1;
            part.parameters += tensor.len() as u64;
            part.bytes += tensor.stored_bytes();
            *part.dtypes.entry(tensor.dtype().to_string()).or_default() += tensor.len() as u64;
        }
        part
    }
}

/// Looks at a checkpoint's folder, or at a single file of weights.
/// `options` say where a folder's parts are.
pub async fn info(path: &Path, options: &OpenOptions) -> Result<Info> {
    match path.is_file() {
        true => file_info(path),
        false => folder_info(&CheckpointFolder::open_with(path, options)?).await,
    }
}

fn file_info(path: &Path) -> Result<Info> {
    let file = WeightFile::open(path)?;
    let tensors = file.names().filter_map(|name| file.get(name));
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    Ok(Info { kind: file.kind().to_string(), parts: vec![PartInfo::of(name, tensors)], ..Info::default() })
}

async fn folder_info(folder: &CheckpointFolder) -> Result<Info> {
    let wanted = survey(folder).await?;
    let tensors = |part: Part| {
        let wanted = wanted.iter().filter(move |tensor| Part::of(&tensor.name) == part);
        wanted.filter_map(|tensor| {
            let (set, name) = folder.locate(&tensor.name);
            set.get(name)
        })
    };
    let formats = [
        ("stored", WeightFormat::Stored),
        ("f32", WeightFormat::F32),
        ("f16", WeightFormat::F16),
        ("q8", WeightFormat::Q8),
        ("q4", WeightFormat::Q4),
    ];
    let memory = formats.map(|(name, format)| {
        let plan = MemoryPlan::new(&wanted, format, |_| true);
        let (together, in_turn) = (plan.together(), plan.in_turn());
        MemoryInfo { weights: name.into(), parts: plan.parts, together, in_turn }
    });
    if wanted.is_empty() {
        return Err(Error::file(&folder.root, "holds no tensor that the model reads"));
    }
    Ok(Info {
        kind: "checkpoint folder".into(),
        fingerprint: Some(folder.fingerprint()),
        parts: Part::ALL.into_iter().map(|part| PartInfo::of(part, tensors(part))).collect(),
        unused: folder.sets().into_iter().flat_map(|(_, set)| set.unread()).collect(),
        memory: memory.into(),
    })
}
