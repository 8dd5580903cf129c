//! Words and pictures in turn: documents that the model illustrates itself, and conversations.
//!
//! Where the model writes `<dream_start>`, a picture belongs: it is drawn from everything so far, read back through the image
//! encoder, and the words go on with the picture in their context. The official repository describes this loop and
//! never shipped it.

mod compose;
mod conversation;
mod document;

pub use compose::{ComposeOptions, Composed, Event, compose};
pub use conversation::Conversation;
#[cfg(feature = "cli")]
pub(crate) use document::escaped;
pub use document::{Document, Part};

use crate::Result;
use crate::diffusion::condition::Condition;
use crate::diffusion::pipeline::{DrawOptions, Step, draw};
use crate::image::RgbImage;
use crate::models::decoding::Decoding;
use crate::models::dreamllm::DreamLlm;
use crate::tensor::Tensor;

/// How pictures among words are drawn.
struct Painter<'a> {
    model: &'a DreamLlm,
    options: &'a DrawOptions,
    negative: &'a str,
    unconditional: Tensor,
}

impl<'a> Painter<'a> {
    fn new(model: &'a DreamLlm, options: &'a DrawOptions, negative: &'a str) -> Result<Self> {
        options.latent_size(model.diffusion()?.downscale)?;
        let unconditional = model.condition(&model.context(negative, &[])?)?;
        Ok(Painter { model, options, negative, unconditional })
    }

    /// Tokens that a picture takes: its dream and its patches, each between two marks.
    fn tokens(&self) -> Result<usize> {
        Ok(self.model.dream_queries.shape().as_slice()[0] + self.model.vision()?.patches + 4)
    }

    /// Draws what belongs behind everything that was read, and reads it. `index` counts the pictures, whose seeds differ.
    async fn paint(
        &self,
        decoding: &mut Decoding<'_>,
        index: usize,
        mut on_step: impl FnMut(usize, usize) -> Result<()>,
    ) -> Result<RgbImage> {
        let condition = Condition {
            condition: decoding.dream()?,
            unconditional: self.unconditional.clone(),
            prompt: String::new(),
            negative_prompt: self.negative.to_string(),
            fingerprint: self.model.fingerprint.clone(),
        };
        let options = DrawOptions { batch: 1, seed: self.options.seed_of(index), ..self.options.clone() };
        let on_step = async |step: Step<'_>| on_step(step.done, step.count);
        let drawn = draw(self.model.diffusion()?, &condition, &options, None, on_step).await?;
        let nothing = || crate::Error::Input("no picture came out".into());
        let picture = drawn.into_iter().next().ok_or_else(nothing)?;
        decoding.read_picture(&picture)?;
        Ok(picture)
    }
}
