//! The same shapes on DreamLLM's engine, on burn's wgpu backend and on meganeura, in one run on one adapter.
//!
//! Prints time, GFLOP/s and the ratios; `--json` prints them for machines, `--filter NAME` picks cases, `--seconds N` is
//! the time for one case after warm-up. Every engine's result is compared with ours first: a faster wrong answer is none.

mod adamw;
mod cases;
mod clock;
mod engines;
mod host;
mod report;

use engines::Engines;
use host::Host;
use std::time::Duration;

/// Runs once and reads everything that was computed.
type Run = Box<dyn FnMut() -> Vec<Vec<f32>>>;

/// A shape, and the order of axes that turns a result into ours.
type Layout = (Vec<usize>, Vec<usize>);

/// One engine's part of a case.
pub struct Side {
    pub engine: &'static str,
    pub run: Run,
    /// Of every result, where it differs from ours.
    layouts: Vec<Layout>,
}

impl Side {
    pub fn new(engine: &'static str, run: impl FnMut() -> Vec<Vec<f32>> + 'static) -> Side {
        Side::boxed(engine, Box::new(run))
    }

    pub fn boxed(engine: &'static str, run: Run) -> Side {
        Side { engine, run, layouts: Vec::new() }
    }

    /// The layouts of the results; an empty shape leaves one as it is.
    pub fn arranged(mut self, layouts: Vec<Layout>) -> Side {
        self.layouts = layouts;
        self
    }

    /// Results in our memory order.
    fn arrange(&self, results: Vec<Vec<f32>>) -> Vec<Vec<f32>> {
        let in_place = |(i, data): (usize, Vec<f32>)| match self.layouts.get(i) {
            Some((shape, order)) if !shape.is_empty() => Host { data, shape: shape.clone() }.permuted(order).data,
            _ => data,
        };
        results.into_iter().enumerate().map(in_place).collect()
    }
}

/// What is compared.
pub struct Case {
    pub name: &'static str,
    pub flops: f64,
    /// Ours comes first.
    build: Box<dyn Fn(&Engines) -> Vec<Side>>,
}

impl Case {
    pub fn new(name: &'static str, flops: f64, build: impl Fn(&Engines) -> Vec<Side> + 'static) -> Case {
        Case { name, flops, build: Box::new(build) }
    }
}

struct Options {
    json: bool,
    filter: String,
    time: Duration,
}

fn options() -> Result<Options, String> {
    let mut options = Options { json: false, filter: String::new(), time: Duration::from_secs(8) };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or(format!("{word} needs a value"));
        match word.as_str() {
            "--json" => options.json = true,
            "--filter" => options.filter = value()?,
            "--seconds" => {
                let seconds = value()?.parse().map_err(|_| "--seconds needs a whole number".to_string())?;
                options.time = Duration::from_secs(seconds);
            }
            _ => return Err(format!("unknown argument {word}; there are --json, --filter NAME and --seconds N")),
        }
    }
    Ok(options)
}

/// Largest relative difference from ours that still counts as the same result.
const TOLERANCE: f64 = 1e-3;
const LEAST_ROUNDS: usize = 7;

fn run(case: &Case, engines: &Engines, time: Duration) -> report::Measured {
    let mut sides = (case.build)(engines);
    let results: Vec<Vec<Vec<f32>>> = sides
        .iter_mut()
        .map(|side| {
            let last = clock::warm_up(side);
            side.arrange(last)
        })
        .collect();
    let errors = results.iter().map(|theirs| {
        let pairs = results[0].iter().zip(theirs);
        let worst = pairs.map(|(a, b)| host::difference(b, a)).fold(0.0, f64::max);
        if theirs.len() == results[0].len() { worst } else { f64::INFINITY }
    });
    let errors: Vec<f64> = errors.collect();
    let samples = clock::in_turn(&mut sides, LEAST_ROUNDS, time);
    let results = sides.iter().zip(&samples).zip(errors).map(|((side, samples), error)| report::Timed {
        engine: side.engine,
        wall: clock::median(samples.iter().map(|s| s.wall).collect()),
        processor: clock::median(samples.iter().map(|s| s.processor).collect()),
        rounds: samples.len(),
        error,
    });
    report::Measured { name: case.name, flops: case.flops, results: results.collect() }
}

fn main() -> Result<(), String> {
    let options = options()?;
    let wanted: Vec<Case> = cases::all().into_iter().filter(|case| case.name.contains(&options.filter)).collect();
    if wanted.is_empty() {
        return Err(format!("no case is called {}", options.filter));
    }
    let engines = Engines::open().map_err(|e| e.to_string())?;
    let report = engines.gpu.report().clone();
    if !options.json {
        report::heading(&report);
    }
    let mut measured = Vec::new();
    for case in &wanted {
        let result = run(case, &engines, options.time);
        if !options.json {
            report::print(&result, TOLERANCE);
        }
        measured.push(result);
    }
    if options.json {
        println!("{:#}", report::json(&report, &measured));
    }
    match measured.iter().flat_map(|m| &m.results).all(|r| r.error <= TOLERANCE) {
        true => Ok(()),
        false => Err("an engine's result differs: its time means nothing".into()),
    }
}
