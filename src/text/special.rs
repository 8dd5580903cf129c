//! The tokens that the model itself must know by id.

use super::Tokenizer;
use crate::{Error, Result};

/// Ids of DreamLLM's special tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SpecialTokens {
    /// `<s>`, in front of every sequence.
    pub bos: u32,
    /// `</s>`, where an answer ends.
    pub eos: u32,
    /// `<unk>`.
    pub unk: u32,
    /// `[PAD]`: fills the rows of a batch.
    pub pad: u32,
    /// `<image>`: placeholder in a prompt, expanded before the model sees it.
    pub image: u32,
    /// `<im_patch>`: the place of one patch embedding, or of one dream query.
    pub im_patch: u32,
    /// `<im_start>`, in front of an image's patches.
    pub im_start: u32,
    /// `<im_end>`, after an image's patches.
    pub im_end: u32,
    /// `<dream>`: placeholder in training conversations.
    pub dream: u32,
    /// `<dream_start>`, in front of the dream queries; predicted where a picture belongs.
    pub dream_start: u32,
    /// `<dream_end>`, after the dream queries.
    pub dream_end: u32,
}

impl SpecialTokens {
    /// `<s>`.
    pub const BOS: &str = "<s>";
    /// `</s>`.
    pub const EOS: &str = "</s>";
    /// `<unk>`.
    pub const UNK: &str = "<unk>";
    /// `[PAD]`.
    pub const PAD: &str = "[PAD]";
    /// `<image>`.
    pub const IMAGE: &str = "<image>";

    /// What DreamLLM adds to a LLaMA vocabulary; pass it to [`Tokenizer::add_tokens`] to start from a bare Vicuna.
    pub const ADDED: [&str; 8] =
        [Self::PAD, Self::IMAGE, "<im_patch>", "<im_start>", "<im_end>", "<dream>", "<dream_start>", "<dream_end>"];

    /// Looks the ids up; the error names the token that is missing.
    pub fn new(tokenizer: &Tokenizer) -> Result<Self> {
        let id = |name: &str| {
            let missing = || Error::Input(format!("the tokenizer has no {name} token: is this a DreamLLM checkpoint?"));
            tokenizer.special_id(name).ok_or_else(missing)
        };
        Ok(SpecialTokens {
            bos: id(Self::BOS)?,
            eos: id(Self::EOS)?,
            unk: id(Self::UNK)?,
            pad: id(Self::PAD)?,
            image: id(Self::IMAGE)?,
            im_patch: id("<im_patch>")?,
            im_start: id("<im_start>")?,
            im_end: id("<im_end>")?,
            dream: id("<dream>")?,
            dream_start: id("<dream_start>")?,
            dream_end: id("<dream_end>")?,
        })
    }
}
