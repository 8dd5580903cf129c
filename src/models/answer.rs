//! Answers in words: what is asked becomes a prompt, what is generated becomes text, up to where it should end.

use super::beams::{BeamOptions, beam_search};
use super::decoding::Decoding;
use super::dreamllm::DreamLlm;
use super::generation::{GREEDY, Stop};
use crate::image::RgbImage;
use crate::ops::sample::Sampling;
use crate::text::{Chat, StopStrings};
use crate::{Error, Result};

/// How to answer.
#[derive(Debug, Clone)]
pub struct AnswerOptions {
    /// How tokens are chosen, where there are no beams.
    pub sampling: Sampling,
    /// Seed of the draws.
    pub seed: u64,
    /// Beams to search with; 1: none.
    pub beams: usize,
    /// Tokens to write at most.
    pub max_tokens: usize,
    /// Texts that end the answer; they are not part of it.
    pub stop: Vec<String>,
    /// The sentence before the conversation, if not the official one.
    pub system: Option<String>,
}

impl Default for AnswerOptions {
    /// Greedy, 256 tokens.
    fn default() -> Self {
        AnswerOptions { sampling: GREEDY, seed: 42, beams: 1, max_tokens: 256, stop: Vec::new(), system: None }
    }
}

impl AnswerOptions {
    /// The conversation that questions are put into.
    pub fn chat(&self) -> Chat {
        self.system.as_ref().map_or_else(Chat::evaluation, Chat::with_system)
    }

    /// An error if the options contradict each other.
    pub fn check(&self) -> Result<()> {
        let Sampling { temperature, top_p, .. } = self.sampling;
        if !(0.0..f32::INFINITY).contains(&temperature) {
            return Err(Error::Input(format!("the temperature must be a number of at least 0, not {temperature}")));
        }
        if !(top_p > 0.0 && top_p <= 1.0) {
            return Err(Error::Input(format!("top-p must be above 0 and at most 1, not {top_p}")));
        }
        if self.beams == 0 || self.max_tokens == 0 {
            return Err(Error::Input("there must be at least 1 beam and 1 token to write".into()));
        }
        if self.beams > 1 && temperature > 0.0 {
            return Err(Error::Input("beams search for the most probable answer; they take no temperature".into()));
        }
        StopStrings::new(self.stop.clone()).map(|_| ())
    }
}

/// Why an answer ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ending {
    /// The model ended it.
    Eos,
    /// One of the texts that end answers.
    Stop(String),
    /// The limit of tokens, or the model's.
    Length,
}

/// What was answered.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// The words.
    pub text: String,
    /// Tokens that were written.
    pub ids: Vec<u32>,
    /// Why it ended.
    pub ending: Ending,
    /// The sentence's score, where beams searched for it.
    pub score: Option<f64>,
}

/// Answers a question about any number of pictures, which stand where the question has `<image>` placeholders, or in front
/// of it if it has none. `on_text` sees the words as they come (beams know them at the end only), and may stop by an error.
pub async fn answer(
    model: &DreamLlm,
    question: &str,
    images: &[RgbImage],
    options: &AnswerOptions,
    mut on_text: impl FnMut(&str) -> Result<()>,
) -> Result<Answer> {
    options.check()?;
    let prompt = options.chat().ask(images.len(), question).prompt();
    if options.beams > 1 {
        return searched(model, &prompt, images, options, on_text).await;
    }
    let mut decoding = Decoding::new(model);
    decoding.read(&prompt, images)?;
    write(&mut decoding, options, |text| on_text(text)).await
}

/// Goes on behind what was read, until the answer ends. Everything that was written is read, but for the `<eos>` or the
/// token that completed a stop string.
pub async fn write(
    decoding: &mut Decoding<'_>,
    options: &AnswerOptions,
    mut on_text: impl FnMut(&str) -> Result<()>,
) -> Result<Answer> {
    let model = decoding.model();
    let mut words = Words::new(model, options)?;
    let first = decoding.len() as u32;
    let limit = options.max_tokens.min(decoding.room());
    while words.ending.is_none() && words.ids.len() < limit {
        let stream = first + words.ids.len() as u32;
        let ids = decoding.choose(options.sampling, options.seed, stream).await?;
        on_text(&words.push(ids[0])?)?;
        if words.ending.is_none() {
            decoding.advance(&ids)?;
        }
    }
    let (answer, rest) = words.finish();
    on_text(&rest)?;
    Ok(answer)
}

/// The best answer that a beam search finds, cut at the first stop string.
async fn searched(
    model: &DreamLlm,
    prompt: &str,
    images: &[RgbImage],
    options: &AnswerOptions,
    mut on_text: impl FnMut(&str) -> Result<()>,
) -> Result<Answer> {
    let context = model.context(prompt, images)?;
    let eos = model.config.eos_token_id;
    let room = model.config.context_length().saturating_sub(context.embeds.shape().as_slice()[1]);
    let stop = Stop { max_tokens: options.max_tokens.min(room), eos, pad: eos };
    // An empty text lets the caller stop the search.
    let found = beam_search(model, &context, BeamOptions::new(options.beams), stop, |_| on_text("")).await?;
    let best = found.into_iter().flatten().next().ok_or_else(|| Error::Input("no answer was found".into()))?;
    let mut words = Words::new(model, options)?;
    for id in best.ids {
        if words.ending.is_none() {
            on_text(&words.push(id)?)?;
        }
    }
    let (answer, rest) = words.finish();
    on_text(&rest)?;
    Ok(Answer { score: Some(best.score), ..answer })
}

/// An answer in the making.
struct Words<'m> {
    stream: crate::text::DecodeStream<'m>,
    stop: StopStrings,
    eos: u32,
    ids: Vec<u32>,
    text: String,
    ending: Option<Ending>,
}

impl<'m> Words<'m> {
    fn new(model: &'m DreamLlm, options: &AnswerOptions) -> Result<Self> {
        let stop = StopStrings::new(options.stop.clone())?;
        let (stream, eos) = (model.tokenizer.decode_stream(), model.config.eos_token_id);
        Ok(Words { stream, stop, eos, ids: Vec::new(), text: String::new(), ending: None })
    }

    /// The text that a token adds.
    fn push(&mut self, id: u32) -> Result<String> {
        self.ids.push(id);
        if id == self.eos {
            self.ending = Some(Ending::Eos);
            return Ok(String::new());
        }
        let shown = self.stop.push(&self.stream.push_chosen(id)?);
        self.ending = self.stop.found().map(|found| Ending::Stop(found.to_string()));
        self.text += &shown;
        Ok(shown)
    }

    /// The answer, and the end of its text that was held back.
    fn finish(mut self) -> (Answer, String) {
        let mut rest = String::new();
        if !matches!(self.ending, Some(Ending::Stop(_))) {
            rest = self.stop.push(&self.stream.finish());
            rest += &self.stop.finish();
        }
        let text = self.text + &rest;
        (Answer { text, ids: self.ids, ending: self.ending.unwrap_or(Ending::Length), score: None }, rest)
    }
}
