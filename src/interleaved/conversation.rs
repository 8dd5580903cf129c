//! A conversation in which both sides may show pictures. What was said stays in the decoder's cache: a turn reads only
//! what is new.

use super::{Document, Painter, Part};
use crate::diffusion::pipeline::DrawOptions;
use crate::image::RgbImage;
use crate::models::answer::{Answer, AnswerOptions, write};
use crate::models::decoding::Decoding;
use crate::models::dreamllm::DreamLlm;
use crate::text::Chat;
use crate::{Error, Result};

/// What [`Conversation::dream`] says if no words are given.
const DRAW: &str = "Draw a picture.";

/// A conversation so far.
pub struct Conversation<'m> {
    decoding: Decoding<'m>,
    options: AnswerOptions,
    /// Pictures that belong to the next question.
    shown: Vec<RgbImage>,
    said: Document,
    pictures: usize,
}

impl<'m> Conversation<'m> {
    /// A new one.
    pub fn new(model: &'m DreamLlm, options: AnswerOptions) -> Result<Self> {
        options.check()?;
        if options.beams > 1 {
            return Err(Error::Input("a conversation is written word by word, without beams".into()));
        }
        let (decoding, said) = (Decoding::new(model), Document::default());
        Ok(Conversation { decoding, options, shown: Vec::new(), said, pictures: 0 })
    }

    /// Forgets everything that was said and shown.
    pub fn reset(&mut self) {
        self.decoding = Decoding::new(self.decoding.model());
        self.said = Document::default();
        self.shown.clear();
    }

    /// Shows a picture with the next question.
    pub fn show(&mut self, picture: RgbImage) {
        self.shown.push(picture);
    }

    /// Everything that was said and shown.
    pub fn said(&self) -> &Document {
        &self.said
    }

    /// Tokens that still fit.
    pub fn room(&self) -> usize {
        self.decoding.room()
    }

    /// Answers a question about everything so far; `on_text` sees the words as they come. A question that does not fit is
    /// an error and leaves the conversation as it was.
    pub async fn ask(&mut self, question: &str, mut on_text: impl FnMut(&str) -> Result<()>) -> Result<Answer> {
        self.read_question(question)?;
        let mut shown = String::new();
        let on_text = |text: &str| {
            on_text(text)?;
            shown += text;
            Ok(())
        };
        let answer = write(&mut self.decoding, &self.options, on_text).await;
        // A turn that was interrupted ends as well, with what was seen of it: the next one can follow.
        let text = answer.as_ref().map_or(&shown, |answer| &answer.text);
        if answer.is_ok() || !text.is_empty() {
            self.said.parts.push(Part::Text(format!("**Assistant:** {text}")));
        }
        self.end_turn()?;
        answer
    }

    /// Draws a picture of everything so far and of `words`; it stays in the conversation. `on_step` sees the steps done, of so
    /// many.
    pub async fn dream(
        &mut self,
        words: &str,
        options: &DrawOptions,
        negative: &str,
        on_step: impl FnMut(usize, usize) -> Result<()>,
    ) -> Result<RgbImage> {
        let painter = Painter::new(self.decoding.model(), options, negative)?;
        let words = if words.is_empty() { DRAW } else { words };
        if self.decoding.room() < painter.tokens()? + 2 * words.len() {
            return Err(Error::Input("there is no room left in this conversation for a picture".into()));
        }
        self.read_question(words)?;
        let picture = painter.paint(&mut self.decoding, self.pictures, on_step).await;
        self.end_turn()?;
        let picture = picture?;
        self.pictures += 1;
        self.said.parts.push(Part::Picture(picture.clone()));
        Ok(picture)
    }

    fn read_question(&mut self, question: &str) -> Result<()> {
        let opening = if self.decoding.is_empty() { self.options.chat().opening() } else { String::new() };
        let text = opening + &Chat::question(self.shown.len(), question);
        self.decoding.read(&text, &self.shown)?;
        self.said.parts.extend(self.shown.drain(..).map(Part::Picture));
        self.said.parts.push(Part::Text(format!("**User:** {question}")));
        Ok(())
    }

    /// `</s>` behind the assistant's turn.
    fn end_turn(&mut self) -> Result<()> {
        match self.decoding.room() {
            0 => Ok(()),
            _ => self.decoding.read_ids(&[self.decoding.model().config.eos_token_id]),
        }
    }
}
