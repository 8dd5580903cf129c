//! Two small blocks of the model in plain op calls, with seeded weights: what tests and benches of the engine run.
#![allow(dead_code)]

use dreamllm::gpu::Gpu;
use dreamllm::ops::attention::{Attention, attention};
use dreamllm::ops::conv2d::{Conv, conv2d};
use dreamllm::ops::epilogue::Epilogue;
use dreamllm::ops::matmul::linear;
use dreamllm::ops::norm::{group_norm, rms_norm};
use dreamllm::ops::pointwise::{silu, swiglu};
use dreamllm::ops::rope::{rope, rope_tables};
use dreamllm::{Result, Tensor};

/// Seeded values in [-scale, scale].
pub fn seeded(gpu: &Gpu, seed: u32, scale: f32, shape: &[usize]) -> Result<Tensor> {
    let mut state = seed.wrapping_mul(2_654_435_761) | 1;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        ((state >> 8) as f32 / (1 << 23) as f32 - 1.0) * scale
    };
    Tensor::from_f32(gpu, &(0..shape.iter().product()).map(|_| next()).collect::<Vec<_>>(), shape)
}

fn plain(x: &Tensor, w: &Tensor) -> Result<Tensor> {
    linear(x, w, Epilogue::default())
}

/// A layer of the decoder: x + attention(rms_norm(x)), then x + down(swiglu(gate(n), up(n))) with n = rms_norm(x).
#[derive(Clone)]
pub struct TransformerBlock {
    /// norm, q, k, v, out, norm, gate, up, down
    pub weights: Vec<Tensor>,
    cos: Tensor,
    sin: Tensor,
    positions: Tensor,
    heads: [usize; 3],
}

impl TransformerBlock {
    /// For `b` rows of `t` tokens, of width `heads · d`, with half as many key heads, and a hidden width of twice that.
    pub fn new(gpu: &Gpu, [b, t]: [usize; 2], [heads, d]: [usize; 2]) -> Result<Self> {
        let c = heads * d;
        let shapes: [&[usize]; 9] =
            [&[c], &[c, c], &[c / 2, c], &[c / 2, c], &[c, c], &[c], &[2 * c, c], &[2 * c, c], &[c, 2 * c]];
        let scale = (3.0 / c as f32).sqrt();
        let weights = shapes.iter().enumerate().map(|(i, shape)| seeded(gpu, 7 + i as u32, scale, shape));
        let (cos, sin) = rope_tables(gpu, d, t, 10_000.0, 1.0)?;
        let positions: Vec<u32> = (0..b * t).map(|i| (i % t) as u32).collect();
        let positions = Tensor::from_u32(gpu, &positions, [b, t])?;
        Ok(TransformerBlock {
            weights: weights.collect::<Result<_>>()?,
            cos,
            sin,
            positions,
            heads: [heads, heads / 2, d],
        })
    }

    /// The same block with weights that have gradients.
    pub fn trained(mut self) -> Self {
        self.weights = self.weights.iter().map(Tensor::variable).collect();
        self
    }

    /// x `[B, T, C]` → the same shape
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let [norm1, q, k, v, out, norm2, gate, up, down] = &self.weights[..] else { unreachable!() };
        let [b, t, c] = x.dims("block x", "B T C")?;
        let [heads, kv_heads, d] = self.heads;
        let n = rms_norm(x, norm1, 1e-5)?;
        let turned = |x: Tensor| rope(&x, &self.cos, &self.sin, &self.positions);
        let q = turned(plain(&n, q)?.reshape([b, t, heads, d])?)?;
        let k = turned(plain(&n, k)?.reshape([b, t, kv_heads, d])?)?;
        let v = plain(&n, v)?.reshape([b, t, kv_heads, d])?;
        let mixed = attention(&q, &k, &v, Attention { causal: Some(0), ..Default::default() })?.reshape([b, t, c])?;
        let x = linear(&mixed, out, Epilogue { residual: Some(x), ..Default::default() })?;
        let n = rms_norm(&x, norm2, 1e-5)?;
        let hidden = swiglu(&plain(&n, gate)?, &plain(&n, up)?)?;
        linear(&hidden, down, Epilogue { residual: Some(&x), ..Default::default() })
    }
}

/// A residual block of the UNet: conv(silu(norm(conv(silu(norm(x))) + time))) + shortcut(x).
#[derive(Clone)]
pub struct ResBlock {
    /// Gain and bias of the norm, conv, its bias; the time's projection; the same four again; the shortcut.
    pub weights: Vec<Tensor>,
    groups: usize,
}

impl ResBlock {
    /// From `c` to `n` channels with a time embedding of width `e`.
    pub fn new(gpu: &Gpu, [c, n, e]: [usize; 3], groups: usize) -> Result<Self> {
        let shapes: [&[usize]; 10] =
            [&[c], &[c], &[n, 3, 3, c], &[n], &[n, e], &[n], &[n], &[n, 3, 3, n], &[n], &[n, 1, 1, c]];
        let scale = (1.0 / (3 * n) as f32).sqrt();
        let weights = shapes.iter().enumerate().map(|(i, shape)| seeded(gpu, 70 + i as u32, scale, shape));
        Ok(ResBlock { weights: weights.collect::<Result<_>>()?, groups })
    }

    /// The same block with weights that have gradients.
    pub fn trained(mut self) -> Self {
        self.weights = self.weights.iter().map(Tensor::variable).collect();
        self
    }

    /// x `[B, Y, X, C]`, time `[B, E]` → `[B, Y, X, N]`
    pub fn forward(&self, x: &Tensor, time: &Tensor) -> Result<Tensor> {
        let [gain1, bias1, conv1, add1, project, gain2, bias2, conv2, add2, shortcut] = &self.weights[..] else {
            unreachable!()
        };
        let same = Conv::new(1, 1);
        let biased = |bias| Epilogue { bias: Some(bias), ..Default::default() };
        let h = silu(&group_norm(x, self.groups, gain1, bias1, 1e-5, None)?)?;
        let h = conv2d(&h, conv1, same, biased(add1))?;
        let shift = plain(&silu(time)?, project)?;
        let [b, n] = shift.dims("block time", "B N")?;
        let h = h.add(&shift.reshape([b, 1, 1, n])?)?;
        let h = silu(&group_norm(&h, self.groups, gain2, bias2, 1e-5, None)?)?;
        let around = conv2d(x, shortcut, Conv::new(1, 0), Epilogue::default())?;
        conv2d(&h, conv2, same, Epilogue { residual: Some(&around), ..biased(add2) })
    }
}
