//! A scene as pixels.

use super::scene::{Object, Scene, Texture};
use super::stamp::{QUARTERS, Stamps};
use crate::image::RgbImage;

impl Scene {
    /// Its picture, antialiased: `pixel = (1 − a) · background + a · color`, with `a` the covered part of the pixel.
    pub fn render(&self) -> RgbImage {
        let ground = shifted(self.ground.rgb(), self.jitter);
        let mut pixels: Vec<u8> = ground.iter().copied().cycle().take(3 * self.side * self.side).collect();
        self.objects.iter().for_each(|object| paint(object, self.side, &mut pixels));
        RgbImage { width: self.side, height: self.side, pixels }
    }
}

fn shifted(rgb: [u8; 3], jitter: [i8; 3]) -> [u8; 3] {
    [0, 1, 2].map(|c| rgb[c].saturating_add_signed(jitter[c]))
}

fn paint(object: &Object, side: usize, pixels: &mut [u8]) {
    let stamps = Stamps::of(side);
    let stamp = stamps.get(object.shape, object.radius, object.center);
    let corner = object.center.map(|at| at.div_euclid(QUARTERS) - stamps.reach as i32);
    let plain = object.texture == Texture::Plain && object.pattern.is_none();
    let flat = shifted(object.color.rgb(), object.jitter).map(f32::from);
    for (n, &coverage) in stamp.iter().enumerate().filter(|(_, coverage)| **coverage > 0.0) {
        let (x, y) = (corner[0] + (n % stamps.side()) as i32, corner[1] + (n / stamps.side()) as i32);
        if !(0..side as i32).contains(&x) || !(0..side as i32).contains(&y) {
            continue;
        }
        let color = if plain { flat } else { textured(object, side, x, y) };
        let at = 3 * (y as usize * side + x as usize);
        for (pixel, color) in pixels[at..at + 3].iter_mut().zip(color) {
            *pixel = (f32::from(*pixel) + coverage * (color - f32::from(*pixel))).round() as u8;
        }
    }
}

/// The mean colour of an object in a pixel, from the middle of each of its sixteen squares of a quarter.
fn textured(object: &Object, side: usize, x: i32, y: i32) -> [f32; 3] {
    let mut sum = [0.0; 3];
    for n in 0..QUARTERS * QUARTERS {
        // In eighths of a pixel from the centre, so that middles of quarters are whole numbers.
        let dx = 2 * (QUARTERS * x + n % QUARTERS - object.center[0]) + 1;
        let dy = 2 * (QUARTERS * y + n / QUARTERS - object.center[1]) + 1;
        let color = shifted(color_at(object, side, dx, dy), object.jitter);
        sum = [0, 1, 2].map(|c| sum[c] + f32::from(color[c]) / (QUARTERS * QUARTERS) as f32);
    }
    sum
}

/// The colour of a point, in eighths of a pixel from the centre.
fn color_at(object: &Object, side: usize, dx: i32, dy: i32) -> [u8; 3] {
    if let Some(pattern) = object.pattern {
        return pattern[usize::from(dy > 0) * 2 + usize::from(dx > 0)].rgb();
    }
    let (band, apart, dot) = if side <= 32 { (20, 36, 11) } else { (28, 48, 15) };
    let shaded = match object.texture {
        Texture::Plain => false,
        Texture::Striped => (dy + band / 2).div_euclid(band) % 2 != 0,
        Texture::Dotted => {
            let off = |at: i32| (at + apart / 2).rem_euclid(apart) - apart / 2;
            off(dx).pow(2) + off(dy).pow(2) <= dot * dot
        }
    };
    if shaded { object.color.shade() } else { object.color.rgb() }
}

#[cfg(test)]
mod tests {
    use super::super::scene::{Color, Ground, Shape, Size};
    use super::*;

    fn scene(object: Object, side: usize) -> RgbImage {
        Scene { side, ground: Ground::Light, jitter: [0; 3], objects: vec![object] }.render()
    }

    fn square() -> Object {
        Object {
            shape: Shape::Square,
            color: Color::Red,
            size: Size::Large,
            texture: Texture::Plain,
            pattern: None,
            center: [64, 64],
            radius: 28,
            jitter: [0, -5, 5],
        }
    }

    fn at(image: &RgbImage, x: usize, y: usize) -> [u8; 3] {
        let n = 3 * (y * image.width + x);
        [image.pixels[n], image.pixels[n + 1], image.pixels[n + 2]]
    }

    #[test]
    fn pixels_are_the_colours_and_edges_are_mixed() {
        let image = scene(square(), 32);
        assert_eq!((at(&image, 0, 0), at(&image, 16, 16)), (Ground::Light.rgb(), [220, 35, 45]));
        // The edge at 16 + 6.02 covers nothing of pixel 22: its sixteenths begin at an eighth.
        assert_eq!((at(&image, 21, 16), at(&image, 22, 16)), ([220, 35, 45], Ground::Light.rgb()));
        let moved = scene(Object { center: [66, 64], ..square() }, 32);
        assert_eq!(at(&moved, 22, 16), [205, 113, 120]);
    }

    #[test]
    fn patterns_fill_quarters_and_textures_have_two_tones() {
        let pattern = [Color::Red, Color::Green, Color::Blue, Color::White];
        let image = scene(Object { pattern: Some(pattern), jitter: [0; 3], ..square() }, 32);
        for ((x, y), color) in [(13, 13), (18, 13), (13, 18), (18, 18)].into_iter().zip(pattern) {
            assert_eq!(at(&image, x, y), color.rgb());
        }
        let striped = scene(Object { texture: Texture::Striped, jitter: [0; 3], ..square() }, 32);
        assert_eq!((at(&striped, 16, 16), at(&striped, 16, 18)), (Color::Red.rgb(), Color::Red.shade()));
        assert_eq!(at(&striped, 12, 18), at(&striped, 16, 18));
        let dotted = scene(Object { texture: Texture::Dotted, jitter: [0; 3], ..square() }, 32);
        assert_eq!((at(&dotted, 16, 16), at(&dotted, 18, 18)), (Color::Red.shade(), Color::Red.rgb()));
    }

    #[test]
    fn objects_over_the_edge_are_cut() {
        let image = scene(Object { center: [-4, 130], ..square() }, 32);
        assert_eq!(at(&image, 0, 31), [220, 35, 45]);
        assert_eq!(at(&image, 31, 0), Ground::Light.rgb());
    }
}
