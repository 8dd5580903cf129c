//! Reads `tokenizer.json` as transformers writes it for LLaMA, into the same vocabulary as `tokenizer.model`.
//!
//! Only the vocabulary, the merges and the added tokens are read. How text is cut and spaced is the official slow
//! tokenizer's way in any case, whatever the file's normalizer says.

use std::collections::HashMap;

use serde::Deserialize;

use super::added::AddedTokens;
use super::vocabulary::{Kind, Piece, Vocabulary, byte_of};
use crate::{Error, Result};

#[derive(Deserialize)]
struct File {
    model: Model,
    #[serde(default)]
    added_tokens: Vec<Added>,
}

#[derive(Deserialize)]
struct Model {
    #[serde(rename = "type")]
    kind: Option<String>,
    vocab: HashMap<String, u32>,
    merges: Vec<Merge>,
    unk_token: Option<String>,
    #[serde(default)]
    byte_fallback: bool,
    continuing_subword_prefix: Option<String>,
    end_of_word_suffix: Option<String>,
}

/// `"a b"` up to tokenizers 0.19, `["a", "b"]` since.
#[derive(Deserialize)]
#[serde(untagged)]
enum Merge {
    Joined(String),
    Pair(String, String),
}

#[derive(Deserialize)]
struct Added {
    id: u32,
    content: String,
}

/// Reads the vocabulary and the file's added tokens. `source` names the file in errors.
pub(super) fn read(source: &str, bytes: &[u8]) -> Result<(Vocabulary, AddedTokens)> {
    let file: File = serde_json::from_slice(bytes).map_err(|e| Error::format(source, e))?;
    let added = file.added_tokens.into_iter().map(|token| (token.content, token.id)).collect();
    let pieces = pieces(file.model, &added).map_err(|why| Error::format(source, why))?;
    Ok((Vocabulary::new(source, pieces)?, added))
}

fn pieces(model: Model, added: &AddedTokens) -> Result<Vec<Piece>, String> {
    if model.kind.as_deref().is_some_and(|kind| kind != "BPE") {
        return Err(format!("a {} model is not supported, only BPE is", model.kind.unwrap_or_default()));
    }
    let decorated = [&model.continuing_subword_prefix, &model.end_of_word_suffix];
    if decorated.into_iter().flatten().any(|s| !s.is_empty()) {
        return Err("subword prefixes and suffixes are not LLaMA's".into());
    }
    let kind = |text: &str| match byte_of(text) {
        Some(byte) if model.byte_fallback => Kind::Byte(byte),
        _ if model.unk_token.as_deref() == Some(text) => Kind::Unknown,
        _ if added.contains_key(text) => Kind::Control,
        _ => Kind::Normal,
    };
    let mut pieces: Vec<Option<Piece>> = vec![None; model.vocab.len()];
    for (text, id) in model.vocab {
        let Some(slot @ None) = pieces.get_mut(id as usize) else {
            return Err(format!("id {id} of {text:?} is taken twice or leaves a gap"));
        };
        *slot = Some(Piece { kind: kind(&text), text, rank: None });
    }
    let mut pieces: Vec<Piece> = pieces.into_iter().flatten().collect();
    rank(&mut pieces, model.merges)?;
    Ok(pieces)
}

/// The rank of a piece is the place of the first merge that makes it.
fn rank(pieces: &mut [Piece], merges: Vec<Merge>) -> Result<(), String> {
    let mut ranks: HashMap<String, u32> = HashMap::with_capacity(merges.len());
    for (rank, merge) in (0u32..).zip(merges) {
        let made = match merge {
            Merge::Pair(left, right) => left + &right,
            Merge::Joined(pair) => {
                let (left, right) = pair.split_once(' ').ok_or_else(|| format!("merge {pair:?} is not a pair"))?;
                [left, right].concat()
            }
        };
        ranks.entry(made).or_insert(rank);
    }
    for piece in pieces.iter_mut().filter(|piece| piece.kind == Kind::Normal) {
        piece.rank = ranks.get(&piece.text).copied();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(model: &str) -> String {
        format!(r#"{{"added_tokens": [{{"id": 9, "content": "<image>"}}], "model": {{"type": "BPE", {model}}}}}"#)
    }

    #[test]
    fn both_ways_to_write_merges() {
        let vocabulary = r#""unk_token": "<unk>", "vocab": {"<unk>": 0, "▁": 1, "a": 2, "▁a": 3, "aa": 4}"#;
        for merges in [r#""merges": ["a a", "▁ a"]"#, r#""merges": [["a", "a"], ["▁", "a"]]"#] {
            let (v, added) = read("test", json(&format!("{vocabulary}, {merges}")).as_bytes()).unwrap();
            assert_eq!(["aa", "▁a", "a", "<unk>"].map(|t| v.rank(t)), [Some(0), Some(1), None, None]);
            assert_eq!(added.get("<image>"), Some(&9));
        }
    }

    #[test]
    fn other_files_are_refused() {
        let cases = [
            (json(r#""vocab": {"a": 0, "b": 0}, "merges": []"#), "taken twice"),
            (json(r#""vocab": {"a": 4000000000}, "merges": []"#), "leaves a gap"),
            (json(r#""vocab": {}, "merges": ["ab"]"#), "not a pair"),
            (json(r#""vocab": {}, "merges": [], "end_of_word_suffix": "</w>""#), "suffixes"),
            (json(r#""vocab": {}, "merges": []"#), "not a LLaMA"),
            (json(r#""vocab": {}, "merges": []"#).replace("BPE", "WordPiece"), "only BPE"),
            ("{}".into(), "missing field"),
            ("PK".into(), "line 1"),
        ];
        for (bytes, want) in cases {
            let error = read("tokenizer.json", bytes.as_bytes()).unwrap_err().to_string();
            assert!(error.starts_with("tokenizer.json: ") && error.contains(want), "{error}");
        }
    }
}
