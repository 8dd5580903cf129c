//! A model whose large parts come to the device by turns, for little memory: decoder, image encoder, UNet and VAE share
//! one seat ([`crate::nn::Place`]); projectors and dream queries stay.

use super::clip::ClipVision;
use super::dreamllm::{Diffusion, DreamLlm, LoadOptions, Vision, load_clip, load_llama, load_unet, load_vae};
use super::llama::{Cache, Llama, Tokens};
use super::unet::UNet;
use super::vae::{Posterior, Vae};
use super::vae_tiles::Tiling;
use crate::Result;
use crate::gpu::Gpu;
use crate::image::FloatImage;
use crate::nn::{Place, Seat, WeightFormat, Weights};
use crate::tensor::Tensor;
use crate::weights::{CheckpointFolder, WeightSet};
use std::sync::Arc;

/// Is told the name of every part that comes.
pub type OnPart = fn(&str);

/// What all parts of one model share.
struct Turns {
    seat: Arc<Seat>,
    folder: Arc<CheckpointFolder>,
    gpu: Gpu,
    format: WeightFormat,
    on_part: OnPart,
}

impl Turns {
    fn place<T: crate::gpu::WasmNotSendSync + 'static>(
        &self,
        name: &'static str,
        set: fn(&CheckpointFolder) -> &WeightSet,
        load: fn(&Weights, &CheckpointFolder) -> Result<T>,
    ) -> Place<T> {
        let Turns { seat, folder, gpu, format, on_part } = self;
        let (folder, gpu, format, on_part) = (folder.clone(), gpu.clone(), *format, *on_part);
        Place::by_turns(seat, move || {
            on_part(name);
            load(&Weights::root(set(&folder), &gpu, format, &|_| ()), &folder)
        })
    }

    fn diffusion(&self) -> Result<Diffusion> {
        let unet = self.place("UNet", |folder| &folder.diffusion, load_unet);
        let vae = self.place("VAE", |folder| &folder.diffusion, load_vae);
        let root = Weights::root(&self.folder.diffusion, &self.gpu, self.format, &|_| ());
        Diffusion::of_parts(&root, &self.folder, unet, vae)
    }

    fn vision(&self) -> Result<Vision> {
        let clip = self.place("image encoder", |folder| &folder.clip, load_clip);
        Vision::of_parts(&Weights::root(&self.folder.clip, &self.gpu, self.format, &|_| ()), &self.folder, clip)
    }
}

impl DreamLlm {
    /// The model of a folder, of which one large part is on the device at a time. `on_part` is told which one comes.
    pub fn load_by_turns(
        folder: Arc<CheckpointFolder>,
        gpu: &Gpu,
        options: LoadOptions,
        on_part: OnPart,
    ) -> Result<DreamLlm> {
        let turns = Turns { seat: Seat::new(gpu), folder, gpu: gpu.clone(), format: options.format, on_part };
        let llama = turns.place("language model", |folder| &folder.language, load_llama);
        let queries = Weights::root(&turns.folder.dream, gpu, options.format, &|_| ());
        let queries = queries.only_row("dream_queries", turns.folder.queries_shape())?;
        let vision = options.vision.then(|| turns.vision()).transpose()?;
        let diffusion = options.diffusion.then(|| turns.diffusion()).transpose()?;
        DreamLlm::of_parts(&turns.folder, gpu, llama, queries, vision, diffusion)
    }
}

impl Diffusion {
    /// Only the image generator, of which one part is on the device at a time.
    pub fn open_by_turns(
        folder: Arc<CheckpointFolder>,
        gpu: &Gpu,
        format: WeightFormat,
        on_part: OnPart,
    ) -> Result<Diffusion> {
        Turns { seat: Seat::new(gpu), folder, gpu: gpu.clone(), format, on_part }.diffusion()
    }
}

impl Place<Llama> {
    /// [`Llama::embed`].
    pub fn embed(&self, ids: &Tensor) -> Result<Tensor> {
        self.get()?.embed(ids)
    }

    /// [`Llama::logits`].
    pub fn logits(&self, hidden: &Tensor) -> Result<Tensor> {
        self.get()?.logits(hidden)
    }

    /// [`Llama::forward`].
    pub fn forward(&self, embeds: &Tensor, tokens: &Tokens, cache: Option<&mut Cache>) -> Result<Tensor> {
        self.get()?.forward(embeds, tokens, cache)
    }

    /// [`Llama::forward_checkpointed`].
    pub fn forward_checkpointed(&self, embeds: &Tensor, tokens: &Tokens) -> Result<Tensor> {
        self.get()?.forward_checkpointed(embeds, tokens)
    }
}

impl Place<ClipVision> {
    /// [`ClipVision::forward`].
    pub fn forward(&self, pixels: &Tensor, select: usize) -> Result<Tensor> {
        self.get()?.forward(pixels, select)
    }

    /// [`ClipVision::hidden_state`].
    pub fn hidden_state(&self, pixels: &Tensor, select: usize) -> Result<Tensor> {
        self.get()?.hidden_state(pixels, select)
    }

    /// [`ClipVision::pooled`].
    pub fn pooled(&self, pixels: &Tensor) -> Result<Tensor> {
        self.get()?.pooled(pixels)
    }
}

impl Place<UNet> {
    /// [`UNet::forward`].
    pub fn forward(&self, latents: &Tensor, timesteps: &Tensor, condition: &Tensor) -> Result<Tensor> {
        self.get()?.forward(latents, timesteps, condition)
    }
}

impl Place<Vae> {
    /// [`Vae::encode`].
    pub fn encode(&self, pixels: &Tensor) -> Result<Posterior> {
        self.get()?.encode(pixels)
    }

    /// [`Vae::decode`].
    pub fn decode(&self, latents: &Tensor) -> Result<Tensor> {
        self.get()?.decode(latents)
    }

    /// [`Vae::decode_tiled`].
    pub async fn decode_tiled(&self, latents: &Tensor, tiling: Tiling) -> Result<FloatImage> {
        self.get()?.decode_tiled(latents, tiling).await
    }
}
