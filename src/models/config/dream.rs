//! DreamLLM's `config.json`: a LLaMA config with special tokens, plugins and loss weights. Defaults as in
//! `omni/models/dreamllm/configuration_dreamllm.py`.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};

use super::plugins::Plugins;
use super::{Config, checks};

/// `DreamLLMConfig`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default)]
pub struct DreamConfig {
    /// Rows of the embedding table, added tokens included.
    pub vocab_size: usize,
    /// Width `C`.
    pub hidden_size: usize,
    /// Width of the SwiGLU.
    pub intermediate_size: usize,
    /// Decoder layers.
    pub num_hidden_layers: usize,
    /// Query heads `H`.
    pub num_attention_heads: usize,
    /// Key and value heads; absent means as many as query heads. Read it through [`DreamConfig::key_value_heads`].
    pub num_key_value_heads: Option<usize>,
    /// Activation of the MLP; only `silu`.
    pub hidden_act: String,
    /// Tokens the model was trained for.
    pub max_position_embeddings: usize,
    /// Epsilon of every RMSNorm.
    pub rms_norm_eps: f64,
    /// Padding in generation; absent (or negative, as in some early LLaMA files) means the end token.
    #[serde(deserialize_with = "id_or_none")]
    pub pad_token_id: Option<u32>,
    /// `<s>`.
    pub bos_token_id: u32,
    /// `</s>`.
    pub eos_token_id: u32,
    /// Whether `lm_head` is the embedding table.
    pub tie_word_embeddings: bool,
    /// Base of the rotary angles.
    pub rope_theta: f64,
    /// Stretching of positions.
    pub rope_scaling: Option<RopeScaling>,
    /// Not supported if true.
    pub attention_bias: bool,
    /// Special tokens and their ids, without the nesting of the file.
    #[serde(rename = "special_tokens2ids_dict", deserialize_with = "flattened")]
    pub special_tokens: BTreeMap<String, u32>,
    /// Constructor arguments of the plugins.
    #[serde(rename = "plugins_init_kwargs")]
    pub plugins: Plugins,
    /// Weight of the language loss.
    pub loss_weight_lm: f64,
    /// Weight of the diffusion loss.
    pub loss_weight_vm: f64,
    /// What the weighted sum is divided by.
    pub loss_scale_schedule: LossScaleSchedule,
}

impl Default for DreamConfig {
    fn default() -> Self {
        Self {
            vocab_size: 32000,
            hidden_size: 4096,
            intermediate_size: 11008,
            num_hidden_layers: 32,
            num_attention_heads: 32,
            num_key_value_heads: None,
            hidden_act: "silu".into(),
            max_position_embeddings: 2048,
            rms_norm_eps: 1e-6,
            pad_token_id: None,
            bos_token_id: 1,
            eos_token_id: 2,
            tie_word_embeddings: false,
            rope_theta: 10000.0,
            rope_scaling: None,
            attention_bias: false,
            special_tokens: BTreeMap::new(),
            plugins: Plugins::default(),
            loss_weight_lm: 1.0,
            loss_weight_vm: 10.0,
            loss_scale_schedule: LossScaleSchedule::None,
        }
    }
}

/// How positions beyond the trained length are handled.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum RopeScaling {
    /// Positions divided by the factor.
    Linear {
        /// Above 1.
        factor: f64,
    },
    /// Dynamic NTK: the base grows with the sequence.
    Dynamic {
        /// Above 1.
        factor: f64,
    },
}

impl DreamConfig {
    /// Tokens of the longest sequence: those that the decoder was trained on, times the factor by which its positions are scaled.
    pub fn context_length(&self) -> usize {
        let factor = self.rope_scaling.map_or(1.0, RopeScaling::factor);
        (self.max_position_embeddings as f64 * factor) as usize
    }
}

impl RopeScaling {
    /// The factor of either kind.
    pub fn factor(self) -> f64 {
        match self {
            RopeScaling::Linear { factor } | RopeScaling::Dynamic { factor } => factor,
        }
    }
}

/// What the sum of the weighted losses is divided by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LossScaleSchedule {
    /// Nothing.
    None,
    /// The sum of the weights.
    L1Norm,
    /// The root of the sum of their squares.
    L2Norm,
}

impl DreamConfig {
    /// Key and value heads.
    pub fn key_value_heads(&self) -> usize {
        self.num_key_value_heads.unwrap_or(self.num_attention_heads)
    }

    /// Width of one head, `D`.
    pub fn head_dim(&self) -> usize {
        self.hidden_size / self.num_attention_heads.max(1)
    }

    fn validate_ids(&self) -> Result<(), String> {
        let fixed = [("bos_token_id", Some(self.bos_token_id)), ("eos_token_id", Some(self.eos_token_id))];
        let special = self.special_tokens.iter().map(|(token, &id)| (token.as_str(), Some(id)));
        for (name, id) in fixed.into_iter().chain([("pad_token_id", self.pad_token_id)]).chain(special) {
            if let Some(id) = id.filter(|&id| id as usize >= self.vocab_size) {
                return Err(format!("{name} has id {id}, but vocab_size is {}", self.vocab_size));
            }
        }
        Ok(())
    }
}

impl Config for DreamConfig {
    fn validate(&self) -> Result<(), String> {
        checks::sizes(&[
            ("vocab_size", self.vocab_size),
            ("intermediate_size", self.intermediate_size),
            ("num_hidden_layers", self.num_hidden_layers),
            ("max_position_embeddings", self.max_position_embeddings),
        ])?;
        checks::divides("num_attention_heads", self.num_attention_heads, "hidden_size", self.hidden_size)?;
        checks::divides(
            "num_key_value_heads",
            self.key_value_heads(),
            "num_attention_heads",
            self.num_attention_heads,
        )?;
        if !self.head_dim().is_multiple_of(2) {
            return Err(format!("heads are {} wide; rotary embedding needs an even width", self.head_dim()));
        }
        checks::positive("rms_norm_eps", self.rms_norm_eps)?;
        checks::positive("rope_theta", self.rope_theta)?;
        checks::supported("hidden_act", self.hidden_act.as_str(), &["silu", "swish"])?;
        checks::supported("attention_bias", self.attention_bias, &[false])?;
        if let Some(factor) = self.rope_scaling.map(RopeScaling::factor).filter(|f| !(f.is_finite() && *f > 1.0)) {
            return Err(format!("rope_scaling factor is {factor}, not a number above 1"));
        }
        checks::not_negative("loss_weight_lm", self.loss_weight_lm)?;
        checks::not_negative("loss_weight_vm", self.loss_weight_vm)?;
        self.validate_ids()?;
        self.plugins.validate(self.hidden_size)
    }
}

/// `special_tokens2ids_dict` holds ids, and a map of ids under `additional_special_tokens`.
fn flattened<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<String, u32>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Entry {
        Id(u32),
        Group(BTreeMap<String, u32>),
    }
    let mut flat = BTreeMap::new();
    for (name, entry) in BTreeMap::<String, Entry>::deserialize(deserializer)? {
        match entry {
            Entry::Id(id) => drop(flat.insert(name, id)),
            Entry::Group(group) => flat.extend(group),
        }
    }
    Ok(flat)
}

fn id_or_none<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u32>, D::Error> {
    let id = Option::<i64>::deserialize(deserializer)?.filter(|&id| id >= 0);
    id.map(|id| u32::try_from(id).map_err(serde::de::Error::custom)).transpose()
}
