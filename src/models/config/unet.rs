//! `unet/config.json` of a Stable Diffusion folder. Defaults as in diffusers' `UNet2DConditionModel`.

use serde::Deserialize;
use serde_json::Value;

use super::{Config, PerLevel, checks};

/// `UNet2DConditionModel`. Lists go from the highest resolution to the lowest unless said otherwise.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default)]
pub struct UNetConfig {
    /// Side of the latent it was trained on.
    pub sample_size: Option<usize>,
    /// Latent channels in.
    pub in_channels: usize,
    /// Latent channels out.
    pub out_channels: usize,
    /// Whether the sinusoid is [cos, sin] rather than [sin, cos].
    pub flip_sin_to_cos: bool,
    /// Offset in the sinusoid's exponent.
    pub freq_shift: f64,
    /// Blocks on the way down.
    pub down_block_types: Vec<UNetBlock>,
    /// Blocks on the way up, lowest resolution first.
    pub up_block_types: Vec<UNetBlock>,
    /// Channels of each level.
    pub block_out_channels: Vec<usize>,
    /// Residual blocks of a level on the way down; one more on the way up.
    pub layers_per_block: PerLevel<usize>,
    /// Padding of the downsamplers' convolution.
    pub downsample_padding: usize,
    /// Divisor of the middle block's output.
    pub mid_block_scale_factor: f64,
    /// Activation; only `silu`.
    pub act_fn: String,
    /// Groups of every group normalisation.
    pub norm_num_groups: usize,
    /// Epsilon of the residual blocks' normalisation.
    pub norm_eps: f64,
    /// Width of the condition.
    pub cross_attention_dim: PerLevel<usize>,
    /// Transformer blocks after a residual block.
    pub transformer_layers_per_block: PerLevel<usize>,
    /// In spite of its name the **number of heads**.
    pub attention_head_dim: PerLevel<usize>,
    /// The number of heads under its proper name; wins where present.
    pub num_attention_heads: Option<PerLevel<usize>>,
    /// Whether transformers project by linear layers rather than 1×1 convolutions.
    pub use_linear_projection: bool,
    #[serde(flatten)]
    unsupported: Unsupported,
}

/// A block of one resolution level.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub enum UNetBlock {
    /// Residual blocks, on the way down.
    #[serde(rename = "DownBlock2D")]
    Down,
    /// Residual blocks with cross-attention, on the way down.
    #[serde(rename = "CrossAttnDownBlock2D")]
    CrossAttentionDown,
    /// Residual blocks, on the way up.
    #[serde(rename = "UpBlock2D")]
    Up,
    /// Residual blocks with cross-attention, on the way up.
    #[serde(rename = "CrossAttnUpBlock2D")]
    CrossAttentionUp,
}

impl UNetBlock {
    /// Whether the block has transformers.
    pub fn has_attention(self) -> bool {
        matches!(self, Self::CrossAttentionDown | Self::CrossAttentionUp)
    }

    fn goes_down(self) -> bool {
        matches!(self, Self::Down | Self::CrossAttentionDown)
    }
}

/// Keys of features that no Stable Diffusion 1.x or 2.x model uses; anything but "off" is refused.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
struct Unsupported {
    center_input_sample: bool,
    only_cross_attention: Option<PerLevel<bool>>,
    dual_cross_attention: bool,
    resnet_skip_time_act: bool,
    class_embeddings_concat: bool,
    mid_block_type: Option<String>,
    resnet_time_scale_shift: Option<String>,
    resnet_out_scale_factor: Option<f64>,
    time_embedding_type: Option<String>,
    attention_type: Option<String>,
    conv_in_kernel: Option<usize>,
    conv_out_kernel: Option<usize>,
    class_embed_type: Option<Value>,
    num_class_embeds: Option<Value>,
    addition_embed_type: Option<Value>,
    encoder_hid_dim: Option<Value>,
    encoder_hid_dim_type: Option<Value>,
    reverse_transformer_layers_per_block: Option<Value>,
    time_embedding_dim: Option<Value>,
    time_embedding_act_fn: Option<Value>,
    timestep_post_act: Option<Value>,
    time_cond_proj_dim: Option<Value>,
    projection_class_embeddings_input_dim: Option<Value>,
    cross_attention_norm: Option<Value>,
}

impl Unsupported {
    fn validate(&self) -> Result<(), String> {
        let flags = [
            ("center_input_sample", self.center_input_sample),
            ("dual_cross_attention", self.dual_cross_attention),
            ("resnet_skip_time_act", self.resnet_skip_time_act),
            ("class_embeddings_concat", self.class_embeddings_concat),
            ("only_cross_attention", self.any_only_cross_attention()),
        ];
        flags.iter().try_for_each(|&(name, on)| checks::supported(name, on, &[false]))?;
        let choices = [
            ("mid_block_type", &self.mid_block_type, "UNetMidBlock2DCrossAttn"),
            ("resnet_time_scale_shift", &self.resnet_time_scale_shift, "default"),
            ("time_embedding_type", &self.time_embedding_type, "positional"),
            ("attention_type", &self.attention_type, "default"),
        ];
        for (name, choice, known) in choices {
            checks::supported(name, choice.as_deref().unwrap_or(known), &[known])?;
        }
        checks::supported("resnet_out_scale_factor", self.resnet_out_scale_factor.unwrap_or(1.0), &[1.0])?;
        checks::supported("conv_in_kernel", self.conv_in_kernel.unwrap_or(3), &[3])?;
        checks::supported("conv_out_kernel", self.conv_out_kernel.unwrap_or(3), &[3])?;
        self.absent_keys()
    }

    fn any_only_cross_attention(&self) -> bool {
        match &self.only_cross_attention {
            None => false,
            Some(PerLevel::All(on)) => *on,
            Some(PerLevel::Each(levels)) => levels.contains(&true),
        }
    }

    fn absent_keys(&self) -> Result<(), String> {
        let keys = [
            ("class_embed_type", &self.class_embed_type),
            ("num_class_embeds", &self.num_class_embeds),
            ("addition_embed_type", &self.addition_embed_type),
            ("encoder_hid_dim", &self.encoder_hid_dim),
            ("encoder_hid_dim_type", &self.encoder_hid_dim_type),
            ("reverse_transformer_layers_per_block", &self.reverse_transformer_layers_per_block),
            ("time_embedding_dim", &self.time_embedding_dim),
            ("time_embedding_act_fn", &self.time_embedding_act_fn),
            ("timestep_post_act", &self.timestep_post_act),
            ("time_cond_proj_dim", &self.time_cond_proj_dim),
            ("projection_class_embeddings_input_dim", &self.projection_class_embeddings_input_dim),
            ("cross_attention_norm", &self.cross_attention_norm),
        ];
        keys.iter().try_for_each(|(name, value)| checks::absent(name, value))
    }
}

impl Default for UNetConfig {
    fn default() -> Self {
        use UNetBlock::{CrossAttentionDown, CrossAttentionUp, Down, Up};
        Self {
            sample_size: None,
            in_channels: 4,
            out_channels: 4,
            flip_sin_to_cos: true,
            freq_shift: 0.0,
            down_block_types: vec![CrossAttentionDown, CrossAttentionDown, CrossAttentionDown, Down],
            up_block_types: vec![Up, CrossAttentionUp, CrossAttentionUp, CrossAttentionUp],
            block_out_channels: vec![320, 640, 1280, 1280],
            layers_per_block: PerLevel::All(2),
            downsample_padding: 1,
            mid_block_scale_factor: 1.0,
            act_fn: "silu".into(),
            norm_num_groups: 32,
            norm_eps: 1e-5,
            cross_attention_dim: PerLevel::All(1280),
            transformer_layers_per_block: PerLevel::All(1),
            attention_head_dim: PerLevel::All(8),
            num_attention_heads: None,
            use_linear_projection: false,
            unsupported: Unsupported::default(),
        }
    }
}

impl UNetConfig {
    /// Number of resolution levels.
    pub fn levels(&self) -> usize {
        self.block_out_channels.len()
    }

    /// Attention heads of each level. The middle block has the last level's; the way up has the list reversed.
    pub fn heads(&self) -> Result<Vec<usize>, String> {
        match &self.num_attention_heads {
            Some(heads) => heads.expand("num_attention_heads", self.levels()),
            None => self.attention_head_dim.expand("attention_head_dim", self.levels()),
        }
    }

    /// Residual blocks of each level on the way down.
    pub fn layers(&self) -> Result<Vec<usize>, String> {
        self.layers_per_block.expand("layers_per_block", self.levels())
    }

    /// Width of the condition at each level.
    pub fn cross_dims(&self) -> Result<Vec<usize>, String> {
        self.cross_attention_dim.expand("cross_attention_dim", self.levels())
    }

    /// Transformer blocks after a residual block, at each level.
    pub fn transformer_layers(&self) -> Result<Vec<usize>, String> {
        self.transformer_layers_per_block.expand("transformer_layers_per_block", self.levels())
    }

    fn validate_blocks(&self) -> Result<(), String> {
        let levels = self.levels();
        for (name, blocks, down) in
            [("down_block_types", &self.down_block_types, true), ("up_block_types", &self.up_block_types, false)]
        {
            if blocks.len() != levels {
                return Err(format!("{name} has {} entries, block_out_channels {levels}", blocks.len()));
            }
            if let Some(block) = blocks.iter().find(|block| block.goes_down() != down) {
                return Err(format!("{name} holds {block:?}"));
            }
        }
        Ok(())
    }

    /// Checks every level. Heads matter only where there is attention: the down block, the up block of the same level
    /// (that list is reversed) and, at the last level, the middle.
    fn validate_levels(&self) -> Result<(), String> {
        let (heads, layers) = (self.heads()?, self.layers()?);
        let (cross, depth) = (self.cross_dims()?, self.transformer_layers()?);
        let blocks = self.down_block_types.iter().zip(self.up_block_types.iter().rev());
        let levels = self.levels();
        let per_level = heads.iter().zip(&layers).zip(cross.iter().zip(&depth)).zip(blocks).enumerate();
        for (level, (((&heads, &layers), (&cross, &depth)), (down, up))) in per_level {
            let channels = self.block_out_channels.get(level).copied().unwrap_or(0);
            checks::divides("norm_num_groups", self.norm_num_groups, "block_out_channels", channels)?;
            checks::size("layers_per_block", layers)?;
            if down.has_attention() || up.has_attention() || level + 1 == levels {
                checks::divides("attention_head_dim (a number of heads)", heads, "block_out_channels", channels)?;
                checks::sizes(&[("cross_attention_dim", cross), ("transformer_layers_per_block", depth)])?;
            }
        }
        Ok(())
    }

    /// The sinusoid has `block_out_channels[0]` entries, in two halves, and divides by `half − freq_shift`.
    fn validate_sinusoid(&self) -> Result<(), String> {
        let width = self.block_out_channels.first().copied().unwrap_or(0);
        if !width.is_multiple_of(2) {
            return Err(format!("block_out_channels begins with {width}; the time embedding needs an even number"));
        }
        checks::positive("half the time embedding minus freq_shift", (width / 2) as f64 - self.freq_shift)
    }
}

impl Config for UNetConfig {
    fn validate(&self) -> Result<(), String> {
        checks::size("the number of block_out_channels", self.levels())?;
        if self.levels() > 16 {
            return Err(format!("block_out_channels has {} levels", self.levels()));
        }
        checks::sizes(&[("in_channels", self.in_channels), ("out_channels", self.out_channels)])?;
        if let Some(size) = self.sample_size {
            checks::size("sample_size", size)?;
        }
        checks::positive("norm_eps", self.norm_eps)?;
        checks::supported("downsample_padding", self.downsample_padding, &[1])?;
        checks::supported("mid_block_scale_factor", self.mid_block_scale_factor, &[1.0])?;
        checks::supported("act_fn", self.act_fn.as_str(), &["silu", "swish"])?;
        self.validate_blocks()?;
        self.validate_levels()?;
        self.validate_sinusoid()?;
        self.unsupported.validate()
    }
}
