//! `dreamllm train` as a user runs it: it learns by heart, it is killed and goes on, it says what is wrong with a config.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use common::tiny;
use dreamllm::image::{RgbImage, load, write_png};
use dreamllm::random::philox::uniforms;
use dreamllm::train::run::{Line, read_log};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

const CAPTIONS: [&str; 8] = [
    "A red square.",
    "A green circle.",
    "A blue stripe.",
    "The sky turns pink.",
    "Snow covers the mountains.",
    "A cup of coffee.",
    "An open book.",
    "A dog runs.",
];

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn dreamllm(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dreamllm"));
    command.args(arguments).stdin(Stdio::null());
    command
}

fn train(config: &Path, more: &[&str]) -> Output {
    dreamllm(&[&["train", "--config", config.to_str().unwrap()], more].concat()).output().unwrap()
}

/// A picture of two colours, n of a kind.
fn picture(n: usize) -> RgbImage {
    let colour = |k: usize| [37, 91, 151].map(|step: usize| (step * (2 * n + k + 1) % 256) as u8);
    let inside = |x: usize, y: usize| match n % 3 {
        0 => (8..24).contains(&x) && (8..24).contains(&y),
        1 => (x as i32 - 16).pow(2) + (y as i32 - 16).pow(2) < 120,
        _ => (8..24).contains(&((x + n) % 32)),
    };
    let pixels = (0..32 * 32).flat_map(|at| colour(usize::from(inside(at % 32, at / 32)))).collect();
    RgbImage::new(32, 32, pixels).unwrap()
}

/// Eight pairs and a document in a folder.
fn data(folder: &Path) {
    let names: Vec<String> = (0..8).map(|n| format!("{n}.png")).collect();
    (0..8).for_each(|n| write_png(folder.join(&names[n]), &picture(n), &[]).unwrap());
    let pair = |n: usize| serde_json::json!({ "image": names[n], "text": CAPTIONS[n] }).to_string() + "\n";
    std::fs::write(folder.join("pairs.jsonl"), (0..8).map(pair).collect::<String>()).unwrap();
    let document = serde_json::json!([{
        "text_list": ["First a square.", "Then a circle."],
        "image_info": [{ "image_name": "0.png", "matched_text_index": 0 }, { "image_name": "1.png", "matched_text_index": 1 }],
    }]);
    std::fs::write(folder.join("documents.json"), document.to_string()).unwrap();
}

/// A config file in the folder, for data in the folder.
fn config(folder: &Path, head: &str, rest: &str) -> PathBuf {
    let path = folder.join("train.toml");
    let at = |name: &str| folder.join(name).display().to_string();
    let text = format!(
        "model = {:?}\nout = {:?}\n{head}\n[data]\nmax_length = 256\n\
         [[data.sources]]\npath = {:?}\n[[data.sources]]\npath = {:?}\nkind = \"documents\"\n{rest}\n",
        tiny(),
        at("run"),
        at("pairs.jsonl"),
        at("documents.json"),
    );
    std::fs::write(&path, text).unwrap();
    path
}

fn log(folder: &Path) -> Vec<Line> {
    read_log(&folder.join("run/log.jsonl")).unwrap()
}

const ALL: &str = "[trained]\ndecoder = true\nvisual_projector = true\ncondition_projector = true\ndream_queries = true\n\
                   clip = true\nclip_embeddings = true\nunet = true\nvae = false\n";

#[test]
fn eight_pairs_and_a_document_are_learned_by_heart() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    data(folder);
    let steps = std::env::var("STEPS").unwrap_or("200".into());
    let rate = std::env::var("RATE").unwrap_or("2e-3".into());
    let rest = format!("{ALL}[optimiser]\nrate = {rate}\nwarmup = 0.02\n[save]\nevery = 1000\nkeep = 1");
    let config = config(folder, &format!("steps = {steps}\nbatch = 8\nactivation_checkpoints = false\n"), &rest);
    let out = train(&config, &[]);
    assert!(out.status.success(), "{}", text(&out.stderr));
    println!("{}", text(&out.stderr));
    for line in log(folder).iter().filter(|line| line.step % 10 == 1) {
        println!("{} {:?} {}", line.step, line.losses, line.seconds);
    }
    _ = (load(folder.join("0.png")), uniforms(1, 2, 3), Duration::ZERO);
}
