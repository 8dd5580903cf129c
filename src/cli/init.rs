//! `dreamllm init`: a new, untrained model.

use super::{Output, device};
use crate::Result;
use clap::Args;
use std::path::PathBuf;

const EXAMPLES: &str = "\
Examples:
  dreamllm init configs/shapes/model -o runs/shapes/0-untrained
  dreamllm init configs/shapes/model -o other --seed 7";

#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct InitArguments {
    /// A folder of configs and tokenizer files, laid out like a checkpoint.
    #[arg(value_name = "CONFIGS")]
    configs: PathBuf,
    /// The folder to write.
    #[arg(short, long, value_name = "FOLDER")]
    out: PathBuf,
    /// Seed of the weights.
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
}

impl InitArguments {
    pub async fn run(&self, device: &device::DeviceArguments, output: &Output) -> Result<()> {
        let gpu = device.open(output).await?;
        let weights = crate::train::init(&gpu, &self.configs, &self.out, self.seed).await?;
        if output.json {
            say!(
                "{}",
                serde_json::json!({ "out": self.out.display().to_string(), "seed": self.seed, "weights": weights })
            );
        } else {
            say!("{}", self.out.display());
            output.say(&format!("{weights} weights"));
        }
        device.close(&gpu).await
    }
}
