//! What CLIP is shown: resize, centre crop, scale to 0…1, subtract the mean, divide by the deviation. As transformers'
//! `CLIPImageProcessor` does it.

use super::resize::{Window, resize_window};
use super::rgb::{FloatImage, RgbImage};
use crate::Result;
use crate::models::config::{ClipPreprocessConfig, ResizeTarget};

/// Pixel values for the vision tower, `[Y, X, 3]`.
pub fn clip_pixels(image: &RgbImage, config: &ClipPreprocessConfig) -> Result<FloatImage> {
    let cropped = clip_resize_and_crop(image, config)?;
    let scale = if config.do_rescale { config.rescale_factor } else { 1.0 };
    let (pixels, _) = cropped.pixels.as_chunks::<3>();
    let value = |&byte: &u8, (&mean, &std): (&f64, &f64)| {
        // Scaled in f64 and rounded, then normalised in f32: numpy's types at each step.
        let value = (f64::from(byte) * scale) as f32;
        if config.do_normalize { (value - mean as f32) / std as f32 } else { value }
    };
    let colours = || config.image_mean.iter().zip(&config.image_std);
    let values = pixels.iter().flat_map(|pixel| pixel.iter().zip(colours()).map(|(byte, c)| value(byte, c))).collect();
    FloatImage::new(cropped.width, cropped.height, values)
}

/// The 8-bit half of [`clip_pixels`].
pub fn clip_resize_and_crop(image: &RgbImage, config: &ClipPreprocessConfig) -> Result<RgbImage> {
    image.check("CLIP preprocessing")?;
    let [height, width] = if config.do_resize { resized(image, config.size) } else { [image.height, image.width] };
    let [crop_height, crop_width] = if config.do_center_crop { config.crop_size } else { [height, width] };
    let (rows, columns) = (Crop::center(height, crop_height), Crop::center(width, crop_width));
    let window = Window { left: columns.from, top: rows.from, width: columns.len, height: rows.len };
    let part = resize_window(image, width, height, window, config.resample)?;
    if (part.width, part.height) == (crop_width, crop_height) {
        return Ok(part);
    }
    Ok(on_black(&part, [crop_height, crop_width], [rows.to, columns.to]))
}

/// Height and width to resize to. The long side is truncated.
fn resized(image: &RgbImage, target: ResizeTarget) -> [usize; 2] {
    match target {
        ResizeTarget::Exact(size) => size,
        ResizeTarget::ShortestEdge(edge) => shortest_edge(image, edge),
    }
}

/// Height and width of the picture scaled so that its short side is `edge`; the long side is `int(edge · long / short)`.
pub(super) fn shortest_edge(image: &RgbImage, edge: usize) -> [usize; 2] {
    let long = |long: usize, short: usize| (edge as u128 * long as u128 / short.max(1) as u128) as usize;
    if image.width <= image.height {
        [long(image.height, image.width), edge]
    } else {
        [edge, long(image.width, image.height)]
    }
}

/// The part of one axis that a crop keeps: `len` pixels `from` here in the picture `to` there in the crop.
struct Crop {
    from: usize,
    to: usize,
    len: usize,
}

impl Crop {
    /// transformers' `center_crop`: `(size − crop) // 2` is cut off in front; a picture that is smaller than the crop
    /// gets black around it, `ceil` of half the difference in front of it.
    fn center(size: usize, crop: usize) -> Self {
        if size >= crop {
            return Self { from: (size - crop) / 2, to: 0, len: crop };
        }
        let pad = (crop - size).div_ceil(2);
        // The crop begins at floor(−difference / 2), which together with the padding is 0.
        Self { from: 0, to: pad, len: size }
    }
}

/// The picture on a black one of `size` (height, width), its corner `at` (row, column).
fn on_black(part: &RgbImage, size: [usize; 2], at: [usize; 2]) -> RgbImage {
    let mut pixels = vec![0; size[0] * size[1] * 3];
    let rows = pixels.chunks_exact_mut(size[1] * 3).skip(at[0]);
    for (target, source) in rows.zip(part.pixels.chunks_exact(part.width * 3)) {
        target.iter_mut().skip(at[1] * 3).zip(source).for_each(|(t, s)| *t = *s);
    }
    RgbImage { width: size[1], height: size[0], pixels }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_pictures_get_a_black_border_as_transformers_gives_them() {
        let image = RgbImage::new(2, 1, vec![9; 6]).unwrap();
        let config = ClipPreprocessConfig { do_resize: false, crop_size: [4, 5], ..Default::default() };
        let cropped = clip_resize_and_crop(&image, &config).unwrap();
        // Rows: ceil(3/2) = 2 above; columns: ceil(3/2) = 2 in front.
        let lit: Vec<usize> = (0..20).filter(|i| cropped.pixels[i * 3] == 9).collect();
        assert_eq!(lit, [2 * 5 + 2, 2 * 5 + 3]);
        assert_eq!((cropped.width, cropped.height), (5, 4));
    }

    #[test]
    fn steps_can_be_left_out() {
        let image = RgbImage::new(1, 1, vec![0, 128, 255]).unwrap();
        let off = ClipPreprocessConfig {
            do_resize: false,
            do_center_crop: false,
            do_rescale: false,
            do_normalize: false,
            ..Default::default()
        };
        assert_eq!(clip_pixels(&image, &off).unwrap().values, [0.0, 128.0, 255.0]);
    }

    #[test]
    fn the_long_side_is_truncated() {
        let image = RgbImage::new(5, 7, vec![0; 105]).unwrap();
        assert_eq!(shortest_edge(&image, 32), [44, 32]);
        let exact =
            ClipPreprocessConfig { size: ResizeTarget::Exact([3, 4]), do_center_crop: false, ..Default::default() };
        let resized = clip_resize_and_crop(&image, &exact).unwrap();
        assert_eq!((resized.height, resized.width), (3, 4));
    }
}
