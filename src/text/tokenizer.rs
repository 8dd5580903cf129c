//! LLaMA's tokenizer with DreamLLM's added tokens: text to ids and back.

use std::collections::HashMap;
use std::path::Path;

use super::added::{self, AddedTokens};
use super::decode::{self, DecodeStream};
use super::special::SpecialTokens;
use super::vocabulary::{Kind, LongestMatch, SPACE, Vocabulary};
use super::{bpe, sentencepiece, tokenizer_json};
use crate::{Error, Result};

/// Text to ids and back, exactly as transformers' slow `LlamaTokenizer` with `legacy=True`, which DreamLLM was trained with:
///
/// - The text is cut at special tokens first (`</s>` written in a text is the token), and every piece of text between
///   two of them is encoded for itself, with a space of its own in front: `a</s>b` is `▁a`, `</s>`, `▁b`.
/// - Nothing is stripped, merged or normalised. A character that is not in the vocabulary becomes its UTF-8 bytes.
/// - `<s>` comes first, `</s>` is not added.
#[derive(Debug)]
pub struct Tokenizer {
    vocabulary: Vocabulary,
    /// All special tokens, those within the vocabulary (`<s>`, `</s>`, `<unk>`) too.
    special: AddedTokens,
    names: HashMap<u32, String>,
    cuts: LongestMatch,
    bos: u32,
}

impl Tokenizer {
    /// Reads the tokenizer of a checkpoint folder: `tokenizer.model` or else `tokenizer.json`, with the added tokens that
    /// `added_tokens.json`, `tokenizer_config.json` and `config.json` name.
    pub fn from_folder(folder: &Path) -> Result<Self> {
        let added = added::read_folder(folder)?;
        let (model, json) = (folder.join("tokenizer.model"), folder.join("tokenizer.json"));
        let read = |path: &Path| std::fs::read(path).map_err(|e| Error::file(path, e));
        if model.exists() {
            Self::read_sentencepiece(&model.display().to_string(), &read(&model)?, &added)
        } else if json.exists() {
            Self::read_json(&json.display().to_string(), &read(&json)?, &added)
        } else {
            Err(Error::file(folder, "there is neither a tokenizer.model nor a tokenizer.json in this folder"))
        }
    }

    /// Reads the bytes of a sentencepiece `tokenizer.model`.
    pub fn from_sentencepiece(bytes: &[u8], added: &AddedTokens) -> Result<Self> {
        Self::read_sentencepiece("tokenizer.model", bytes, added)
    }

    /// Reads the bytes of a `tokenizer.json`. Its own added tokens are joined with `added`.
    pub fn from_json(bytes: &[u8], added: &AddedTokens) -> Result<Self> {
        Self::read_json("tokenizer.json", bytes, added)
    }

    fn read_sentencepiece(source: &str, bytes: &[u8], added: &AddedTokens) -> Result<Self> {
        Self::new(source, sentencepiece::read(source, bytes)?, added.clone())
    }

    fn read_json(source: &str, bytes: &[u8], added: &AddedTokens) -> Result<Self> {
        let (vocabulary, mut special) = tokenizer_json::read(source, bytes)?;
        added.iter().try_for_each(|(name, &id)| added::add(&mut special, name, id))?;
        Self::new(source, vocabulary, special)
    }

    fn new(source: &str, vocabulary: Vocabulary, mut special: AddedTokens) -> Result<Self> {
        for (id, piece) in (0u32..).zip(vocabulary.pieces()) {
            if matches!(piece.kind, Kind::Control | Kind::Unknown) {
                added::add(&mut special, &piece.text, id)?;
            }
        }
        let no_bos = || Error::format(source, "the vocabulary has no <s>");
        let bos = *special.get(SpecialTokens::BOS).ok_or_else(no_bos)?;
        let mut tokenizer =
            Tokenizer { vocabulary, special, names: HashMap::new(), cuts: LongestMatch::default(), bos };
        tokenizer.index_special()?;
        Ok(tokenizer)
    }

    fn index_special(&mut self) -> Result<()> {
        self.names.clear();
        for (name, &id) in &self.special {
            let taken = self.vocabulary.piece(id).map(|piece| &piece.text).filter(|text| *text != name);
            if let Some(other) = taken.or(self.names.get(&id)) {
                return Err(Error::format(format!("token {name}"), format!("its id {id} is that of {other:?}")));
            }
            if name.is_empty() || id == u32::MAX {
                return Err(Error::format(format!("token {name:?}"), format!("cannot have the id {id}")));
            }
            self.names.insert(id, name.clone());
        }
        self.cuts = LongestMatch::new(self.special.iter().map(|(name, &id)| (name.clone(), id)));
        Ok(())
    }

    /// Adds the names that are missing, with the next free ids, in the given order.
    pub fn add_tokens(&mut self, names: &[&str]) -> Result<()> {
        let mut free = self.len();
        for name in names {
            if !self.special.contains_key(*name) {
                let id = self.vocabulary.id(name).unwrap_or(free);
                free = free.max(id.saturating_add(1));
                self.special.insert((*name).into(), id);
            }
        }
        self.index_special()
    }

    /// The ids of `text`, `<s>` in front. To limit a prompt as the official code does, `truncate` the result.
    pub fn encode(&self, text: &str) -> Vec<u32> {
        let mut ids = vec![self.bos];
        self.append(text, &mut ids);
        ids
    }

    /// The ids of `text` without `<s>`: what follows in a sequence that has begun already.
    pub fn encode_without_bos(&self, text: &str) -> Vec<u32> {
        let mut ids = Vec::new();
        self.append(text, &mut ids);
        ids
    }

    /// Cuts at special tokens and encodes what lies between.
    fn append(&self, text: &str, ids: &mut Vec<u32>) {
        let (mut start, mut here) = (0, 0);
        while let Some(character) = text[here..].chars().next() {
            match self.cuts.at(&text[here..]) {
                Some((length, id)) => {
                    self.append_plain(&text[start..here], ids);
                    ids.push(id);
                    here += length;
                    start = here;
                }
                None => here += character.len_utf8(),
            }
        }
        self.append_plain(&text[start..], ids);
    }

    fn append_plain(&self, text: &str, ids: &mut Vec<u32>) {
        if !text.is_empty() {
            let spaced: String =
                std::iter::once(SPACE).chain(text.chars().map(|c| if c == ' ' { SPACE } else { c })).collect();
            bpe::encode(&self.vocabulary, &spaced, ids);
        }
    }

    /// The text of `ids`, special tokens written out. An id that is no token is an error.
    ///
    /// As officially, added tokens get a space on each side and `</s>` moves a space in front of the text before it; for
    /// text to show, use [`Tokenizer::decode_text`].
    pub fn decode(&self, ids: &[u32]) -> Result<String> {
        decode::with_special(self, ids)
    }

    /// The text of `ids` without special tokens (`skip_special_tokens=True`).
    pub fn decode_text(&self, ids: &[u32]) -> Result<String> {
        let mut stream = self.decode_stream();
        let pieces: Result<String> = ids.iter().map(|&id| stream.push(id)).collect();
        Ok(pieces? + &stream.finish())
    }

    /// Decodes ids while they come; what it yields adds up to [`Tokenizer::decode_text`].
    pub fn decode_stream(&self) -> DecodeStream<'_> {
        DecodeStream::new(self)
    }

    /// The token as it stands in the vocabulary (`▁a`, `<0x0A>`, `<image>`).
    pub fn token(&self, id: u32) -> Option<&str> {
        self.names.get(&id).or_else(|| self.vocabulary.piece(id).map(|piece| &piece.text)).map(String::as_str)
    }

    /// The id of a token, written as in the vocabulary.
    pub fn id(&self, token: &str) -> Option<u32> {
        self.special_id(token).or_else(|| self.vocabulary.id(token))
    }

    /// The id of a special token by its name.
    pub fn special_id(&self, name: &str) -> Option<u32> {
        self.special.get(name).copied()
    }

    /// True of added tokens and of `<s>`, `</s>`, `<unk>`.
    pub fn is_special(&self, id: u32) -> bool {
        self.names.contains_key(&id)
    }

    /// The tokens beyond the vocabulary, as `added_tokens.json` lists them.
    pub fn added_tokens(&self) -> AddedTokens {
        let beyond = self.special.iter().filter(|&(_, &id)| id >= self.vocabulary.len());
        beyond.map(|(name, &id)| (name.clone(), id)).collect()
    }

    /// One more than the largest id: the rows that an embedding table must have.
    #[expect(clippy::len_without_is_empty, reason = "a tokenizer is never empty")]
    pub fn len(&self) -> u32 {
        let last = self.names.keys().max().map_or(0, |&id| id + 1);
        last.max(self.vocabulary.len())
    }

    pub(super) fn vocabulary(&self) -> &Vocabulary {
        &self.vocabulary
    }
}

#[cfg(test)]
pub(super) mod tests;
