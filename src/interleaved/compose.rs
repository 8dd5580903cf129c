//! A document about a topic: text until `<dream_start>`, a picture, more text.

use super::{Document, Painter, Part};
use crate::diffusion::pipeline::DrawOptions;
use crate::image::RgbImage;
use crate::models::answer::AnswerOptions;
use crate::models::decoding::Decoding;
use crate::models::dreamllm::DreamLlm;
use crate::text::{Chat, StopStrings};
use crate::{Error, Result};

/// How to write and draw.
#[derive(Debug, Clone, Default)]
pub struct ComposeOptions {
    /// How words are chosen, and how many there are at most.
    pub words: AnswerOptions,
    /// How pictures are drawn; their seeds count up.
    pub draw: DrawOptions,
    /// What pictures keep away from.
    pub negative_prompt: String,
    /// Pictures at most.
    pub most_pictures: usize,
    /// A picture is drawn after so many tokens of text at the latest; without it, only where the model wants one.
    pub every: Option<usize>,
}

/// What happens while a document is made.
#[derive(Debug)]
pub enum Event<'a> {
    /// More words.
    Text(&'a str),
    /// Steps of a picture that are done, of so many.
    Step(usize, usize),
    /// A picture.
    Picture(&'a RgbImage),
}

/// What was written.
#[derive(Debug, Clone)]
pub struct Composed {
    /// The parts that were given, and those behind them.
    pub document: Document,
    /// Whether it came to its end; otherwise it was cancelled, and this is the document up to there.
    pub complete: bool,
}

/// Writes a document about a topic, going on behind the parts that are given. `on_event` sees everything as it comes, and may
/// stop by an error; [`Error::Cancelled`] keeps what is there. The document ends where the model ends it, at the limit of
/// tokens, or where the model has no room left.
pub async fn compose(
    model: &DreamLlm,
    topic: &str,
    given: &[Part],
    options: &ComposeOptions,
    mut on_event: impl FnMut(Event<'_>) -> Result<()>,
) -> Result<Composed> {
    options.words.check()?;
    let painter = Painter::new(model, &options.draw, &options.negative_prompt)?;
    let mut writer = Writer::new(model, options, given.to_vec())?;
    writer.open(topic)?;
    let complete = match writer.write(&painter, &mut on_event).await {
        Ok(()) => true,
        Err(Error::Cancelled) => false,
        Err(error) => return Err(error),
    };
    Ok(Composed { document: writer.document, complete })
}

struct Writer<'a> {
    decoding: Decoding<'a>,
    options: &'a ComposeOptions,
    document: Document,
    /// Pictures that were drawn.
    pictures: usize,
    /// Tokens of text that were written.
    written: usize,
    /// Ends the document.
    stop: StopStrings,
}

impl<'a> Writer<'a> {
    fn new(model: &'a DreamLlm, options: &'a ComposeOptions, given: Vec<Part>) -> Result<Self> {
        let (document, stop) = (Document { parts: given }, StopStrings::new(options.words.stop.clone())?);
        Ok(Writer { decoding: Decoding::new(model), options, document, pictures: 0, written: 0, stop })
    }

    /// Reads the topic and the parts that are given, each picture behind a dream, as in training.
    fn open(&mut self, topic: &str) -> Result<()> {
        let chat = self.options.words.system.as_ref().map_or_else(Chat::training, Chat::with_system);
        self.decoding.read(&chat.ask(0, topic).prompt(), &[])?;
        for part in &self.document.parts {
            match part {
                Part::Text(text) => self.decoding.read(text, &[])?,
                Part::Picture(picture) => {
                    self.decoding.dream()?;
                    self.decoding.read_picture(picture)?;
                }
            }
        }
        Ok(())
    }

    /// Writes and draws to the end.
    async fn write(&mut self, painter: &Painter<'_>, on_event: &mut impl FnMut(Event<'_>) -> Result<()>) -> Result<()> {
        loop {
            let mut text = String::new();
            let wants_picture = self.paragraph(&mut text, on_event).await;
            if !text.is_empty() {
                self.document.parts.push(Part::Text(text));
            }
            if !wants_picture? || self.stop.found().is_some() || self.decoding.room() <= painter.tokens()? {
                return Ok(());
            }
            let on_step = |done, count| on_event(Event::Step(done, count));
            let picture = painter.paint(&mut self.decoding, self.pictures, on_step).await?;
            self.pictures += 1;
            self.document.parts.push(Part::Picture(picture.clone()));
            on_event(Event::Picture(&picture))?;
        }
    }

    /// Writes `text` until a picture belongs, and says whether one does.
    async fn paragraph(
        &mut self,
        text: &mut String,
        on_event: &mut impl FnMut(Event<'_>) -> Result<()>,
    ) -> Result<bool> {
        let model = self.decoding.model();
        let special = model.special;
        let may_draw = self.pictures < self.options.most_pictures;
        // Tokens that stand for something that no words stand for.
        let mut never = vec![special.bos, special.pad, special.image, special.im_patch, special.im_start];
        never.extend([special.im_end, special.dream, special.dream_end]);
        never.extend((!may_draw).then_some(special.dream_start));
        let bias = model.never(&never)?;
        let (mut stream, mut count) = (model.tokenizer.decode_stream(), 0);
        let words = &self.options.words;
        let wants_picture = loop {
            if may_draw && self.options.every.is_some_and(|every| count >= every) {
                break true;
            }
            if self.written >= words.max_tokens || self.decoding.room() == 0 {
                break false;
            }
            let place = self.decoding.len() as u32;
            let ids = self.decoding.choose_biased(words.sampling, words.seed, place, &bias).await?;
            if ids[0] == special.dream_start || ids[0] == model.config.eos_token_id {
                break ids[0] == special.dream_start;
            }
            self.decoding.advance(&ids)?;
            (count, self.written) = (count + 1, self.written + 1);
            let piece = self.stop.push(&stream.push_chosen(ids[0])?);
            *text += &piece;
            on_event(Event::Text(&piece))?;
            if self.stop.found().is_some() {
                return Ok(false);
            }
        };
        // A stop string does not go across a picture.
        let rest = self.stop.push(&stream.finish()) + &self.stop.finish();
        *text += &rest;
        on_event(Event::Text(&rest))?;
        Ok(wants_picture)
    }
}
