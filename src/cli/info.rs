//! `dreamllm info`: what a checkpoint holds and needs.

use super::{Output, device};
use crate::Result;
use crate::info::{Info, info};
use crate::tensor::format_bytes;
use clap::Args;
use std::path::PathBuf;

const EXAMPLES: &str = "\
Examples:
  dreamllm info CHECKPOINT
  dreamllm info CHECKPOINT --json";

#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct InfoArguments {
    /// A checkpoint's folder, or one file of weights (safetensors, a torch .bin, GGUF).
    checkpoint: PathBuf,
    #[command(flatten)]
    source: device::SourceArguments,
}

impl InfoArguments {
    pub async fn run(&self, output: &Output) -> Result<()> {
        let info = info(&self.checkpoint, &self.source.options()).await?;
        if output.json {
            say!("{}", serde_json::json!(info));
        } else {
            print(&info);
        }
        Ok(())
    }
}

fn print(info: &Info) {
    let fingerprint = info.fingerprint.as_ref().map(|hash| format!(", model hash {hash}")).unwrap_or_default();
    say!("{}{fingerprint}", info.kind);
    say!("\n{:<20} {:>8} {:>15} {:>12}  stored as", "part", "tensors", "parameters", "in the files");
    for part in &info.parts {
        let types: Vec<&str> = part.dtypes.keys().map(String::as_str).collect();
        let size = format_bytes(part.bytes);
        say!("{:<20} {:>8} {:>15} {size:>12}  {}", part.name, part.tensors, part.parameters, types.join(", "));
    }
    if let Some(first) = info.unused.first() {
        say!("not used: {} tensors, such as {first}", info.unused.len());
    }
    if info.memory.is_empty() {
        return;
    }
    say!("\nDevice memory of the weights, by --weights ({}: without it):", info.memory[0].weights);
    let names = info.memory.iter().map(|memory| format!("{:>11}", memory.weights)).collect::<String>();
    say!("{:<20}{names}", "");
    for (i, (part, _)) in info.memory[0].parts.iter().enumerate() {
        row(&part.to_string(), info.memory.iter().map(|memory| memory.parts[i].1));
    }
    row("all at once", info.memory.iter().map(|memory| memory.together));
    row("with --low-memory", info.memory.iter().map(|memory| memory.in_turn));
}

fn row(name: &str, sizes: impl Iterator<Item = u64>) {
    say!("{name:<20}{}", sizes.map(|bytes| format!("{:>11}", format_bytes(bytes))).collect::<String>());
}
