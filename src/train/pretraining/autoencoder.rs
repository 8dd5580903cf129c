//! What an autoencoder learns: to give back its picture from a latent that is nearly a standard normal one.
//!
//! ```text
//! loss = mean w · ((x − x̂)² + a · |x − x̂|) + b · mean ½ (μ² + σ² − 1 − ln σ²)
//! ```
//!
//! x̂ is decoded from a sample of the posterior (Kingma and Welling 2013; Rombach et al. 2022, section 3.1, without their
//! perceptual and adversarial terms). |d| is √(d² + 10⁻⁶), which has a derivative everywhere. The weights w say where a
//! picture must be sharp, see [`edge_weights`].

use crate::Result;
use crate::image::RgbImage;
use crate::models::vae::Vae;
use crate::ops::pointwise::{gaussian_divergence, weighted_pixel_error};
use crate::tensor::Tensor;

/// Factors of the terms.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AutoencoderObjective {
    /// a: of the absolute error.
    pub absolute: f32,
    /// b: of the divergence from a standard normal distribution.
    pub divergence: f32,
}

/// The parts of the loss, `[1]` each.
pub struct AutoencoderLosses {
    /// What is minimised.
    pub sum: Tensor,
    /// Weighted error of the pixels.
    pub pixels: Tensor,
    /// Mean divergence of an element of the latent.
    pub divergence: Tensor,
}

impl AutoencoderObjective {
    /// Pixels `[B, Y, X, 3]` in [-1, 1], weights `[B, Y, X, 1]`, standard normal noise like the latents.
    pub fn losses(&self, vae: &Vae, pixels: &Tensor, weights: &Tensor, noise: &Tensor) -> Result<AutoencoderLosses> {
        let posterior = vae.encode(pixels)?;
        let decoded = vae.decode(&posterior.sample(noise)?)?;
        let errors = mean(&weighted_pixel_error(pixels, &decoded, weights, self.absolute)?)?;
        let divergence = mean(&gaussian_divergence(&posterior.mean, &posterior.logvar)?)?;
        let sum = errors.add(&divergence.scale(self.divergence)?)?;
        Ok(AutoencoderLosses { sum, pixels: errors.detach(), divergence: divergence.detach() })
    }
}

fn mean(x: &Tensor) -> Result<Tensor> {
    let axes: Vec<usize> = (0..x.shape().rank()).collect();
    x.mean(&axes)?.reshape([1])
}

/// `1 + strength · m` for every pixel, where m is the largest difference to the picture's first pixel, the background, among
/// the pixel's neighbours and itself, over the colours, as a part of 255. Plain pixels are most of a picture, and the easy
/// ones: without weights small shapes stay blurred long after the mean error is small.
pub fn edge_weights(picture: &RgbImage, strength: f32) -> Vec<f32> {
    let (width, height) = (picture.width, picture.height);
    let pixel = |y: usize, x: usize| &picture.pixels[3 * (y * width + x)..][..3];
    let difference = |y: usize, x: usize| {
        let apart = |(a, b): (&u8, &u8)| a.abs_diff(*b);
        pixel(y, x).iter().zip(pixel(0, 0)).map(apart).max().unwrap_or(0)
    };
    let near = |at: usize, end: usize| at.saturating_sub(1)..(at + 2).min(end);
    let weight = |at: usize| {
        let (rows, columns) = (near(at / width, height), near(at % width, width));
        let most = rows.flat_map(|y| columns.clone().map(move |x| (y, x))).map(|(y, x)| difference(y, x)).max();
        1.0 + strength * f32::from(most.unwrap_or(0)) / 255.0
    };
    (0..width * height).map(weight).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_surround_what_differs_from_the_background() {
        let mut picture = RgbImage { width: 4, height: 3, pixels: vec![10; 36] };
        picture.pixels[3 * 4 + 1] = 112;
        let heavy = 1.0 + 2.0 * 0.4;
        let weights = edge_weights(&picture, 2.0);
        assert_eq!(weights, [heavy, heavy, 1.0, 1.0].repeat(3));
    }
}
