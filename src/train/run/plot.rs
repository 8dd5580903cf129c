//! The curves of a log as a picture: one panel a loss, over the steps, on a logarithmic scale where that shows more.
//!
//! Everything is drawn pixel by pixel, letters of 3 x 5 included, so that no font and no plotting library is needed.

use super::Line;
use crate::Result;
use crate::image::{RgbImage, write_png};
use std::collections::BTreeSet;
use std::path::Path;

const WIDTH: usize = 960;
const PANEL: usize = 260;
/// Room for numbers and titles: left, right, above and below a curve.
const MARGIN: [usize; 4] = [90, 20, 30, 30];
const BLACK: [u8; 3] = [0; 3];
const GREY: [u8; 3] = [221; 3];
const PALE: [u8; 3] = [170, 200, 235];

/// Colours of several curves in one panel.
const PALETTE: [[u8; 3]; 6] =
    [[20, 90, 170], [200, 50, 50], [40, 140, 60], [110, 160, 220], [230, 140, 120], [130, 190, 130]];

/// A curve of a panel.
pub struct Curve {
    /// What it is of.
    pub name: String,
    /// Step and value.
    pub points: Vec<(f64, f64)>,
}

/// Draws the log to a PNG file. A log without steps gives empty panels.
pub fn plot(lines: &[Line], path: &Path) -> Result<()> {
    let names: BTreeSet<&String> = lines.iter().flat_map(|line| line.losses.keys()).collect();
    let part = |name: &String| points(lines, |line| line.losses.get(name.as_str()).copied().flatten());
    let alone = |name: String, points| (name.clone(), vec![Curve { name, points }]);
    let mut panels = vec![alone("loss".into(), points(lines, |line| Some(line.loss)))];
    panels.extend(names.into_iter().map(|name| alone(name.clone(), part(name))));
    plot_curves(&panels, path)
}

/// Draws panels of curves to a PNG file. A curve that is alone in its panel shows every value; several have a name each.
pub fn plot_curves(panels: &[(String, Vec<Curve>)], path: &Path) -> Result<()> {
    let mut canvas = Canvas::new(WIDTH, PANEL * panels.len())?;
    for (at, (name, curves)) in panels.iter().enumerate() {
        panel(&mut canvas, at * PANEL, name, curves);
    }
    write_png(path, &canvas.0, &[])
}

/// Step and value.
fn points(lines: &[Line], value: impl Fn(&Line) -> Option<f32>) -> Vec<(f64, f64)> {
    lines.iter().filter_map(|line| Some((line.step as f64, f64::from(value(line)?)))).collect()
}

/// Curves with their axes: averages over the last fiftieth of the steps, and of a curve that is alone every value in pale.
fn panel(canvas: &mut Canvas, top: usize, name: &str, curves: &[Curve]) {
    let [left, right, above, below] = MARGIN;
    let (x0, x1, y0, y1) = (left, WIDTH - right, top + above, top + PANEL - below);
    let points = || curves.iter().flat_map(|curve| &curve.points);
    let values = || points().map(|p| p.1);
    let (least, most) = (values().fold(f64::INFINITY, f64::min), values().fold(f64::NEG_INFINITY, f64::max));
    let logarithmic = least > 0.0 && most > 10.0 * least;
    let scale = |value: f64| if logarithmic { value.ln() } else { value };
    let (low, high) = (scale(least), scale(most));
    let last = points().map(|p| p.0).fold(2.0, f64::max);
    canvas.text(x0, top + 10, name, BLACK);
    for tick in 0..=4 {
        let y = y1 - (y1 - y0) * tick / 4;
        let value = low + (high - low) * tick as f64 / 4.0;
        canvas.line((x0 as f64, y as f64), (x1 as f64, y as f64), GREY);
        if value.is_finite() {
            canvas.text(6, y.saturating_sub(5), &number(if logarithmic { value.exp() } else { value }), BLACK);
        }
        let x = x0 + (x1 - x0) * tick / 4;
        canvas.text(x.saturating_sub(16), y1 + 8, &format!("{:.0}", 1.0 + (last - 1.0) * tick as f64 / 4.0), BLACK);
    }
    let place = |step: f64, value: f64| {
        let height = if high > low { (scale(value) - low) / (high - low) } else { 0.5 };
        (x0 as f64 + (step - 1.0) / (last - 1.0) * (x1 - x0) as f64, y1 as f64 - height * (y1 - y0) as f64)
    };
    let draw = |canvas: &mut Canvas, points: &[(f64, f64)], colour| {
        points
            .windows(2)
            .for_each(|pair| canvas.line(place(pair[0].0, pair[0].1), place(pair[1].0, pair[1].1), colour));
    };
    let (mut x, y) = (x0 + 8 * (name.len() + 2), top + 10);
    for (curve, colour) in curves.iter().zip(PALETTE.into_iter().cycle()) {
        if curves.len() == 1 {
            draw(canvas, &curve.points, PALE);
        } else {
            canvas.text(x, y, &curve.name, colour);
            x += 8 * (curve.name.len() + 1);
        }
        draw(canvas, &smoothed(&curve.points), colour);
    }
    canvas.line((x0 as f64, y1 as f64), (x1 as f64, y1 as f64), BLACK);
    canvas.line((x0 as f64, y0 as f64), (x0 as f64, y1 as f64), BLACK);
}

fn smoothed(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let window = (points.len() / 50).max(1);
    let mean = |i: usize| {
        let part = &points[(i + 1).saturating_sub(window)..=i];
        part.iter().map(|p| p.1).sum::<f64>() / part.len() as f64
    };
    (0..points.len()).map(|i| (points[i].0, mean(i))).collect()
}

/// Three figures.
fn number(value: f64) -> String {
    match value.abs() {
        0.0 => "0".into(),
        0.01..100.0 => format!("{value:.3}"),
        100.0..1e6 => format!("{value:.0}"),
        _ => format!("{value:.2e}"),
    }
}

struct Canvas(RgbImage);

impl Canvas {
    fn new(width: usize, height: usize) -> Result<Canvas> {
        RgbImage::new(width, height, vec![255; width * height * 3]).map(Canvas)
    }

    fn dot(&mut self, x: usize, y: usize, colour: [u8; 3]) {
        if x < self.0.width && y < self.0.height {
            let at = (y * self.0.width + x) * 3;
            self.0.pixels[at..at + 3].copy_from_slice(&colour);
        }
    }

    /// A pixel for each step along the longer side.
    fn line(&mut self, from: (f64, f64), to: (f64, f64), colour: [u8; 3]) {
        let (dx, dy) = (to.0 - from.0, to.1 - from.1);
        let steps = dx.abs().max(dy.abs()).ceil().clamp(1.0, 10_000.0);
        for i in 0..=steps as usize {
            let t = i as f64 / steps;
            self.dot((from.0 + t * dx).round() as usize, (from.1 + t * dy).round() as usize, colour);
        }
    }

    /// Letters of twice 3 x 5 pixels.
    fn text(&mut self, x: usize, y: usize, text: &str, colour: [u8; 3]) {
        for (i, letter) in text.chars().enumerate() {
            let rows = glyph(letter);
            for (row, column) in (0..5).flat_map(|row| (0..3).map(move |column| (row, column))) {
                if rows >> (14 - row * 3 - column) & 1 == 1 {
                    let (x, y) = (x + 2 * (4 * i + column), y + 2 * row);
                    (0..4).for_each(|corner| self.dot(x + corner % 2, y + corner / 2, colour));
                }
            }
        }
    }
}

/// Five rows of three pixels, from the upper left; unknown letters are blank.
fn glyph(letter: char) -> u16 {
    const DIGITS: [u16; 10] =
        [0o75557, 0o26227, 0o71747, 0o71717, 0o55711, 0o74717, 0o74757, 0o71111, 0o75757, 0o75717];
    const LETTERS: [u16; 26] = [
        0o25755, 0o65656, 0o34443, 0o65556, 0o74647, 0o74644, 0o34553, 0o55755, 0o72227, 0o11152, 0o55655, 0o44447,
        0o57755, 0o65555, 0o25552, 0o65644, 0o25563, 0o65655, 0o34216, 0o72222, 0o55557, 0o55552, 0o55775, 0o55255,
        0o55222, 0o71247,
    ];
    match letter {
        '0'..='9' => DIGITS[letter as usize - '0' as usize],
        'a'..='z' => LETTERS[letter as usize - 'a' as usize],
        '.' => 0o00002,
        '-' => 0o00700,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::load;

    #[test]
    fn curves_are_drawn() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.png");
        let line = |step: u64| Line {
            step,
            loss: 9.0 / step as f32,
            losses: [("language".to_string(), Some(1.0)), ("diffusion".to_string(), None)].into(),
            norm: 1.0,
            rate: 0.0,
            samples: 1,
            tokens: 1,
            seconds: 0.1,
        };
        for steps in [0, 1, 100] {
            plot(&(1..=steps).map(line).collect::<Vec<_>>(), &path).unwrap();
            let drawn = load(&path).unwrap();
            assert_eq!((drawn.width, drawn.height), (WIDTH, PANEL * if steps == 0 { 1 } else { 3 }));
            let blue = drawn.pixels.chunks(3).filter(|pixel| *pixel == PALETTE[0]).count();
            assert_eq!(blue > 500, steps == 100, "{steps} steps: {blue} pixels");
        }
    }

    #[test]
    fn numbers_have_three_figures() {
        assert_eq!([0.0, 0.5, 12.3456, 1234.0, 2e-5].map(number), ["0", "0.500", "12.346", "1234", "2.00e-5"]);
    }
}
