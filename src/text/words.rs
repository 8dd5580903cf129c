//! A LLaMA tokenizer made from a list of words: every word that follows a space is one token, anything else is spelled.
//!
//! Byte pair encoding joins only what is in its vocabulary. So the vocabulary holds, besides bytes and letters, each word with the
//! space in front and all its beginnings, and the merges add one letter after the other.

use super::special::SpecialTokens;
use serde_json::json;
use std::collections::BTreeSet;

/// `tokenizer.json` of these words. `sentences` are single tokens wherever they stand; DreamLLM's special tokens come last.
pub fn tokenizer_json(words: &[&str], sentences: &[&str]) -> String {
    let mut pieces: Vec<String> =
        [SpecialTokens::UNK, SpecialTokens::BOS, SpecialTokens::EOS].map(String::from).to_vec();
    pieces.extend((0..=255u8).map(|byte| format!("<0x{byte:02X}>")));
    let letters: BTreeSet<char> =
        (' '..='~').filter(|c| *c != ' ').chain(words.iter().flat_map(|w| w.chars())).collect();
    pieces.push("\u{2581}".into());
    pieces.extend(letters.into_iter().map(String::from));
    let mut merges = Vec::new();
    let mut known: BTreeSet<String> = pieces.iter().cloned().collect();
    for word in words {
        let mut beginning = String::from('\u{2581}');
        for letter in word.chars() {
            let longer = format!("{beginning}{letter}");
            if known.insert(longer.clone()) {
                merges.push(format!("{beginning} {letter}"));
                pieces.push(longer.clone());
            }
            beginning = longer;
        }
    }
    let first = pieces.len();
    let added = sentences.iter().chain(&SpecialTokens::ADDED).copied();
    let own = [SpecialTokens::UNK, SpecialTokens::BOS, SpecialTokens::EOS].into_iter().zip(0..);
    let added: Vec<_> = own
        .chain(added.zip(first..))
        .map(|(content, id)| {
            json!({ "id": id, "content": content, "single_word": false, "lstrip": false, "rstrip": false,
                    "normalized": false, "special": true })
        })
        .collect();
    let vocabulary: serde_json::Map<String, _> = pieces.into_iter().zip((0..).map(serde_json::Value::from)).collect();
    let file = json!({
        "version": "1.0",
        "added_tokens": added,
        "model": {
            "type": "BPE", "unk_token": SpecialTokens::UNK, "fuse_unk": true, "byte_fallback": true,
            "vocab": vocabulary, "merges": merges,
        },
    });
    format!("{file:#}\n")
}

#[cfg(test)]
mod tests {
    use super::super::Tokenizer;
    use super::*;

    #[test]
    fn words_are_tokens_and_the_rest_is_spelled() {
        let json = tokenizer_json(&["a", "red", "redder", "circle", "?"], &["Be kind."]);
        let tokenizer = Tokenizer::from_json(json.as_bytes(), &Default::default()).unwrap();
        let special = SpecialTokens::new(&tokenizer).unwrap();
        let tokens = |text: &str| {
            tokenizer
                .encode_without_bos(text)
                .into_iter()
                .map(|id| tokenizer.token(id).unwrap().to_string())
                .collect::<Vec<_>>()
        };
        assert_eq!(tokens("a redder circle ?"), ["▁a", "▁redder", "▁circle", "▁?"]);
        assert_eq!(tokens("a red<image>a blue")[..3], ["▁a", "▁red", "<image>"]);
        assert_eq!(tokens("Be kind.")[0], "Be kind.");
        assert_eq!(tokens("rex"), ["▁re", "x"]);
        assert!(special.dream_end == tokenizer.len() - 1);
        for text in ["a red circle", "un chien über alles 😀", "Reds, 12!"] {
            assert_eq!(tokenizer.decode_text(&tokenizer.encode(text)).unwrap(), text);
        }
    }
}
