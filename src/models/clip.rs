//! The CLIP vision encoder: an image becomes one vector per patch.
//!
//! Source: Radford et al., "Learning Transferable Visual Models From Natural Language Supervision", 2021; sizes and
//! epsilons from the checkpoint's `config.json`. DreamLLM reads a hidden state before the last layer and drops the
//! class token, so the text tower is not needed.

use super::config::{ClipVisionConfig, VisionActivation};
use crate::nn::{Conv2d, LayerNorm, Linear, Weights, probe};
use crate::ops::attention::{Attention, attention};
use crate::ops::conv2d::Conv;
use crate::ops::epilogue::Activation;
use crate::ops::fill::zeros;
use crate::ops::layout::{concat, slice};
use crate::tensor::Tensor;
use crate::{Error, Result};

/// ViT with a class token, learned positions and pre-norm blocks.
pub struct ClipVision {
    class_embedding: Tensor,
    patch_embedding: Conv2d,
    position_embedding: Tensor,
    pre_layrnorm: LayerNorm,
    layers: Vec<Layer>,
    post_layernorm: LayerNorm,
    image_size: usize,
}

struct Layer {
    layer_norm1: LayerNorm,
    self_attn: SelfAttention,
    layer_norm2: LayerNorm,
    fc1: Linear,
    fc2: Linear,
    activation: Activation,
}

struct SelfAttention {
    q_proj: Linear,
    k_proj: Linear,
    v_proj: Linear,
    out_proj: Linear,
    heads: usize,
}

impl ClipVision {
    /// Loads from `w = …vision_model`.
    pub fn load(w: &Weights, config: &ClipVisionConfig) -> Result<ClipVision> {
        let (c, patch) = (config.hidden_size, config.patch_size);
        let e = w / "embeddings";
        let conv = Conv { stride: [patch, patch], padding: [[0, 0], [0, 0]] };
        let layers = w / "encoder" / "layers";
        Ok(ClipVision {
            class_embedding: e.vector("class_embedding", [c])?,
            patch_embedding: Conv2d::load_unbiased(&(&e / "patch_embedding"), config.num_channels, c, patch, conv)?,
            position_embedding: (&e / "position_embedding").vector("weight", [config.patches() + 1, c])?,
            pre_layrnorm: LayerNorm::load(&(w / "pre_layrnorm"), c, config.layer_norm_eps)?,
            layers: (0..config.num_hidden_layers)
                .map(|i| Layer::load(&(&layers / i), config))
                .collect::<Result<_>>()?,
            post_layernorm: LayerNorm::load(&(w / "post_layernorm"), c, config.layer_norm_eps)?,
            image_size: config.image_size,
        })
    }

    /// Pixels `[B, Y, X, 3]` → patch vectors `[B, P, C]` of hidden state `select`, without the class token.
    pub fn forward(&self, pixels: &Tensor, select: usize) -> Result<Tensor> {
        let x = self.hidden_state(pixels, select)?;
        let [_, tokens, _] = x.dims("clip hidden state", "B T C")?;
        slice(&x, 1, 1, tokens - 1)
    }

    /// Hidden state `select` with the class token in front, `[B, P + 1, C]`; 0 is the input of the first layer.
    pub fn hidden_state(&self, pixels: &Tensor, select: usize) -> Result<Tensor> {
        let embedded = self.embed(pixels)?;
        probe::see("embeddings", &embedded);
        let mut x = self.pre_layrnorm.forward(&embedded)?;
        probe::see("hidden_states.0", &x);
        for (i, layer) in self.layers.iter().enumerate().take(select) {
            x = layer.forward(&x)?;
            probe::see(&format!("hidden_states.{}", i + 1), &x);
        }
        Ok(x)
    }

    /// The whole image as one vector, `[B, C]`: the normalised class token after the last layer.
    pub fn pooled(&self, pixels: &Tensor) -> Result<Tensor> {
        let x = self.hidden_state(pixels, self.layers.len())?;
        let [b, _, c] = x.dims("clip hidden state", "B T C")?;
        self.post_layernorm.forward(&slice(&x, 1, 0, 1)?.reshape([b, c])?)
    }

    fn embed(&self, pixels: &Tensor) -> Result<Tensor> {
        let [b, y, x, _] = pixels.dims("clip pixels", "B Y X C")?;
        if [y, x] != [self.image_size; 2] {
            let want = format!("{0}x{0} pixels", self.image_size);
            return Err(Error::Shape { op: "clip".into(), operand: "pixels".into(), want, got: format!("{x}x{y}") });
        }
        let patches = self.patch_embedding.forward(pixels)?;
        let [_, rows, columns, c] = patches.dims("clip patches", "B Y X C")?;
        let class = zeros(pixels.gpu(), [b, 1, c])?.add(&self.class_embedding)?;
        concat(&[&class, &patches.reshape([b, rows * columns, c])?], 1)?.add(&self.position_embedding)
    }
}

impl Layer {
    fn load(w: &Weights, config: &ClipVisionConfig) -> Result<Layer> {
        let (c, eps) = (config.hidden_size, config.layer_norm_eps);
        let mlp = w / "mlp";
        Ok(Layer {
            layer_norm1: LayerNorm::load(&(w / "layer_norm1"), c, eps)?,
            self_attn: SelfAttention::load(&(w / "self_attn"), c, config.num_attention_heads)?,
            layer_norm2: LayerNorm::load(&(w / "layer_norm2"), c, eps)?,
            fc1: Linear::load(&(&mlp / "fc1"), c, config.intermediate_size)?,
            fc2: Linear::load(&(&mlp / "fc2"), config.intermediate_size, c)?,
            activation: match config.hidden_act {
                VisionActivation::QuickGelu => Activation::QuickGelu,
                VisionActivation::Gelu => Activation::Gelu,
            },
        })
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let x = self.self_attn.added_to(x, &self.layer_norm1.forward(x)?)?;
        let wide = self.fc1.activated(&self.layer_norm2.forward(&x)?, self.activation)?;
        self.fc2.added_to(&x, &wide)
    }
}

impl SelfAttention {
    fn load(w: &Weights, c: usize, heads: usize) -> Result<SelfAttention> {
        let project = |name| Linear::load(&(w / name), c, c);
        Ok(SelfAttention {
            q_proj: project("q_proj")?,
            k_proj: project("k_proj")?,
            v_proj: project("v_proj")?,
            out_proj: project("out_proj")?,
            heads,
        })
    }

    fn added_to(&self, residual: &Tensor, x: &Tensor) -> Result<Tensor> {
        let [b, t, c] = x.dims("clip attention x", "B T C")?;
        let split = |p: &Linear| p.forward(x)?.reshape([b, t, self.heads, c / self.heads]);
        let mixed =
            attention(&split(&self.q_proj)?, &split(&self.k_proj)?, &split(&self.v_proj)?, Attention::default())?;
        self.out_proj.added_to(residual, &mixed.reshape([b, t, c])?)
    }
}
