//! The table and the JSON.

use dreamllm::gpu::AdapterReport;
use serde_json::{Value, json};

/// One engine on one case.
pub struct Timed {
    pub engine: &'static str,
    /// Median seconds of a run.
    pub wall: f64,
    /// Median processor seconds of a run.
    pub processor: f64,
    pub rounds: usize,
    /// Largest difference from ours, relative to the largest magnitude.
    pub error: f64,
}

pub struct Measured {
    pub name: &'static str,
    pub flops: f64,
    /// Ours first.
    pub results: Vec<Timed>,
}

pub fn heading(adapter: &AdapterReport) {
    println!("adapter: {} ({}, {})", adapter.name, adapter.backend, adapter.driver);
    println!(
        "dreamllm {}, burn {} (wgpu, WGSL, autotune, fusion), meganeura {}",
        version("dreamllm"),
        version("burn"),
        version("meganeura")
    );
    println!(
        "medians; cpu: processor time of all threads; ours x: how many times faster ours is, by time and by processor time"
    );
    println!();
    println!(
        "{:<44} {:>9} {:>9} {:>9}  {:>7} {:>7}  {:>8}",
        "", "ms", "cpu ms", "GFLOP/s", "ours x", "by cpu", "differs"
    );
}

pub fn print(case: &Measured, tolerance: f64) {
    println!("{}", case.name);
    let ours = &case.results[0];
    for r in &case.results {
        let wrong = if r.error <= tolerance { "" } else { "  WRONG RESULT" };
        println!(
            "  {:<42} {:>9.2} {:>9.2} {:>9.2}  {:>7.2} {:>7.2}  {:>8.0e}{wrong}",
            r.engine,
            r.wall * 1e3,
            r.processor * 1e3,
            case.flops / r.wall / 1e9,
            r.wall / ours.wall,
            r.processor / ours.processor,
            r.error
        );
    }
}

pub fn json(adapter: &AdapterReport, measured: &[Measured]) -> Value {
    let case = |case: &Measured| {
        let ours = &case.results[0];
        let engine = |r: &Timed| {
            json!({
                "engine": r.engine, "ms": r.wall * 1e3, "processor_ms": r.processor * 1e3,
                "gflops": case.flops / r.wall / 1e9, "rounds": r.rounds, "difference": r.error,
                "ours_times_faster": r.wall / ours.wall, "ours_times_faster_by_processor": r.processor / ours.processor,
            })
        };
        json!({ "case": case.name, "flops": case.flops, "engines": case.results.iter().map(engine).collect::<Vec<_>>() })
    };
    json!({
        "adapter": { "name": adapter.name, "driver": adapter.driver, "backend": adapter.backend },
        "versions": { "dreamllm": version("dreamllm"), "burn": version("burn"), "meganeura": version("meganeura") },
        "cases": measured.iter().map(case).collect::<Vec<_>>(),
    })
}

/// The version that the lock file names.
fn version(package: &str) -> &'static str {
    let lock = include_str!("../Cargo.lock");
    let after = lock.split_once(&format!("name = \"{package}\"\nversion = \"")).map_or("\"", |(_, rest)| rest);
    after.split('"').next().unwrap_or_default()
}
