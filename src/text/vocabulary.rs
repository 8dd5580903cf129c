//! The vocabulary that both tokenizer files are read into: pieces, what they are, and in which order they merge.
//!
//! Sentencepiece decides a merge by the score of the piece that comes out, not by the pair that goes in. So one rank a
//! piece is all that byte-pair encoding needs: from `tokenizer.model` the rank is the place among the scores, from
//! `tokenizer.json` the place of the first merge rule that makes the piece. Both give the same ids.

use std::collections::HashMap;

use crate::{Error, Result};

/// Sentencepiece's mark for a space (U+2581).
pub(super) const SPACE: char = '▁';

/// What a piece is (`SentencePiece.Type` of sentencepiece_model.proto; `UNUSED` is refused when reading).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// An ordinary piece of text.
    Normal,
    /// `<unk>`.
    Unknown,
    /// `<s>`, `</s>`: never made from text by merging.
    Control,
    /// Taken out of the text whole, never merged further.
    UserDefined,
    /// `<0xNN>`: one byte of a character that the vocabulary lacks.
    Byte(u8),
}

/// One piece of the vocabulary; its place in the list is its id.
#[derive(Debug, Clone)]
pub(super) struct Piece {
    pub(super) text: String,
    pub(super) kind: Kind,
    /// Lower ranks merge first; `None`: no merge makes this piece.
    pub(super) rank: Option<u32>,
}

/// How a character is written that no piece covers.
#[derive(Debug)]
enum Fallback {
    /// As its UTF-8 bytes; the ids of the pieces `<0x00>` to `<0xFF>`.
    Bytes(Box<[u32; 256]>),
    /// As this `<unk>` id, a run of such characters as one.
    Unknown(u32),
}

/// Pieces with their index by text.
#[derive(Debug)]
pub(super) struct Vocabulary {
    pieces: Vec<Piece>,
    index: HashMap<String, u32>,
    fallback: Fallback,
    whole: LongestMatch,
}

impl Vocabulary {
    /// Checks the pieces and indexes them. `source` names the file in errors.
    pub(super) fn new(source: &str, pieces: Vec<Piece>) -> Result<Self> {
        let bad = |why: String| Error::format(source, why);
        let mut index = HashMap::with_capacity(pieces.len());
        for (id, piece) in (0u32..).zip(&pieces) {
            if piece.text.is_empty() {
                return Err(bad(format!("piece {id} is empty")));
            }
            if let Some(first) = index.insert(piece.text.clone(), id) {
                return Err(bad(format!("pieces {first} and {id} are both {:?}", piece.text)));
            }
        }
        if !index.contains_key(&*SPACE.to_string()) {
            return Err(bad(format!("no piece {SPACE:?}: this is not a LLaMA (sentencepiece) vocabulary")));
        }
        let fallback = Fallback::find(&pieces).map_err(bad)?;
        let whole = (0u32..).zip(&pieces).filter(|(_, p)| p.kind == Kind::UserDefined);
        let whole = LongestMatch::new(whole.map(|(id, p)| (p.text.clone(), id)));
        Ok(Vocabulary { pieces, index, fallback, whole })
    }

    /// Number of pieces, added tokens not counted.
    pub(super) fn len(&self) -> u32 {
        self.pieces.len() as u32
    }

    pub(super) fn piece(&self, id: u32) -> Option<&Piece> {
        self.pieces.get(id as usize)
    }

    pub(super) fn pieces(&self) -> &[Piece] {
        &self.pieces
    }

    pub(super) fn id(&self, text: &str) -> Option<u32> {
        self.index.get(text).copied()
    }

    /// The rank of the merge that makes `text`, if there is one.
    pub(super) fn rank(&self, text: &str) -> Option<u32> {
        self.piece(self.id(text)?)?.rank
    }

    /// Byte length of a user-defined piece that `text` starts with, the longest one.
    pub(super) fn whole_piece(&self, text: &str) -> Option<usize> {
        self.whole.at(text).map(|(length, _)| length)
    }

    /// Appends the ids of `text`, which is a piece or one character that is none. Returns whether it became an `<unk>`;
    /// a character after such a one (`previous_unknown`) joins it.
    pub(super) fn push_ids(&self, text: &str, previous_unknown: bool, ids: &mut Vec<u32>) -> bool {
        if let Some(id) = self.id(text) {
            ids.push(id);
            return false;
        }
        match &self.fallback {
            Fallback::Bytes(bytes) => {
                ids.extend(text.bytes().map(|b| bytes[usize::from(b)]));
                false
            }
            Fallback::Unknown(id) => {
                if !previous_unknown {
                    ids.push(*id);
                }
                true
            }
        }
    }
}

impl Fallback {
    fn find(pieces: &[Piece]) -> Result<Self, String> {
        let mut bytes = [None; 256];
        let mut unknown = None;
        for (id, piece) in (0u32..).zip(pieces) {
            match piece.kind {
                Kind::Byte(byte) => bytes[usize::from(byte)] = Some(id),
                Kind::Unknown => unknown = Some(id),
                _ => {}
            }
        }
        if bytes.iter().all(Option::is_none) {
            return unknown.map(Fallback::Unknown).ok_or("there is neither <unk> nor a byte fallback".into());
        }
        let mut ids = Box::new([0; 256]);
        for (byte, (id, found)) in ids.iter_mut().zip(bytes).enumerate() {
            *id = found.ok_or(format!("the byte fallback lacks <0x{byte:02X}>"))?;
        }
        Ok(Fallback::Bytes(ids))
    }
}

/// The byte that a piece `<0xNN>` stands for.
pub(super) fn byte_of(piece: &str) -> Option<u8> {
    let digits = piece.strip_prefix("<0x")?.strip_suffix('>')?;
    (digits.len() == 2).then(|| u8::from_str_radix(digits, 16).ok()).flatten()
}

/// Finds the longest of a set of strings at the start of a text.
#[derive(Debug, Default)]
pub(super) struct LongestMatch {
    /// By first byte, long strings first.
    by_first: HashMap<u8, Vec<(String, u32)>>,
}

impl LongestMatch {
    /// Empty strings are left out: they would match everywhere.
    pub(super) fn new(strings: impl IntoIterator<Item = (String, u32)>) -> Self {
        let mut by_first: HashMap<u8, Vec<(String, u32)>> = HashMap::new();
        for (string, id) in strings {
            if let Some(&first) = string.as_bytes().first() {
                by_first.entry(first).or_default().push((string, id));
            }
        }
        for strings in by_first.values_mut() {
            strings.sort_by_key(|(string, _)| std::cmp::Reverse(string.len()));
        }
        LongestMatch { by_first }
    }

    /// Byte length and id of the longest string that `text` starts with.
    pub(super) fn at(&self, text: &str) -> Option<(usize, u32)> {
        let strings = self.by_first.get(text.as_bytes().first()?)?;
        strings.iter().find(|(string, _)| text.starts_with(string.as_str())).map(|(string, id)| (string.len(), *id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn piece(text: &str, kind: Kind) -> Piece {
        Piece { text: text.into(), kind, rank: None }
    }

    #[test]
    fn longest_string_wins() {
        let set = LongestMatch::new([("<im".into(), 1), ("<image>".into(), 2), (String::new(), 3), ("x".into(), 4)]);
        assert_eq!(set.at("<image>s"), Some((7, 2)));
        assert_eq!(set.at("<imagine"), Some((3, 1)));
        assert_eq!(set.at("ximage"), Some((1, 4)));
        assert_eq!(set.at(""), None);
        assert_eq!(set.at("image"), None);
    }

    #[test]
    fn byte_pieces() {
        assert_eq!(byte_of("<0x0A>"), Some(10));
        assert_eq!(byte_of("<0xFF>"), Some(255));
        for other in ["<0x0>", "<0x+1>1", "<0x000>", "<0x>", "0x0A", "<0xGG>"] {
            assert_eq!(byte_of(other), None, "{other}");
        }
    }

    #[test]
    fn impossible_vocabularies_are_refused() {
        let space = || piece("▁", Kind::Normal);
        let cases = [
            (vec![space(), piece("", Kind::Normal)], "piece 1 is empty"),
            (vec![space(), space()], "pieces 0 and 1 are both"),
            (vec![piece("a", Kind::Normal)], "not a LLaMA"),
            (vec![space()], "neither <unk> nor"),
            (vec![space(), piece("<0x00>", Kind::Byte(0))], "lacks <0x01>"),
        ];
        for (pieces, want) in cases {
            let error = Vocabulary::new("tokenizer.model", pieces).unwrap_err().to_string();
            assert!(error.starts_with("tokenizer.model: ") && error.contains(want), "{error}");
        }
    }
}
