//! A few numbers that say what a picture looks like, for the Fréchet distance.

use crate::image::RgbImage;
use crate::{Error, Result};

/// Cells along each side.
const CELLS: usize = 4;
/// Mean colours of 16 cells, deviations of grey in them, and four directions of edges over the picture.
pub const FEATURES: usize = CELLS * CELLS * 4 + DIRECTIONS;
const DIRECTIONS: usize = 4;

/// Features of a picture of any size that 4 divides, all about 0 to 1: the mean red, green and blue of each of 4 × 4 cells; the
/// standard deviation of its grey; and the strength of edges by direction (level, rising, upright, falling).
pub fn features(image: &RgbImage) -> Result<Vec<f64>> {
    let (w, h) = (image.width, image.height);
    if w < CELLS || h < CELLS || w % CELLS != 0 || h % CELLS != 0 || image.pixels.len() != 3 * w * h {
        return Err(Error::Input(format!("pictures of {w} x {h} pixels have no 4 x 4 cells")));
    }
    let pixel = |x: usize, y: usize| [0, 1, 2].map(|c| f64::from(image.pixels[3 * (y * w + x) + c]) / 255.0);
    let grey = |x: usize, y: usize| pixel(x, y).iter().sum::<f64>() / 3.0;
    let mut found = Vec::with_capacity(FEATURES);
    for cell in 0..CELLS * CELLS {
        let (left, top) = (cell % CELLS * (w / CELLS), cell / CELLS * (h / CELLS));
        let places = || (top..top + h / CELLS).flat_map(move |y| (left..left + w / CELLS).map(move |x| (x, y)));
        let count = places().count() as f64;
        let mean = |f: &dyn Fn(usize, usize) -> f64| places().map(|(x, y)| f(x, y)).sum::<f64>() / count;
        found.extend((0..3).map(|c| mean(&|x, y| pixel(x, y)[c])));
        let middle = mean(&grey);
        found.push(mean(&|x, y| (grey(x, y) - middle).powi(2)).sqrt());
    }
    let mut edges = [0.0; DIRECTIONS];
    for (x, y) in (1..h - 1).flat_map(|y| (1..w - 1).map(move |x| (x, y))) {
        let (dx, dy) = (grey(x + 1, y) - grey(x - 1, y), grey(x, y + 1) - grey(x, y - 1));
        let turn = dy.atan2(dx).rem_euclid(std::f64::consts::PI) / std::f64::consts::PI;
        edges[(turn * DIRECTIONS as f64 + 0.5) as usize % DIRECTIONS] += (dx * dx + dy * dy).sqrt();
    }
    // A picture's sides have about this many edge pixels.
    found.extend(edges.map(|edge| edge / (w + h) as f64));
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn features_are_means_deviations_and_edges() {
        // Left half black, right half red.
        let pixels = (0..8 * 8).flat_map(|n| if n % 8 < 4 { [0, 0, 0] } else { [255, 0, 0] }).collect();
        let found = features(&RgbImage::new(8, 8, pixels).unwrap()).unwrap();
        assert_eq!(found.len(), FEATURES);
        assert_eq!((&found[..4], &found[8..12]), (&[0.0; 4][..], &[1.0, 0.0, 0.0, 0.0][..]));
        // Two columns of six pixels see a step of a third.
        assert!((found[64] - 12.0 / 3.0 / 16.0).abs() < 1e-12 && found[65..] == [0.0; 3], "{:?}", &found[64..]);
        assert!(features(&RgbImage::new(6, 8, vec![0; 144]).unwrap()).is_err());
    }
}
