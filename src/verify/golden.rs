//! Recorded files: tensors and what is said about them.

use super::Bench;
use crate::gpu::Gpu;
use crate::models::config::standard_json;
use crate::tensor::Tensor;
use crate::weights::WeightFile;
use crate::{Error, Result};
use serde_json::Value;

/// One recorded stage.
pub(super) struct Golden {
    pub json: Value,
    file: Option<WeightFile>,
}

/// A recorded tensor on the host.
#[derive(Debug, Clone)]
pub(super) struct Recorded {
    pub shape: Vec<usize>,
    pub data: Vec<f32>,
}

impl Bench<'_> {
    pub fn golden(&self, name: &str) -> Result<Golden> {
        let json = self.reference.join(format!("{name}.json"));
        let tensors = self.reference.join(format!("{name}.safetensors"));
        let json = match json.is_file() {
            true => {
                let text = std::fs::read(&json).map_err(|e| Error::file(&json, e))?;
                serde_json::from_slice(&standard_json(&text)).map_err(|e| Error::file(&json, e))?
            }
            false => Value::Null,
        };
        let file = tensors.is_file().then(|| WeightFile::open(&tensors)).transpose()?;
        Ok(Golden { json, file })
    }
}

impl Golden {
    /// Names of all tensors, sorted.
    pub fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = self.file.iter().flat_map(|f| f.names().map(str::to_string)).collect();
        names.sort();
        names
    }

    /// What stands before `suffix` in the names that end so.
    pub fn prefixes(&self, suffix: &str) -> Vec<String> {
        self.names().iter().filter_map(|name| name.strip_suffix(suffix).map(str::to_string)).collect()
    }

    pub fn has(&self, name: &str) -> bool {
        self.file.as_ref().is_some_and(|f| f.get(name).is_some())
    }

    pub fn get(&self, name: &str) -> Result<Recorded> {
        let stored = self.file.as_ref().and_then(|f| f.get(name));
        let stored = stored.ok_or_else(|| Error::MissingTensor(format!("{name} of the recording")))?;
        Ok(Recorded { shape: stored.shape().to_vec(), data: stored.to_f32()? })
    }

    /// A recorded list of ids; they are far below 2²⁴, so f32 holds them exactly.
    pub fn ids(&self, name: &str) -> Result<Vec<u32>> {
        Ok(self.get(name)?.data.iter().map(|&id| id as u32).collect())
    }

    pub fn bytes(&self, name: &str) -> Result<Vec<u8>> {
        Ok(self.get(name)?.data.iter().map(|&b| b as u8).collect())
    }
}

impl Recorded {
    /// `[B, C, Y, X]` as `[B, Y, X, C]`; other ranks as they are.
    pub fn channels_last(&self) -> Recorded {
        let [b, c, y, x] = match *self.shape {
            [b, c, y, x] => [b, c, y, x],
            [c, y, x] => [1, c, y, x],
            _ => return self.clone(),
        };
        let mut data = vec![0.0; self.data.len()];
        for (i, &value) in self.data.iter().enumerate() {
            let (at, channel) = (i % (y * x), i / (y * x) % c);
            data[(i / (c * y * x) * y * x + at) * c + channel] = value;
        }
        let shape = if self.shape.len() == 4 { vec![b, y, x, c] } else { vec![y, x, c] };
        Recorded { shape, data }
    }

    /// Rank 4 is a picture, anything else is taken as it is.
    pub fn as_ours(&self) -> Recorded {
        if self.shape.len() == 4 { self.channels_last() } else { self.clone() }
    }

    /// Part `i` of the first axis.
    pub fn part(&self, i: usize) -> Recorded {
        let shape = self.shape[1..].to_vec();
        let size: usize = shape.iter().product();
        Recorded { shape, data: self.data[i * size..(i + 1) * size].to_vec() }
    }

    pub fn to_tensor(&self, gpu: &Gpu) -> Result<Tensor> {
        Tensor::from_f32(gpu, &self.data, self.shape.as_slice())
    }
}
