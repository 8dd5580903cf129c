//! What a picture is drawn from: the condition vectors of a prompt, and as a file that needs no language model any more.
//!
//! The file is a safetensors file with the tensors `condition` and `unconditional`, each `[1, Q, E]` in f32, and the prompts
//! and the model's fingerprint as its metadata.

use crate::gpu::Gpu;
use crate::image::RgbImage;
use crate::models::dreamllm::{Diffusion, DreamLlm};
use crate::tensor::Tensor;
use crate::text::place_images;
use crate::{Error, Result};
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use std::collections::HashMap;
use std::path::Path;

/// Condition vectors of one prompt.
#[derive(Debug)]
pub struct Condition {
    /// What to draw, `[1, Q, E]`.
    pub condition: Tensor,
    /// What guidance leads away from, `[1, Q, E]`.
    pub unconditional: Tensor,
    /// The words they came from.
    pub prompt: String,
    /// The words to keep away from.
    pub negative_prompt: String,
    /// Fingerprint of the checkpoint that made them.
    pub fingerprint: String,
}

const MOST_BYTES: u64 = 64 << 20;
const FORMAT: &str = "dreamllm condition 1";

impl Condition {
    /// Of a prompt with pictures in it, which stand where it has `<image>` placeholders, or in front if it has none. The
    /// negative prompt goes through the language model as well; without words it is the empty prompt.
    pub fn new(model: &DreamLlm, prompt: &str, negative: &str, images: &[RgbImage]) -> Result<Condition> {
        let placed = place_images(prompt, images.len());
        Ok(Condition {
            condition: model.condition(&model.context(&placed, images)?)?,
            unconditional: model.condition(&model.context(negative, &[])?)?,
            prompt: prompt.to_string(),
            negative_prompt: negative.to_string(),
            fingerprint: model.fingerprint.clone(),
        })
    }

    /// The file's bytes.
    pub async fn to_bytes(&self) -> Result<Vec<u8>> {
        let mut parts = Vec::new();
        for (name, tensor) in [("condition", &self.condition), ("unconditional", &self.unconditional)] {
            parts.push((name, tensor.shape().as_slice().to_vec(), tensor.read_f32().await?));
        }
        let views = parts.iter().map(|(name, shape, values)| {
            let view = TensorView::new(Dtype::F32, shape.clone(), bytemuck::cast_slice(values));
            view.map(|view| (*name, view)).map_err(|e| Error::format("condition", e))
        });
        let metadata = [
            ("format", FORMAT),
            ("prompt", &self.prompt),
            ("negative_prompt", &self.negative_prompt),
            ("model_hash", &self.fingerprint),
        ];
        let metadata: HashMap<_, _> =
            metadata.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect();
        let views = views.collect::<Result<Vec<_>>>()?;
        safetensors::serialize(views, Some(metadata)).map_err(|e| Error::format("condition", e))
    }

    /// Reads a file. One of more than 64 MiB is refused: vectors of a prompt are much smaller than a model.
    pub fn open(path: &Path, gpu: &Gpu) -> Result<Condition> {
        let size = std::fs::metadata(path).map_err(|e| Error::file(path, e))?.len();
        if size > MOST_BYTES {
            return Err(Error::file(path, format!("is no condition file: it has {size} bytes")));
        }
        let bytes = std::fs::read(path).map_err(|e| Error::file(path, e))?;
        Condition::from_bytes(&path.display().to_string(), &bytes, gpu)
    }

    /// Reads a file's bytes; `what` names it in errors.
    pub fn from_bytes(what: &str, bytes: &[u8], gpu: &Gpu) -> Result<Condition> {
        let broken = |e| Error::format(what, format!("is no condition file: {e}"));
        let (_, header) = SafeTensors::read_metadata(bytes).map_err(broken)?;
        let metadata = header.metadata().clone().unwrap_or_default();
        let text = |key: &str| metadata.get(key).cloned().unwrap_or_default();
        if text("format") != FORMAT {
            return Err(Error::format(what, "is a safetensors file, but not one that --save-condition wrote"));
        }
        let file = SafeTensors::deserialize(bytes).map_err(broken)?;
        let tensor = |name: &str| -> Result<Tensor> {
            let view = file.tensor(name).map_err(broken)?;
            let (shape, data) = (view.shape(), view.data());
            if view.dtype() != Dtype::F32 || shape.len() != 3 || shape[0] != 1 || data.is_empty() {
                let why = format!("{name} is {:?} {shape:?}, not F32 [1, Q, E]", view.dtype());
                return Err(Error::format(what, why));
            }
            let (words, _) = data.as_chunks::<4>();
            let values: Vec<f32> = words.iter().map(|word| f32::from_le_bytes(*word)).collect();
            if values.iter().any(|value| !value.is_finite()) {
                return Err(Error::format(what, format!("{name} has values that are not numbers")));
            }
            Tensor::from_f32(gpu, &values, shape)
        };
        let (condition, unconditional) = (tensor("condition")?, tensor("unconditional")?);
        if condition.shape() != unconditional.shape() {
            return Err(Error::format(what, "its two tensors have different shapes"));
        }
        Ok(Condition {
            condition,
            unconditional,
            prompt: text("prompt"),
            negative_prompt: text("negative_prompt"),
            fingerprint: text("model_hash"),
        })
    }

    /// An error unless the image generator attends to vectors of this width.
    pub fn check(&self, diffusion: &Diffusion) -> Result<()> {
        let [_, _, e] = self.condition.dims("condition", "B Q E")?;
        match diffusion.condition_width == e {
            true => Ok(()),
            false => Err(Error::Input(format!(
                "the condition has vectors of width {e}; this model's UNet attends to width {}",
                diffusion.condition_width
            ))),
        }
    }
}
