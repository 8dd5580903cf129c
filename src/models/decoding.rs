//! The decoder in the middle of a sequence: what it has read, and what may come next.
//!
//! Generation, beam search, chat and documents are all made of the same three moves: read embeddings, look at the scores of
//! the next token, go on with a token.

use super::dreamllm::{Context, DreamLlm};
use super::llama::{Cache, Tokens};
use crate::image::RgbImage;
use crate::ops::layout::slice;
use crate::ops::sample::{Sampling, sample};
use crate::tensor::Tensor;
use crate::text::image_block;
use crate::{Error, Result};
use std::sync::atomic::{AtomicBool, Ordering};

/// What is said of a model whose scores are NaN.
pub(super) const NOT_NUMBERS: &str = "the scores of the next token came out as values that are not numbers";

/// Rows that were read, `R` of them, with their keys and values.
pub struct Decoding<'m> {
    model: &'m DreamLlm,
    cache: Cache,
    /// Hidden state of the last token of every row, `[R, 1, C]`.
    last: Option<Tensor>,
    /// Position of the next token of every row.
    positions: Vec<u32>,
    /// Whether scores were looked at and found to be numbers.
    sound: AtomicBool,
}

impl<'m> Decoding<'m> {
    /// One row of which nothing was read yet.
    pub fn new(model: &'m DreamLlm) -> Self {
        Decoding { model, cache: Cache::default(), last: None, positions: vec![0], sound: AtomicBool::new(false) }
    }

    /// Behind a context of any number of rows. Rows of different length are padded on the left.
    pub fn behind(model: &'m DreamLlm, context: &Context) -> Result<Self> {
        let [rows, width, _] = context.embeds.dims("decoding context", "B T C")?;
        let mut tokens = context.tokens.clone();
        let mut positions = vec![width as u32; rows];
        if let Some(real) = &tokens.real {
            let (seen, next) = positions_of(real, width);
            (tokens.positions, positions) = (Some(seen), next);
        }
        let sound = AtomicBool::new(false);
        let mut decoding = Decoding { model, cache: Cache::default(), last: None, positions, sound };
        decoding.forward(&context.embeds, &tokens)?;
        Ok(decoding)
    }

    /// The model that reads.
    pub fn model(&self) -> &'m DreamLlm {
        self.model
    }

    /// Tokens read so far, padding included.
    pub fn len(&self) -> usize {
        self.cache.len()
    }

    /// Whether nothing was read yet.
    pub fn is_empty(&self) -> bool {
        self.cache.is_empty()
    }

    /// Tokens that still fit.
    pub fn room(&self) -> usize {
        self.model.config.context_length().saturating_sub(self.cache.len())
    }

    fn forward(&mut self, embeds: &Tensor, tokens: &Tokens) -> Result<()> {
        let [_, t, _] = embeds.dims("decoding embeddings", "R T C")?;
        if t == 0 {
            return Ok(());
        }
        let hidden = self.model.llama.forward(embeds, tokens, Some(&mut self.cache))?;
        self.last = Some(slice(&hidden, 1, t - 1, 1)?);
        Ok(())
    }

    /// Reads ids behind what was read, one row only; `images` are the pictures whose blocks stand among them, from
    /// `places` on.
    fn read_ids_with(&mut self, ids: &[u32], places: &[usize], images: &[RgbImage]) -> Result<()> {
        if self.positions.len() != 1 {
            return Err(Error::Input(format!("{} rows cannot read the same words", self.positions.len())));
        }
        if ids.is_empty() {
            return Ok(());
        }
        if ids.len() > self.room() {
            let limit = self.model.config.context_length();
            let need = self.len() + ids.len();
            return Err(Error::Input(format!("the text has come to {need} tokens; this model takes at most {limit}")));
        }
        let context = self.model.embed_row(ids, places, images)?;
        self.forward(&context.embeds, &Tokens::default())?;
        self.positions[0] += ids.len() as u32;
        Ok(())
    }

    /// Reads ids behind what was read, in one row.
    pub fn read_ids(&mut self, ids: &[u32]) -> Result<()> {
        self.read_ids_with(ids, &[], &[])
    }

    /// Reads text with an `<image>` for each of the pictures, in one row. `<s>` comes first if nothing was read yet.
    pub fn read(&mut self, text: &str, images: &[RgbImage]) -> Result<()> {
        let tokenizer = &self.model.tokenizer;
        let ids = if self.is_empty() { tokenizer.encode(text) } else { tokenizer.encode_without_bos(text) };
        let prompt = self.model.prompt(&ids, images.len())?;
        self.read_ids_with(&prompt.ids, &prompt.images, images)
    }

    /// Reads `<im_start>`, the picture, `<im_end>`.
    pub fn read_picture(&mut self, image: &RgbImage) -> Result<()> {
        let block = image_block(&self.model.special, self.model.vision()?.patches);
        self.read_ids_with(&block, &[1], std::slice::from_ref(image))
    }

    /// Reads `<dream_start>`, the dream queries and `<dream_end>`: the condition vectors of the picture that belongs here,
    /// `[R, Q, E]`.
    pub fn dream(&mut self) -> Result<Tensor> {
        let rows = self.positions.len();
        let block = self.model.dream_embeddings(rows)?;
        let [_, t, _] = block.dims("dream embeddings", "R T C")?;
        if t > self.room() {
            return Err(Error::Input(format!("there is no room left for a picture behind {} tokens", self.len())));
        }
        // In a padded row the dream stands behind the row's own tokens, as the words after it will.
        let positions = self.positions.iter().flat_map(|&first| first..first + t as u32).collect();
        let tokens = Tokens { positions: Some(positions), real: None };
        let hidden = self.model.llama.forward(&block, &tokens, Some(&mut self.cache))?;
        self.last = Some(slice(&hidden, 1, t - 1, 1)?);
        self.positions.iter_mut().for_each(|p| *p += t as u32);
        self.model.diffusion()?.projector.forward(&slice(&hidden, 1, 1, t - 2)?)
    }

    /// Scores of the next token of every row, `[R, V]`.
    pub fn logits(&self) -> Result<Tensor> {
        let nothing = || Error::Input("nothing was read yet, so nothing can come next".into());
        let last = self.last.as_ref().ok_or_else(nothing)?;
        let [rows, _, c] = last.dims("decoding hidden", "R T C")?;
        self.model.llama.logits(&last.reshape([rows, c])?)
    }

    /// The next token of every row; `stream` tells the draws of one seed apart. The first time, scores that are not numbers are an
    /// error: no token would be drawn by them.
    pub async fn choose(&self, how: Sampling, seed: u64, stream: u32) -> Result<Vec<u32>> {
        self.draw(&self.logits()?, how, seed, stream).await
    }

    async fn draw(&self, logits: &Tensor, how: Sampling, seed: u64, stream: u32) -> Result<Vec<u32>> {
        let ids = sample(logits, how, seed, stream)?;
        if !self.sound.load(Ordering::Relaxed) {
            // A maximum is NaN if anything is.
            let highest = logits.max(&[0, 1])?.read_f32().await?;
            if highest.iter().any(|score| score.is_nan()) {
                return Err(Error::Input(NOT_NUMBERS.into()));
            }
            self.sound.store(true, Ordering::Relaxed);
        }
        ids.read_u32().await
    }

    /// The same with `bias [V]` added to the scores, such as one of [`DreamLlm::never`].
    pub async fn choose_biased(&self, how: Sampling, seed: u64, stream: u32, bias: &Tensor) -> Result<Vec<u32>> {
        self.draw(&self.logits()?.add(bias)?, how, seed, stream).await
    }

    /// Goes on with a token for every row.
    pub fn advance(&mut self, ids: &[u32]) -> Result<()> {
        let rows = self.positions.len();
        if ids.len() != rows {
            return Err(Error::Input(format!("{} tokens for {rows} rows", ids.len())));
        }
        let embeds = self.model.llama.embed(&Tensor::from_u32(&self.model.gpu, ids, [rows, 1])?)?;
        let tokens = Tokens { positions: Some(self.positions.clone()), real: None };
        self.forward(&embeds, &tokens)?;
        self.positions.iter_mut().for_each(|p| *p += 1);
        Ok(())
    }

    /// Row `r` goes on from what row `rows[r]` was: keys and values of the tokens from `from` on are taken over, those before
    /// only if the number of rows changes. So rows that share a prompt do not copy it again and again.
    pub(super) fn reorder(&mut self, rows: &[u32], from: usize) -> Result<()> {
        if rows.iter().any(|&row| row as usize >= self.positions.len()) {
            return Err(Error::Input(format!(
                "reorder: there are {} rows, not those of {rows:?}",
                self.positions.len()
            )));
        }
        self.cache.reorder(rows, from)?;
        self.positions = rows.iter().map(|&row| self.positions[row as usize]).collect();
        self.last = None;
        Ok(())
    }
}

/// Positions that count real tokens only (1 at padding, as transformers' `generate`), and the next one of every row.
pub(crate) fn positions_of(real: &[bool], width: usize) -> (Vec<u32>, Vec<u32>) {
    let mut positions = Vec::with_capacity(real.len());
    let mut next = Vec::new();
    for row in real.chunks(width.max(1)) {
        let mut count = 0;
        for &real in row {
            count += u32::from(real);
            positions.push(if real { count - 1 } else { 1 });
        }
        next.push(count);
    }
    (positions, next)
}
