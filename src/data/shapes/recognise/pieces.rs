//! What is not background, in connected pieces.

use super::{Canvas, distance};

/// How far a pixel is from the background, at least, if it is part of an object.
pub(super) const APART: f32 = 45.0;

/// A connected piece.
#[derive(Debug, Clone)]
pub(super) struct Piece {
    /// Its pixels, by number.
    pub pixels: Vec<usize>,
    /// Those whose four neighbours belong to it too; all, if there are none.
    pub core: Vec<usize>,
    /// Pixels that may be covered a little: it and what lies at most two pixels around it, but no other piece.
    pub around: Vec<usize>,
}

/// The pieces of at least 8 pixels of 32 × 32, by their first pixel. Pieces are joined along sides and corners.
pub(super) fn find(canvas: &Canvas) -> Vec<Piece> {
    let side = canvas.side;
    let is_object: Vec<bool> = canvas.pixels.iter().map(|pixel| distance(*pixel, canvas.ground) > APART).collect();
    // 0: background or not seen yet.
    let mut label = vec![0usize; side * side];
    let mut found: Vec<Vec<usize>> = Vec::new();
    for start in 0..side * side {
        if !is_object[start] || label[start] != 0 {
            continue;
        }
        let mut pixels = vec![start];
        label[start] = found.len() + 1;
        let mut next = 0;
        while next < pixels.len() {
            for near in square(side, pixels[next], 1) {
                if is_object[near] && label[near] == 0 {
                    label[near] = found.len() + 1;
                    pixels.push(near);
                }
            }
            next += 1;
        }
        found.push(pixels);
    }
    let least = 8 * side * side / (32 * 32);
    let large = (1..).zip(&found).filter(|(_, pixels)| pixels.len() >= least);
    large.map(|(name, pixels)| piece(side, &label, name, pixels)).collect()
}

fn piece(side: usize, label: &[usize], name: usize, pixels: &[usize]) -> Piece {
    let is_core = |n: &usize| {
        let (x, y) = (n % side, n / side);
        let inner = x > 0 && y > 0 && x + 1 < side && y + 1 < side;
        inner && [n - 1, n + 1, n - side, n + side].iter().all(|near| label[*near] == name)
    };
    let core: Vec<usize> = pixels.iter().copied().filter(is_core).collect();
    let mut around: Vec<usize> = pixels.iter().flat_map(|n| square(side, *n, 2)).collect();
    around.sort_unstable();
    around.dedup();
    around.retain(|n| label[*n] == name || label[*n] == 0);
    Piece { core: if core.is_empty() { pixels.to_vec() } else { core }, pixels: pixels.to_vec(), around }
}

/// The pixels at most `reach` away along either axis.
pub(super) fn square(side: usize, n: usize, reach: usize) -> impl Iterator<Item = usize> {
    let range = move |at: usize| at.saturating_sub(reach)..=(at + reach).min(side - 1);
    let (x, y) = (n % side, n / side);
    range(y).flat_map(move |y| range(x).map(move |x| y * side + x))
}
