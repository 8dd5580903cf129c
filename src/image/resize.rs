//! Resampling exactly as Pillow does it on 8-bit images.
//!
//! Each output pixel is a weighted mean of the input pixels under a filter that is widened when shrinking
//! (antialiasing). Weights are rounded to 22-bit fixed point; a horizontal pass, rounded to 8 bits, goes before a
//! vertical one. Source: Pillow's `src/libImaging/Resample.c`, functions `precompute_coeffs`, `normalize_coeffs_8bpc`,
//! `ImagingResampleHorizontal_8bpc` and `ImagingResampleVertical_8bpc`.

use std::f64::consts::PI;
use std::ops::Range;

use super::rgb::RgbImage;
use crate::models::config::Resampling;
use crate::{Error, Result};

/// Bits behind the point: 32, less 8 of the pixel, less 2 of head-room for filters with negative lobes.
const PRECISION_BITS: u32 = 32 - 8 - 2;

/// A part of a picture: `width` columns from `left`, `height` rows from `top`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// First column.
    pub left: usize,
    /// First row.
    pub top: usize,
    /// Columns.
    pub width: usize,
    /// Rows.
    pub height: usize,
}

/// Resizes to `width` × `height`, as `Image.resize` does.
pub fn resize(image: &RgbImage, width: usize, height: usize, filter: Resampling) -> Result<RgbImage> {
    resize_window(image, width, height, Window { left: 0, top: 0, width, height }, filter)
}

/// The `window` of what [`resize`] would give. Only those pixels are computed, so cropping a thin strip that was scaled
/// up enormously costs no more than the crop.
pub fn resize_window(
    image: &RgbImage,
    width: usize,
    height: usize,
    window: Window,
    filter: Resampling,
) -> Result<RgbImage> {
    image.check("resize")?;
    let columns = window.left..window.left.saturating_add(window.width);
    let rows = window.top..window.top.saturating_add(window.height);
    if columns.is_empty() || rows.is_empty() || columns.end > width || rows.end > height {
        let got = format!("{} x {} at {}, {}", window.width, window.height, window.left, window.top);
        let want = format!("a part of {width} x {height}, not empty");
        return Err(Error::Shape { op: "resize".into(), operand: "window".into(), want, got });
    }
    let horizontal = taps(image.width, width, columns, filter);
    let vertical = taps(image.height, height, rows, filter);
    let needed = rows_needed(&vertical);
    let strip = resample_rows(image, &horizontal, needed.clone());
    let pixels = resample_columns(&strip, &vertical, needed.start, window.width * 3);
    RgbImage::new(window.width, window.height, pixels)
}

/// The input pixels that make one output pixel: the first of them and their weights.
struct Taps {
    first: usize,
    weights: Vec<i32>,
}

/// Weights for the output positions of `range`, of `output` in all.
fn taps(input: usize, output: usize, range: Range<usize>, filter: Resampling) -> Vec<Taps> {
    let scale = input as f64 / output as f64;
    let filter_scale = scale.max(1.0);
    let support = radius(filter) * filter_scale;
    let weights_at = |position: usize| {
        let center = (position as f64 + 0.5) * scale;
        // Conversion truncates, as C does; a negative number becomes 0.
        let first = (center - support + 0.5) as usize;
        let end = ((center + support + 0.5) as usize).min(input);
        let weight = |x: usize| value(filter, (x as f64 - center + 0.5) * (1.0 / filter_scale));
        let weights: Vec<f64> = (first..end).map(weight).collect();
        Taps { first, weights: fixed_point(&weights) }
    };
    range.map(weights_at).collect()
}

/// Weights of sum one, rounded half away from zero.
fn fixed_point(weights: &[f64]) -> Vec<i32> {
    let sum: f64 = weights.iter().sum();
    let sum = if sum == 0.0 { 1.0 } else { sum };
    let unit = f64::from(1u32 << PRECISION_BITS);
    weights.iter().map(|w| w / sum * unit).map(|w| (w + if w < 0.0 { -0.5 } else { 0.5 }) as i32).collect()
}

/// Where the filter ends, before widening.
fn radius(filter: Resampling) -> f64 {
    match filter {
        Resampling::Bilinear => 1.0,
        Resampling::Bicubic => 2.0,
        Resampling::Lanczos => 3.0,
    }
}

fn value(filter: Resampling, x: f64) -> f64 {
    match filter {
        Resampling::Bilinear => (1.0 - x.abs()).max(0.0),
        Resampling::Bicubic => cubic(x.abs()),
        Resampling::Lanczos if (-3.0..3.0).contains(&x) => sinc(x) * sinc(x / 3.0),
        Resampling::Lanczos => 0.0,
    }
}

/// Keys' cubic with a = −0.5.
fn cubic(x: f64) -> f64 {
    const A: f64 = -0.5;
    if x < 1.0 {
        ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0
    } else if x < 2.0 {
        (((x - 5.0) * x + 8.0) * x - 4.0) * A
    } else {
        0.0
    }
}

fn sinc(x: f64) -> f64 {
    if x == 0.0 { 1.0 } else { (x * PI).sin() / (x * PI) }
}

/// The input rows that the vertical pass looks at.
fn rows_needed(vertical: &[Taps]) -> Range<usize> {
    let first = vertical.iter().map(|taps| taps.first).min().unwrap_or(0);
    let end = vertical.iter().map(|taps| taps.first + taps.weights.len()).max().unwrap_or(0);
    first..end
}

/// Horizontal pass over some rows.
fn resample_rows(image: &RgbImage, horizontal: &[Taps], rows: Range<usize>) -> Vec<u8> {
    let row_bytes = image.width * 3;
    let mut out = Vec::with_capacity(rows.len() * horizontal.len() * 3);
    for row in image.pixels.chunks_exact(row_bytes).skip(rows.start).take(rows.len()) {
        let (pixels, _) = row.as_chunks::<3>();
        for taps in horizontal {
            let under = pixels.iter().skip(taps.first);
            out.extend(weighted_pixel(under, &taps.weights));
        }
    }
    out
}

/// Vertical pass. `strip` begins with the input's row `first_row`.
fn resample_columns(strip: &[u8], vertical: &[Taps], first_row: usize, row_bytes: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(vertical.len() * row_bytes);
    let mut sums = vec![0i32; row_bytes];
    for taps in vertical {
        sums.fill(HALF);
        let rows = strip.chunks_exact(row_bytes).skip(taps.first - first_row);
        for (row, &weight) in rows.zip(&taps.weights) {
            sums.iter_mut().zip(row).for_each(|(sum, &byte)| *sum += i32::from(byte) * weight);
        }
        out.extend(sums.iter().map(|&sum| to_byte(sum)));
    }
    out
}

const HALF: i32 = 1 << (PRECISION_BITS - 1);

fn weighted_pixel<'a>(pixels: impl Iterator<Item = &'a [u8; 3]>, weights: &[i32]) -> [u8; 3] {
    let mut sums = [HALF; 3];
    for (pixel, &weight) in pixels.zip(weights) {
        sums.iter_mut().zip(pixel).for_each(|(sum, &byte)| *sum += i32::from(byte) * weight);
    }
    sums.map(to_byte)
}

fn to_byte(sum: i32) -> u8 {
    (sum >> PRECISION_BITS).clamp(0, 255) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noise(width: usize, height: usize) -> RgbImage {
        let mut state = 1u32;
        let mut byte = || {
            state = state.wrapping_mul(1664525).wrapping_add(1013904223);
            (state >> 24) as u8
        };
        RgbImage::new(width, height, (0..width * height * 3).map(|_| byte()).collect()).unwrap()
    }

    const FILTERS: [Resampling; 3] = [Resampling::Bilinear, Resampling::Bicubic, Resampling::Lanczos];

    #[test]
    fn the_same_size_changes_nothing_and_a_flat_colour_stays() {
        for filter in FILTERS {
            assert_eq!(resize(&noise(13, 9), 13, 9, filter).unwrap(), noise(13, 9));
            let flat = RgbImage::new(5, 7, [10, 128, 255].repeat(35)).unwrap();
            assert_eq!(resize(&flat, 11, 2, filter).unwrap().pixels, [10, 128, 255].repeat(22));
        }
    }

    #[test]
    fn a_window_is_a_part_of_the_whole() {
        let image = noise(31, 17);
        for filter in FILTERS {
            for (width, height) in [(9, 50), (64, 5)] {
                let whole = resize(&image, width, height, filter).unwrap();
                let window = Window { left: 2, top: 1, width: 6, height: 3 };
                let part = resize_window(&image, width, height, window, filter).unwrap();
                for (y, row) in part.pixels.chunks_exact(18).enumerate() {
                    let at = ((y + 1) * width + 2) * 3;
                    assert_eq!(row, &whole.pixels[at..at + 18]);
                }
            }
        }
    }

    #[test]
    fn a_crop_of_a_thin_strip_is_cheap() {
        let strip = noise(1, 60_000);
        let window = Window { left: 0, top: 6_719_888, width: 224, height: 224 };
        assert_eq!(resize_window(&strip, 224, 224 * 60_000, window, Resampling::Bicubic).unwrap().height, 224);
    }

    #[test]
    fn bad_sizes_are_errors() {
        let image = noise(4, 4);
        assert!(resize(&image, 0, 4, Resampling::Bilinear).is_err());
        let window = Window { left: 3, top: 0, width: 2, height: 1 };
        assert!(resize_window(&image, 4, 4, window, Resampling::Bilinear).is_err());
        let lying = RgbImage { width: 4, height: 4, pixels: vec![0; 3] };
        assert!(resize(&lying, 2, 2, Resampling::Bilinear).is_err());
        assert!(resize(&RgbImage { width: 0, height: 0, pixels: vec![] }, 2, 2, Resampling::Bilinear).is_err());
    }
}
