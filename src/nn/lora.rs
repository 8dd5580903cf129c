//! Low-rank adapters (Hu et al., "LoRA: Low-Rank Adaptation of Large Language Models", 2021):
//!
//!   `y = x · Wᵀ + α / R · x · Aᵀ · Bᵀ`   with W `[N, C]` frozen, A `[R, C]` and B `[N, R]` learned
//!
//! A starts uniform in ±1 / √C and B at zero, as in peft, so that the first step begins at the model as it was. Merged, the
//! weight is `W + α / R · B · A`, and nobody who loads it need know of adapters.

use super::Parameters;
use crate::gpu::Gpu;
use crate::ops::epilogue::Epilogue;
use crate::ops::fill::full;
use crate::ops::matmul::{linear, matmul};
use crate::ops::random::uniform;
use crate::tensor::Tensor;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};

/// Names of the factors, behind the path of the layer, as peft names them.
pub(super) const A: &str = "lora_A.weight";
pub(super) const B: &str = "lora_B.weight";

/// Which of the decoder's layers get adapters, and what kind.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lora {
    /// R, the rank.
    pub rank: usize,
    /// α; the adapter counts α / R.
    pub alpha: f64,
    /// Linear layers of the decoder by the last part of their names.
    #[serde(default = "all")]
    pub targets: Vec<String>,
    /// Seed of the first values.
    #[serde(default)]
    pub seed: u64,
}

/// Linear layers of a decoder layer.
const TARGETS: [&str; 7] = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"];

fn all() -> Vec<String> {
    TARGETS.map(String::from).to_vec()
}

impl Lora {
    /// An error unless this can be done.
    pub fn check(&self) -> Result<()> {
        if self.rank == 0 || !self.alpha.is_finite() || self.targets.is_empty() {
            return Err(Error::Input("lora: rank, alpha and targets must not be 0 or empty".into()));
        }
        match self.targets.iter().find(|target| !TARGETS.contains(&target.as_str())) {
            None => Ok(()),
            Some(target) => Err(Error::Input(format!("lora: no layer {target:?}; targets are {}", TARGETS.join(", ")))),
        }
    }

    /// Whether the layer of this official name gets an adapter.
    pub(super) fn is_at(&self, path: &str) -> bool {
        let last = path.rsplit('.').next().unwrap_or_default();
        path.starts_with("model.layers.") && self.targets.iter().any(|target| target == last)
    }

    /// α / R
    pub(super) fn scale(&self) -> f32 {
        (self.alpha / self.rank as f64) as f32
    }

    /// A before training, whose numbers depend on the layer's name.
    pub(super) fn first(&self, gpu: &Gpu, path: &str, c: usize) -> Result<Tensor> {
        let name =
            path.bytes().fold(0xcbf2_9ce4_8422_2325u64, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3));
        let shape = [self.rank, c];
        let bound = 1.0 / (c as f32).sqrt();
        uniform(gpu, shape, self.seed ^ name, 0)?.scale(2.0 * bound)?.sub(&full(gpu, shape, bound)?)
    }
}

/// Whether a parameter is a factor of an adapter.
pub(crate) fn is_adapter(name: &str) -> bool {
    name.ends_with(A) || name.ends_with(B)
}

impl Parameters {
    /// The same, nothing of it trained, with adapters added to the weights beside them: what can be seen of W is W + α / R · B · A.
    pub fn merged(&self) -> Result<Parameters> {
        let merge = |name: &str| Some((self.get(name)?, self.adapter(name)?));
        let mut merged = Vec::new();
        for (name, _) in self.all() {
            if let Some((weight, adapter)) = merge(&name) {
                merged.push((name, weight.tensor.detach().add(&adapter.delta()?)?));
            }
        }
        Ok(self.replaced(merged.iter().map(|(name, tensor)| (name.as_str(), tensor))).with_lora(None))
    }

    /// The adapter beside a weight, if there is one.
    pub(crate) fn adapter(&self, weight: &str) -> Option<Adapter> {
        let (scale, path) = (self.lora()?.scale(), weight.strip_suffix("weight")?);
        let [a, b] = [A, B].map(|factor| self.get(&format!("{path}{factor}")));
        Some(Adapter { a: a?.tensor.detach(), b: b?.tensor.detach(), scale })
    }
}

/// The adapter of one layer.
pub struct Adapter {
    /// A `[R, C]`
    pub a: Tensor,
    /// B `[N, R]`
    pub b: Tensor,
    /// α / R
    pub scale: f32,
}

impl Adapter {
    /// x `[.., C]` → α / R · x · Aᵀ · Bᵀ `[.., N]`
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let plain = Epilogue::default();
        // The narrow result is scaled, not the wide one.
        linear(&linear(x, &self.a, plain)?.scale(self.scale)?, &self.b, plain)
    }

    /// What it adds to W, `[N, C]`.
    pub fn delta(&self) -> Result<Tensor> {
        matmul(&self.b, &self.a, false, false)?.scale(self.scale)
    }
}
