//! Pictures in host memory: 8-bit RGB, and `f32` channels-last.

use crate::{Error, Result};

/// An 8-bit RGB picture, `[Y, X, 3]` in row-major order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RgbImage {
    /// Columns, `X`.
    pub width: usize,
    /// Rows, `Y`.
    pub height: usize,
    /// `width · height · 3` bytes.
    pub pixels: Vec<u8>,
}

impl RgbImage {
    /// A picture of `pixels`, whose length must fit.
    pub fn new(width: usize, height: usize, pixels: Vec<u8>) -> Result<Self> {
        let image = Self { width, height, pixels };
        image.check("image")?;
        Ok(image)
    }

    /// The same picture mirrored left to right, as training does at random.
    pub fn flipped(&self) -> Self {
        let row_bytes = self.width.saturating_mul(3).max(1);
        let pixels = self.pixels.chunks_exact(row_bytes).flat_map(mirrored).collect();
        Self { width: self.width, height: self.height, pixels }
    }

    /// The fields are public, so every function that indexes checks them first.
    pub(super) fn check(&self, op: &str) -> Result<()> {
        let want = self.width.checked_mul(self.height).and_then(|n| n.checked_mul(3));
        if want == Some(self.pixels.len()) && !self.pixels.is_empty() {
            return Ok(());
        }
        let got = format!("{} bytes for {} x {}", self.pixels.len(), self.width, self.height);
        Err(Error::Shape { op: op.into(), operand: "pixels".into(), want: "Y X 3, not empty".into(), got })
    }
}

fn mirrored(row: &[u8]) -> impl Iterator<Item = u8> {
    let (pixels, _) = row.as_chunks::<3>();
    pixels.iter().rev().flatten().copied()
}

/// A picture as models take and give it: `f32`, `[Y, X, 3]` in row-major order.
#[derive(Debug, Clone, PartialEq)]
pub struct FloatImage {
    /// Columns, `X`.
    pub width: usize,
    /// Rows, `Y`.
    pub height: usize,
    /// `width · height · 3` values.
    pub values: Vec<f32>,
}

impl FloatImage {
    /// A picture of `values`, whose length must fit.
    pub fn new(width: usize, height: usize, values: Vec<f32>) -> Result<Self> {
        if width.checked_mul(height).and_then(|n| n.checked_mul(3)) == Some(values.len()) {
            return Ok(Self { width, height, values });
        }
        let got = format!("{} values for {width} x {height}", values.len());
        Err(Error::Shape { op: "image".into(), operand: "values".into(), want: "Y X 3".into(), got })
    }

    /// The values in PyTorch's order, `[3, Y, X]`.
    pub fn to_chw(&self) -> Vec<f32> {
        let (pixels, _) = self.values.as_chunks::<3>();
        (0..3).flat_map(|c| pixels.iter().filter_map(move |pixel| pixel.get(c).copied())).collect()
    }
}
