//! `dreamllm synergy --budget smoke` with the default model, from the command to the report: cells are trained from the same weights
//! on the same records, a stopped study goes on, and the report has every number.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use serde_json::Value;
use std::path::Path;
use std::process::{Command, Output};

fn synergy(out: &Path, more: &[&str]) -> Output {
    let model = concat!(env!("CARGO_MANIFEST_DIR"), "/weights");
    let out = out.to_str().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_dreamllm"));
    command
        .args(["synergy", "--budget", "smoke", "--seeds", "1", "-m", model, "--out", out, "-q", "--json"])
        .args(more);
    command.output().unwrap()
}

fn json(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// The log of a cell.
fn log(cell: &Path) -> Vec<Value> {
    let log = std::fs::read_to_string(cell.join("log.jsonl")).unwrap();
    log.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn a_smoke_study_runs_goes_on_and_reports() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("report");
    let run = synergy(&out, &[]);
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));

    let report = json(&out.join("report.json"));
    let outcomes = report["outcomes"].as_array().unwrap();
    assert_eq!(outcomes.len(), 6);
    assert_eq!(report["rows"].as_array().unwrap().len(), 7);
    // Two metrics of words and six of pictures, without documents and with them.
    assert_eq!(report["differences"].as_array().unwrap().len(), 16);
    assert_eq!(outcomes.iter().filter(|outcome| !outcome["text_only"].is_null()).count(), 1);
    let markdown = std::fs::read_to_string(out.join("report.md")).unwrap();
    assert_eq!(markdown.matches("one seed, so nothing can be concluded").count(), 16);
    let page = std::fs::read_to_string(out.join("index.html")).unwrap();
    assert!(page.matches("data:image/png;base64,").count() > 100);
    assert!(out.join("curves.svg").is_file() && !out.join(".trial").exists());

    // Every cell saw as many records; the loss of the other half is nowhere, or counts nothing.
    let seed = out.join("seed-0");
    for documents in ["", "-interleaved"] {
        let cell = |name: &str| log(&seed.join(format!("{name}{documents}")));
        let [joint, words, pictures] = ["joint", "comprehension", "creation"].map(cell);
        let sums = |log: &[Value]| (log.len(), log.iter().map(|line| line["samples"].as_u64().unwrap()).sum::<u64>());
        assert!([&joint, &words, &pictures].iter().all(|log| sums(log) == (12, 48)), "{documents}");
        let has = |log: &[Value], loss: &str| log.iter().any(|line| line["losses"][loss].is_number());
        assert!(has(&joint, "language") && has(&joint, "diffusion"));
        assert!(has(&words, "language") && has(&pictures, "diffusion"));
        let total = |line: &Value| line["loss"].as_f64().unwrap();
        let part = |line: &Value, name: &str, weight: f64| line["losses"][name].as_f64().unwrap_or(0.0) * weight;
        let near = |a: f64, b: f64| (a - b).abs() <= 1e-4 * a.abs().max(1.0);
        assert!(words.iter().all(|line| near(total(line), part(line, "language", 1.0))));
        assert!(pictures.iter().all(|line| near(total(line), part(line, "diffusion", 10.0))));
    }

    // What is measured stays; only what is missing is done again.
    let kept = seed.join("joint/result.json");
    let before = std::fs::metadata(&kept).unwrap().modified().unwrap();
    std::fs::remove_dir_all(seed.join("creation-interleaved")).unwrap();
    let again = synergy(&out, &[]);
    assert!(again.status.success(), "{}", String::from_utf8_lossy(&again.stderr));
    assert_eq!(std::fs::metadata(&kept).unwrap().modified().unwrap(), before);
    let repeated = json(&out.join("report.json"));
    assert_eq!(repeated["rows"], report["rows"], "the same seed gives other figures");

    // What another machine has measured, as another seed, is found and not measured again.
    let shared = folder.path().join("shared");
    std::fs::create_dir_all(&shared).unwrap();
    std::fs::copy(out.join("study.json"), shared.join("study.json")).unwrap();
    std::fs::rename(&seed, shared.join("seed-3")).unwrap();
    let found = synergy(&shared, &["--first-seed", "3"]);
    assert!(found.status.success(), "{}", String::from_utf8_lossy(&found.stderr));
    assert_eq!(json(&shared.join("report.json"))["rows"], report["rows"]);
    assert!(shared.join("curves.svg").is_file() && std::fs::read_dir(&shared).unwrap().count() == 6);

    let other = synergy(&out, &["--steps", "3"]);
    assert_eq!(other.status.code(), Some(1));
    let error = String::from_utf8_lossy(&other.stderr).into_owned();
    assert!(error.lines().count() == 1 && error.contains("another model or budget"), "{error}");
}
