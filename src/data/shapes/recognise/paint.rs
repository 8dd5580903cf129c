//! The colours of a piece.

use super::pieces::{Piece, square};
use super::{Canvas, distance, median};
use crate::data::shapes::scene::{Color, Texture};

/// What a piece is painted with.
#[derive(Debug)]
pub(super) struct Paint {
    /// The palette's nearest colour.
    pub color: Color,
    /// How far it is from that.
    pub off: f32,
    pub texture: Texture,
    /// Whether it has several colours of the palette.
    pub mixed: bool,
    /// How far its core is from what this paint can look like, on average.
    pub rest: f32,
    /// How much of each pixel of `Piece::around` it covers.
    pub coverage: Vec<f32>,
}

/// A piece is of one colour if this much of its core is near the median.
const UNIFORM: f32 = 0.92;
const NEAR: f32 = 36.0;
/// It is striped or dotted if its core is this near to a colour, its shade and what lies between them, on average.
const BETWEEN: f32 = 24.0;
/// It may be one blurred colour if its core is this near to what lies between that and the background, on average.
const BLURRED: f32 = 30.0;
/// It has several colours of the palette only if it is this near to them on average.
const MIXED: f32 = 40.0;

/// What a piece may be painted with: one colour if its core is even, otherwise everything that it may be, for the outline to decide.
pub(super) fn candidates(canvas: &Canvas, piece: &Piece) -> Vec<Paint> {
    let core: Vec<[f32; 3]> = piece.core.iter().map(|n| canvas.pixels[*n]).collect();
    let middle = median(&core);
    let near = core.iter().filter(|pixel| distance(**pixel, middle) <= NEAR).count();
    if near as f32 >= UNIFORM * core.len() as f32 {
        return vec![plain(canvas, piece, middle, 0.0)];
    }
    // A thin outline that was blurred: what is least mixed with the background has the colour.
    let mut by_distance = core.clone();
    by_distance.sort_unstable_by(|a, b| distance(*b, canvas.ground).total_cmp(&distance(*a, canvas.ground)));
    by_distance.truncate(core.len().div_ceil(3));
    let rgb = median(&by_distance);
    let blurred = core.iter().map(|pixel| off_line(*pixel, canvas.ground, rgb).1).sum::<f32>() / core.len() as f32;
    let mut found = Vec::new();
    let (color, off) = nearest_with_shade(&core);
    let off_palette = core.iter().map(|pixel| nearest(*pixel).1).sum::<f32>() / core.len() as f32;
    if off <= BETWEEN {
        let (texture, coverage) = (texture(canvas, piece, color), relative(canvas, piece));
        found.push(Paint { color, off, texture, mixed: false, rest: off, coverage });
    }
    if off_palette <= MIXED {
        let coverage = relative(canvas, piece);
        found.push(Paint {
            color,
            off: off_palette,
            texture: Texture::Plain,
            mixed: true,
            rest: off_palette,
            coverage,
        });
    }
    if blurred <= BLURRED || found.is_empty() {
        found.push(plain(canvas, piece, rgb, blurred));
    }
    found
}

fn plain(canvas: &Canvas, piece: &Piece, rgb: [f32; 3], rest: f32) -> Paint {
    let (color, off) = nearest(rgb);
    Paint { color, off, texture: Texture::Plain, mixed: false, rest, coverage: projected(canvas, piece, rgb) }
}

/// The palette's nearest colour, and how far it is.
fn nearest(rgb: [f32; 3]) -> (Color, f32) {
    let off = |color: Color| (color, distance(rgb, color.rgb().map(f32::from)));
    Color::ALL.iter().map(|color| off(*color)).fold((Color::Red, f32::MAX), |a, b| if b.1 < a.1 { b } else { a })
}

/// The colour between which and its shade the core lies best, and how far it is off on average.
fn nearest_with_shade(core: &[[f32; 3]]) -> (Color, f32) {
    let off = |color: Color| {
        let total: f32 = core.iter().map(|pixel| shading(*pixel, color).1).sum();
        (color, total / core.len() as f32)
    };
    Color::ALL.iter().map(|color| off(*color)).fold((Color::Red, f32::MAX), |a, b| if b.1 < a.1 { b } else { a })
}

/// Where between a colour (0) and its shade (1) a pixel lies, and how far off that line.
fn shading(pixel: [f32; 3], color: Color) -> (f32, f32) {
    off_line(pixel, color.rgb().map(f32::from), color.shade().map(f32::from))
}

/// Where between two colours (0 and 1) a pixel lies, and how far off that line.
fn off_line(pixel: [f32; 3], from: [f32; 3], to: [f32; 3]) -> (f32, f32) {
    let part = along(pixel, from, to).clamp(0.0, 1.0);
    (part, distance(pixel, [0, 1, 2].map(|c| from[c] + part * (to[c] - from[c]))))
}

/// The part of the way from one colour to another at which a third one projects.
fn along(pixel: [f32; 3], from: [f32; 3], to: [f32; 3]) -> f32 {
    let dot = |a: [f32; 3], b: [f32; 3]| (0..3).map(|c| (a[c] - from[c]) * (b[c] - from[c])).sum::<f32>();
    dot(pixel, to) / dot(to, to).max(1.0)
}

/// Stripes explain most of the shading by its row, dots do not.
fn texture(canvas: &Canvas, piece: &Piece, color: Color) -> Texture {
    let shades: Vec<(usize, f32)> =
        piece.core.iter().map(|n| (n / canvas.side, shading(canvas.pixels[*n], color).0)).collect();
    let mean = shades.iter().map(|(_, shade)| shade).sum::<f32>() / shades.len() as f32;
    let (mut sums, mut counts) = (vec![0.0; canvas.side], vec![0.0f32; canvas.side]);
    for (row, shade) in &shades {
        sums[*row] += shade - mean;
        counts[*row] += 1.0;
    }
    let total: f32 = shades.iter().map(|(_, shade)| (shade - mean).powi(2)).sum();
    let by_row: f32 = sums.iter().zip(&counts).map(|(sum, count)| sum * sum / count.max(1.0)).sum();
    if by_row >= 0.65 * total { Texture::Striped } else { Texture::Dotted }
}

/// Coverage by one colour: how far each pixel is on the way to it from the background.
fn projected(canvas: &Canvas, piece: &Piece, color: [f32; 3]) -> Vec<f32> {
    let part = |n: &usize| along(canvas.pixels[*n], canvas.ground, color).clamp(0.0, 1.0);
    piece.around.iter().map(part).collect()
}

/// Coverage where there are several colours: the core is covered; around it counts how far a pixel is from the background,
/// relative to the core's pixel beside it.
fn relative(canvas: &Canvas, piece: &Piece) -> Vec<f32> {
    let mut is_core = vec![false; canvas.pixels.len()];
    piece.core.iter().for_each(|n| is_core[*n] = true);
    let apart = |n: usize| distance(canvas.pixels[n], canvas.ground);
    let part = |n: &usize| {
        if is_core[*n] {
            return 1.0;
        }
        let far = |m: &usize| (m % canvas.side).abs_diff(n % canvas.side) + (m / canvas.side).abs_diff(n / canvas.side);
        let beside = square(canvas.side, *n, 2).filter(|m| is_core[*m]).min_by_key(far);
        // With no core near, only what is surely an object counts.
        let full = beside.map_or(2.0 * super::pieces::APART, apart);
        (apart(*n) / full.max(1.0)).clamp(0.0, 1.0)
    };
    piece.around.iter().map(part).collect()
}

/// The colours of the quarters around a centre (in quarters of a pixel): the palette's nearest to each one's median.
pub(super) fn quarters(canvas: &Canvas, piece: &Piece, center: [i32; 2]) -> [Color; 4] {
    [0, 1, 2, 3].map(|quarter| {
        let inside = |n: &&usize| {
            let at = [*n % canvas.side, *n / canvas.side].map(|at| 4 * at as i32 + 2);
            let off = [(at[0] - center[0]) * (2 * (quarter % 2) - 1), (at[1] - center[1]) * (2 * (quarter / 2) - 1)];
            off.iter().all(|off| *off >= 2)
        };
        let some = |from: &[usize]| from.iter().filter(inside).map(|n| canvas.pixels[*n]).collect::<Vec<_>>();
        let core = some(&piece.core);
        nearest(median(&if core.is_empty() { some(&piece.pixels) } else { core })).0
    })
}
