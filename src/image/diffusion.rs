//! Between pictures and the VAE's values in −1…1, as torchvision prepares them for training and diffusers shows results.

use super::clip::shortest_edge;
use super::resize::{Window, resize_window};
use super::rgb::{FloatImage, RgbImage};
use crate::models::config::Resampling;
use crate::{Error, Result};

/// Values for the VAE, `[Y, X, 3]` in −1…1: the short side scaled to `resolution` (bilinear), the centre cropped.
pub fn diffusion_pixels(image: &RgbImage, resolution: usize) -> Result<FloatImage> {
    let cropped = diffusion_resize_and_crop(image, resolution)?;
    let values = cropped.pixels.iter().map(|&byte| f32::from(byte) / 255.0 * 2.0 - 1.0).collect();
    FloatImage::new(cropped.width, cropped.height, values)
}

/// The 8-bit half of [`diffusion_pixels`].
pub fn diffusion_resize_and_crop(image: &RgbImage, resolution: usize) -> Result<RgbImage> {
    image.check("diffusion preprocessing")?;
    if resolution == 0 {
        return Err(Error::Input("the resolution of training images is 0".into()));
    }
    let [height, width] = shortest_edge(image, resolution);
    let (top, left) = (half_to_even(height - resolution), half_to_even(width - resolution));
    let window = Window { left, top, width: resolution, height: resolution };
    resize_window(image, width, height, window, Resampling::Bilinear)
}

/// The picture scaled so that it covers `width` × `height`, the centre cropped. One of this size stays as it is.
pub fn cover(image: &RgbImage, width: usize, height: usize) -> Result<RgbImage> {
    image.check("cover")?;
    if (image.width, image.height) == (width, height) {
        return Ok(image.clone());
    }
    let scale = (width as f64 / image.width as f64).max(height as f64 / image.height as f64);
    let scaled = |side: usize, least: usize| ((side as f64 * scale).round() as usize).max(least);
    let (wide, high) = (scaled(image.width, width), scaled(image.height, height));
    let window = Window { left: (wide - width) / 2, top: (high - height) / 2, width, height };
    resize_window(image, wide, high, window, Resampling::Lanczos)
}

/// Half of a number; a half is rounded to the even neighbour, as Python's `round` does.
fn half_to_even(n: usize) -> usize {
    n / 2 + usize::from(n % 4 == 3)
}

/// The picture of the VAE's output: `(x/2 + 0.5)` clamped to 0…1, times 255, halves rounded to even as numpy does. A
/// value that is no number becomes 0.
pub fn to_rgb(image: &FloatImage) -> Result<RgbImage> {
    let byte = |&x: &f32| ((x / 2.0 + 0.5).clamp(0.0, 1.0) * 255.0).round_ties_even() as u8;
    RgbImage::new(image.width, image.height, image.values.iter().map(byte).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_go_to_the_even_neighbour() {
        let python: Vec<usize> = (0..10).map(|n| (n as f64 / 2.0).round_ties_even() as usize).collect();
        assert_eq!((0..10).map(half_to_even).collect::<Vec<_>>(), python);
    }

    #[test]
    fn values_come_back_as_the_bytes_they_were() {
        let bytes: Vec<u8> = (0..=254).collect();
        let image = RgbImage::new(17, 5, bytes).unwrap();
        let values: Vec<f32> = image.pixels.iter().map(|&b| f32::from(b) / 255.0 * 2.0 - 1.0).collect();
        assert_eq!(to_rgb(&FloatImage::new(17, 5, values).unwrap()).unwrap(), image);
        let odd = FloatImage::new(1, 1, vec![f32::NAN, -7.0, f32::INFINITY]).unwrap();
        assert_eq!(to_rgb(&odd).unwrap().pixels, [0, 0, 255]);
    }

    #[test]
    fn covering_crops_the_longer_side() {
        let image = RgbImage::new(3, 1, vec![0, 0, 0, 90, 90, 90, 0, 0, 0]).unwrap();
        assert_eq!(cover(&image, 1, 1).unwrap().pixels, [90; 3]);
        assert_eq!(cover(&image, 3, 1).unwrap(), image);
        let wide = cover(&image, 8, 8).unwrap();
        assert_eq!((wide.width, wide.height), (8, 8));
    }

    #[test]
    fn a_resolution_of_zero_is_an_error() {
        let image = RgbImage::new(1, 1, vec![0; 3]).unwrap();
        assert!(diffusion_pixels(&image, 0).is_err());
    }
}
