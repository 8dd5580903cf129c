//! `dreamllm ask`: a question, perhaps about pictures, to words.

use super::{Output, check_interrupt, device};
use crate::image::load;
use crate::models::dreamllm::LoadOptions;
use crate::models::generation::{Stop, greedy};
use crate::text::Chat;
use crate::{Error, Result};
use clap::Args;
use std::io::Write;
use std::path::PathBuf;

#[derive(Args)]
pub(super) struct AskArguments {
    /// The question.
    question: String,
    /// The checkpoint's folder.
    #[arg(short, long, value_name = "CHECKPOINT")]
    model: PathBuf,
    /// A picture to look at (PNG, JPEG, WebP, BMP, GIF); may be given several times.
    #[arg(long, value_name = "FILE")]
    image: Vec<PathBuf>,
    /// Tokens to answer at most.
    #[arg(long, default_value_t = 256, value_name = "N")]
    max_tokens: usize,
}

impl AskArguments {
    pub async fn run(&self, device: &device::DeviceArguments, output: &Output) -> Result<()> {
        let images = self.image.iter().map(load).collect::<Result<Vec<_>>>()?;
        let gpu = device.open(output).await?;
        let options = LoadOptions { format: device.format(), vision: !images.is_empty(), diffusion: false };
        let model = device::load(&self.model, &gpu, options, output)?;
        let prompt = Chat::evaluation().ask(images.len(), &self.question).prompt();
        let context = model.context(&prompt, &images)?;
        let room = model.config.max_position_embeddings.saturating_sub(context.embeds.shape().as_slice()[1]);
        let eos = model.config.eos_token_id;
        let stop = Stop { max_tokens: self.max_tokens.min(room), eos, pad: eos };
        let mut stream = model.tokenizer.decode_stream();
        let on_token = |ids: &[u32]| {
            check_interrupt()?;
            let text = stream.push(ids[0])?;
            // JSON is printed at the end.
            if output.json { Ok(()) } else { self.print(&text) }
        };
        let ids = greedy(&model, &context, stop, on_token).await?;
        let rest = stream.finish();
        if output.json {
            let answer = model.tokenizer.decode_text(&ids.concat())?;
            say!("{}", serde_json::json!({ "answer": answer, "tokens": ids.concat().len() }));
        } else {
            self.print(&rest)?;
            say!();
        }
        device.close(&gpu).await
    }

    fn print(&self, text: &str) -> Result<()> {
        let mut out = std::io::stdout();
        let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
        written.map_err(|e| Error::Input(format!("standard output: {e}")))
    }
}
