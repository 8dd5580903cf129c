//! From pixels back to a scene: deterministic, with no learned part.
//!
//! The background is the median of the border; what is farther than 45 from it (Euclidean, of 255) is an object, in connected pieces;
//! the colour is the palette's nearest to the median of a piece's core; the coverage of its pixels is compared with outlines of all
//! shapes, radii and quarter-pixel centres, sharp and blurred, and the best one is taken. What looks like none of it is "unsure".

mod outline;
mod paint;
mod pieces;
#[cfg(test)]
mod tests;

use super::scene::{Color, Ground, Place, Shape, Size, Texture};
use crate::image::RgbImage;
use crate::{Error, Result};
use serde::Serialize;

/// What a picture shows.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Reading {
    /// The background that is nearest.
    pub ground: Ground,
    /// The objects, in the order of their uppermost pixels.
    pub objects: Vec<ReadObject>,
    /// Whether the picture is not one of this world: no objects or too many, no even background, or an object that is like none.
    pub unsure: bool,
}

/// An object as it was read.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct ReadObject {
    /// Its outline.
    pub shape: Shape,
    /// Its colour; with a pattern, that of the upper left quarter.
    pub color: Color,
    /// Its size.
    pub size: Size,
    /// What is on it.
    pub texture: Texture,
    /// The colours of its quarters, if it has several.
    pub pattern: Option<[Color; 4]>,
    /// Its centre, in parts of the picture's side.
    pub position: [f32; 2],
    /// Its ninth of the picture.
    pub place: Place,
    /// How well the outline fits: the soft intersection over union of coverages, 0 to 1.
    pub confidence: f32,
}

/// A background is even if this much of the border is near its median.
const EVEN: f32 = 0.6;
/// Greys farther from both backgrounds are neither.
const NEAR_GROUND: f32 = 60.0;
/// Outlines that fit worse are like none.
const CONFIDENT: f32 = 0.72;
/// Colours farther from the palette are none of it.
const NEAR_COLOR: f32 = 90.0;
/// This much of a colour's distance weighs as much as the whole outline.
const REST: f32 = 200.0;

/// Reads a picture of 32 or 64 pixels.
pub fn recognise(image: &RgbImage) -> Result<Reading> {
    let side = image.width;
    if image.height != side || ![32, 64].contains(&side) || image.pixels.len() != 3 * side * side {
        let size = format!("{} x {}", image.width, image.height);
        return Err(Error::Input(format!("shapes are recognised in pictures of 32 or 64 pixels a side, not {size}")));
    }
    let canvas = Canvas::new(image);
    let nearest = |ground: &Ground| distance(canvas.ground, ground.rgb().map(f32::from));
    let ground = if nearest(&Ground::Light) < nearest(&Ground::Dark) { Ground::Light } else { Ground::Dark };
    let pieces = pieces::find(&canvas);
    let mut unsure = canvas.even < EVEN || nearest(&ground) > NEAR_GROUND || pieces.is_empty() || pieces.len() > 3;
    let mut objects = Vec::new();
    // Noise falls into hundreds of pieces; a few are enough to see that.
    for piece in pieces.iter().take(4) {
        let painted = paint::candidates(&canvas, piece).into_iter();
        let fits = painted.map(|paint| (outline::fit(&canvas, piece, &paint), paint));
        let score = |(fit, paint): &(outline::Fit, paint::Paint)| fit.overlap - paint.rest / REST;
        let better = |a: &_, b: &_| score(a).total_cmp(&score(b));
        let Some((fit, paint)) = fits.max_by(better) else { continue };
        unsure |= fit.overlap < CONFIDENT || paint.off > NEAR_COLOR;
        let position = fit.center.map(|at| at as f32 / (4 * side) as f32);
        let pattern = paint.mixed.then(|| paint::quarters(&canvas, piece, fit.center));
        objects.push(ReadObject {
            shape: fit.shape,
            color: pattern.map_or(paint.color, |pattern| pattern[0]),
            size: outline::size(side, fit.radius),
            texture: paint.texture,
            pattern,
            position,
            place: Place::of(position[0], position[1]),
            confidence: fit.overlap,
        });
    }
    Ok(Reading { ground, objects, unsure })
}

/// A picture and its background.
struct Canvas {
    side: usize,
    pixels: Vec<[f32; 3]>,
    /// The median of the border.
    ground: [f32; 3],
    /// How much of the border is near it.
    even: f32,
}

impl Canvas {
    fn new(image: &RgbImage) -> Canvas {
        let side = image.width;
        let (pixels, _) = image.pixels.as_chunks::<3>();
        let pixels: Vec<[f32; 3]> = pixels.iter().map(|pixel| pixel.map(f32::from)).collect();
        let on_border = |n: &usize| [n % side, n / side].iter().any(|at| *at == 0 || *at == side - 1);
        let border: Vec<[f32; 3]> = (0..side * side).filter(on_border).map(|n| pixels[n]).collect();
        let ground = median(&border);
        let near = border.iter().filter(|pixel| distance(**pixel, ground) <= pieces::APART).count();
        Canvas { side, pixels, ground, even: near as f32 / border.len() as f32 }
    }
}

fn distance(a: [f32; 3], b: [f32; 3]) -> f32 {
    (0..3).map(|c| (a[c] - b[c]).powi(2)).sum::<f32>().sqrt()
}

/// Channel by channel; black for nothing.
fn median(colors: &[[f32; 3]]) -> [f32; 3] {
    [0, 1, 2].map(|c| {
        let mut values: Vec<f32> = colors.iter().map(|color| color[c]).collect();
        values.sort_unstable_by(f32::total_cmp);
        values.get(values.len() / 2).copied().unwrap_or_default()
    })
}
