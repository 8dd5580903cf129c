//! Latents of mean 0 and deviation 1 in every channel, which is what a diffusion model's noise schedule is made for. Stable
//! Diffusion has one factor for all channels; here the autoencoder's own 1 × 1 convolutions take it up channel by channel, so
//! its pictures stay as they were:
//!
//! ```text
//! μ' = (μ − m) / s      ln σ'² = ln σ² − 2 ln s      decoder(z) = decoder'(z')
//! ```

use crate::models::vae::Vae;
use crate::nn::Parameters;
use crate::tensor::Tensor;
use crate::weights::rename::DIFFUSION_IN_ALL;
use crate::weights::{StoredTensor, Values};
use crate::{Error, Result};

/// Means and deviations of the channels of latents `[N, Y, X, C]`.
pub(super) async fn moments(vae: &Vae, pixels: &Tensor) -> Result<Vec<[f32; 2]>> {
    let mean = vae.encode(pixels)?.mean;
    let channels = mean.shape().last();
    let values = mean.read_f32().await?;
    let of = |c: usize| {
        let channel = || values.iter().skip(c).step_by(channels).map(|&x| f64::from(x));
        let count = (values.len() / channels).max(1) as f64;
        let mean = channel().sum::<f64>() / count;
        let deviation = (channel().map(|x| (x - mean).powi(2)).sum::<f64>() / count).sqrt();
        [mean as f32, deviation.max(1e-6) as f32]
    };
    Ok((0..channels).map(of).collect())
}

/// A trained autoencoder whose latents are brought to mean 0 and deviation 1.
pub(super) struct Normalised<'a, V> {
    /// As it was trained.
    pub trained: V,
    /// Its weights.
    pub parameters: &'a Parameters,
    /// Of the channels of its latents.
    pub moments: Vec<[f32; 2]>,
}

impl<V: Values> Values for Normalised<'_, V> {
    fn has(&self, name: &str) -> bool {
        self.trained.has(name)
    }

    async fn values(&self, name: &str, old: StoredTensor<'_>) -> Result<Vec<f32>> {
        let values = self.trained.values(name, old).await?;
        let Some(name) = name.strip_prefix(DIFFUSION_IN_ALL).and_then(|name| name.strip_prefix("vae.")) else {
            return Ok(values);
        };
        if name != "post_quant_conv.bias" {
            return Ok(folded(name, &values, &self.moments).unwrap_or(values));
        }
        let weight = format!("{DIFFUSION_IN_ALL}vae.post_quant_conv.weight");
        let weight = self.parameters.get(&weight).ok_or(Error::MissingTensor(weight))?;
        let weight = weight.official(&weight.tensor).await?;
        Ok(bias_behind(&values, &weight, &self.moments))
    }
}

/// The bias of `post_quant_conv` with what its old matrix makes of the means.
fn bias_behind(bias: &[f32], weight: &[f32], moments: &[[f32; 2]]) -> Vec<f32> {
    let gain = |row: &[f32]| row.iter().zip(moments).map(|(w, [mean, _])| w * mean).sum::<f32>();
    bias.iter().zip(weight.chunks_exact(moments.len())).map(|(bias, row)| bias + gain(row)).collect()
}

/// New values of a weight that takes part and is no bias behind the latents.
fn folded(name: &str, old: &[f32], moments: &[[f32; 2]]) -> Option<Vec<f32>> {
    let channels = moments.len();
    let each = |f: &dyn Fn(usize, f32) -> f32| Some(old.iter().enumerate().map(|(i, &x)| f(i, x)).collect());
    match name {
        // Rows are outputs: first the means, then the logarithms of the variances.
        "quant_conv.weight" => each(&|i, x| match i / (2 * channels) {
            row if row < channels => x / moments[row][1],
            _ => x,
        }),
        "quant_conv.bias" => each(&|row, x| match row {
            _ if row < channels => (x - moments[row][0]) / moments[row][1],
            _ => x - 2.0 * moments[row - channels][1].ln(),
        }),
        "post_quant_conv.weight" => each(&|i, x| x * moments[i % channels][1]),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One channel with m = 3 and s = 2: the encoder gives (μ − 3) / 2 and ln σ² − 2 ln 2, the decoder takes 2 z' + 3.
    #[test]
    fn the_convolutions_take_up_mean_and_deviation() {
        let moments = [[3.0, 2.0]];
        let fold = |name, old: &[f32]| folded(name, old, &moments).unwrap();
        assert_eq!(fold("quant_conv.weight", &[4.0, 6.0, 4.0, 6.0]), [2.0, 3.0, 4.0, 6.0]);
        assert_eq!(fold("quant_conv.bias", &[5.0, 5.0]), [1.0, 5.0 - 2.0 * std::f32::consts::LN_2]);
        assert_eq!(fold("post_quant_conv.weight", &[7.0]), [14.0]);
        assert_eq!(bias_behind(&[1.0], &[7.0], &moments), [1.0 + 7.0 * 3.0]);
        assert_eq!(folded("encoder.conv_in.weight", &[1.0], &moments), None);
    }
}
