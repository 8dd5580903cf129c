//! Sampling from a picture instead of from noise alone: image to image (Meng et al. 2021, SDEdit, arXiv 2108.01073), and
//! inpainting with a mask (Lugmayr et al. 2022, RePaint, arXiv 2201.09865, without its resampling):
//!
//! x at step s  =  x_0 of the picture with the noise of step s,   s = steps · (1 − strength)
//! after each step, where the mask is black:   x  =  x_0 of the picture with the noise of the next step

use super::Sampler;
use super::noise::Noise;
use crate::image::{RgbImage, cover};
use crate::models::dreamllm::Diffusion;
use crate::tensor::Tensor;
use crate::{Error, Result};

/// The picture to start from.
#[derive(Debug, Clone, PartialEq)]
pub struct Source {
    /// The picture; what does not fit the drawing's sides is cut off.
    pub picture: RgbImage,
    /// White where it is drawn anew, black where it stays; without one it is drawn anew everywhere.
    pub mask: Option<RgbImage>,
    /// How much of it is replaced by noise, above 0, up to 1.
    pub strength: f64,
}

/// A source at the size of the drawing.
pub(super) struct Prepared {
    latents: Tensor,
    noise: Tensor,
    /// 1 where the picture is drawn anew, `[1, Y, X, 1]`.
    mask: Option<Tensor>,
    /// First step.
    pub first: usize,
}

impl Source {
    /// An error if picture, mask and strength do not belong together.
    pub fn check(&self) -> Result<()> {
        if !(self.strength > 0.0 && self.strength <= 1.0) {
            return Err(Error::Input(format!("the strength must be above 0 and at most 1, not {}", self.strength)));
        }
        let size = |image: &RgbImage| format!("{} x {}", image.width, image.height);
        match &self.mask {
            Some(mask) if (mask.width, mask.height) != (self.picture.width, self.picture.height) => {
                let (mask, picture) = (size(mask), size(&self.picture));
                Err(Error::Input(format!("the mask is {mask} pixels, but the picture is {picture}")))
            }
            _ => Ok(()),
        }
    }

    /// The sides of a drawing of this picture: its short side is `resolution`, both are multiples of `cell`.
    pub fn size(&self, resolution: usize, cell: usize) -> [usize; 2] {
        let (w, h) = (self.picture.width.max(1), self.picture.height.max(1));
        let side = |side: usize| ((side * resolution) as f64 / (w.min(h) * cell) as f64).round() as usize * cell;
        [side(w).max(cell), side(h).max(cell)]
    }

    /// Latents, noise and mask for `rows` drawings. Two draws: the latents', then the noise's.
    pub(super) fn prepare(
        &self,
        diffusion: &Diffusion,
        [rows, y, x, c]: [usize; 4],
        sampler: &Sampler,
        steps: usize,
        noise: &mut dyn Noise,
        gpu: &crate::gpu::Gpu,
    ) -> Result<Prepared> {
        self.check()?;
        let taken = (steps as f64 * self.strength) as usize;
        if taken == 0 {
            let why = format!("a strength of {} leaves none of {steps} steps; take more of either", self.strength);
            return Err(Error::Input(why));
        }
        let pixels = [y, x].map(|side| side * diffusion.downscale);
        let values = unit_pixels(&cover(&self.picture, pixels[1], pixels[0])?);
        let encoded = diffusion.vae.encode(&Tensor::from_f32(gpu, &values, [1, pixels[0], pixels[1], 3])?)?;
        let fresh = noise.draw(gpu, [rows, y, x, c])?;
        let latents = encoded.sample(&fresh)?.scale(diffusion.scaling_factor)?;
        let mask = self.mask.as_ref().map(|mask| {
            let shares = mean_by_cell(&cover(mask, pixels[1], pixels[0])?, diffusion.downscale);
            // A cell that is drawn anew in part is drawn anew.
            let anew: Vec<f32> = shares.iter().map(|share| f32::from(*share > 0.0)).collect();
            Tensor::from_f32(gpu, &anew, [1, y, x, 1])
        });
        let first = sampler.timesteps().len().min(steps.saturating_sub(taken));
        Ok(Prepared { latents, noise: noise.draw(gpu, [rows, y, x, c])?, mask: mask.transpose()?, first })
    }

    /// Puts the picture back where the mask is black; where it is grey, a mixture.
    pub(super) fn restore(&self, drawn: &RgbImage) -> Result<RgbImage> {
        let Some(mask) = &self.mask else { return Ok(drawn.clone()) };
        let mask = cover(mask, drawn.width, drawn.height)?;
        let picture = cover(&self.picture, drawn.width, drawn.height)?;
        let mix = |((&new, &old), &share): ((&u8, &u8), &u8)| {
            let (new, old, share) = (u32::from(new), u32::from(old), u32::from(share));
            ((new * share + old * (255 - share) + 127) / 255) as u8
        };
        let pixels = drawn.pixels.iter().zip(&picture.pixels).zip(&mask.pixels).map(mix).collect();
        RgbImage::new(drawn.width, drawn.height, pixels)
    }
}

impl Prepared {
    /// What sampling starts from.
    pub fn start(&self, sampler: &Sampler) -> Result<Tensor> {
        sampler.add_noise(self.first, &self.latents, &self.noise)
    }

    /// The latents before step `next`, with those of the picture where it stays.
    pub fn keep(&self, sampler: &Sampler, next: usize, x: &Tensor) -> Result<Tensor> {
        let Some(mask) = &self.mask else { return Ok(x.clone()) };
        let known = match next < sampler.timesteps().len() {
            true => sampler.add_noise(next, &self.latents, &self.noise)?,
            false => self.latents.clone(),
        };
        known.add(&x.sub(&known)?.mul(mask)?)
    }
}

/// Bytes to -1…1.
fn unit_pixels(image: &RgbImage) -> Vec<f32> {
    image.pixels.iter().map(|&byte| f32::from(byte) / 127.5 - 1.0).collect()
}

/// Mean brightness of every square of `side` pixels, from 0 to 1.
fn mean_by_cell(image: &RgbImage, side: usize) -> Vec<f32> {
    let columns = image.width / side;
    let mut sums = vec![0u64; columns * (image.height / side)];
    let (pixels, _) = image.pixels.as_chunks::<3>();
    for (i, pixel) in pixels.iter().enumerate() {
        let cell = i / image.width / side * columns + i % image.width / side;
        sums[cell] += pixel.iter().map(|&byte| u64::from(byte)).sum::<u64>();
    }
    sums.iter().map(|&sum| sum as f32 / (side * side * 3 * 255) as f32).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(strength: f64) -> Source {
        let picture = RgbImage::new(2, 1, vec![10, 20, 30, 40, 50, 60]).unwrap();
        let mask = RgbImage::new(2, 1, vec![0, 0, 0, 255, 255, 255]).unwrap();
        Source { picture, mask: Some(mask), strength }
    }

    #[test]
    fn black_stays_and_white_is_new() {
        let drawn = RgbImage::new(2, 1, vec![1, 2, 3, 4, 5, 6]).unwrap();
        assert_eq!(source(1.0).restore(&drawn).unwrap().pixels, [10, 20, 30, 4, 5, 6]);
    }

    #[test]
    fn strengths_and_masks_that_make_no_sense_are_refused() {
        for strength in [0.0, -1.0, 1.1, f64::NAN] {
            assert!(source(strength).check().is_err(), "{strength}");
        }
        let mask = Some(RgbImage::new(1, 2, vec![0; 6]).unwrap());
        assert!(Source { mask, ..source(0.5) }.check().unwrap_err().to_string().contains("1 x 2"));
    }

    #[test]
    fn a_drawing_keeps_the_proportions() {
        assert_eq!(source(1.0).size(512, 8), [1024, 512]);
        let tall = Source { picture: RgbImage::new(97, 61, vec![0; 97 * 61 * 3]).unwrap(), mask: None, strength: 1.0 };
        assert_eq!(tall.size(32, 8), [48, 32]);
    }

    #[test]
    fn cells_are_means() {
        let image = RgbImage::new(2, 2, [[0u8; 3], [255; 3], [0; 3], [255; 3]].concat()).unwrap();
        assert_eq!(mean_by_cell(&image, 2), [0.5]);
        assert_eq!(mean_by_cell(&image, 1), [0.0, 1.0, 0.0, 1.0]);
    }
}
