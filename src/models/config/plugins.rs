//! `plugins_init_kwargs` of DreamLLM's `config.json`: how the vision encoder, the dream queries and the diffusion head
//! were built. Source: `omni/models/dreamllm/modeling_plugins.py`, constructors.

use serde::Deserialize;

use super::checks;

/// The three plugins. Each is absent in a bare language model.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Plugins {
    /// CLIP encoder and visual projector.
    pub clip_vision_embedding: Option<ClipVisionEmbeddingConfig>,
    /// Dream queries.
    pub dream_embedding: Option<DreamEmbeddingConfig>,
    /// Stable Diffusion with its condition projector.
    pub stable_diffusion_head: Option<StableDiffusionHeadConfig>,
}

/// Shape of a projector between two widths.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ProjectorType {
    /// One linear layer.
    Linear,
    /// `projector_depth` linear layers with exact GELU between them.
    Mlp,
}

/// `CLIPVisionEmbedding`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default)]
pub struct ClipVisionEmbeddingConfig {
    /// Hub name or path; its last component names the local folder.
    pub clip_vision_model_name_or_path: String,
    /// Visual projector.
    pub projector_type: ProjectorType,
    /// Its number of linear layers.
    pub projector_depth: usize,
    /// Whether a LayerNorm follows the projector.
    pub use_additional_post_layernorm: bool,
    /// Which hidden state is taken; negative counts from the end.
    pub select_layer: i64,
    /// Width of the language model.
    pub embed_hidden_size: usize,
    /// Whether the encoder is not trained.
    pub freeze_clip_vision_model: bool,
    /// Whether its embeddings are not trained even if the encoder is.
    pub freeze_embedding_layers: bool,
    /// Whether the projector is not trained.
    pub freeze_projector: bool,
}

impl Default for ClipVisionEmbeddingConfig {
    fn default() -> Self {
        Self {
            clip_vision_model_name_or_path: "openai/clip-vit-large-patch14".into(),
            projector_type: ProjectorType::Linear,
            projector_depth: 1,
            use_additional_post_layernorm: false,
            select_layer: -2,
            embed_hidden_size: 4096,
            freeze_clip_vision_model: true,
            freeze_embedding_layers: true,
            freeze_projector: false,
        }
    }
}

/// `DreamEmbedding`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default)]
pub struct DreamEmbeddingConfig {
    /// Number of dream queries, `Q`.
    pub num_dream_queries: usize,
    /// Width of the language model.
    pub embed_hidden_size: usize,
    /// Whether the queries are not trained.
    pub freeze_dream_queries: bool,
}

impl Default for DreamEmbeddingConfig {
    fn default() -> Self {
        Self { num_dream_queries: 64, embed_hidden_size: 4096, freeze_dream_queries: false }
    }
}

/// `StableDiffusionHead`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default)]
pub struct StableDiffusionHeadConfig {
    /// Hub name or path; its last component names the local folder.
    pub diffusion_name_or_path: String,
    /// Condition projector.
    pub projector_type: ProjectorType,
    /// Its number of linear layers.
    pub projector_depth: usize,
    /// Width of the language model.
    pub embed_hidden_size: usize,
    /// Probability of training on the unconditional sequence.
    pub drop_prob: Option<f64>,
    /// Strength of the per-channel noise offset in training.
    pub noise_offset: f64,
    /// Strength of the extra input noise in training.
    pub input_perturbation: f64,
    /// Gamma of the min-SNR loss weight.
    pub snr_gamma: Option<f64>,
    /// Pixels of a training image's side.
    pub resolution: usize,
    /// Whether training images are cropped at the centre (else at random).
    pub center_crop: bool,
    /// Whether training images are flipped at random.
    pub random_flip: bool,
    /// Whether the VAE is not trained.
    pub freeze_vae: bool,
    /// Whether the UNet is not trained.
    pub freeze_unet: bool,
    /// Whether the projector is not trained.
    pub freeze_projector: bool,
}

impl Default for StableDiffusionHeadConfig {
    fn default() -> Self {
        Self {
            diffusion_name_or_path: "stabilityai/stable-diffusion-2-1-base".into(),
            projector_type: ProjectorType::Linear,
            projector_depth: 1,
            embed_hidden_size: 4096,
            drop_prob: None,
            noise_offset: 0.0,
            input_perturbation: 0.0,
            snr_gamma: None,
            resolution: 512,
            center_crop: true,
            random_flip: true,
            freeze_vae: true,
            freeze_unet: true,
            freeze_projector: false,
        }
    }
}

impl Plugins {
    /// Checks the plugins against the width of the language model.
    pub(super) fn validate(&self, hidden_size: usize) -> Result<(), String> {
        if let Some(clip) = &self.clip_vision_embedding {
            in_plugin("clip_vision_embedding", projector(clip.projector_type, clip.projector_depth))?;
            in_plugin("clip_vision_embedding", width(clip.embed_hidden_size, hidden_size))?;
        }
        if let Some(dream) = &self.dream_embedding {
            in_plugin("dream_embedding", checks::size("num_dream_queries", dream.num_dream_queries))?;
            in_plugin("dream_embedding", width(dream.embed_hidden_size, hidden_size))?;
        }
        self.stable_diffusion_head
            .as_ref()
            .map_or(Ok(()), |head| in_plugin("stable_diffusion_head", head.validate(hidden_size)))
    }
}

impl StableDiffusionHeadConfig {
    fn validate(&self, hidden_size: usize) -> Result<(), String> {
        projector(self.projector_type, self.projector_depth)?;
        width(self.embed_hidden_size, hidden_size)?;
        checks::size("resolution", self.resolution)?;
        checks::not_negative("noise_offset", self.noise_offset)?;
        checks::not_negative("input_perturbation", self.input_perturbation)?;
        if let Some(p) = self.drop_prob
            && !(0.0..=1.0).contains(&p)
        {
            return Err(format!("drop_prob is {p}, not between 0 and 1"));
        }
        self.snr_gamma.map_or(Ok(()), |gamma| checks::positive("snr_gamma", gamma))
    }
}

fn in_plugin(plugin: &str, result: Result<(), String>) -> Result<(), String> {
    result.map_err(|why| format!("plugins_init_kwargs.{plugin}: {why}"))
}

fn projector(kind: ProjectorType, depth: usize) -> Result<(), String> {
    checks::size("projector_depth", depth)?;
    match (kind, depth) {
        (ProjectorType::Linear, 1) => Ok(()),
        (ProjectorType::Linear, _) => Err(format!("projector_type linear has depth 1, not {depth}")),
        (ProjectorType::Mlp, 1) => Err("projector_type mlp needs projector_depth 2 or more".into()),
        (ProjectorType::Mlp, _) => Ok(()),
    }
}

fn width(embed_hidden_size: usize, hidden_size: usize) -> Result<(), String> {
    if embed_hidden_size == hidden_size {
        Ok(())
    } else {
        Err(format!("embed_hidden_size is {embed_hidden_size}, the language model's hidden_size {hidden_size}"))
    }
}
