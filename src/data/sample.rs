//! A record as ids, labels and pixels, exactly as the official `DreamLLMDataset` makes them.

mod conversation;
mod document;
mod pair;

use super::chance::Chance;
use super::record::Record;
use crate::image::{FloatImage, RgbImage, clip_pixels, diffusion_pixels, diffusion_resize_and_crop};
use crate::models::config::ClipPreprocessConfig;
use crate::ops::cross_entropy::IGNORED;
use crate::text::{SpecialTokens, Tokenizer, dream_block, image_block};
use crate::weights::CheckpointFolder;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};

/// What pairs and documents are for. Conversations say themselves what is read and what is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Objective {
    /// Both: a pair at random, a document's pictures drawn and then read.
    #[default]
    Joint,
    /// Pictures are read.
    Comprehension,
    /// Pictures are drawn.
    Creation,
}

/// One row of a batch.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Sample {
    /// Token ids, `[T]`.
    pub ids: Vec<u32>,
    /// What each place teaches, `[T]`: its own id (the loss compares it with the prediction one place before), or
    /// [`IGNORED`].
    pub labels: Vec<u32>,
    /// Pictures for the image encoder, in the order of their `<im_start>`.
    pub images: Vec<FloatImage>,
    /// Pictures to be drawn, in the order of their `<dream_start>`.
    pub dreams: Vec<FloatImage>,
}

/// Turns records into samples.
#[derive(Debug)]
pub struct SampleBuilder {
    /// Words to ids.
    pub tokenizer: Tokenizer,
    /// Ids of the tokens with a role.
    pub special: SpecialTokens,
    /// `P`: vectors of a picture that is read.
    pub patches: usize,
    /// `Q`: queries of a picture that is drawn.
    pub queries: usize,
    /// Most tokens of a sample (`model_max_length`).
    pub max_length: usize,
    /// What pairs and documents are for.
    pub objective: Objective,
    /// How pictures are prepared for reading.
    pub preprocess: ClipPreprocessConfig,
    /// Side of pictures to be drawn.
    pub resolution: usize,
    /// Whether pictures to be drawn are mirrored at random.
    pub random_flip: bool,
}

impl SampleBuilder {
    /// For the model of a folder. `max_length` is at most its positions, and leaves room for a picture.
    pub fn from_folder(folder: &CheckpointFolder, objective: Objective, max_length: usize) -> Result<Self> {
        let tokenizer = Tokenizer::from_folder(&folder.root)?;
        let plugins = &folder.config.plugins;
        let head = plugins.stable_diffusion_head.as_ref();
        if head.is_some_and(|head| !head.center_crop) {
            return Err(Error::Input("training with center_crop = false is not supported".into()));
        }
        let builder = SampleBuilder {
            special: SpecialTokens::new(&tokenizer)?,
            tokenizer,
            patches: folder.clip_config.patches(),
            queries: plugins.dream_embedding.as_ref().map_or(64, |dream| dream.num_dream_queries),
            max_length,
            objective,
            preprocess: folder.clip_preprocess.clone(),
            resolution: head.map_or(512, |head| head.resolution),
            random_flip: head.is_none_or(|head| head.random_flip),
        };
        let (least, most) = (builder.patches.max(builder.queries) + 4, folder.config.max_position_embeddings);
        match (least..=most).contains(&max_length) {
            true => Ok(builder),
            false => Err(Error::Input(format!("training samples can have {least} to {most} tokens, not {max_length}"))),
        }
    }

    /// The sample of a record.
    pub fn build(&self, record: &Record<RgbImage>, chance: &Chance) -> Result<Sample> {
        match record {
            Record::Pair { picture, text } => self.pair(picture, text, chance),
            Record::PicturePair { source, target } => self.picture_pair(source, target, chance),
            Record::Document(document) => self.document(document, chance),
            Record::Conversation(turns) => self.conversation(turns, chance),
        }
    }

    /// An error unless the model can take the sample. Officially such samples reach the model: truncation can leave half a
    /// picture or too many tokens, and a text can name the tokens of a picture.
    pub fn check(&self, sample: &Sample) -> Result<()> {
        let (tokens, most) = (sample.ids.len(), self.max_length);
        if tokens > most {
            return Err(Error::Input(format!("is {tokens} tokens long after truncation, over {most}")));
        }
        let whole = |block: Vec<u32>| {
            let starts = || sample.ids.iter().enumerate().filter(|(_, id)| **id == block[0]).map(|(at, _)| at);
            (starts().count(), starts().all(|at| sample.ids[at..].starts_with(&block)))
        };
        let images = whole(image_block(&self.special, self.patches));
        let dreams = whole(dream_block(&self.special, self.queries));
        match (images, dreams) == ((sample.images.len(), true), (sample.dreams.len(), true)) {
            true => Ok(()),
            false => Err(Error::Input("has an incomplete block of picture tokens in its text".into())),
        }
    }

    fn read(&self, picture: &RgbImage) -> Result<FloatImage> {
        clip_pixels(picture, &self.preprocess)
    }

    /// The `n`-th picture of the sample to be drawn; it is mirrored after the crop.
    fn drawn(&self, picture: &RgbImage, chance: &Chance, n: usize) -> Result<FloatImage> {
        if self.random_flip && chance.mirrored(n) {
            // A picture of the right size is not resized again.
            let mirrored = diffusion_resize_and_crop(picture, self.resolution)?.flipped();
            return diffusion_pixels(&mirrored, self.resolution);
        }
        diffusion_pixels(picture, self.resolution)
    }

    fn image_block(&self) -> Vec<u32> {
        image_block(&self.special, self.patches)
    }

    fn dream_block(&self) -> Vec<u32> {
        dream_block(&self.special, self.queries)
    }

    /// What a place teaches where the text around pictures is learned: everything but the pictures themselves;
    /// `<dream_start>` is learned, so that the model knows where a picture belongs.
    fn label(&self, id: u32) -> u32 {
        let special = &self.special;
        let silent = [special.im_patch, special.im_start, special.im_end, special.dream_end];
        if silent.contains(&id) { IGNORED } else { id }
    }
}

#[cfg(test)]
pub(super) mod tests;
