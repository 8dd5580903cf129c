//! Which parts of the model learn.

use crate::nn::Parameters;
use crate::weights::rename::{CLIP_IN_ALL, DIFFUSION_IN_ALL, DREAM_IN_ALL};

/// The parts that are trained. A frozen part keeps no gradient, and passes the gradient of its input on where something
/// before it is trained: the queries learn through the frozen UNet. Only a frozen projector passes none, as in the official
/// code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Deserialize, serde::Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Trained {
    /// Token table, decoder layers, final norm and head.
    pub decoder: bool,
    /// Between the image encoder and the decoder.
    pub visual_projector: bool,
    /// Between the decoder and the UNet.
    pub condition_projector: bool,
    /// The dream queries.
    pub dream_queries: bool,
    /// The image encoder up to the hidden state that is read, without its embeddings.
    pub clip: bool,
    /// Its class token, patches and positions.
    pub clip_embeddings: bool,
    /// The denoiser.
    pub unet: bool,
    /// The autoencoder. Only its encoder has a part in the loss.
    pub vae: bool,
}

impl Trained {
    /// Stage I on words: what pictures mean to the decoder.
    pub fn stage1_comprehension() -> Trained {
        Trained { visual_projector: true, ..Default::default() }
    }

    /// Stage I on pictures: how the decoder's states condition the UNet.
    pub fn stage1_creation() -> Trained {
        Trained { condition_projector: true, dream_queries: true, ..Default::default() }
    }

    /// Stages II and III: the decoder and everything around it.
    pub fn stage2() -> Trained {
        Trained {
            decoder: true,
            visual_projector: true,
            condition_projector: true,
            dream_queries: true,
            ..Default::default()
        }
    }

    /// Everything.
    pub fn all() -> Trained {
        Trained { clip: true, clip_embeddings: true, unet: true, vae: true, ..Trained::stage2() }
    }

    /// An empty collection of parameters that will be variables where they belong to these parts. `clip_layers` is the number
    /// of the image encoder's layers that are run, [`Vision::select`](crate::models::dreamllm::Vision::select).
    pub fn parameters(self, clip_layers: usize) -> Parameters {
        Parameters::new(move |name| self.includes(name, clip_layers))
    }

    /// Whether a weight of this full name learns.
    pub fn includes(self, name: &str, clip_layers: usize) -> bool {
        if let Some(rest) = name.strip_prefix(CLIP_IN_ALL) {
            return self.includes_clip(rest, clip_layers);
        }
        if let Some(rest) = name.strip_prefix(DIFFUSION_IN_ALL) {
            return match rest.split('.').next() {
                Some("unet") => self.unet,
                Some("vae") => self.vae,
                _ => self.condition_projector,
            };
        }
        if name.starts_with(DREAM_IN_ALL) { self.dream_queries } else { self.decoder }
    }

    fn includes_clip(self, name: &str, layers: usize) -> bool {
        if name.starts_with("post_layernorm.") {
            // Behind the projector; the official code freezes it in no stage.
            return true;
        }
        let Some(tower) = name.strip_prefix("clip_vision_model.vision_model.") else { return self.visual_projector };
        let layer =
            tower.strip_prefix("encoder.layers.").and_then(|rest| rest.split('.').next()?.parse::<usize>().ok());
        match (layer, tower.split('.').next()) {
            (Some(layer), _) => self.clip && layer < layers,
            (None, Some("embeddings")) => self.clip && self.clip_embeddings,
            (None, Some("post_layernorm")) => false,
            _ => self.clip,
        }
    }
}
