//! `config.json` and `preprocessor_config.json` of a CLIP folder. Defaults as in transformers' `CLIPVisionConfig` and
//! `CLIPImageProcessor`.

use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::{Config, checks, from_object};
use crate::Error;

/// Size of the vision tower.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default)]
pub struct ClipVisionConfig {
    /// Width `C`.
    pub hidden_size: usize,
    /// Width of the MLP.
    pub intermediate_size: usize,
    /// Blocks.
    pub num_hidden_layers: usize,
    /// Heads `H`.
    pub num_attention_heads: usize,
    /// Colours of the image; only 3.
    pub num_channels: usize,
    /// Pixels of the (square) image's side.
    pub image_size: usize,
    /// Pixels of a patch's side.
    pub patch_size: usize,
    /// Activation of the MLP.
    pub hidden_act: VisionActivation,
    /// Epsilon of every LayerNorm.
    pub layer_norm_eps: f64,
}

/// Activation of CLIP's MLP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VisionActivation {
    /// `x · sigmoid(1.702 x)`.
    QuickGelu,
    /// Exact GELU.
    Gelu,
}

impl Default for ClipVisionConfig {
    fn default() -> Self {
        Self {
            hidden_size: 768,
            intermediate_size: 3072,
            num_hidden_layers: 12,
            num_attention_heads: 12,
            num_channels: 3,
            image_size: 224,
            patch_size: 32,
            hidden_act: VisionActivation::QuickGelu,
            layer_norm_eps: 1e-5,
        }
    }
}

impl ClipVisionConfig {
    /// Patches of an image, without the class token.
    pub fn patches(&self) -> usize {
        let side = self.image_size / self.patch_size.max(1);
        side * side
    }

    /// Index of the hidden state (0 is the embeddings' output) that `select_layer` means.
    pub fn hidden_state(&self, select_layer: i64) -> Result<usize, String> {
        let states = self.num_hidden_layers as i64 + 1;
        let index = if select_layer < 0 { select_layer.saturating_add(states) } else { select_layer };
        if (0..states).contains(&index) {
            Ok(index as usize)
        } else {
            Err(format!("select_layer {select_layer} of a CLIP encoder with {} layers", self.num_hidden_layers))
        }
    }
}

impl Config for ClipVisionConfig {
    /// A full CLIP model nests the vision tower's keys, a vision model has them at the top.
    fn from_json(file: &str, json: &[u8]) -> crate::Result<Self> {
        let parse = || -> serde_json::Result<Self> {
            let mut top: Value = from_object(json)?;
            let nested = ["vision_config", "vision_config_dict"].into_iter().find(|key| top[*key].is_object());
            serde_json::from_value(nested.map(|key| top[key].take()).unwrap_or(top))
        };
        let config: Self = parse().map_err(|e| Error::format(file, e))?;
        config.validate().map_err(|why| Error::format(file, why))?;
        Ok(config)
    }

    fn validate(&self) -> Result<(), String> {
        checks::sizes(&[("intermediate_size", self.intermediate_size), ("num_hidden_layers", self.num_hidden_layers)])?;
        checks::divides("num_attention_heads", self.num_attention_heads, "hidden_size", self.hidden_size)?;
        checks::sizes(&[("image_size", self.image_size), ("patch_size", self.patch_size)])?;
        if self.patch_size > self.image_size {
            return Err(format!("patch_size {} is larger than image_size {}", self.patch_size, self.image_size));
        }
        checks::supported("num_channels", self.num_channels, &[3])?;
        checks::positive("layer_norm_eps", self.layer_norm_eps)
    }
}

/// What is done to an image before CLIP sees it.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default)]
pub struct ClipPreprocessConfig {
    /// Whether to resize.
    pub do_resize: bool,
    /// To what size.
    pub size: ResizeTarget,
    /// By which filter.
    pub resample: Resampling,
    /// Whether to crop at the centre.
    pub do_center_crop: bool,
    /// To height and width.
    #[serde(deserialize_with = "crop_size")]
    pub crop_size: [usize; 2],
    /// Whether to multiply by `rescale_factor`.
    pub do_rescale: bool,
    /// Usually 1/255.
    pub rescale_factor: f64,
    /// Whether to subtract the mean and divide by the deviation.
    pub do_normalize: bool,
    /// Mean of each colour.
    pub image_mean: [f64; 3],
    /// Standard deviation of each colour.
    pub image_std: [f64; 3],
}

impl Default for ClipPreprocessConfig {
    fn default() -> Self {
        Self {
            do_resize: true,
            size: ResizeTarget::ShortestEdge(224),
            resample: Resampling::Bicubic,
            do_center_crop: true,
            crop_size: [224, 224],
            do_rescale: true,
            rescale_factor: 1.0 / 255.0,
            do_normalize: true,
            image_mean: [0.48145466, 0.4578275, 0.40821073],
            image_std: [0.26862954, 0.26130258, 0.27577711],
        }
    }
}

/// What an image is resized to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResizeTarget {
    /// The shorter side becomes this long, the proportions stay.
    ShortestEdge(usize),
    /// Exactly height and width.
    Exact([usize; 2]),
}

/// Pillow's resampling filters, those of them that CLIP configs use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "u8")]
pub enum Resampling {
    /// Pillow's 1: sinc windowed by sinc, radius 3.
    Lanczos,
    /// Pillow's 2: a triangle, radius 1.
    Bilinear,
    /// Pillow's 3: a cubic with a = −0.5, radius 2.
    Bicubic,
}

impl TryFrom<u8> for Resampling {
    type Error = String;

    fn try_from(number: u8) -> Result<Self, String> {
        match number {
            1 => Ok(Self::Lanczos),
            2 => Ok(Self::Bilinear),
            3 => Ok(Self::Bicubic),
            _ => Err(format!("resample {number} is not supported (only 1, 2, 3)")),
        }
    }
}

/// An old file has one number; a new one has a map.
#[derive(Deserialize)]
#[serde(untagged)]
enum Size {
    Number(usize),
    Edge { shortest_edge: usize },
    Box { height: usize, width: usize },
}

impl<'de> Deserialize<'de> for ResizeTarget {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(match Size::deserialize(deserializer)? {
            Size::Number(edge) | Size::Edge { shortest_edge: edge } => Self::ShortestEdge(edge),
            Size::Box { height, width } => Self::Exact([height, width]),
        })
    }
}

fn crop_size<'de, D: Deserializer<'de>>(deserializer: D) -> Result<[usize; 2], D::Error> {
    Ok(match Size::deserialize(deserializer)? {
        Size::Number(edge) | Size::Edge { shortest_edge: edge } => [edge, edge],
        Size::Box { height, width } => [height, width],
    })
}

impl Config for ClipPreprocessConfig {
    fn validate(&self) -> Result<(), String> {
        let sides = match self.size {
            ResizeTarget::ShortestEdge(edge) => [edge, edge],
            ResizeTarget::Exact(sides) => sides,
        };
        for side in sides.into_iter().chain(self.crop_size) {
            checks::size("size or crop_size", side)?;
            if side > LARGEST_SIDE {
                return Err(format!("size or crop_size is {side}, over {LARGEST_SIDE}"));
            }
        }
        checks::positive("rescale_factor", self.rescale_factor)?;
        self.image_std.iter().try_for_each(|&std| checks::positive("image_std", std))?;
        match self.image_mean.iter().find(|mean| !mean.is_finite()) {
            Some(mean) => Err(format!("image_mean is {mean}")),
            None => Ok(()),
        }
    }
}

/// No vision encoder looks at more pixels a side than this.
const LARGEST_SIDE: usize = 8192;
