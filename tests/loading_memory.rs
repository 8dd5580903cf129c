//! Host memory while a checkpoint of 2 GB is loaded: `make test-large`.
//!
//! The checkpoint is made here: a decoder of 2.1 GB in f32 whose data is one hole in a sparse file, which is read like any
//! other data. A child process loads it and tells the high-water mark of its resident memory (`VmHWM`: its own memory and
//! the pages of mapped files). It loads to a device that computes nothing, whose buffers are host memory of the child too;
//! their bytes are known and taken off. That leaves the program, what is read and converted, and the driver's copies of
//! uploads that have not run.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use common::recording;
use dreamllm::gpu::DeviceClass;
use dreamllm::models::config::DreamConfig;
use dreamllm::models::llama::Llama;
use dreamllm::nn::{WeightFormat, Weights};
use dreamllm::weights::{StoredDType, TensorHeader, WeightFile, WeightSet, rename};
use std::path::Path;
use std::sync::Arc;

const MB: u64 = 1_000_000;
const CHILD: &str = "DREAMLLM_LOAD";
const VOCABULARY: usize = 32768; // a table of 256 MiB, the largest buffer of the recording device
const WIDTH: usize = 2048;
const WIDE: usize = 8192;
const LAYERS: usize = 6;

fn config() -> DreamConfig {
    DreamConfig {
        vocab_size: VOCABULARY,
        hidden_size: WIDTH,
        intermediate_size: WIDE,
        num_hidden_layers: LAYERS,
        num_attention_heads: 16,
        ..Default::default()
    }
}

fn tensors() -> Vec<TensorHeader> {
    let tensor = |name: String, shape: &[usize]| TensorHeader { name, dtype: StoredDType::F32, shape: shape.to_vec() };
    let table = [VOCABULARY, WIDTH];
    let mut all = vec![
        tensor("model.embed_tokens.weight".into(), &table),
        tensor("lm_head.weight".into(), &table),
        tensor("model.norm.weight".into(), &[WIDTH]),
    ];
    for layer in 0..LAYERS {
        let mut add =
            |name: &str, shape: &[usize]| all.push(tensor(format!("model.layers.{layer}.{name}.weight"), shape));
        ["q", "k", "v", "o"].iter().for_each(|p| add(&format!("self_attn.{p}_proj"), &[WIDTH, WIDTH]));
        ["gate", "up"].iter().for_each(|p| add(&format!("mlp.{p}_proj"), &[WIDE, WIDTH]));
        add("mlp.down_proj", &[WIDTH, WIDE]);
        ["input_layernorm", "post_attention_layernorm"].iter().for_each(|norm| add(norm, &[WIDTH]));
    }
    all
}

/// A header, and a hole for the data.
fn write_sparse(path: &Path) -> u64 {
    let (mut header, mut start) = (serde_json::Map::new(), 0);
    for tensor in tensors() {
        let end = start + tensor.bytes().unwrap();
        let about = serde_json::json!({ "dtype": "F32", "shape": tensor.shape, "data_offsets": [start, end] });
        header.insert(tensor.name, about);
        start = end;
    }
    let header = serde_json::Value::from(header).to_string();
    std::fs::write(path, [&(header.len() as u64).to_le_bytes()[..], header.as_bytes()].concat()).unwrap();
    std::fs::OpenOptions::new().write(true).open(path).unwrap().set_len(8 + header.len() as u64 + start).unwrap();
    start
}

fn high_water_mark() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

/// In the child: loads, and prints the high-water mark without the device's memory.
fn load(path: &Path, format: WeightFormat) -> u64 {
    let gpu = recording(DeviceClass::Software);
    let mut set = WeightSet::new();
    set.add(Arc::new(WeightFile::open(path).unwrap()), rename::language);
    let model = Llama::load(&Weights::root(&set, &gpu, format, &|_| ()), &config()).unwrap();
    let device = gpu.memory().0;
    drop(model);
    high_water_mark().saturating_sub(device)
}

#[test]
#[ignore = "reads 2 GB; make test-large runs it"]
fn host_memory_stays_under_the_largest_tensor_and_300_mb() {
    let formats =
        [("f32", WeightFormat::F32), ("f16", WeightFormat::F16), ("q8", WeightFormat::Q8), ("q4", WeightFormat::Q4)];
    if let Ok(job) = std::env::var(CHILD) {
        let (format, path) = job.split_once(' ').unwrap();
        let (_, format) = formats.iter().find(|(name, _)| *name == format).unwrap();
        println!("host bytes: {}", load(Path::new(path), *format));
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    let total = write_sparse(&path);
    let largest = tensors().iter().filter_map(TensorHeader::bytes).max().unwrap();
    assert!(total > 2_000 * MB && largest < 300 * MB);
    for (name, _) in formats {
        let mut child = std::process::Command::new(std::env::current_exe().unwrap());
        child.args(["--ignored", "--nocapture", "--exact", "host_memory_stays_under_the_largest_tensor_and_300_mb"]);
        let out = child.env(CHILD, format!("{name} {}", path.display())).output().unwrap();
        let said = String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr);
        let bytes = said.lines().find_map(|line| line.split_once("host bytes: ")?.1.parse::<u64>().ok());
        let bytes = bytes.unwrap_or_else(|| panic!("{said}"));
        println!(
            "{name}: {} MB of host memory to load {} MB, largest tensor {} MB",
            bytes / MB,
            total / MB,
            largest / MB
        );
        assert!(bytes < largest + 300 * MB, "{name}: {bytes} bytes");
    }
}
