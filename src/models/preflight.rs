//! What is known before anything large is loaded: a wrong argument should not cost a minute of reading weights.

use crate::diffusion::Sampler;
use crate::diffusion::pipeline::DrawOptions;
use crate::text::{Prompt, SpecialTokens, Tokenizer};
use crate::weights::CheckpointFolder;
use crate::{Error, Result};

/// An error if the checkpoint cannot read a prompt with so many pictures: their places in it, and the tokens, of which
/// `behind` more must fit: one for an answer, none for a dream, which may go beyond the limit.
pub fn check_prompt(folder: &CheckpointFolder, text: &str, images: usize, behind: usize) -> Result<()> {
    let tokenizer = Tokenizer::from_folder(&folder.root)?;
    let special = SpecialTokens::new(&tokenizer)?;
    let tokens = Prompt::new(&tokenizer.encode(text), &special, images, folder.clip_config.patches())?.ids.len();
    let limit = folder.config.context_length().saturating_sub(behind);
    match tokens <= limit {
        true => Ok(()),
        false => Err(Error::Input(format!("the prompt has {tokens} tokens; this model takes at most {limit}"))),
    }
}

/// Side of the pictures that the image generator draws unless it is told another: what its UNet says, or what the checkpoint was
/// trained on.
pub fn picture_side(folder: &CheckpointFolder) -> usize {
    let downscale = folder.vae_config.downscale();
    folder.unet_config.sample_size.map_or_else(|| resolution(folder), |size| size * downscale)
}

/// Side of a picture that the checkpoint was trained on.
pub fn resolution(folder: &CheckpointFolder) -> usize {
    folder.config.plugins.stable_diffusion_head.as_ref().map_or(512, |head| head.resolution)
}

/// An error if the checkpoint cannot draw so: the picture's sides, the sampler and its steps.
pub fn check_drawing(folder: &CheckpointFolder, options: &DrawOptions) -> Result<()> {
    options.latent_size(folder.vae_config.downscale())?;
    Sampler::new(options.sampler, &folder.scheduler_config, options.steps, options.sampler_options).map(|_| ())
}
