//! What the model draws and answers on the way.

use super::{Ask, SamplesConfig};
use crate::diffusion::condition::Condition;
use crate::diffusion::pipeline::{DrawOptions, draw};
use crate::image::{load, replace_file, write_png};
use crate::models::answer::{AnswerOptions, answer, write};
use crate::models::decoding::Decoding;
use crate::models::dreamllm::DreamLlm;
use crate::models::preflight;
use crate::weights::CheckpointFolder;
use crate::{Error, Result};
use std::path::Path;

/// An error if something of it could not be shown: said before the first step, not after hours.
pub(super) fn check(folder: &CheckpointFolder, samples: &SamplesConfig) -> Result<()> {
    let wrong = |key: &str, error: Error| Error::Input(format!("samples.{key}: {error}"));
    let side = preflight::resolution(folder);
    preflight::check_drawing(folder, &drawing(samples, side)).map_err(|e| wrong("steps", e))?;
    let options = AnswerOptions { max_tokens: samples.max_tokens, ..Default::default() };
    options.check().map_err(|e| wrong("max_tokens", e))?;
    for prompt in &samples.dreams {
        let checked = preflight::check_prompt(folder, prompt, 0, 0);
        checked.map_err(|e| wrong("dreams", e))?;
    }
    for ask in &samples.asks {
        let images = usize::from(ask.image.is_some());
        ask.image.iter().try_for_each(|image| load(image).map(|_| ())).map_err(|e| wrong("asks", e))?;
        let prompt = match &ask.question {
            Some(question) => options.chat().ask(images, question).prompt(),
            None => "<image>".to_string(),
        };
        preflight::check_prompt(folder, &prompt, images, 1).map_err(|e| wrong("asks", e))?;
    }
    Ok(())
}

/// How pictures of a side are drawn.
fn drawing(samples: &SamplesConfig, side: usize) -> DrawOptions {
    let SamplesConfig { steps, cfg_scale, seed, .. } = *samples;
    DrawOptions { steps, cfg_scale, seed, width: side, height: side, ..Default::default() }
}

/// Writes `dream-1.png`, … and `answers.jsonl` into a folder. Pictures carry their prompts.
pub(super) async fn show(model: &DreamLlm, samples: &SamplesConfig, to: &Path) -> Result<()> {
    for (n, prompt) in (1..).zip(&samples.dreams) {
        dream(model, prompt, samples, &to.join(format!("dream-{n}.png"))).await?;
    }
    let mut lines = String::new();
    for ask in &samples.asks {
        let answer = reply(model, ask, samples.max_tokens).await?;
        let line = serde_json::json!({ "question": ask.question, "image": ask.image, "answer": answer });
        lines += &format!("{line}\n");
    }
    if lines.is_empty() { Ok(()) } else { replace_file(to.join("answers.jsonl"), lines.as_bytes()) }
}

async fn dream(model: &DreamLlm, prompt: &str, samples: &SamplesConfig, file: &Path) -> Result<()> {
    let diffusion = model.diffusion()?;
    let condition = Condition::new(model, prompt, "", &[])?;
    let options = drawing(samples, diffusion.resolution);
    for picture in draw(diffusion, &condition, &options, None, async |_| Ok(())).await? {
        write_png(file, &picture, &[("prompt", prompt)])?;
    }
    Ok(())
}

/// An answer in the chat format, or a caption right behind the picture, as pairs teach it.
async fn reply(model: &DreamLlm, ask: &Ask, max_tokens: usize) -> Result<String> {
    let images = ask.image.iter().map(load).collect::<Result<Vec<_>>>()?;
    let options = AnswerOptions { max_tokens, ..Default::default() };
    let silent = |_: &str| Ok(());
    let answer = match &ask.question {
        Some(question) => answer(model, question, &images, &options, silent).await?,
        None => {
            let mut decoding = Decoding::new(model);
            decoding.read("<image>", &images)?;
            write(&mut decoding, &options, silent).await?
        }
    };
    Ok(answer.text)
}
