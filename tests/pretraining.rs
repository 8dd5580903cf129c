//! The way from configs to a model that draws: `init`, then two steps of every pretraining of `configs/shapes/`, each from the
//! folder that the one before left. What they learn in earnest takes hours; that every step runs, saves and goes on is tested here.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::path::Path;
use std::process::Command;

const STEPS: [&str; 4] = ["1-autoencoder", "2-denoiser", "3-image-encoder", "4-imitation"];

fn dreamllm(arguments: &[&str]) {
    let out = Command::new(env!("CARGO_BIN_EXE_dreamllm")).args(arguments).arg("-q").output().unwrap();
    assert!(out.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&out.stderr));
}

/// The committed config with two steps of three pictures, in another folder.
fn short(name: &str, folder: &Path) -> String {
    let config = concat!(env!("CARGO_MANIFEST_DIR"), "/configs/shapes/");
    let text = std::fs::read_to_string(format!("{config}{name}.toml")).unwrap();
    let line = |line: &str| match line.split(" = ").next().unwrap() {
        "steps" => "steps = 2".to_string(),
        "batch" => "batch = 3".to_string(),
        "show_every" => "show_every = 0".to_string(),
        _ => line.replace("runs/shapes", &folder.display().to_string()),
    };
    text.lines().map(line).collect::<Vec<_>>().join("\n")
}

#[test]
fn every_step_of_the_default_model_goes_on_from_the_one_before() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).display().to_string();
    let configs = concat!(env!("CARGO_MANIFEST_DIR"), "/configs/shapes/model");
    dreamllm(&["init", configs, "-o", &at("0-untrained")]);
    for name in STEPS {
        let config = at(&format!("{name}.toml"));
        std::fs::write(&config, short(name, folder.path())).unwrap();
        dreamllm(&["train", "--config", &config]);
        let log = std::fs::read_to_string(at(&format!("{name}/log.jsonl"))).unwrap();
        assert_eq!(log.lines().count(), 2, "{name}: {log}");
        assert!(folder.path().join(name).join("final-ema/model.safetensors.index.json").is_file(), "{name}");
    }
    // A finished run has nothing left to do, and the last folder draws.
    dreamllm(&["train", "--config", &at("4-imitation.toml"), "--resume"]);
    let picture = at("a.png");
    dreamllm(&["dream", "a small red circle", "-m", &at("4-imitation/final-ema"), "--steps", "2", "-o", &picture]);
    assert!(std::fs::metadata(picture).unwrap().len() > 100);
}
