//! The UNet's transformer: pixels attend to each other, then to the condition, then pass a gated MLP.

use crate::Result;
use crate::nn::{GroupNorm, LayerNorm, Linear, Weights, probe};
use crate::ops::attention::{Attention, attention};
use crate::ops::layout::slice;
use crate::ops::pointwise::geglu;
use crate::tensor::Tensor;

/// Transformer blocks over the pixels of an image, with projections in and out around them.
pub struct Transformer2D {
    path: String,
    norm: GroupNorm,
    proj_in: Linear,
    transformer_blocks: Vec<TransformerBlock>,
    proj_out: Linear,
    /// Whether the projections are linear layers over rows of pixels, not convolutions of pictures.
    linear_projection: bool,
}

struct TransformerBlock {
    path: String,
    norm1: LayerNorm,
    attn1: CrossAttention,
    norm2: LayerNorm,
    attn2: CrossAttention,
    norm3: LayerNorm,
    ff_in: Linear,
    ff_out: Linear,
}

struct CrossAttention {
    to_q: Linear,
    to_k: Linear,
    to_v: Linear,
    to_out: Linear,
    heads: usize,
}

/// Epsilons that diffusers fixes, whatever the config says.
const GROUP_NORM_EPS: f64 = 1e-6;
const LAYER_NORM_EPS: f64 = 1e-5;

impl Transformer2D {
    /// For width `c`; `cross` is the width of the condition; older checkpoints have 1 × 1 convolutions as projections.
    pub fn load(
        w: &Weights,
        c: usize,
        heads: usize,
        cross: usize,
        depth: usize,
        groups: usize,
        linear_projection: bool,
    ) -> Result<Transformer2D> {
        let blocks = w / "transformer_blocks";
        let project = |name| Linear::load_pointwise(&(w / name), c, c, !linear_projection);
        Ok(Transformer2D {
            path: w.path().to_string(),
            norm: GroupNorm::load(&(w / "norm"), c, groups, GROUP_NORM_EPS)?,
            proj_in: project("proj_in")?,
            transformer_blocks: (0..depth)
                .map(|i| TransformerBlock::load(&(&blocks / i), c, heads, cross))
                .collect::<Result<_>>()?,
            proj_out: project("proj_out")?,
            linear_projection,
        })
    }

    /// x `[B, Y, X, C]`, condition `[B, Q, E]` → `[B, Y, X, C]`
    pub fn forward(&self, x: &Tensor, condition: &Tensor) -> Result<Tensor> {
        let [b, rows, columns, c] = x.dims("transformer x", "B Y X C")?;
        let mut h = self.proj_in.forward(&self.norm.forward(x)?.reshape([b, rows * columns, c])?)?;
        if probe::is_watching() {
            // A convolution shows a picture, as in diffusers.
            let shown = if self.linear_projection { h.clone() } else { h.reshape([b, rows, columns, c])? };
            probe::see(&format!("{}.proj_in", self.path), &shown);
        }
        for block in &self.transformer_blocks {
            h = block.forward(&h, condition)?;
        }
        let y = self.proj_out.added_to(x, &h.reshape([b, rows, columns, c])?)?;
        probe::see(&self.path, &y);
        Ok(y)
    }
}

impl TransformerBlock {
    fn load(w: &Weights, c: usize, heads: usize, cross: usize) -> Result<TransformerBlock> {
        let norm = |name| LayerNorm::load(&(w / name), c, LAYER_NORM_EPS);
        let ff = w / "ff" / "net";
        Ok(TransformerBlock {
            path: w.path().to_string(),
            norm1: norm("norm1")?,
            attn1: CrossAttention::load(&(w / "attn1"), c, heads, c)?,
            norm2: norm("norm2")?,
            attn2: CrossAttention::load(&(w / "attn2"), c, heads, cross)?,
            norm3: norm("norm3")?,
            ff_in: Linear::load(&(&ff / 0 / "proj"), c, 8 * c)?,
            ff_out: Linear::load(&(&ff / 2), 4 * c, c)?,
        })
    }

    fn forward(&self, x: &Tensor, condition: &Tensor) -> Result<Tensor> {
        let h = self.norm1.forward(x)?;
        let x = self.attn1.added_to(x, &h, &h)?;
        self.watch(&[("norm1", &h)], || Ok(vec![("attn1", self.attn1.forward(&h, &h)?)]))?;
        let h = self.norm2.forward(&x)?;
        self.watch(&[("norm2", &h)], || Ok(vec![("attn2", self.attn2.forward(&h, condition)?)]))?;
        let x = self.attn2.added_to(&x, &h, condition)?;
        let h = self.norm3.forward(&x)?;
        let gated = self.gate(&h)?;
        self.watch(&[("norm3", &h)], || Ok(vec![("ff", self.ff_out.forward(&gated)?)]))?;
        let y = self.ff_out.added_to(&x, &gated)?;
        probe::see(&self.path, &y);
        Ok(y)
    }

    /// The first half of the wide layer, gated by gelu of the second.
    fn gate(&self, x: &Tensor) -> Result<Tensor> {
        let wide = self.ff_in.forward(x)?;
        let (axis, half) = (wide.shape().rank() - 1, wide.shape().last() / 2);
        geglu(&slice(&wide, axis, 0, half)?, &slice(&wide, axis, half, half)?)
    }

    /// Shows parts to a watcher; those that are otherwise fused with the addition are computed for it alone.
    fn watch(
        &self,
        seen: &[(&str, &Tensor)],
        fused: impl FnOnce() -> Result<Vec<(&'static str, Tensor)>>,
    ) -> Result<()> {
        if probe::is_watching() {
            seen.iter().for_each(|(part, x)| probe::see(&format!("{}.{part}", self.path), x));
            fused()?.iter().for_each(|(part, x)| probe::see(&format!("{}.{part}", self.path), x));
        }
        Ok(())
    }
}

impl CrossAttention {
    fn load(w: &Weights, c: usize, heads: usize, cross: usize) -> Result<CrossAttention> {
        Ok(CrossAttention {
            to_q: Linear::load_unbiased(&(w / "to_q"), c, c)?,
            to_k: Linear::load_unbiased(&(w / "to_k"), cross, c)?,
            to_v: Linear::load_unbiased(&(w / "to_v"), cross, c)?,
            to_out: Linear::load(&(w / "to_out" / 0), c, c)?,
            heads,
        })
    }

    fn mix(&self, x: &Tensor, context: &Tensor) -> Result<Tensor> {
        let split = |p: &Linear, x: &Tensor| {
            let y = p.forward(x)?;
            let [b, t, c] = y.dims("cross attention", "B T C")?;
            y.reshape([b, t, self.heads, c / self.heads])
        };
        let (q, k, v) = (split(&self.to_q, x)?, split(&self.to_k, context)?, split(&self.to_v, context)?);
        attention(&q, &k, &v, Attention::default())?.reshape(x.shape())
    }

    fn forward(&self, x: &Tensor, context: &Tensor) -> Result<Tensor> {
        self.to_out.forward(&self.mix(x, context)?)
    }

    fn added_to(&self, residual: &Tensor, x: &Tensor, context: &Tensor) -> Result<Tensor> {
        self.to_out.added_to(residual, &self.mix(x, context)?)
    }
}
