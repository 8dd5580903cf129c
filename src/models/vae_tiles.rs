//! Decoding large latents in tiles, so that memory stays that of a tile.
//!
//! The first part of the decoder, with its attention over the whole picture, works at the latents' size and is computed for
//! all of it: exact, and cheap. The rest, whose activations are up to 64 times as large, is computed tile by tile.
//! Its convolutions see a few cells around a pixel, less than tiles overlap by, and would be exact; its group norms take
//! their mean and deviation from the tile instead of the picture, which shifts colours a little. Tiles are
//! therefore blended linearly where they overlap. A picture that fits into one tile is exact.

use super::vae::Vae;
use crate::image::FloatImage;
use crate::ops::layout::slice;
use crate::tensor::Tensor;
use crate::{Error, Result};

/// How latents are cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tiling {
    /// Side of a tile in cells of the latent.
    pub side: usize,
    /// Cells that neighbours share.
    pub overlap: usize,
}

impl Default for Tiling {
    /// 64 cells, which Stable Diffusion decodes to 512 pixels, with 16 in common.
    fn default() -> Self {
        Tiling { side: 64, overlap: 16 }
    }
}

impl Tiling {
    /// Tiles of this side that share a quarter of it.
    pub fn of_side(side: usize) -> Result<Tiling> {
        match side {
            0..4 => Err(Error::Input(format!("a tile of {side} cells is too small; 4 are the least"))),
            _ => Ok(Tiling { side, overlap: side / 4 }),
        }
    }

    /// First cells of the tiles along an axis, evenly spread, and their length.
    fn spread(self, length: usize) -> Result<(Vec<usize>, usize)> {
        if self.overlap >= self.side {
            return Err(Error::Input(format!("tiles of {} cells cannot share {}", self.side, self.overlap)));
        }
        if length <= self.side {
            return Ok((vec![0], length));
        }
        let count = (length - self.overlap).div_ceil(self.side - self.overlap);
        let last = length - self.side;
        Ok(((0..count).map(|i| (i * last + (count - 1) / 2) / (count - 1)).collect(), self.side))
    }
}

/// Weighted sums of pixels, and of weights.
struct Canvas {
    width: usize,
    sums: Vec<f32>,
    weights: Vec<f32>,
}

impl Canvas {
    fn add(&mut self, pixels: &[f32], [top, left]: [usize; 2], rows: &[f32], columns: &[f32]) {
        for (y, row) in rows.iter().enumerate() {
            for (x, column) in columns.iter().enumerate() {
                let (weight, to, from) = (row * column, (top + y) * self.width + left + x, y * columns.len() + x);
                self.weights[to] += weight;
                for c in 0..3 {
                    self.sums[3 * to + c] += weight * pixels[3 * from + c];
                }
            }
        }
    }
}

/// Weights along one axis of a tile: rising over the pixels shared with the one before, falling over those shared with the
/// one after.
fn ramp(length: usize, before: usize, after: usize) -> Vec<f32> {
    let rise = |distance: usize, shared: usize| match shared {
        0 => 1.0,
        _ => ((distance as f32 + 0.5) / shared as f32).min(1.0),
    };
    (0..length).map(|i| rise(i, before) * rise(length - 1 - i, after)).collect()
}

/// Pixels that the tile at `i` shares with its neighbours.
fn shared(starts: &[usize], i: usize, side: usize, scale: usize) -> (usize, usize) {
    let overlap = |a: usize, b: usize| (starts[a] + side).saturating_sub(starts[b]) * scale;
    let before = if i > 0 { overlap(i - 1, i) } else { 0 };
    let after = if i + 1 < starts.len() { overlap(i, i + 1) } else { 0 };
    (before, after)
}

impl Vae {
    /// Latents (not scaled) `[1, Y, X, C]` → pixels around [-1, 1], in tiles that are blended on the host.
    pub async fn decode_tiled(&self, latents: &Tensor, tiling: Tiling) -> Result<FloatImage> {
        let [b, y, x, _] = latents.dims("decode_tiled latents", "B Y X C")?;
        if b != 1 {
            return Err(Error::Input(format!("one picture is decoded in tiles at a time, not {b}")));
        }
        let (scale, (tops, rows), (lefts, columns)) = (self.downscale, tiling.spread(y)?, tiling.spread(x)?);
        let [height, width] = [y * scale, x * scale];
        let mut canvas = Canvas { width, sums: vec![0.0; 3 * height * width], weights: vec![0.0; height * width] };
        let middle = self.decode_middle(latents)?;
        for (i, &top) in tops.iter().enumerate() {
            let band = slice(&middle, 1, top, rows)?;
            let (before, after) = shared(&tops, i, rows, scale);
            let row_weights = ramp(rows * scale, before, after);
            for (j, &left) in lefts.iter().enumerate() {
                let pixels = self.decode_up(&slice(&band, 2, left, columns)?)?.read_f32().await?;
                let (before, after) = shared(&lefts, j, columns, scale);
                let column_weights = ramp(columns * scale, before, after);
                canvas.add(&pixels, [top * scale, left * scale], &row_weights, &column_weights);
            }
        }
        let values = canvas.sums.iter().enumerate().map(|(i, sum)| sum / canvas.weights[i / 3]).collect();
        FloatImage::new(width, height, values)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiles_cover_the_axis_and_share_at_least_the_overlap() {
        for length in 1..200 {
            for tiling in [Tiling::default(), Tiling::of_side(4).unwrap(), Tiling { side: 7, overlap: 0 }] {
                let (starts, side) = tiling.spread(length).unwrap();
                assert_eq!((starts[0], starts[starts.len() - 1] + side), (0, length), "{tiling:?}");
                for pair in starts.windows(2) {
                    assert!(pair[1] > pair[0] && pair[0] + side >= pair[1] + tiling.overlap, "{length} {starts:?}");
                }
            }
        }
        assert!(Tiling::of_side(3).is_err() && (Tiling { side: 4, overlap: 4 }).spread(9).is_err());
    }

    #[test]
    fn weights_fall_to_the_sides_that_are_shared() {
        assert_eq!(ramp(4, 0, 0), [1.0; 4]);
        assert_eq!(ramp(4, 2, 0), [0.25, 0.75, 1.0, 1.0]);
        assert_eq!(ramp(4, 0, 2), [1.0, 1.0, 0.75, 0.25]);
    }
}
