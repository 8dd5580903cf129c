//! DreamLLM: a decoder between an image encoder and an image generator.
//!
//! Words and pictures become one row of embeddings. For understanding, the decoder goes on with words; for creating, the
//! dream queries are put behind the row, and their hidden states are what the UNet attends to. `MODEL.md` section 1 of
//! the project's notes has the picture.

use super::clip::ClipVision;
use super::config::{ClipPreprocessConfig, DreamConfig, ProjectorType, SchedulerConfig};
use super::llama::{Cache, Llama, Tokens};
use super::survey::Part;
use super::unet::UNet;
use super::vae::Vae;
use crate::gpu::Gpu;
use crate::image::{RgbImage, clip_pixels};
use crate::nn::{LayerNorm, Parameters, Place, Projector, WeightFormat, Weights};
use crate::ops::embedding::put_rows;
use crate::ops::fill::zeros;
use crate::ops::layout::{concat, slice};
use crate::tensor::Tensor;
use crate::text::{Batch, PaddingSide, Prompt, SpecialTokens, Tokenizer};
use crate::weights::{CheckpointFolder, WeightSet, rename};
use crate::{Error, Result};

/// The whole model, or those parts of it that a job needs.
pub struct DreamLlm {
    /// The device it lives on.
    pub gpu: Gpu,
    /// `config.json`.
    pub config: DreamConfig,
    /// Words to ids and back.
    pub tokenizer: Tokenizer,
    /// Ids of the tokens with a role.
    pub special: SpecialTokens,
    /// The decoder.
    pub llama: Place<Llama>,
    /// What is put behind a row to ask for a picture, `[Q, C]`.
    pub dream_queries: Tensor,
    /// The image encoder, where pictures are read.
    pub vision: Option<Vision>,
    /// The image generator, where pictures are drawn.
    pub diffusion: Option<Diffusion>,
    /// A short name of the checkpoint's weights ([`CheckpointFolder::fingerprint`]).
    pub fingerprint: String,
}

/// Pictures to rows of embeddings.
pub struct Vision {
    /// The encoder.
    pub clip: Place<ClipVision>,
    /// Hidden state that is read.
    pub select: usize,
    /// Vectors per picture.
    pub patches: usize,
    /// How pictures are prepared.
    pub preprocess: ClipPreprocessConfig,
    post_layernorm: Option<LayerNorm>,
    projector: Projector,
}

/// Condition vectors to pictures.
pub struct Diffusion {
    /// Hidden states of the queries to condition vectors.
    pub projector: Projector,
    /// The denoiser.
    pub unet: Place<UNet>,
    /// The autoencoder.
    pub vae: Place<Vae>,
    /// Latents are multiplied by this for the denoiser.
    pub scaling_factor: f32,
    /// Pixels along a latent's side.
    pub downscale: usize,
    /// The noise schedule the denoiser was trained with.
    pub scheduler: SchedulerConfig,
    /// Channels of a latent.
    pub latent_channels: usize,
    /// Side of a picture that the model was trained on.
    pub resolution: usize,
    /// Width of the vectors that the UNet attends to.
    pub condition_width: usize,
}

/// Which parts to load, and how.
#[derive(Debug, Clone, Copy, Default)]
pub struct LoadOptions {
    /// Format of the large weights on the device.
    pub format: WeightFormat,
    /// Whether pictures will be read.
    pub vision: bool,
    /// Whether pictures will be drawn.
    pub diffusion: bool,
    /// The seed of weights that no file has, [`crate::nn::initial`]; without one they are an error.
    pub initial: Option<u64>,
}

impl LoadOptions {
    /// Whether a part is loaded.
    pub fn loads(&self, part: Part) -> bool {
        match part {
            Part::Decoder | Part::Queries => true,
            Part::ImageEncoder | Part::VisualProjector => self.vision,
            Part::ConditionProjector | Part::UNet | Part::Vae => self.diffusion,
        }
    }
}

/// Rows of tokens with pictures among them, as the decoder gets them.
pub struct Context {
    /// Embeddings `[B, T, C]`.
    pub embeds: Tensor,
    /// Padding of the rows.
    pub tokens: Tokens,
}

impl DreamLlm {
    /// Loads an official folder. `progress` is told stored bytes as they are read, out of [`bytes_to_load`].
    pub fn load(
        folder: &CheckpointFolder,
        gpu: &Gpu,
        options: LoadOptions,
        progress: &dyn Fn(u64),
    ) -> Result<DreamLlm> {
        DreamLlm::load_with(folder, gpu, options, None, progress)
    }

    /// The same, with every weight kept in a collection of parameters, or taken from there.
    pub fn load_with(
        folder: &CheckpointFolder,
        gpu: &Gpu,
        options: LoadOptions,
        parameters: Option<&Parameters>,
        progress: &dyn Fn(u64),
    ) -> Result<DreamLlm> {
        let root = |set, prefix| {
            let weights = Weights::root(set, gpu, options.format, progress);
            weights.kept_in(parameters, prefix).initialised(options.initial)
        };
        let llama = Place::stays(load_llama(&root(&folder.language, ""), folder)?);
        let queries = root(&folder.dream, rename::DREAM_IN_ALL).only_row("dream_queries", folder.queries_shape())?;
        let vision = || Vision::load(&root(&folder.clip, rename::CLIP_IN_ALL), folder);
        let diffusion = || Diffusion::load(&root(&folder.diffusion, rename::DIFFUSION_IN_ALL), folder);
        let vision = options.vision.then(vision).transpose()?;
        let diffusion = options.diffusion.then(diffusion).transpose()?;
        DreamLlm::of_parts(folder, gpu, llama, queries, vision, diffusion)
    }

    pub(super) fn of_parts(
        folder: &CheckpointFolder,
        gpu: &Gpu,
        llama: Place<Llama>,
        dream_queries: Tensor,
        vision: Option<Vision>,
        diffusion: Option<Diffusion>,
    ) -> Result<DreamLlm> {
        let config = folder.config.clone();
        let tokenizer = Tokenizer::from_folder(&folder.root)?;
        let special = SpecialTokens::new(&tokenizer)?;
        if (config.vocab_size as u64) < u64::from(tokenizer.len()) {
            let why = format!("the tokenizer has {} tokens, but vocab_size is {}", tokenizer.len(), config.vocab_size);
            return Err(Error::file(folder.root.join("config.json"), why));
        }
        let (gpu, fingerprint) = (gpu.clone(), folder.fingerprint());
        Ok(DreamLlm { gpu, config, tokenizer, special, llama, dream_queries, vision, diffusion, fingerprint })
    }

    /// The image encoder, or an error if it was not loaded.
    pub fn vision(&self) -> Result<&Vision> {
        self.vision.as_ref().ok_or_else(|| Error::Input("the model was loaded without its image encoder".into()))
    }

    /// The image generator, or an error if it was not loaded.
    pub fn diffusion(&self) -> Result<&Diffusion> {
        self.diffusion.as_ref().ok_or_else(|| Error::Input("the model was loaded without its image generator".into()))
    }

    /// One row: text with `<image>` placeholders, and the pictures that take their places.
    pub fn context(&self, text: &str, images: &[RgbImage]) -> Result<Context> {
        let prompt = self.prompt(&self.tokenizer.encode(text), images.len())?;
        self.check_length(prompt.ids.len())?;
        self.embed_row(&prompt.ids, &prompt.images, images)
    }

    /// Ids with the blocks of `images` pictures in the places of their placeholders.
    pub(super) fn prompt(&self, ids: &[u32], images: usize) -> Result<Prompt> {
        let patches = if images == 0 { 0 } else { self.vision()?.patches };
        Prompt::new(ids, &self.special, images, patches)
    }

    /// One row of ids, with the pictures' vectors from each of the `places` on.
    pub(super) fn embed_row(&self, ids: &[u32], places: &[usize], images: &[RgbImage]) -> Result<Context> {
        let features = match images {
            [] => None,
            _ => Some(self.vision()?.read(&self.gpu, images)?),
        };
        self.embed(&Batch::new(&[ids], self.special.pad, PaddingSide::Left), places, features.as_ref())
    }

    /// An error if a prompt of `tokens` is longer than the decoder takes. A dream behind it may go beyond, as officially.
    fn check_length(&self, tokens: usize) -> Result<()> {
        let limit = self.config.context_length();
        match tokens <= limit {
            true => Ok(()),
            false => Err(Error::Input(format!("the prompt has {tokens} tokens; this model takes at most {limit}"))),
        }
    }

    /// Rows of ids with patch vectors in place: `features [N, P, C]` replace the embeddings from each of the N `places`
    /// on, which count through the flattened rows.
    pub fn embed(&self, batch: &Batch, places: &[usize], features: Option<&Tensor>) -> Result<Context> {
        let (rows, width) = (batch.rows, batch.width);
        let mut embeds = self.llama.embed(&Tensor::from_u32(&self.gpu, &batch.ids, [rows, width])?)?;
        if let Some(features) = features {
            let [_, p, _] = features.dims("embed features", "N P C")?;
            features.expect_shape("embed features", "N P C", [places.len(), p, self.config.hidden_size])?;
            embeds = put_blocks(&embeds, places, features)?;
        }
        let real = batch.mask.iter().any(|real| !real).then(|| batch.mask.clone());
        Ok(Context { embeds, tokens: Tokens { positions: None, real } })
    }

    /// A bias on the scores of the next token under which none of these tokens comes, `[V]`.
    pub fn never(&self, tokens: &[u32]) -> Result<Tensor> {
        let mut bias = vec![0.0; self.config.vocab_size];
        for &token in tokens {
            if let Some(place) = bias.get_mut(token as usize) {
                *place = f32::MIN;
            }
        }
        Tensor::from_f32(&self.gpu, &bias, [bias.len()])
    }

    /// What the UNet should draw after a context: condition vectors `[B, Q, E]`.
    pub fn condition(&self, context: &Context) -> Result<Tensor> {
        let mut cache = Cache::default();
        self.llama.forward(&context.embeds, &context.tokens, Some(&mut cache))?;
        self.diffusion()?.projector.forward(&self.dream(&mut cache, context.embeds.shape().as_slice()[0])?)
    }

    /// Hidden states of the dream queries behind what is in the cache, `[B, Q, C]`. The dream stays in the cache.
    pub fn dream(&self, cache: &mut Cache, rows: usize) -> Result<Tensor> {
        let [q, _] = self.dream_queries.dims("dream queries", "Q C")?;
        let hidden = self.llama.forward(&self.dream_embeddings(rows)?, &Tokens::default(), Some(cache))?;
        slice(&hidden, 1, 1, q)
    }

    /// `<dream_start>`, the dream queries, `<dream_end>`, for every row: `[B, Q + 2, C]`.
    pub fn dream_embeddings(&self, rows: usize) -> Result<Tensor> {
        let [q, c] = self.dream_queries.dims("dream queries", "Q C")?;
        let word = |id| self.llama.embed(&Tensor::from_u32(&self.gpu, &[id], [1])?);
        let (start, end) = (word(self.special.dream_start)?, word(self.special.dream_end)?);
        let block = concat(&[&start, &self.dream_queries, &end], 0)?.reshape([1, q + 2, c])?;
        if rows == 1 { Ok(block) } else { zeros(&self.gpu, [rows, q + 2, c])?.add(&block) }
    }
}

/// Embeddings `[B, T, C]` with blocks of vectors in place of some: block n of `[N, P, C]` from place n of the flattened rows
/// on. A single block goes to every place.
pub(crate) fn put_blocks(embeds: &Tensor, places: &[usize], blocks: &Tensor) -> Result<Tensor> {
    let [b, t, c] = embeds.dims("embed embeddings", "B T C")?;
    let [n, p, _] = blocks.dims("embed blocks", "N P C")?;
    if (n != places.len() && n != 1) || places.iter().any(|at| at + p > b * t) {
        return Err(Error::Input(format!("{n} pictures of {p} vectors do not fit their {} places", places.len())));
    }
    let mut source = vec![u32::MAX; b * t];
    for (block, &place) in places.iter().enumerate() {
        let first = if n == 1 { 0 } else { block * p };
        (0..p).for_each(|row| source[place + row] = (first + row) as u32);
    }
    let source = Tensor::from_u32(embeds.gpu(), &source, [b * t])?;
    put_rows(&embeds.reshape([b * t, c])?, &source, &blocks.reshape([n * p, c])?)?.reshape([b, t, c])
}

impl Vision {
    pub(super) fn load(w: &Weights, folder: &CheckpointFolder) -> Result<Vision> {
        Vision::of_parts(w, folder, Place::stays(load_clip(w, folder)?))
    }

    /// Loads everything but the encoder.
    pub(super) fn of_parts(w: &Weights, folder: &CheckpointFolder, clip: Place<ClipVision>) -> Result<Vision> {
        let config = &folder.clip_config;
        let plugin = folder.config.plugins.clip_vision_embedding.as_ref();
        let select = config.hidden_state(plugin.map_or(-2, |p| p.select_layer));
        let (kind, depth) = plugin.map_or((ProjectorType::Linear, 1), |p| (p.projector_type, p.projector_depth));
        let norm = || LayerNorm::load(&(w / "post_layernorm"), folder.config.hidden_size, config.layer_norm_eps);
        Ok(Vision {
            clip,
            select: select.map_err(|why| Error::file(folder.root.join("config.json"), why))?,
            patches: config.patches(),
            preprocess: folder.clip_preprocess.clone(),
            post_layernorm: plugin.is_some_and(|p| p.use_additional_post_layernorm).then(norm).transpose()?,
            projector: Projector::load(&(w / "projector"), config.hidden_size, folder.config.hidden_size, kind, depth)?,
        })
    }

    /// Pictures to vectors among words: `[N, P, C]`.
    pub fn read(&self, gpu: &Gpu, images: &[RgbImage]) -> Result<Tensor> {
        let prepared = images.iter().map(|image| clip_pixels(image, &self.preprocess)).collect::<Result<Vec<_>>>()?;
        let Some(first) = prepared.first() else { return Err(Error::Input("no picture to read".into())) };
        let shape = [prepared.len(), first.height, first.width, 3];
        let pixels: Vec<f32> = prepared.iter().flat_map(|image| image.values.iter().copied()).collect();
        self.encode(&Tensor::from_f32(gpu, &pixels, shape)?)
    }

    /// Prepared pixels `[N, Y, X, 3]` → `[N, P, C]`.
    pub fn encode(&self, pixels: &Tensor) -> Result<Tensor> {
        self.normed(&self.projected(pixels)?)
    }

    /// The same before the norm that some checkpoints have behind the projector.
    pub fn projected(&self, pixels: &Tensor) -> Result<Tensor> {
        self.projector.forward(&self.clip.forward(pixels, self.select)?)
    }

    /// The norm, where there is one.
    pub fn normed(&self, projected: &Tensor) -> Result<Tensor> {
        self.post_layernorm.as_ref().map_or(Ok(projected.clone()), |norm| norm.forward(projected))
    }
}

impl Diffusion {
    /// Loads only the image generator, which is all that drawing from saved condition vectors needs. `progress` is told
    /// stored bytes, out of those of the folder's `diffusion`.
    pub fn open(
        folder: &CheckpointFolder,
        gpu: &Gpu,
        format: WeightFormat,
        progress: &dyn Fn(u64),
    ) -> Result<Diffusion> {
        Diffusion::load(&Weights::root(&folder.diffusion, gpu, format, progress), folder)
    }

    pub(super) fn load(w: &Weights, folder: &CheckpointFolder) -> Result<Diffusion> {
        let (unet, vae) = (Place::stays(load_unet(w, folder)?), Place::stays(load_vae(w, folder)?));
        Diffusion::of_parts(w, folder, unet, vae)
    }

    /// Loads everything but the denoiser and the autoencoder.
    pub(super) fn of_parts(
        w: &Weights,
        folder: &CheckpointFolder,
        unet: Place<UNet>,
        vae: Place<Vae>,
    ) -> Result<Diffusion> {
        let plugin = folder.config.plugins.stable_diffusion_head.as_ref();
        let (kind, depth) = plugin.map_or((ProjectorType::Linear, 1), |p| (p.projector_type, p.projector_depth));
        let cross = folder.unet_config.cross_dims().map_err(|why| Error::format("unet/config.json", why))?;
        let width = folder.config.hidden_size;
        Ok(Diffusion {
            projector: Projector::load(&(w / "projector"), width, cross[0], kind, depth)?,
            unet,
            vae,
            scaling_factor: folder.vae_config.scaling_factor as f32,
            downscale: folder.vae_config.downscale(),
            scheduler: folder.scheduler_config.clone(),
            latent_channels: folder.vae_config.latent_channels,
            resolution: plugin.map_or(512, |p| p.resolution),
            condition_width: cross[0],
        })
    }
}

pub(super) fn load_llama(w: &Weights, folder: &CheckpointFolder) -> Result<Llama> {
    Llama::load(w, &folder.config)
}

pub(super) fn load_clip(w: &Weights, folder: &CheckpointFolder) -> Result<ClipVision> {
    ClipVision::load(&(w / "clip_vision_model" / "vision_model"), &folder.clip_config)
}

pub(super) fn load_unet(w: &Weights, folder: &CheckpointFolder) -> Result<UNet> {
    UNet::load(&(w / "unet"), &folder.unet_config)
}

pub(super) fn load_vae(w: &Weights, folder: &CheckpointFolder) -> Result<Vae> {
    Vae::load(&(w / "vae"), &folder.vae_config)
}

/// The sets of a folder that `options` load.
fn sets(folder: &CheckpointFolder, options: LoadOptions) -> Vec<&WeightSet> {
    let mut sets = vec![&folder.language, &folder.dream];
    sets.extend(options.vision.then_some(&folder.clip));
    sets.extend(options.diffusion.then_some(&folder.diffusion));
    sets
}

/// Stored bytes that loading will read.
pub fn bytes_to_load(folder: &CheckpointFolder, options: LoadOptions) -> u64 {
    sets(folder, options).into_iter().map(stored_bytes).sum()
}

/// Stored bytes of a set.
pub fn stored_bytes(set: &WeightSet) -> u64 {
    set.tensors().map(|t| t.stored_bytes()).sum()
}

/// Tensors of the loaded parts that the model did not use.
pub fn unread(folder: &CheckpointFolder, options: LoadOptions) -> Vec<String> {
    sets(folder, options).into_iter().flat_map(WeightSet::unread).collect()
}
