//! Outlines as coverage: how much of each pixel an object covers, exact to a quarter of a pixel.

use super::scene::Shape;
use std::sync::OnceLock;

/// Quarters of a pixel, the step of centres and radii.
pub(super) const QUARTERS: i32 = 4;

/// Samples along each axis of a pixel.
const SAMPLES: usize = 4;

/// Stamps for pictures of one size. Each is made when it is first asked for.
#[derive(Debug)]
pub(super) struct Stamps {
    /// Pixels that a stamp goes out from the pixel of its centre, on every side.
    pub reach: usize,
    /// Smallest radius, in quarters.
    first: i32,
    radii: usize,
    /// Sharp ones, then those blurred once and twice.
    stamps: Vec<OnceLock<Box<[f32]>>>,
}

/// Levels of blur that a recogniser compares with; 0 is sharp.
pub(super) const BLURS: usize = 3;

impl Stamps {
    /// Those for pictures of this side, which is 32 or 64.
    pub fn of(side: usize) -> &'static Stamps {
        static SMALL: OnceLock<Stamps> = OnceLock::new();
        static LARGE: OnceLock<Stamps> = OnceLock::new();
        let (stamps, side) = if side <= 32 { (&SMALL, 32) } else { (&LARGE, 64) };
        stamps.get_or_init(|| Stamps::new(side))
    }

    /// Radii from 4 to 8 of 32 pixels.
    fn new(side: usize) -> Stamps {
        let (first, last) = (side as i32 / 2, side as i32);
        let radii = (last - first) as usize + 1;
        let count = BLURS * Shape::ALL.len() * radii * 16;
        Stamps { reach: side / 4 + 2, first, radii, stamps: (0..count).map(|_| OnceLock::new()).collect() }
    }

    /// Pixels of a stamp's side.
    pub fn side(&self) -> usize {
        2 * self.reach + 1
    }

    /// Radii for which there are stamps, in quarters.
    pub fn radii(&self) -> std::ops::RangeInclusive<i32> {
        self.first..=self.first + self.radii as i32 - 1
    }

    /// The coverage of an outline whose centre lies `phase` quarters right of and below the corner of the stamp's middle pixel,
    /// row by row. Radii without a stamp get the nearest one.
    pub fn get(&self, shape: Shape, radius: i32, phase: [i32; 2]) -> &[f32] {
        self.blurred(shape, radius, phase, 0)
    }

    /// The same after blurring with [1 2 1]/4 along both axes as often as said, up to twice.
    pub fn blurred(&self, shape: Shape, radius: i32, phase: [i32; 2], blur: usize) -> &[f32] {
        let radius = radius.clamp(*self.radii().start(), *self.radii().end());
        let phase = phase.map(|quarters| quarters.rem_euclid(QUARTERS));
        let outline = (blur.min(BLURS - 1) * Shape::ALL.len() + shape as usize) * self.radii;
        let place = (outline + (radius - self.first) as usize) * 16 + (phase[1] * QUARTERS + phase[0]) as usize;
        self.stamps[place].get_or_init(|| match blur.min(BLURS - 1) {
            0 => self.make(shape, radius, phase),
            blur => blur_once(self.blurred(shape, radius, phase, blur - 1), self.side()),
        })
    }

    fn make(&self, shape: Shape, radius: i32, phase: [i32; 2]) -> Box<[f32]> {
        let side = self.side();
        let center = phase.map(|quarters| self.reach as f32 + quarters as f32 / QUARTERS as f32);
        let radius = radius as f32 / QUARTERS as f32;
        let covered = |place: usize| {
            let (x, y) = ((place % side) as f32, (place / side) as f32);
            let at = |n: usize| (n as f32 + 0.5) / SAMPLES as f32;
            let inside = |n: &usize| {
                let (dx, dy) = (x + at(n % SAMPLES) - center[0], y + at(n / SAMPLES) - center[1]);
                is_inside(shape, dx / radius, dy / radius)
            };
            (0..SAMPLES * SAMPLES).filter(inside).count() as f32 / (SAMPLES * SAMPLES) as f32
        };
        (0..side * side).map(covered).collect()
    }
}

fn blur_once(stamp: &[f32], side: usize) -> Box<[f32]> {
    let at = |x: i64, y: i64| match (0..side as i64).contains(&x) && (0..side as i64).contains(&y) {
        true => stamp[y as usize * side + x as usize],
        false => 0.0,
    };
    let along = |x, y| 0.25 * at(x - 1, y) + 0.5 * at(x, y) + 0.25 * at(x + 1, y);
    let pixel = |n: usize| {
        let (x, y) = ((n % side) as i64, (n / side) as i64);
        0.25 * along(x, y - 1) + 0.5 * along(x, y) + 0.25 * along(x, y + 1)
    };
    (0..side * side).map(pixel).collect()
}

/// The area of an outline of radius 1.
pub(super) fn unit_area(shape: Shape) -> f32 {
    match shape {
        Shape::Circle => std::f32::consts::PI,
        Shape::Square => 4.0 * 0.86 * 0.86,
        Shape::Triangle => 0.54 * 1.86 * 1.86,
        Shape::Diamond => 2.0 * 1.05 * 1.05,
        Shape::Cross => 4.0 * (2.0 * 0.36 - 0.36 * 0.36),
        Shape::Star => 5.0 * 1.05 * 0.48 * (std::f32::consts::PI / 5.0).sin(),
    }
}

/// Whether a point lies in an outline of radius 1 around the origin; `y` points down.
fn is_inside(shape: Shape, x: f32, y: f32) -> bool {
    match shape {
        Shape::Circle => x * x + y * y <= 1.0,
        Shape::Square => x.abs().max(y.abs()) <= 0.86,
        Shape::Triangle => y <= 0.86 && x.abs() <= 0.54 * (y + 1.0),
        Shape::Diamond => x.abs() + y.abs() <= 1.05,
        Shape::Cross => x.abs().max(y.abs()) <= 1.0 && x.abs().min(y.abs()) <= 0.36,
        Shape::Star => is_in_star(x, y),
    }
}

/// A star with five points at radius 1.05 and five notches at radius 0.48, one point up.
fn is_in_star(x: f32, y: f32) -> bool {
    use std::f32::consts::PI;
    let wedge = PI / 5.0;
    let angle = x.atan2(-y).rem_euclid(2.0 * wedge);
    // Mirrored into the half of a point: from its tip at angle 0 to the notch at angle `wedge`.
    let angle = angle.min(2.0 * wedge - angle);
    let (distance, tip, notch) = ((x * x + y * y).sqrt(), 1.05f32, 0.48f32);
    let (px, py) = (distance * angle.sin(), distance * angle.cos());
    let (nx, ny) = (notch * wedge.sin(), notch * wedge.cos());
    // Left of the edge from the tip (0, tip) to the notch (nx, ny), as seen from the centre.
    (py - tip) * nx - px * (ny - tip) <= 0.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn area(shape: Shape, radius: i32, phase: [i32; 2]) -> f32 {
        Stamps::of(32).get(shape, radius, phase).iter().sum()
    }

    #[test]
    fn areas_are_those_of_the_outlines() {
        for shape in Shape::ALL {
            let unit = unit_area(*shape);
            for phase in [[0, 0], [1, 3], [2, 2]] {
                let area = area(*shape, 28, phase);
                assert!((area / (49.0 * unit) - 1.0).abs() < 0.03, "{shape:?} {phase:?}: {area} for {}", 49.0 * unit);
            }
        }
    }

    #[test]
    fn stamps_end_within_their_frame_and_the_phase_moves_them() {
        for side in [32, 64] {
            let stamps = Stamps::of(side);
            let wide = stamps.side();
            for shape in Shape::ALL {
                let stamp = stamps.get(*shape, *stamps.radii().end(), [3, 3]);
                let edge = |n: &usize| n % wide == 0 || n % wide == wide - 1 || n / wide == 0 || n / wide == wide - 1;
                assert!((0..wide * wide).filter(edge).all(|n| stamp[n] == 0.0), "{shape:?} at {side}");
            }
            let mean = |phase| {
                let stamp = stamps.get(Shape::Circle, 20, [phase, 0]);
                let total: f32 = stamp.iter().sum();
                stamp.iter().enumerate().map(|(n, a)| a * (n % wide) as f32).sum::<f32>() / total
            };
            assert!((mean(3) - mean(0) - 0.75).abs() < 0.01);
        }
    }
}
