//! The curves of a log as an SVG picture: one panel a loss, over the steps, on a logarithmic scale where that shows more.

use super::Line;
use crate::image::replace_file;
use crate::{Error, Result};
use plotters::coord::Shift;
use plotters::coord::ranged1d::{Ranged, ValueFormatter};
use plotters::coord::types::RangedCoordf64;
use plotters::prelude::*;
use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::path::Path;

/// Pixels of a panel.
const SIZE: (u32, u32) = (960, 260);
/// Points of a curve that are drawn, about one a pixel.
const POINTS: usize = 1000;
/// What is drawn on: the panels one below the other.
type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
/// Drawing into a string does not fail, but the library's signatures say that it may.
type Drawn = std::result::Result<(), Box<dyn std::error::Error>>;

/// A curve of a panel.
pub struct Curve {
    /// What it is of.
    pub name: String,
    /// Step and value.
    pub points: Vec<(f64, f64)>,
}

/// Draws the log to an SVG file. A log without steps gives empty panels.
pub fn plot(lines: &[Line], path: &Path) -> Result<()> {
    let names: BTreeSet<&String> = lines.iter().flat_map(|line| line.losses.keys()).collect();
    let part = |name: &String| points(lines, |line| line.losses.get(name.as_str()).copied().flatten());
    let alone = |name: String, points| (name.clone(), vec![Curve { name, points }]);
    let mut panels = vec![alone("loss".into(), points(lines, |line| Some(line.loss)))];
    panels.extend(names.into_iter().map(|name| alone(name.clone(), part(name))));
    plot_curves(&panels, path)
}

/// Draws panels of curves to an SVG file. A curve that is alone in its panel shows its values in pale as well; several have a name each.
pub fn plot_curves(panels: &[(String, Vec<Curve>)], path: &Path) -> Result<()> {
    let mut svg = String::new();
    draw(&mut svg, panels).map_err(|why| Error::file(path, why))?;
    replace_file(path, svg.as_bytes())
}

fn draw(svg: &mut String, panels: &[(String, Vec<Curve>)]) -> Drawn {
    let count = panels.len().max(1);
    let root = SVGBackend::with_string(svg, (SIZE.0, SIZE.1 * count as u32)).into_drawing_area();
    root.fill(&WHITE)?;
    for (area, (name, curves)) in root.split_evenly((count, 1)).iter().zip(panels) {
        panel(area, name, curves)?;
    }
    Ok(root.present()?)
}

/// Step and value, where that is a number.
fn points(lines: &[Line], value: impl Fn(&Line) -> Option<f32>) -> Vec<(f64, f64)> {
    let point = |line: &Line| Some((line.step as f64, f64::from(value(line).filter(|value| value.is_finite())?)));
    lines.iter().filter_map(point).collect()
}

/// The axes of a panel, and its curves.
fn panel(area: &Area, name: &str, curves: &[Curve]) -> Drawn {
    let points = || curves.iter().flat_map(|curve| &curve.points);
    let values = || points().map(|point| point.1);
    let (least, most) = (values().fold(f64::INFINITY, f64::min), values().fold(f64::NEG_INFINITY, f64::max));
    let steps = 1.0..points().map(|point| point.0).fold(2.0, f64::max);
    let mut chart = ChartBuilder::on(area);
    chart.caption(name, ("sans-serif", 16)).margin(8).margin_right(24).x_label_area_size(24).y_label_area_size(64);
    if least > 0.0 && most > 10.0 * least && most.is_finite() {
        return lines(chart.build_cartesian_2d(steps, (least..most).log_scale())?, curves);
    }
    let range = match least.partial_cmp(&most) {
        Some(Ordering::Less) => least..most,
        Some(Ordering::Equal) => least - 1.0..most + 1.0,
        _ => 0.0..1.0, // no value
    };
    lines(chart.build_cartesian_2d(steps, range)?, curves)
}

/// Averages over the last fiftieth of the steps, and of a curve that is alone the values themselves in pale.
fn lines<'a, Y: Ranged<ValueType = f64> + ValueFormatter<f64>>(
    mut chart: ChartContext<'a, SVGBackend<'a>, Cartesian2d<RangedCoordf64, Y>>,
    curves: &[Curve],
) -> Drawn {
    let (step, value) = (|step: &f64| format!("{step:.0}"), |value: &f64| number(*value));
    chart
        .configure_mesh()
        .x_label_formatter(&step)
        .y_label_formatter(&value)
        .y_labels(5)
        .light_line_style(TRANSPARENT)
        .draw()?;
    let alone = curves.len() == 1;
    for (n, curve) in curves.iter().enumerate() {
        let color = Palette99::pick(n).to_rgba();
        if alone {
            chart.draw_series(LineSeries::new(thinned(&curve.points), color.mix(0.3)))?;
        }
        let drawn = chart.draw_series(LineSeries::new(thinned(&smoothed(&curve.points)), color.stroke_width(2)))?;
        if !alone {
            drawn
                .label(&curve.name)
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], color.stroke_width(2)));
        }
    }
    if !alone {
        chart.configure_series_labels().background_style(WHITE.mix(0.8)).border_style(TRANSPARENT).draw()?;
    }
    Ok(())
}

/// At most [`POINTS`] of them, evenly spread.
fn thinned(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    points.iter().copied().step_by(points.len().div_ceil(POINTS).max(1)).collect()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn curves_are_drawn() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.svg");
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
        for steps in [0, 1, 100, 5000] {
            plot(&(1..=steps).map(line).collect::<Vec<_>>(), &path).unwrap();
            let drawn = std::fs::read_to_string(&path).unwrap();
            // A panel for the whole and for either part; of a part that was never there the panel is empty.
            let panels = if steps == 0 { 1 } else { 3 };
            assert!(drawn.starts_with(&format!("<svg width=\"{}\" height=\"{}\"", SIZE.0, SIZE.1 * panels)), "{drawn}");
            assert_eq!(
                ["loss", "language", "diffusion"].map(|name| drawn.contains(name)),
                [true, steps > 0, steps > 0]
            );
            assert!(drawn.len() < 200_000, "{} bytes", drawn.len());
            // The values and their averages are a line each, with as many corners as are shown.
            let lines: Vec<usize> = drawn.split("<polyline").skip(1).map(corners).collect();
            assert_eq!(
                lines.iter().filter(|corners| **corners as u64 == steps.min(1000)).count(),
                if steps > 0 { 4 } else { 0 }
            );
        }
    }

    /// Points of the polyline that a part of an SVG file begins with.
    fn corners(line: &str) -> usize {
        let points = line.split("points=\"").nth(1).unwrap();
        points.split('"').next().unwrap().split_whitespace().count()
    }

    #[test]
    fn several_curves_have_their_names() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.svg");
        let curve = |n: usize| Curve { name: format!("curve {n}"), points: vec![(1.0, 1.0), (2.0, n as f64)] };
        plot_curves(&[("all".into(), (0..8).map(curve).collect())], &path).unwrap();
        let drawn = std::fs::read_to_string(&path).unwrap();
        assert!((0..8).all(|n| drawn.contains(&format!("curve {n}"))), "{drawn}");
    }

    #[test]
    fn numbers_have_three_figures() {
        assert_eq!([0.0, 0.5, 12.3456, 1234.0, 2e-5].map(number), ["0", "0.500", "12.346", "1234", "2.00e-5"]);
    }
}
