//! What a model asks of its checkpoint, and the memory that takes, without loading it.
//!
//! The loaders themselves are asked, on a device that does nothing: what they would load is what is counted and converted.

use super::dreamllm::{Diffusion, Vision};
use super::llama::Llama;
use crate::gpu::{DeviceClass, Gpu, GpuOptions, allocated};
use crate::nn::{Wanted, WeightFormat, Weights};
use crate::tensor::format_bytes;
use crate::weights::{CheckpointFolder, WeightSet, rename};
use crate::{Error, Result};
use serde::Serialize;
use std::cell::RefCell;

/// A part of the model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// The decoder with its token table and its head.
    Decoder,
    /// The dream queries.
    Queries,
    /// The image encoder.
    ImageEncoder,
    /// From pictures to the decoder.
    VisualProjector,
    /// From the decoder to the UNet.
    ConditionProjector,
    /// The denoiser.
    UNet,
    /// The autoencoder.
    Vae,
}

impl Part {
    /// All of them.
    pub const ALL: [Part; 7] = [
        Part::Decoder,
        Part::Queries,
        Part::ImageEncoder,
        Part::VisualProjector,
        Part::ConditionProjector,
        Part::UNet,
        Part::Vae,
    ];

    /// The part that a tensor of this full name belongs to.
    pub fn of(name: &str) -> Part {
        let projector = |inner: &str| inner.starts_with("projector.");
        match (name.strip_prefix(rename::CLIP_IN_ALL), name.strip_prefix(rename::DIFFUSION_IN_ALL)) {
            (Some(inner), _) if projector(inner) => Part::VisualProjector,
            (Some(_), _) => Part::ImageEncoder,
            (_, Some(inner)) if projector(inner) => Part::ConditionProjector,
            (_, Some(inner)) if inner.starts_with("vae.") => Part::Vae,
            (_, Some(_)) => Part::UNet,
            _ if name.starts_with(rename::DREAM_IN_ALL) => Part::Queries,
            _ => Part::Decoder,
        }
    }

    /// Whether it is so small that it never leaves the device.
    pub fn stays(self) -> bool {
        matches!(self, Part::Queries | Part::VisualProjector | Part::ConditionProjector)
    }
}

impl std::fmt::Display for Part {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Part::Decoder => "decoder",
            Part::Queries => "dream queries",
            Part::ImageEncoder => "image encoder",
            Part::VisualProjector => "visual projector",
            Part::ConditionProjector => "condition projector",
            Part::UNet => "UNet",
            Part::Vae => "VAE",
        })
    }
}

/// Every tensor that the whole model would load, in the order of loading. They then count as read.
pub async fn survey(folder: &CheckpointFolder) -> Result<Vec<Wanted>> {
    let gpu = Gpu::recording(DeviceClass::Software, &GpuOptions::default()).await?;
    let found = RefCell::new(Vec::new());
    let note = |wanted| found.borrow_mut().push(wanted);
    let root = |set, prefix| Weights::root(set, &gpu, WeightFormat::Stored, &|_| ()).surveyed(&note, prefix);
    Llama::load(&root(&folder.language, ""), &folder.config)?;
    root(&folder.dream, rename::DREAM_IN_ALL).only_row("dream_queries", folder.queries_shape())?;
    Vision::load(&root(&folder.clip, rename::CLIP_IN_ALL), folder)?;
    Diffusion::load(&root(&folder.diffusion, rename::DIFFUSION_IN_ALL), folder)?;
    Ok(found.into_inner())
}

impl CheckpointFolder {
    /// The sets, each with how full names of its tensors begin.
    pub fn sets(&self) -> [(&'static str, &WeightSet); 4] {
        [
            ("", &self.language),
            (rename::CLIP_IN_ALL, &self.clip),
            (rename::DREAM_IN_ALL, &self.dream),
            (rename::DIFFUSION_IN_ALL, &self.diffusion),
        ]
    }

    /// The set that holds a tensor of this full name, and its name there.
    pub fn locate<'n>(&self, name: &'n str) -> (&WeightSet, &'n str) {
        let [all, plugins @ ..] = self.sets();
        let found = plugins.into_iter().find_map(|(prefix, set)| Some((set, name.strip_prefix(prefix)?)));
        found.unwrap_or((all.1, name))
    }

    /// Dream queries and their width.
    pub(crate) fn queries_shape(&self) -> [usize; 2] {
        let queries = self.config.plugins.dream_embedding.as_ref().map_or(64, |d| d.num_dream_queries);
        [queries, self.config.hidden_size]
    }
}

/// Device memory of a model's weights.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MemoryPlan {
    /// Bytes of each part that is loaded, in the order of [`Part`].
    pub parts: Vec<(Part, u64)>,
}

impl MemoryPlan {
    /// For the parts that `wants` names, with weights of a format.
    pub fn new(wanted: &[Wanted], format: WeightFormat, wants: impl Fn(Part) -> bool) -> MemoryPlan {
        let bytes = |part: Part| -> u64 {
            let of_part = wanted.iter().filter(|tensor| Part::of(&tensor.name) == part);
            of_part.map(|tensor| allocated(tensor.dtype(format).bytes(tensor.shape.len()))).sum()
        };
        MemoryPlan {
            parts: Part::ALL.into_iter().filter(|part| wants(*part)).map(|part| (part, bytes(part))).collect(),
        }
    }

    /// Bytes if everything is on the device at once.
    pub fn together(&self) -> u64 {
        self.parts.iter().map(|(_, bytes)| bytes).sum()
    }

    /// Bytes if a part leaves the device before the next one comes: those that stay, and the largest other one.
    pub fn in_turn(&self) -> u64 {
        let bytes =
            |stays: bool| self.parts.iter().filter(move |(part, _)| part.stays() == stays).map(|(_, bytes)| *bytes);
        bytes(true).sum::<u64>() + bytes(false).max().unwrap_or(0)
    }

    /// An error with the numbers if the weights do not fit into `limit` bytes.
    pub fn check(&self, limit: u64, by_turns: bool) -> Result<()> {
        let (together, in_turn) = (format_bytes(self.together()), format_bytes(self.in_turn()));
        let (fits, need) = match by_turns {
            true => (self.in_turn() <= limit, format!("{in_turn} for its largest part")),
            false => (self.together() <= limit, format!("{together} together, or {in_turn} part by part")),
        };
        let what = format!("the device memory of the weights ({self})");
        if fits { Ok(()) } else { Err(Error::TooLarge { what, need, limit: format_bytes(limit) }) }
    }
}

impl std::fmt::Display for MemoryPlan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let parts = self.parts.iter().filter(|(part, _)| !part.stays());
        let parts: Vec<String> = parts.map(|(part, bytes)| format!("{part} {}", format_bytes(*bytes))).collect();
        f.write_str(&parts.join(", "))
    }
}
