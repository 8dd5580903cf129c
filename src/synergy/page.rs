//! Pictures and answers side by side, of one seed. What is shown is chosen by a rule: the first tasks of each kind.

use super::cell::Cell;
use super::study::Study;
use super::{Findings, METRICS};
use crate::eval::{AnswerTask, Benchmark, DrawTask, Recorded, Request};
use crate::image::{base64, encode_png, replace_file, write_png};
use crate::interleaved::escaped;
use crate::train::run::{Curve, plot_curves, read_log};
use crate::{Error, Result};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

/// Tasks of each kind.
const SHOWN: usize = 6;
/// Where a cell keeps what the page shows.
pub(super) const FOLDER: &str = "shown";
const ANSWERS: &str = "answers.json";
const STYLE: &str = "body { font: 1em/1.4 sans-serif; margin: 2em } td, th { padding: .3em .6em; text-align: left; vertical-align: \
                     top; border-bottom: 1px solid #ddd } img { width: 64px; image-rendering: pixelated; display: block }";

/// The first tasks of each kind, with their names.
fn shown<T>(tasks: Vec<T>, table: impl Fn(&T) -> &'static str) -> Vec<(String, usize, T)> {
    let mut counts = BTreeMap::new();
    let mut chosen = Vec::new();
    for (at, task) in tasks.into_iter().enumerate() {
        let count = counts.entry(table(&task)).or_insert(0);
        *count += 1;
        if *count <= SHOWN {
            chosen.push((format!("{}-{count}", table(&task).replace(' ', "-")), at, task));
        }
    }
    chosen
}

/// Of each kind by its row, so that there are one object and two.
fn drawings(benchmark: &Benchmark) -> Vec<(String, usize, DrawTask)> {
    shown(benchmark.drawings(), |task| if task.table == "pictures from prompts" { task.row } else { task.table })
}

fn questions(benchmark: &Benchmark) -> Vec<(String, usize, AnswerTask)> {
    shown(benchmark.questions(), AnswerTask::table)
}

/// Keeps what a cell drew and answered.
pub(super) fn keep<M>(run: &Path, benchmark: &Benchmark, pupil: &Recorded<M>) -> Result<()> {
    let folder = run.join(FOLDER);
    std::fs::create_dir_all(&folder).map_err(|e| Error::file(&folder, e))?;
    for (name, at, _) in drawings(benchmark) {
        if let Some(picture) = pupil.drawn.get(at) {
            write_png(folder.join(format!("{name}.png")), picture, &[])?;
        }
    }
    let answers: BTreeMap<String, &String> =
        questions(benchmark).into_iter().filter_map(|(name, at, _)| Some((name, pupil.answers.get(at)?))).collect();
    let json = serde_json::to_vec_pretty(&answers).map_err(|e| Error::format(ANSWERS, e))?;
    replace_file(folder.join(ANSWERS), &json)
}

/// `index.html` and `curves.svg`.
pub(super) fn write(study: &Study, findings: &Findings) -> Result<()> {
    let benchmark = study.benchmark()?;
    let mut page = format!(
        "<!doctype html>\n<html><head><meta charset=\"utf-8\"><title>Synergy</title>\n<style>{STYLE}</style></head><body>\n\
         <h1>Does creating help understanding?</h1>\n"
    );
    table(&mut page, findings);
    pictures(&mut page, study, &benchmark)?;
    answers(&mut page, study, &benchmark)?;
    page += "</body></html>\n";
    replace_file(study.out.join("index.html"), page.as_bytes())?;
    curves(study)
}

fn line(page: &mut String, cells: impl IntoIterator<Item = String>) {
    let cells: String = cells.into_iter().map(|cell| format!("<td>{cell}</td>")).collect();
    let _ = writeln!(page, "<tr>{cells}</tr>"); // writing to a String cannot fail
}

fn heads(page: &mut String, heads: impl IntoIterator<Item = String>) {
    let cells: String = heads.into_iter().map(|cell| format!("<th>{cell}</th>")).collect();
    let _ = writeln!(page, "<table><tr>{cells}</tr>"); // writing to a String cannot fail
}

fn table(page: &mut String, findings: &Findings) {
    heads(page, std::iter::once(String::new()).chain(METRICS.map(|metric| metric.name.to_string())));
    for row in &findings.rows {
        let values = row.values.iter().zip(&METRICS).map(|(value, metric)| match value {
            Some(value) => value.to_text(metric.is_distance()),
            None => "–".into(),
        });
        line(page, std::iter::once(row.name.clone()).chain(values));
    }
    page.push_str("</table><ul>\n");
    for difference in &findings.differences {
        let _ = writeln!(page, "<li>{}</li>", escaped(&difference.to_string().replace("**", ""))); // as above
    }
    page.push_str("</ul>\n");
}

fn image(picture: &[u8]) -> String {
    format!("<img alt=\"\" src=\"data:image/png;base64,{}\">", base64(picture))
}

/// What is asked, its pictures in their places.
fn asked(request: &Request) -> Result<String> {
    let mut pictures = request.images.iter();
    let mut text = String::new();
    for (n, part) in request.text.split("<image>").enumerate() {
        if n > 0 {
            text += &pictures
                .next()
                .map(|picture| encode_png(picture, &[]))
                .transpose()?
                .map_or(String::new(), |png| image(&png));
        }
        text += &escaped(part);
    }
    Ok(text)
}

/// A file of a cell's folder as a picture, if it is there.
fn drawn(folder: &Path, name: &str) -> String {
    std::fs::read(folder.join(FOLDER).join(format!("{name}.png"))).map_or_else(|_| "–".into(), |png| image(&png))
}

fn pictures(page: &mut String, study: &Study, benchmark: &Benchmark) -> Result<()> {
    let cells: Vec<Cell> = Cell::all().into_iter().filter(|cell| cell.draws()).collect();
    let columns = cells.iter().map(|cell| cell.title()).chain(["given only the text".into()]);
    let seed = study.shown_seed();
    page.push_str(&format!("<h2>Pictures, seed {seed}</h2>\n"));
    heads(page, ["asked".to_string(), "right".to_string()].into_iter().chain(columns));
    for (name, _, task) in drawings(benchmark) {
        let mut row = vec![asked(&task.request)?, image(&encode_png(&task.real, &[])?)];
        row.extend(cells.iter().map(|cell| drawn(&study.folder(seed, *cell), &name)));
        let creation = Cell { objective: crate::data::Objective::Creation, interleaved: false };
        row.push(drawn(&study.folder(seed, creation).join("text-only"), &name));
        line(page, row);
    }
    page.push_str("</table>\n");
    Ok(())
}

fn answers(page: &mut String, study: &Study, benchmark: &Benchmark) -> Result<()> {
    let cells: Vec<Cell> = Cell::all().into_iter().filter(|cell| cell.answers()).collect();
    let seed = study.shown_seed();
    let said = |cell: &Cell| -> BTreeMap<String, String> {
        let file = study.folder(seed, *cell).join(FOLDER).join(ANSWERS);
        std::fs::read(file).ok().and_then(|json| serde_json::from_slice(&json).ok()).unwrap_or_default()
    };
    let said: Vec<_> = cells.iter().map(said).collect();
    page.push_str(&format!("<h2>Answers, seed {seed}</h2>\n"));
    heads(page, ["asked".to_string(), "right".to_string()].into_iter().chain(cells.iter().map(|cell| cell.title())));
    for (name, _, task) in questions(benchmark) {
        let answers = said.iter().map(|said| said.get(&name).map_or("–".into(), |answer| escaped(answer)));
        line(page, [asked(&task.request)?, task.answer.to_string()].into_iter().chain(answers));
    }
    page.push_str("</table>\n");
    Ok(())
}

/// The losses of the same seed, all cells in one picture.
fn curves(study: &Study) -> Result<()> {
    let mut panels = Vec::new();
    for loss in ["language", "diffusion"] {
        let mut curves = Vec::new();
        for cell in Cell::all() {
            let log = study.folder(study.shown_seed(), cell).join("log.jsonl");
            let lines = if log.is_file() { read_log(&log)? } else { Vec::new() };
            let points =
                lines.iter().filter_map(|line| Some((line.step as f64, f64::from(line.losses.get(loss).copied()??))));
            curves.push(Curve { name: cell.name(), points: points.collect() });
        }
        panels.push((loss.to_string(), curves));
    }
    plot_curves(&panels, &study.out.join("curves.svg"))
}
