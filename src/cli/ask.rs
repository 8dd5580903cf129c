//! `dreamllm ask`: a question, perhaps about pictures, to words.

use super::{Output, check_interrupt, device, said};
use crate::image::load;
use crate::models::answer::{Answer, AnswerOptions, Ending, answer};
use crate::models::dreamllm::LoadOptions;
use crate::models::preflight;
use crate::ops::sample::Sampling;
use crate::{Error, Result};
use clap::Args;
use std::path::PathBuf;

/// Tokens of an answer, unless the arguments say otherwise.
const TOKENS: usize = 256;

const EXAMPLES: &str = "\
Examples:
  dreamllm ask \"What is on the sofa?\" --image room.jpg -m CHECKPOINT
  dreamllm ask \"What changed from <image> to <image>?\" --image a.png --image b.png -m CHECKPOINT --beams 5
  dreamllm ask \"Tell a story.\" -m CHECKPOINT --temp 0.8 --top-p 0.95 --max-tokens 500";

#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct AskArguments {
    /// The question; an <image> in it is the place of a picture, which otherwise stands in front.
    question: String,
    #[command(flatten)]
    model: device::ModelArguments,
    /// A picture to look at (PNG, JPEG, WebP, BMP, GIF); may be given several times.
    #[arg(long, value_name = "FILE")]
    image: Vec<PathBuf>,
    #[command(flatten)]
    words: WordArguments,
    /// Search for the most probable answer with N beams; the official evaluations use 5.
    #[arg(long, default_value_t = 1, value_name = "N")]
    beams: usize,
}

/// How to write; shared by all commands that do.
#[derive(Args)]
#[command(next_help_heading = "Words")]
pub(super) struct WordArguments {
    /// Tokens (about four letters each) to write at most [default: 256; for a document 1024].
    #[arg(long, value_name = "N")]
    max_tokens: Option<usize>,
    /// How freely words are drawn (temperature): 0 always takes the most probable, 1 draws as the model was trained.
    #[arg(long, default_value_t = 0.0, value_name = "T")]
    temp: f32,
    /// Draw only from the fewest tokens that have this probability together, from 0 to 1.
    #[arg(long, default_value_t = 1.0, value_name = "P")]
    top_p: f32,
    /// Draw only from the K most probable tokens; 0 means all.
    #[arg(long, default_value_t = 0, value_name = "K")]
    top_k: usize,
    /// A text that ends the writing where it comes; may be given several times.
    #[arg(long, value_name = "TEXT")]
    stop: Vec<String>,
    /// The same seed and options give the same result.
    #[arg(long, default_value_t = 42, value_name = "N")]
    seed: u64,
    /// The sentence that tells the model who it is, instead of the official one.
    #[arg(long, value_name = "SENTENCE")]
    system: Option<String>,
}

impl WordArguments {
    /// The options, with `tokens` at most unless the arguments say otherwise.
    pub fn options(&self, tokens: usize) -> Result<AnswerOptions> {
        let options = AnswerOptions {
            sampling: Sampling { temperature: self.temp, top_k: self.top_k, top_p: self.top_p },
            seed: self.seed,
            beams: 1,
            max_tokens: self.max_tokens.unwrap_or(tokens),
            stop: self.stop.clone(),
            system: self.system.clone(),
        };
        options.check()?;
        Ok(options)
    }
}

impl AskArguments {
    pub async fn run(&self, device: &device::DeviceArguments, output: &Output) -> Result<()> {
        let options = AnswerOptions { beams: self.beams, ..self.words.options(TOKENS)? };
        options.check()?;
        let images = self.image.iter().map(load).collect::<Result<Vec<_>>>()?;
        let folder = self.model.open()?;
        let prompt = options.chat().ask(images.len(), &self.question).prompt();
        preflight::check_prompt(&folder, &prompt, images.len(), 1)?;
        let gpu = device.open(output).await?;
        let parts =
            LoadOptions { format: device.format(), vision: !images.is_empty(), diffusion: false, ..Default::default() };
        let model = self.model.load(&folder, &gpu, parts, output).await?;
        // JSON is printed at the end.
        let on_text = |text: &str| {
            check_interrupt()?;
            if !output.json {
                said::print(text)?;
            }
            if said::is_unheard() { Err(Error::Cancelled) } else { Ok(()) }
        };
        let answer = answer(&model, &self.question, &images, &options, on_text).await?;
        if output.json {
            say!("{}", report(&answer));
        } else {
            say!();
        }
        device.close(&gpu).await
    }
}

fn report(answer: &Answer) -> serde_json::Value {
    let ending = match &answer.ending {
        Ending::Eos => "eos",
        Ending::Stop(_) => "stop",
        Ending::Length => "length",
    };
    let (text, tokens) = (&answer.text, answer.ids.len());
    serde_json::json!({ "answer": text, "tokens": tokens, "ending": ending, "score": answer.score })
}
