//! The decoder: LLaMA with RMS norm, rotary positions, SwiGLU and grouped-query attention.
//!
//! Source: Touvron et al., "LLaMA: Open and Efficient Foundation Language Models", 2023. The model takes embeddings, not
//! token ids, because patches and dream queries stand among the words.

use super::config::DreamConfig;
use super::rotary::Rotary;
use crate::autograd::checkpoint;
use crate::nn::{Linear, RmsNorm, Weights, probe};
use crate::ops::attention::{Attention, attention};
use crate::ops::cache::append_rows;
use crate::ops::embedding::{embedding, gather_rows};
use crate::ops::layout::slice;
use crate::ops::pointwise::swiglu;
use crate::ops::rope::rope;
use crate::tensor::{DType, Tensor};
use crate::{Error, Result};
use std::sync::Arc;

/// The decoder with its token table and its head.
pub struct Llama {
    embed_tokens: Tensor,
    layers: Vec<Arc<Layer>>,
    norm: RmsNorm,
    lm_head: Linear,
    rotary: Rotary,
}

struct Layer {
    input_layernorm: RmsNorm,
    self_attn: SelfAttention,
    post_attention_layernorm: RmsNorm,
    gate_proj: Linear,
    up_proj: Linear,
    down_proj: Linear,
}

struct SelfAttention {
    q_proj: Linear,
    k_proj: Linear,
    v_proj: Linear,
    o_proj: Linear,
    heads: usize,
    key_value_heads: usize,
    head_dim: usize,
}

/// What the decoder must know about tokens besides their embeddings. The default: no padding, positions count up.
#[derive(Debug, Clone, Default)]
pub struct Tokens {
    /// Position of every new token, row by row; without it, the number of tokens before it.
    pub positions: Option<Vec<u32>>,
    /// Whether each new token is real, row by row; padding is never attended to.
    pub real: Option<Vec<bool>>,
}

/// Keys and values of the tokens seen so far, by layer. Grows in steps; rows are appended in place.
#[derive(Default)]
pub struct Cache {
    layers: Vec<(Tensor, Tensor)>,
    length: usize,
    capacity: usize,
    /// Whether each seen token is real, for every row of the batch.
    real: Vec<Vec<bool>>,
}

/// What all layers of one forward pass share.
struct Step {
    cos: Tensor,
    sin: Tensor,
    positions: Tensor,
    /// Tokens before the new ones.
    past: usize,
    mask: Option<Tensor>,
}

impl Llama {
    /// Loads `model.…` and `lm_head` from the root of the language weights.
    pub fn load(w: &Weights, config: &DreamConfig) -> Result<Llama> {
        let c = config.hidden_size;
        let model = w / "model";
        let table = (&model / "embed_tokens").matrix("weight", [config.vocab_size, c])?;
        let lm_head = match config.tie_word_embeddings {
            true => Linear { weight: table.clone(), bias: None, adapter: None },
            false => Linear::load_unbiased(&(w / "lm_head"), c, config.vocab_size)?,
        };
        let layers = &model / "layers";
        Ok(Llama {
            embed_tokens: table,
            layers: (0..config.num_hidden_layers)
                .map(|i| Layer::load(&(&layers / i), config).map(Arc::new))
                .collect::<Result<_>>()?,
            norm: RmsNorm::load(&(&model / "norm"), c, config.rms_norm_eps)?,
            lm_head,
            rotary: Rotary::new(config),
        })
    }

    /// Embeddings of token ids: U32 `[B, T]` → `[B, T, C]`.
    pub fn embed(&self, ids: &Tensor) -> Result<Tensor> {
        embedding(&self.embed_tokens, ids)
    }

    /// Next-token scores: `[.., C]` → `[.., V]`.
    pub fn logits(&self, hidden: &Tensor) -> Result<Tensor> {
        self.lm_head.forward(hidden)
    }

    /// Hidden states after the final norm, `[B, T, C]`, of embeddings `[B, T, C]` that follow what is in the cache. After an error,
    /// such as of memory that could not be had, the cache holds what it held before.
    pub fn forward(&self, embeds: &Tensor, tokens: &Tokens, mut cache: Option<&mut Cache>) -> Result<Tensor> {
        let past = cache.as_deref().map_or(0, Cache::len);
        let hidden = self.hidden(embeds, tokens, cache.as_deref_mut());
        if let (Err(_), Some(cache)) = (&hidden, cache) {
            cache.truncate(past);
        }
        hidden
    }

    fn hidden(&self, embeds: &Tensor, tokens: &Tokens, mut cache: Option<&mut Cache>) -> Result<Tensor> {
        let step = self.step(embeds, tokens, cache.as_deref_mut())?;
        let mut x = embeds.clone();
        probe::see("hidden_states.0", &x);
        for (i, layer) in self.layers.iter().enumerate() {
            let stored = cache.as_deref().map(|c| (&c.layers[i], c.length));
            x = layer.forward(&x, &step, stored)?;
            if i + 1 < self.layers.len() {
                probe::see(&format!("hidden_states.{}", i + 1), &x);
            }
        }
        let x = self.norm.forward(&x)?;
        probe::see(&format!("hidden_states.{}", self.layers.len()), &x);
        Ok(x)
    }

    /// The same without a cache, in less memory while training: of every layer only its input is kept, and the layer is
    /// computed again on the way back.
    pub fn forward_checkpointed(&self, embeds: &Tensor, tokens: &Tokens) -> Result<Tensor> {
        let step = Arc::new(self.step(embeds, tokens, None)?);
        let layer = |x: Tensor, layer: &Arc<Layer>| {
            let (layer, step) = (layer.clone(), step.clone());
            checkpoint(&[&x], move |x| layer.forward(&x[0], &step, None))
        };
        self.norm.forward(&self.layers.iter().try_fold(embeds.clone(), layer)?)
    }

    fn step(&self, embeds: &Tensor, tokens: &Tokens, cache: Option<&mut Cache>) -> Result<Step> {
        let [b, t, _] = embeds.dims("llama embeddings", "B T C")?;
        let wrong = |what: &str, n: usize| Err(Error::Input(format!("llama: {n} {what} for {b} x {t} tokens")));
        if let Some(n) = tokens.positions.as_ref().map(Vec::len).filter(|n| *n != b * t) {
            return wrong("positions", n);
        }
        if let Some(n) = tokens.real.as_ref().map(Vec::len).filter(|n| *n != b * t) {
            return wrong("padding flags", n);
        }
        let past = cache.as_ref().map_or(0, |c| c.length);
        let count = |i: usize| (past + i % t) as u32;
        let positions = tokens.positions.clone().unwrap_or_else(|| (0..b * t).map(count).collect());
        let longest = positions.iter().map(|p| *p as usize + 1).max().unwrap_or(0).max(past + t);
        let gpu = embeds.gpu();
        let (cos, sin) = self.rotary.tables(gpu, longest)?;
        let mask = match cache {
            Some(cache) => {
                let head = &self.layers.first().map(|l| [l.self_attn.key_value_heads, l.self_attn.head_dim]);
                cache.extend(embeds, head.unwrap_or([1, 1]), self.layers.len(), tokens.real.as_deref())?;
                cache.mask(embeds)?
            }
            None => tokens.real.as_deref().map(|real| mask_of(embeds, real, t)).transpose()?,
        };
        Ok(Step { cos, sin, positions: Tensor::from_u32(gpu, &positions, [b, t])?, past, mask })
    }
}

fn mask_of(embeds: &Tensor, real: &[bool], width: usize) -> Result<Tensor> {
    let visible: Vec<u32> = real.iter().map(|r| u32::from(*r)).collect();
    Tensor::from_u32(embeds.gpu(), &visible, [real.len() / width.max(1), width])
}

impl Cache {
    /// Tokens in the cache.
    pub fn len(&self) -> usize {
        self.length
    }

    /// Whether nothing was seen yet.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Forgets everything after the first `length` tokens.
    pub fn truncate(&mut self, length: usize) {
        self.length = self.length.min(length);
        self.real.iter_mut().for_each(|row| row.truncate(length));
    }

    /// Sequence `b` becomes what sequence `rows[b]` was. If their number stays, only the tokens from `from` on are taken over:
    /// those before must be the same in both.
    pub fn reorder(&mut self, rows: &[u32], from: usize) -> Result<()> {
        if let Some(row) = rows.iter().find(|row| **row as usize >= self.real.len()) {
            return Err(Error::Input(format!("the cache holds {} sequences, none of number {row}", self.real.len())));
        }
        self.real = rows.iter().map(|&row| self.real[row as usize].clone()).collect();
        for (keys, values) in &mut self.layers {
            for stored in [keys, values] {
                *stored = reordered(stored, rows, from.min(self.length), self.length)?;
            }
        }
        Ok(())
    }

    /// Keys and values of a layer, `[B, S, G, D]` with the first [`Cache::len`] rows of S in use.
    pub fn layer(&self, i: usize) -> Option<&(Tensor, Tensor)> {
        self.layers.get(i)
    }

    /// Makes room for the new tokens and counts them in.
    fn extend(&mut self, embeds: &Tensor, [g, d]: [usize; 2], layers: usize, real: Option<&[bool]>) -> Result<()> {
        let [b, t, _] = embeds.dims("cache embeddings", "B T C")?;
        if self.real.is_empty() {
            self.real = vec![Vec::new(); b];
        }
        if self.real.len() != b {
            return Err(Error::Input(format!("the cache holds {} sequences, not {b}", self.real.len())));
        }
        if self.layers.is_empty() || self.length + t > self.capacity {
            self.grow(embeds, [b, g, d], layers, self.length + t)?;
        }
        for (row, seen) in self.real.iter_mut().enumerate() {
            match real {
                Some(real) => seen.extend(&real[row * t..(row + 1) * t]),
                None => seen.resize(seen.len() + t, true),
            }
        }
        self.length += t;
        Ok(())
    }

    fn grow(&mut self, embeds: &Tensor, [b, g, d]: [usize; 3], layers: usize, needed: usize) -> Result<()> {
        // Steps of 256 tokens, or half as much again: few copies, little waste.
        let capacity = needed.max(self.capacity + self.capacity / 2).next_multiple_of(256);
        let wider = |old: Option<&Tensor>| -> Result<Tensor> {
            let new = Tensor::empty(embeds.gpu(), [b, capacity, g, d], DType::F32)?;
            if let Some(old) = old.filter(|_| self.length > 0) {
                append_rows(&new, old, 0)?;
            }
            Ok(new)
        };
        let old = |i: usize| self.layers.get(i);
        let grown = (0..layers).map(|i| Ok((wider(old(i).map(|l| &l.0))?, wider(old(i).map(|l| &l.1))?)));
        self.layers = grown.collect::<Result<_>>()?;
        self.capacity = capacity;
        Ok(())
    }

    /// Which keys may be seen, `[B, S]`; None if all.
    fn mask(&self, embeds: &Tensor) -> Result<Option<Tensor>> {
        if self.real.iter().flatten().all(|real| *real) {
            return Ok(None);
        }
        let row = |row: &Vec<bool>| {
            row.iter().copied().chain(std::iter::repeat(false)).take(self.capacity).collect::<Vec<_>>()
        };
        let all: Vec<bool> = self.real.iter().flat_map(row).collect();
        mask_of(embeds, &all, self.capacity).map(Some)
    }
}

/// Tokens `from .. length` of `[B, S, G, D]` with the sequences `rows`, in place where their number stays.
fn reordered(stored: &Tensor, rows: &[u32], from: usize, length: usize) -> Result<Tensor> {
    let [b, s, g, d] = stored.dims("cache", "B S G D")?;
    let (start, count) = if rows.len() == b { (from, length - from) } else { (0, length) };
    if count == 0 || (rows.len() == b && rows.iter().enumerate().all(|(i, &row)| i == row as usize)) {
        return Ok(stored.clone());
    }
    let tokens = slice(stored, 1, start, count)?.reshape([b, count * g * d])?;
    let taken = gather_rows(&tokens, &Tensor::from_u32(stored.gpu(), rows, [rows.len()])?)?;
    let target = match rows.len() == b {
        true => stored.clone(),
        false => Tensor::empty(stored.gpu(), [rows.len(), s, g, d], DType::F32)?,
    };
    append_rows(&target, &taken.reshape([rows.len(), count, g, d])?, start)?;
    Ok(target)
}

impl Layer {
    fn load(w: &Weights, config: &DreamConfig) -> Result<Layer> {
        let (c, wide, eps) = (config.hidden_size, config.intermediate_size, config.rms_norm_eps);
        let mlp = w / "mlp";
        Ok(Layer {
            input_layernorm: RmsNorm::load(&(w / "input_layernorm"), c, eps)?,
            self_attn: SelfAttention::load(&(w / "self_attn"), config)?,
            post_attention_layernorm: RmsNorm::load(&(w / "post_attention_layernorm"), c, eps)?,
            gate_proj: Linear::load_unbiased(&(&mlp / "gate_proj"), c, wide)?,
            up_proj: Linear::load_unbiased(&(&mlp / "up_proj"), c, wide)?,
            down_proj: Linear::load_unbiased(&(&mlp / "down_proj"), wide, c)?,
        })
    }

    fn forward(&self, x: &Tensor, step: &Step, cache: Option<(&(Tensor, Tensor), usize)>) -> Result<Tensor> {
        let x = self.self_attn.added_to(x, &self.input_layernorm.forward(x)?, step, cache)?;
        let h = self.post_attention_layernorm.forward(&x)?;
        let gated = swiglu(&self.gate_proj.forward(&h)?, &self.up_proj.forward(&h)?)?;
        self.down_proj.added_to(&x, &gated)
    }
}

impl SelfAttention {
    fn load(w: &Weights, config: &DreamConfig) -> Result<SelfAttention> {
        let (c, d) = (config.hidden_size, config.head_dim());
        let (heads, key_value_heads) = (config.num_attention_heads, config.key_value_heads());
        let project = |name: &str, c, n| match config.attention_bias {
            true => Linear::load(&(w / name), c, n),
            false => Linear::load_unbiased(&(w / name), c, n),
        };
        Ok(SelfAttention {
            q_proj: project("q_proj", c, heads * d)?,
            k_proj: project("k_proj", c, key_value_heads * d)?,
            v_proj: project("v_proj", c, key_value_heads * d)?,
            o_proj: project("o_proj", heads * d, c)?,
            heads,
            key_value_heads,
            head_dim: d,
        })
    }

    fn added_to(
        &self,
        residual: &Tensor,
        x: &Tensor,
        step: &Step,
        cache: Option<(&(Tensor, Tensor), usize)>,
    ) -> Result<Tensor> {
        let [b, t, _] = x.dims("llama attention x", "B T C")?;
        let split = |p: &Linear, heads| p.forward(x)?.reshape([b, t, heads, self.head_dim]);
        let turn = |x: &Tensor| rope(x, &step.cos, &step.sin, &step.positions);
        let q = turn(&split(&self.q_proj, self.heads)?)?;
        let k = turn(&split(&self.k_proj, self.key_value_heads)?)?;
        let v = split(&self.v_proj, self.key_value_heads)?;
        let mut options = Attention { causal: Some(step.past), key_mask: step.mask.as_ref(), ..Default::default() };
        let mixed = match cache {
            Some(((keys, values), length)) => {
                append_rows(keys, &k, step.past)?;
                append_rows(values, &v, step.past)?;
                options.keys = Some(length);
                attention(&q, keys, values, options)?
            }
            None => attention(&q, &k, &v, options)?,
        };
        self.o_proj.added_to(residual, &mixed.reshape([b, t, self.heads * self.head_dim])?)
    }
}
