//! Ids back to text, as sentencepiece and, around it, transformers' slow tokenizer put the pieces together.

use super::Tokenizer;
use super::special::SpecialTokens;
use super::vocabulary::{Kind, SPACE};
use crate::{Error, Result};

/// Text from ids as they come, special tokens left out. Every piece of text is complete UTF-8: the bytes of a character
/// wait until it is whole, and bytes that cannot become one are U+FFFD each.
///
/// There is no stream that writes special tokens out, because the official spacing around them depends on what follows;
/// a caller who waits for `</s>` or `<dream_start>` compares ids.
#[derive(Debug)]
pub struct DecodeStream<'t> {
    tokenizer: &'t Tokenizer,
    run: Run,
    is_first: bool,
}

impl<'t> DecodeStream<'t> {
    pub(super) fn new(tokenizer: &'t Tokenizer) -> Self {
        DecodeStream { tokenizer, run: Run::default(), is_first: true }
    }

    /// The text that `id` completes, often empty. An id that is no token is an error and leaves the stream as it was.
    pub fn push(&mut self, id: u32) -> Result<String> {
        if !self.tokenizer.is_special(id) {
            self.run.push(self.tokenizer, id, self.is_first)?;
            self.is_first = false;
        }
        Ok(std::mem::take(&mut self.run.text))
    }

    /// The same for what a model has chosen: its vocabulary may be padded beyond the tokenizer's, and such an id writes nothing.
    pub fn push_chosen(&mut self, id: u32) -> Result<String> {
        match self.tokenizer.token(id) {
            Some(_) => self.push(id),
            None => Ok(String::new()),
        }
    }

    /// The text of bytes that never became a character.
    pub fn finish(mut self) -> String {
        self.run.end_bytes();
        self.run.text
    }
}

/// Decodes with special tokens written out (`PreTrainedTokenizer._decode`): added tokens are parts of their own, what lies
/// between them is decoded together, and the parts are joined by spaces.
pub(super) fn with_special(tokenizer: &Tokenizer, ids: &[u32]) -> Result<String> {
    let mut parts: Vec<String> = Vec::new();
    let mut segments = ids.split(|&id| stands_alone(tokenizer, id)).peekable();
    let mut alone = ids.iter().filter(|&&id| stands_alone(tokenizer, id));
    while let Some(segment) = segments.next() {
        // An empty text is dropped, except, officially, at the end.
        let text = segment_text(tokenizer, segment)?;
        if !text.is_empty() || (segments.peek().is_none() && !segment.is_empty()) {
            parts.push(text);
        }
        parts.extend(alone.next().and_then(|&id| tokenizer.token(id)).map(String::from));
    }
    Ok(parts.join(" "))
}

/// True of added tokens, but not of `<s>`, `</s>`, `<unk>` and `[PAD]`.
fn stands_alone(tokenizer: &Tokenizer, id: u32) -> bool {
    id >= tokenizer.vocabulary().len()
        && tokenizer.is_special(id)
        && tokenizer.special_id(SpecialTokens::PAD) != Some(id)
}

/// Text and the special tokens that do not stand alone (`LlamaTokenizer.convert_tokens_to_string`). Such a token puts a
/// space in front of the text *before* it.
fn segment_text(tokenizer: &Tokenizer, ids: &[u32]) -> Result<String> {
    let mut text = String::new();
    let mut run = Run::default();
    let mut after_special = false;
    for (place, &id) in ids.iter().enumerate() {
        let special = tokenizer.token(id).filter(|_| tokenizer.is_special(id));
        if let Some(name) = special {
            if !after_special && place != 0 {
                text.push(' ');
            }
            run.end_bytes();
            text.push_str(&std::mem::take(&mut run).text);
            text.push_str(name);
        } else {
            run.push(tokenizer, id, place == 0)?;
        }
        after_special = special.is_some();
    }
    run.end_bytes();
    Ok(text + &run.text)
}

/// Pieces between special tokens (`SentencePieceProcessor::Decode`).
#[derive(Debug, Default)]
struct Run {
    /// Decoded and not yet taken.
    text: String,
    /// The bytes of a character that is not complete yet.
    bytes: Vec<u8>,
    /// Text came, or the one space was dropped that encoding puts in front.
    has_begun: bool,
}

impl Run {
    /// `is_first`: the first token of all, which loses a `▁` before sentencepiece sees it.
    fn push(&mut self, tokenizer: &Tokenizer, id: u32, is_first: bool) -> Result<()> {
        let no_token = || Error::Input(format!("{id} is not the id of a token"));
        let piece = tokenizer.vocabulary().piece(id).ok_or_else(no_token)?;
        if let Kind::Byte(byte) = piece.kind {
            self.byte(byte);
            return Ok(());
        }
        self.end_bytes();
        match piece.text.strip_prefix(SPACE).filter(|_| is_first) {
            // What is left may be no piece of the vocabulary; sentencepiece passes such a text through as it is.
            Some(rest) if tokenizer.vocabulary().id(rest).is_none() => self.add(rest),
            Some(rest) => self.piece(rest),
            None => self.piece(&piece.text),
        }
        Ok(())
    }

    fn piece(&mut self, piece: &str) {
        let rest = piece.strip_prefix(SPACE).filter(|_| !self.has_begun);
        self.has_begun |= rest.is_some();
        self.add(&rest.unwrap_or(piece).replace(SPACE, " "));
    }

    fn add(&mut self, text: &str) {
        self.has_begun |= !text.is_empty();
        self.text.push_str(text);
    }

    /// Takes a byte and writes out what is settled: whole characters, and bytes that cannot begin or continue one.
    fn byte(&mut self, byte: u8) {
        self.bytes.push(byte);
        loop {
            let settled = match std::str::from_utf8(&self.bytes) {
                Ok(text) => text.len(),
                Err(e) => e.valid_up_to() + e.error_len().unwrap_or(0),
            };
            if settled == 0 {
                return;
            }
            let waiting = self.bytes.split_off(settled);
            self.end_bytes();
            self.bytes = waiting;
        }
    }

    /// Writes out the bytes that wait, each one that is not part of a character as U+FFFD.
    fn end_bytes(&mut self) {
        let bytes = std::mem::take(&mut self.bytes);
        for chunk in bytes.utf8_chunks() {
            self.add(chunk.valid());
            chunk.invalid().iter().for_each(|_| self.add("\u{fffd}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tokenizer::tests::tiny;
    use proptest::prelude::*;

    #[test]
    fn characters_come_out_whole() {
        let tokenizer = tiny();
        let mut stream = tokenizer.decode_stream();
        let ids = tokenizer.encode("é😀a");
        let pieces: Vec<String> = ids.iter().map(|&id| stream.push(id).unwrap()).collect();
        assert_eq!(pieces.iter().filter(|p| !p.is_empty()).collect::<Vec<_>>(), ["é", "😀", "a"]);
        assert_eq!(stream.finish(), "");
    }

    #[test]
    fn broken_bytes_come_out_as_soon_as_they_are_known_to_be_broken() {
        let tokenizer = tiny();
        let byte = |b: u32| b + 3;
        let mut stream = tokenizer.decode_stream();
        let pieces = [0xe4, 0xbd, 0xf0, 0x9f, 0x41, 0xff, 0xc3].map(|b| stream.push(byte(b)).unwrap());
        assert_eq!(pieces, ["", "", "\u{fffd}\u{fffd}", "", "\u{fffd}\u{fffd}A", "\u{fffd}", ""]);
        assert_eq!(stream.finish(), "\u{fffd}");
    }

    #[test]
    fn ids_that_are_no_token_are_errors() {
        let tokenizer = tiny();
        let mut stream = tokenizer.decode_stream();
        assert!(stream.push(520).is_err() && stream.push(u32::MAX).is_err());
        assert_eq!(stream.push_chosen(520).unwrap(), "");
        assert_eq!(stream.push(286).unwrap(), "a");
        assert!(tokenizer.decode(&[1, 520]).is_err() && tokenizer.decode_text(&[520]).is_err());
    }

    proptest! {
        /// Text comes back from its ids, but for the one space that decoding drops in front.
        #[test]
        fn texts_survive(text in "[^▁<\\[ ][^▁<\\[]{0,40}") {
            let tokenizer = tiny();
            prop_assert_eq!(tokenizer.decode_text(&tokenizer.encode(&text)).unwrap(), text);
        }

        /// Any ids decode, and without special tokens both ways agree.
        #[test]
        fn any_ids_decode(ids in proptest::collection::vec(0u32..520, 0..30)) {
            let tokenizer = tiny();
            tokenizer.decode(&ids).unwrap();
            let plain: Vec<u32> = ids.iter().copied().filter(|&id| !tokenizer.is_special(id)).collect();
            prop_assert_eq!(tokenizer.decode_text(&ids).unwrap(), tokenizer.decode(&plain).unwrap());
        }
    }
}
