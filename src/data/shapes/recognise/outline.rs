//! The outline that fits the coverage of a piece best.

use super::Canvas;
use super::paint::Paint;
use super::pieces::Piece;
use crate::data::shapes::scene::{Shape, Size};
use crate::data::shapes::stamp::{BLURS, QUARTERS, Stamps, unit_area};

/// The best outline.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fit {
    pub shape: Shape,
    /// In quarters of a pixel.
    pub radius: i32,
    /// In quarters of a pixel.
    pub center: [i32; 2],
    /// Soft intersection over union (Tanimoto): `dot / (|a|² + |t|² − dot)`.
    pub overlap: f32,
}

/// Compares with every shape, with radii around the one of the same area and with nine centres around the one of the same centroid.
pub(super) fn fit(canvas: &Canvas, piece: &Piece, paint: &Paint) -> Fit {
    let side = canvas.side;
    let mut image = vec![0.0f32; side * side];
    let (mut sum, mut moments, mut squares) = (0.0f32, [0.0f32; 2], 0.0f32);
    for (n, a) in piece.around.iter().zip(&paint.coverage) {
        image[*n] = *a;
        sum += a;
        squares += a * a;
        moments[0] += a * ((n % side) as f32 + 0.5);
        moments[1] += a * ((n / side) as f32 + 0.5);
    }
    let centroid = moments.map(|moment| moment / sum.max(1e-6) * QUARTERS as f32);
    let stamps = Stamps::of(side);
    let step = if side > 32 { 2 } else { 1 };
    let mut best = Fit { shape: Shape::Circle, radius: 0, center: centroid.map(|at| at as i32), overlap: 0.0 };
    for &shape in Shape::ALL {
        let radius = (sum / unit_area(shape)).sqrt() * QUARTERS as f32;
        // The centroid of a triangle lies below its centre.
        let below = if shape == Shape::Triangle { 0.24 * radius } else { 0.0 };
        let middle = [centroid[0].round() as i32, (centroid[1] - below).round() as i32];
        for radius in (-4..=4).map(|n| radius.round() as i32 + step * n).filter(|r| stamps.radii().contains(r)) {
            for n in 0..9 {
                let center = [middle[0] + step * (n % 3 - 1), middle[1] + step * (n / 3 - 1)];
                for blur in 0..BLURS {
                    let stamp = stamps.blurred(shape, radius, center, blur);
                    let overlap = overlap(&image, squares, side, stamp, center, stamps);
                    if overlap > best.overlap {
                        best = Fit { shape, radius, center, overlap };
                    }
                }
            }
        }
    }
    best
}

fn overlap(image: &[f32], squares: f32, side: usize, stamp: &[f32], center: [i32; 2], stamps: &Stamps) -> f32 {
    let corner = center.map(|at| at.div_euclid(QUARTERS) - stamps.reach as i32);
    let wide = stamps.side() as i32;
    let (left, right) = ((-corner[0]).max(0), (side as i32 - corner[0]).min(wide));
    let (mut dot, mut own) = (0.0, 0.0);
    for row in (-corner[1]).max(0)..(side as i32 - corner[1]).min(wide) {
        let at = |column: i32| (row * wide + column) as usize;
        let pixel = ((corner[1] + row) * side as i32 + corner[0] + left) as usize;
        if left >= right {
            break;
        }
        let stamp = &stamp[at(left)..at(right)];
        for (a, t) in image[pixel..pixel + stamp.len()].iter().zip(stamp) {
            dot += a * t;
            own += t * t;
        }
    }
    dot / (squares + own - dot).max(1e-6)
}

/// The size of a radius.
pub(super) fn size(side: usize, radius: i32) -> Size {
    let (small, medium) = if side <= 32 { (23, 23) } else { (38, 48) };
    match radius {
        r if r <= small => Size::Small,
        r if r <= medium => Size::Medium,
        _ => Size::Large,
    }
}
