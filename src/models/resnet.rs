//! The residual block of UNet and VAE:
//!   h = conv1(silu(norm1(x))) + time_emb_proj(silu(t));   y = shortcut(x) + conv2(silu(norm2(h)))

use crate::Result;
use crate::nn::{Conv2d, GroupNorm, Linear, Weights, probe};
use crate::tensor::Tensor;

/// Two 3 × 3 convolutions around a shortcut, with the time added between them in the UNet.
pub struct ResnetBlock {
    path: String,
    norm1: GroupNorm,
    conv1: Conv2d,
    time_emb_proj: Option<Linear>,
    norm2: GroupNorm,
    conv2: Conv2d,
    /// A 1 × 1 convolution where the width changes.
    conv_shortcut: Option<Linear>,
}

impl ResnetBlock {
    /// From `c` to `n` channels; `time` is the width of the time embedding.
    pub fn load(w: &Weights, c: usize, n: usize, groups: usize, eps: f64, time: Option<usize>) -> Result<ResnetBlock> {
        let shortcut = || Linear::load_pointwise(&(w / "conv_shortcut"), c, n, true);
        Ok(ResnetBlock {
            path: w.path().to_string(),
            norm1: GroupNorm::load(&(w / "norm1"), c, groups, eps)?,
            conv1: Conv2d::load_3x3(&(w / "conv1"), c, n)?,
            time_emb_proj: time.map(|time| Linear::load(&(w / "time_emb_proj"), time, n)).transpose()?,
            norm2: GroupNorm::load(&(w / "norm2"), n, groups, eps)?,
            conv2: Conv2d::load_3x3(&(w / "conv2"), n, n)?,
            conv_shortcut: (c != n).then(shortcut).transpose()?,
        })
    }

    /// x `[B, Y, X, C]`, `time` = silu of the time embedding `[B, E]` → `[B, Y, X, N]`
    pub fn forward(&self, x: &Tensor, time: Option<&Tensor>) -> Result<Tensor> {
        let mut h = self.conv1.forward(&self.norm1.silu(x)?)?;
        self.see("conv1", &h);
        if let (Some(projection), Some(time)) = (&self.time_emb_proj, time) {
            let shift = projection.forward(time)?;
            self.see("time_emb_proj", &shift);
            let [b, n] = shift.dims("resnet time", "B C")?;
            h = h.add(&shift.reshape([b, 1, 1, n])?)?;
        }
        let h = self.norm2.silu(&h)?;
        if probe::is_watching() {
            self.see("conv2", &self.conv2.forward(&h)?);
        }
        let shortcut = self.conv_shortcut.as_ref().map_or(Ok(x.clone()), |conv| conv.forward(x))?;
        let y = self.conv2.added_to(&shortcut, &h)?;
        probe::see(&self.path, &y);
        Ok(y)
    }

    fn see(&self, part: &str, x: &Tensor) {
        if probe::is_watching() {
            probe::see(&format!("{}.{part}", self.path), x);
        }
    }
}
