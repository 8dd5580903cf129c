//! The way from configs to a model that draws and answers: `init`, two steps of every run of `configs/shapes/`, each from the folder
//! that the one before left, and `eval` of the last one. What they learn in earnest takes hours; that every run begins, saves and
//! is gone on from is tested here.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use dreamllm::weights::CheckpointFolder;
use std::path::Path;
use std::process::Command;

/// The names of the runs in their order.
fn runs() -> Vec<String> {
    let configs = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/configs/shapes")).unwrap();
    let names = configs.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let numbered =
        |name: String| name.strip_suffix(".toml").filter(|name| name.as_bytes()[0].is_ascii_digit()).map(String::from);
    let mut runs: Vec<String> = names.filter_map(numbered).collect();
    runs.sort();
    assert!(runs.len() >= 35, "{runs:?}");
    runs
}

fn dreamllm(arguments: &[&str]) -> String {
    let out = Command::new(env!("CARGO_BIN_EXE_dreamllm")).args(arguments).arg("-q").output().unwrap();
    assert!(out.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8(out.stdout).unwrap()
}

/// The committed config with two steps of three pictures, in another folder.
fn short(name: &str, folder: &Path) -> String {
    let config = concat!(env!("CARGO_MANIFEST_DIR"), "/configs/shapes/");
    let text = std::fs::read_to_string(format!("{config}{name}.toml")).unwrap();
    let line = |line: &str| match line.split(" = ").next().unwrap() {
        "steps" => "steps = 2".to_string(),
        "batch" => "batch = 3".to_string(),
        "show_every" => "show_every = 0".to_string(),
        "every" => "every = 1000".to_string(),
        // Put together by scripts/default-weights.sh; here the folder that all but the UNet is from.
        _ => line
            .replace("40-and-26", "40-stage3/final")
            .replace("41-deeper", "41-denoiser/final")
            .replace("44-and-43", "44-imitation/final")
            .replace("47-and-48", "48-denoiser/final")
            .replace("runs/shapes", &folder.display().to_string()),
    };
    text.lines().map(line).collect::<Vec<_>>().join("\n")
}

#[test]
fn every_step_of_the_default_model_goes_on_from_the_one_before() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).display().to_string();
    let configs = concat!(env!("CARGO_MANIFEST_DIR"), "/configs/shapes/model");
    dreamllm(&["init", configs, "-o", &at("0-untrained")]);
    let runs = runs();
    for name in &runs {
        let config = at(&format!("{name}.toml"));
        std::fs::write(&config, short(name, folder.path())).unwrap();
        dreamllm(&["train", "--config", &config]);
        let log = std::fs::read_to_string(at(&format!("{name}/log.jsonl"))).unwrap();
        assert_eq!(log.lines().count(), 2, "{name}: {log}");
        assert!(folder.path().join(name).join("final/model.safetensors.index.json").is_file(), "{name}");
    }
    // What was learned of latents stays true: the decoder's run changes nothing else.
    let encoded = |name: &str| {
        let folder = CheckpointFolder::open(at(&format!("{name}/final"))).unwrap();
        let of = |name: &str| folder.diffusion.require(name).unwrap().to_f32().unwrap();
        [of("vae.encoder.conv_in.weight"), of("vae.quant_conv.weight"), of("vae.decoder.conv_in.weight")]
    };
    let ([encoder, quant, decoder], after) = (encoded("08-denoiser"), encoded("09-decoder"));
    assert!(after[0] == encoder && after[1] == quant && after[2] != decoder);
    // A finished run has nothing left to do, and the last folder draws and answers, a little at least.
    let last = runs.last().unwrap();
    dreamllm(&["train", "--config", &at(&format!("{last}.toml")), "--resume"]);
    let model = at(&format!("{last}/final"));
    let report = dreamllm(&["eval", "-m", &model, "--count", "2", "--steps", "2", "--batch", "5", "--json"]);
    let report: serde_json::Value = serde_json::from_str(&report).unwrap();
    let tables = report["report"]["tables"].as_array().unwrap();
    let asked = |table: &str, row: &str| {
        let rows = tables.iter().find(|t| t["name"] == table).unwrap()["rows"].as_array().unwrap();
        rows.iter().find(|r| r["name"] == row).unwrap()["asked"].as_u64().unwrap()
    };
    assert_eq!(asked("pictures from prompts", "two objects"), 2);
    assert_eq!(asked("questions about one picture", "all"), 10);
    assert_eq!(asked("questions over two pictures", "all"), 5);
    assert_eq!(asked("compositions", "two pictures in one"), 2);
    // How it is best drawn came along from the configs.
    let drawing = Path::new(&model).join("drawing_config.json");
    assert_eq!(std::fs::read(drawing).unwrap(), std::fs::read(format!("{configs}/drawing_config.json")).unwrap());
}
