//! From samples at each component's own resolution to rows of RGB: libjpeg's "fancy" upsampling (`jdsample.c`: the nearer
//! sample counts three times the farther one) and its colour conversion (`jdcolor.c`).

use super::frame::{Colours, Component, Frame};
use super::{Step, Stop, idct};
use crate::image::RgbImage;

/// The picture.
pub(super) fn to_rgb(frame: &Frame, colours: Colours) -> Step<RgbImage> {
    if frame.components.iter().any(|c| c.table.is_none()) {
        return Err(Stop::Truncated); // a component without any scan
    }
    let planes = frame.components.iter().map(|c| Plane::new(c, frame)).collect::<Step<Vec<_>>>()?;
    let mut pixels = Vec::with_capacity(frame.width * frame.height * 3);
    let mut rows = vec![Vec::new(); planes.len()];
    for y in 0..frame.height {
        for (plane, row) in planes.iter().zip(&mut rows) {
            row.clear();
            plane.row(y, row);
        }
        match rows.as_slice() {
            [grey] => pixels.extend(grey.iter().take(frame.width).flat_map(|&v| [v; 3])),
            [a, b, c] => {
                let colour = a.iter().zip(b).zip(c).take(frame.width);
                pixels.extend(colour.flat_map(|((&a, &b), &c)| rgb([a, b, c], colours)));
            }
            _ => return Err(Stop::Unsupported("this number of components")),
        }
    }
    RgbImage::new(frame.width, frame.height, pixels).map_err(|_| Stop::Truncated)
}

/// A component's samples, and how many times larger the picture is.
struct Plane<'a> {
    component: &'a Component,
    samples: Vec<u8>,
    stride: usize,
    times_x: usize,
    times_y: usize,
}

impl<'a> Plane<'a> {
    fn new(component: &'a Component, frame: &Frame) -> Step<Self> {
        if !frame.max_h.is_multiple_of(component.h) || !frame.max_v.is_multiple_of(component.v) {
            return Err(Stop::Unsupported("fractional sampling factors"));
        }
        let (times_x, times_y) = (frame.max_h / component.h, frame.max_v / component.v);
        let stride = component.blocks_x * 8;
        Ok(Self { component, samples: idct::samples(component), stride, times_x, times_y })
    }

    /// The samples of row `y` that belong to the picture; rows beyond it repeat the last one.
    fn stored(&self, y: usize) -> &[u8] {
        let start = y.min(self.component.height.saturating_sub(1)) * self.stride;
        self.samples.get(start..start + self.component.width).unwrap_or_default()
    }

    /// Appends row `y` of the picture, in its full width or a little more.
    fn row(&self, y: usize, out: &mut Vec<u8>) {
        let near = self.stored(y / self.times_y);
        // The other row that an upsampled one lies between.
        let below = y % self.times_y == 1;
        let far = self.stored(if below { y / 2 + 1 } else { (y / 2).saturating_sub(1) });
        match (self.times_x, self.times_y) {
            (1, 1) => out.extend(near),
            (2, 1) if near.len() > 2 => double(near, out),
            (2, 2) if near.len() > 2 => double_both(near, far, out),
            (1, 2) => {
                let bias = if below { 2 } else { 1 };
                out.extend(near.iter().zip(far).map(|(&n, &f)| ((u32::from(n) * 3 + u32::from(f) + bias) >> 2) as u8));
            }
            (times, _) => out.extend(near.iter().flat_map(|&sample| std::iter::repeat_n(sample, times))),
        }
    }
}

/// Twice as wide. Rounding alternates between down and up, so that no brightness is gained.
fn double(row: &[u8], out: &mut Vec<u8>) {
    let mix = |near: u8, far: u8, bias: u32| ((u32::from(near) * 3 + u32::from(far) + bias) >> 2) as u8;
    for (x, &sample) in row.iter().enumerate() {
        let before = x.checked_sub(1).and_then(|x| row.get(x));
        out.push(before.map_or(sample, |&before| mix(sample, before, 1)));
        out.push(row.get(x + 1).map_or(sample, |&after| mix(sample, after, 2)));
    }
}

/// Twice as wide, between two rows: the sums of both directions are rounded once.
fn double_both(near: &[u8], far: &[u8], out: &mut Vec<u8>) {
    let sum = |x: usize| Some(u32::from(*near.get(x)?) * 3 + u32::from(*far.get(x)?));
    for x in 0..near.len() {
        let this = sum(x).unwrap_or(0);
        let before = x.checked_sub(1).and_then(sum).unwrap_or(this);
        let after = sum(x + 1).unwrap_or(this);
        out.push(((this * 3 + before + 8) >> 4) as u8);
        out.push(((this * 3 + after + 7) >> 4) as u8);
    }
}

/// ITU-R BT.601, in 16-bit fixed point with libjpeg's rounding.
fn rgb([y, cb, cr]: [u8; 3], colours: Colours) -> [u8; 3] {
    if colours == Colours::Rgb {
        return [y, cb, cr];
    }
    const HALF: i32 = 1 << 15;
    let (y, cb, cr) = (i32::from(y), i32::from(cb) - 128, i32::from(cr) - 128);
    let red = y + ((91881 * cr + HALF) >> 16);
    let green = y + ((-22554 * cb - 46802 * cr + HALF) >> 16);
    let blue = y + ((116130 * cb + HALF) >> 16);
    [red, green, blue].map(|v| v.clamp(0, 255) as u8)
}
