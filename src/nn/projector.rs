//! The projectors between the decoder and the two image models: one linear layer, or several with exact GELU between.

use super::{Linear, Weights};
use crate::Result;
use crate::models::config::ProjectorType;
use crate::ops::epilogue::Activation;
use crate::tensor::Tensor;

/// Linear layers with GELU between them.
pub struct Projector {
    layers: Vec<Linear>,
}

impl Projector {
    /// From width `c` to `n`; `depth` layers where the type is an MLP.
    pub fn load(w: &Weights, c: usize, n: usize, kind: ProjectorType, depth: usize) -> Result<Projector> {
        let layer = |w: &Weights, c, n| match w.has_bias() {
            true => Linear::load(w, c, n),
            false => Linear::load_unbiased(w, c, n),
        };
        let w = w / "projector";
        let layers = match kind {
            ProjectorType::Linear => vec![layer(&w, c, n)?],
            // In the official nn.Sequential the linear layers are 0, 2, 4 …; the functions between have no weights.
            ProjectorType::Mlp => {
                (0..depth).map(|i| layer(&(&w / (2 * i)), if i == 0 { c } else { n }, n)).collect::<Result<_>>()?
            }
        };
        Ok(Projector { layers })
    }

    /// x `[.., C]` → `[.., N]`
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let mut x = x.clone();
        for (i, layer) in self.layers.iter().enumerate() {
            let last = i + 1 == self.layers.len();
            x = if last { layer.forward(&x)? } else { layer.activated(&x, Activation::Gelu)? };
        }
        Ok(x)
    }
}
