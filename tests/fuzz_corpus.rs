//! The corpus of the fuzz targets, once through: no input may panic. `fuzz/README.md` says how it was found.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../fuzz/src/lib.rs"]
mod fuzz;

use std::path::Path;

fn replay(target: &str, run: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(files.len() > 3, "{target} has no corpus");
    for file in files {
        let bytes = std::fs::read(&file).unwrap();
        println!("{}", file.display()); // shown where the test fails
        run(&bytes);
    }
}

#[test]
fn safetensors() {
    replay("safetensors", fuzz::weights);
}

#[test]
fn gguf() {
    replay("gguf", fuzz::gguf);
}

#[test]
fn torch() {
    replay("torch", fuzz::torch);
}

#[test]
fn pictures() {
    replay("picture", fuzz::picture);
}

#[test]
fn tokenizers() {
    replay("tokenizer", fuzz::tokenizer);
}
