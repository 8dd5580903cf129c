//! `dreamllm convert`: a checkpoint to one folder, in any weight format, and back to the official files.

use super::{Output, check_interrupt, device, progress};
use crate::convert::{ConvertOptions, convert, elements};
use crate::tensor::{format_bytes, parse_bytes};
use crate::weights::CheckpointFolder;
use crate::{Error, Result};
use clap::Args;
use std::path::PathBuf;

const EXAMPLES: &str = "\
Examples:
  dreamllm convert CHECKPOINT SMALL --weights q8
  dreamllm convert SMALL BACK --official";

#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct ConvertArguments {
    /// The checkpoint's folder.
    checkpoint: PathBuf,
    /// The folder to write; it must be empty or not exist yet.
    output: PathBuf,
    /// Write the files that the official code loads instead: the decoder as safetensors, the plugins as torch files.
    #[arg(long)]
    official: bool,
    /// Start a new weight file before one grows over this size, of at least 1MiB.
    #[arg(long, default_value = "4000000000", value_name = "BYTES", value_parser = shard_size)]
    shard_size: u64,
    #[command(flatten)]
    source: device::SourceArguments,
}

/// Smaller files would be one for nearly every tensor.
fn shard_size(text: &str) -> Result<u64> {
    match parse_bytes(text)? {
        bytes if bytes >= 1 << 20 => Ok(bytes),
        _ => Err(Error::Input(format!("\"{text}\" is less than 1MiB, the smallest file of weights"))),
    }
}

impl ConvertArguments {
    pub async fn run(&self, device: &device::DeviceArguments, output: &Output) -> Result<()> {
        let source = CheckpointFolder::open_with(&self.checkpoint, &self.source.options())?;
        let format = device.format();
        let options = ConvertOptions { format, official: self.official, shard_bytes: self.shard_size };
        let bar = progress::elements(output, elements(&source));
        let on_elements = |count| {
            bar.inc(count);
            check_interrupt()
        };
        let written = convert(&source, &self.output, &options, &on_elements).await?;
        bar.finish_and_clear();
        if let Some(first) = written.unused.first() {
            output.say(&format!(
                "left out: {} tensors that the model does not use, such as {first}",
                written.unused.len()
            ));
        }
        if output.json {
            say!("{}", serde_json::json!(written));
        } else {
            let size = format_bytes(written.bytes);
            say!("{}: {} tensors, {size}", self.output.display(), written.tensors);
        }
        Ok(())
    }
}
