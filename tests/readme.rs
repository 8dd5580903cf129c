//! The README's commands, as they stand there: every line of a `sh` block that begins with `dreamllm` is run by a shell, in a
//! folder with the pictures that it names, and the help of its verb is printed.
//!
//! Six things differ, so that this takes seconds: CHECKPOINT is the tiny one, what draws or writes gets two steps and four tokens
//! appended, data gets five records, `eval` and `synergy` do as little as they can, every config is the tiny checkpoint's with two
//! steps, and `verify` finds only one recorded stage (`tests/parity.rs` runs all).
#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use common::tiny;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Output, Stdio};

/// The commands of the README, without their comments.
fn commands() -> Vec<String> {
    let readme = include_str!("../README.md");
    let blocks = readme.split("```sh\n").skip(1).map(|block| block.split("```").next().unwrap());
    let lines = blocks.flat_map(str::lines).filter(|line| line.starts_with("dreamllm "));
    lines.map(|line| line.split(" # ").next().unwrap().trim().to_string()).collect()
}

/// What is appended to a verb's arguments.
fn appended(verb: &str) -> &'static str {
    match verb {
        "dream" => " --steps 2",
        "ask" => " --max-tokens 4",
        "data" => " --count 5",
        "eval" => " --count 1 --steps 2",
        "synergy" => " --budget smoke --seeds 1 --steps 1 --prepare 1 --tasks 1",
        "chat" | "compose" => " --steps 2 --max-tokens 4",
        _ => "",
    }
}

/// The tiny checkpoint with one recorded stage.
fn checkpoint(root: &Path) {
    std::fs::create_dir_all(root.join("reference")).unwrap();
    for entry in std::fs::read_dir(tiny()).unwrap().map(Result::unwrap).filter(|e| e.file_name() != "reference") {
        symlink(entry.path(), root.join(entry.file_name())).unwrap();
    }
    for name in ["images", "clip_vision.json", "clip_vision.safetensors", "meta.json"] {
        symlink(tiny().join("reference").join(name), root.join("reference").join(name)).unwrap();
    }
}

/// Every config that is named: that of the tiny checkpoint with two steps and a run of its own.
fn configs(root: &Path) {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR"));
    symlink(repository.join("tests"), root.join("tests")).unwrap();
    symlink(repository.join("configs/shapes/model"), root.join("CONFIGS")).unwrap();
    std::fs::create_dir(root.join("configs")).unwrap();
    let tiny = std::fs::read_to_string(repository.join("configs/tiny.toml")).unwrap();
    for (name, run) in
        [("FILE", "runs/file"), ("configs/tiny.toml", "runs/tiny"), ("configs/stage2.toml", "runs/stage2")]
    {
        let short = tiny.replace("steps = 40", "steps = 2").replace("runs/tiny", run);
        assert!(short.contains("steps = 2\n") && short.contains(run));
        std::fs::write(root.join(name), short).unwrap();
    }
}

fn shell(line: &str, folder: &Path) -> Output {
    let binary = Path::new(env!("CARGO_BIN_EXE_dreamllm"));
    let path = format!("{}:{}", binary.parent().unwrap().display(), std::env::var("PATH").unwrap_or_default());
    let mut command = Command::new("sh");
    command.args(["-c", line]).current_dir(folder).env("PATH", path).env("HOME", folder).stdin(Stdio::null());
    command.output().unwrap()
}

#[test]
fn every_command_of_the_readme_runs() {
    let folder = tempfile::tempdir().unwrap();
    checkpoint(&folder.path().join("CHECKPOINT"));
    for picture in ["cat.jpg", "room.jpg"] {
        symlink(tiny().join("reference/images/rgb_64x48.jpg"), folder.path().join(picture)).unwrap();
    }
    configs(folder.path());
    let commands = commands();
    assert!(commands.len() >= 8, "{commands:?}");
    for line in &commands {
        let verb = line.split(' ').nth(1).unwrap();
        let out = shell(&format!("{line}{}", appended(verb)), folder.path());
        assert!(out.status.success(), "{line}: {}", String::from_utf8_lossy(&out.stderr));
        let help = shell(&format!("dreamllm {verb} --help"), folder.path());
        assert!(String::from_utf8_lossy(&help.stdout).contains("Examples:"), "{verb} --help has no example");
    }
    for made in ["dog.png", "dream.png", "winter/document.html", "dreamllm.bash", "man/dreamllm-dream.1"] {
        let length = std::fs::metadata(folder.path().join(made)).map(|found| found.len()).unwrap_or(0);
        assert!(length > 100, "{made} has {length} bytes");
    }
}

/// Every verb that the README's text shows is one.
#[test]
fn every_verb_of_the_readme_has_help() {
    let readme = include_str!("../README.md");
    let mut verbs: Vec<&str> = (readme.split("`dreamllm ").skip(1))
        .map(|rest| rest.split(|c: char| !c.is_ascii_alphabetic()).next().unwrap())
        .collect();
    verbs.sort_unstable();
    verbs.dedup();
    assert!(verbs.contains(&"doctor") && verbs.contains(&"bench"), "{verbs:?}");
    for verb in verbs {
        let out = shell(&format!("dreamllm {verb} --help"), Path::new("/"));
        assert!(out.status.success(), "{verb}: {}", String::from_utf8_lossy(&out.stderr));
    }
}
