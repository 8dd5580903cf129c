//! Reads `tokenizer.model`: a sentencepiece `ModelProto` of a BPE model (github google/sentencepiece,
//! `src/sentencepiece_model.proto`).

use super::protobuf::{Fields, Value};
use super::vocabulary::{Kind, Piece, Vocabulary, byte_of};
use crate::{Error, Result};

/// Reads the vocabulary. `source` names the file in errors.
pub(super) fn read(source: &str, bytes: &[u8]) -> Result<Vocabulary> {
    let pieces = model(bytes).map_err(|why| Error::format(source, why))?;
    Vocabulary::new(source, pieces)
}

/// `ModelProto`: 1 pieces, 2 trainer_spec, 3 normalizer_spec.
fn model(bytes: &[u8]) -> Result<Vec<Piece>, String> {
    let mut scored = Vec::new();
    let (mut trainer, mut normalizer) = (None, None);
    for field in Fields::new(bytes) {
        match field? {
            (1, Value::Bytes(message)) => scored.push(piece(message)?),
            (2, Value::Bytes(message)) => trainer = Some(message),
            (3, Value::Bytes(message)) => normalizer = Some(message),
            _ => {}
        }
    }
    check_trainer(trainer.ok_or("no trainer_spec: this is not a sentencepiece model")?)?;
    check_normalizer(normalizer.unwrap_or(&[]))?;
    Ok(rank(scored))
}

/// `SentencePiece`: 1 piece, 2 score, 3 type. The rank is filled in by [`rank`].
fn piece(message: &[u8]) -> Result<(Piece, f32), String> {
    let (mut text, mut score, mut kind) = (String::new(), 0.0, 1);
    for field in Fields::new(message) {
        match field? {
            (1, Value::Bytes(bytes)) => text = std::str::from_utf8(bytes).map_err(|_| "a piece is not UTF-8")?.into(),
            (2, Value::Fixed32(bits)) => score = f32::from_bits(bits),
            (3, Value::Varint(value)) => kind = value,
            _ => {}
        }
    }
    if score.is_nan() {
        return Err(format!("the score of piece {text:?} is not a number"));
    }
    let kind = match kind {
        1 => Kind::Normal,
        2 => Kind::Unknown,
        3 => Kind::Control,
        4 => Kind::UserDefined,
        6 => Kind::Byte(byte_of(&text).ok_or_else(|| format!("byte piece {text:?} is not of the form <0xNN>"))?),
        other => return Err(format!("piece {text:?} has the unsupported type {other}")),
    };
    Ok((Piece { text, kind, rank: None }, score))
}

/// `TrainerSpec`: 3 model_type (2 is BPE), 24 treat_whitespace_as_suffix.
fn check_trainer(message: &[u8]) -> Result<(), String> {
    let mut model_type = 1;
    for field in Fields::new(message) {
        match field? {
            (3, Value::Varint(value)) => model_type = value,
            (24, value) if value.is_true() => return Err("spaces as suffixes are not supported".into()),
            _ => {}
        }
    }
    if model_type == 2 { Ok(()) } else { Err(format!("model type {model_type} is not supported, only BPE (2) is")) }
}

/// `NormalizerSpec`: 2 precompiled_charsmap, 3 add_dummy_prefix, 4 remove_extra_whitespaces, 5 escape_whitespaces (the
/// last three are true where absent). LLaMA's leaves the text as it is, but for the `▁` in front.
fn check_normalizer(message: &[u8]) -> Result<(), String> {
    let (mut characters_map, mut prefix, mut squeeze, mut escape) = (false, true, true, true);
    for field in Fields::new(message) {
        match field? {
            (2, Value::Bytes(map)) => characters_map = !map.is_empty(),
            (3, value) => prefix = value.is_true(),
            (4, value) => squeeze = value.is_true(),
            (5, value) => escape = value.is_true(),
            _ => {}
        }
    }
    if characters_map || squeeze || !prefix || !escape {
        return Err("its text normalisation is not LLaMA's (identity, with a space in front)".into());
    }
    Ok(())
}

/// Ranks the pieces that text can become by falling score; equal scores share a rank.
fn rank(mut scored: Vec<(Piece, f32)>) -> Vec<Piece> {
    let mut order: Vec<usize> = (0..scored.len()).collect();
    order.sort_by(|&a, &b| f32::total_cmp(&(scored[b].1 + 0.0), &(scored[a].1 + 0.0)));
    let (mut rank, mut last) = (0, f32::NAN);
    for place in order {
        let (piece, score) = &mut scored[place];
        if *score != last {
            (rank, last) = (rank + 1, *score);
        }
        if matches!(piece.kind, Kind::Normal | Kind::UserDefined) {
            piece.rank = Some(rank);
        }
    }
    scored.into_iter().map(|(piece, _)| piece).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A message field of wire type 2.
    fn bytes(field: u8, content: &[u8]) -> Vec<u8> {
        [&[field << 3 | 2, u8::try_from(content.len()).unwrap()], content].concat()
    }

    fn scored(text: &str, score: f32, kind: u8) -> Vec<u8> {
        bytes(1, &[bytes(1, text.as_bytes()), vec![0x15], score.to_le_bytes().to_vec(), vec![0x18, kind]].concat())
    }

    fn file(pieces: &[Vec<u8>], trainer: &[u8], normalizer: &[u8]) -> Vec<u8> {
        [pieces.concat(), bytes(2, trainer), bytes(3, normalizer)].concat()
    }

    const BPE: &[u8] = &[0x18, 2];
    const IDENTITY: &[u8] = &[0x18, 1, 0x20, 0];

    #[test]
    fn ranks_follow_scores() {
        let pieces = [
            scored("<unk>", 0.0, 2),
            scored("▁", -7.0, 1),
            scored("a", -1.0, 1),
            scored("b", 0.0, 4),
            scored("c", -0.0, 1),
            scored("d", -1.0, 1),
        ];
        let vocabulary = read("test", &file(&pieces, BPE, IDENTITY)).unwrap();
        assert_eq!(
            ["b", "c", "a", "d", "▁", "<unk>"].map(|t| vocabulary.rank(t)),
            [Some(1), Some(1), Some(2), Some(2), Some(3), None]
        );
    }

    #[test]
    fn other_models_are_refused() {
        let pieces = [scored("<unk>", 0.0, 2), scored("▁", 0.0, 1)];
        assert!(read("t", &file(&pieces, BPE, IDENTITY)).is_ok());
        let cases = [
            (file(&pieces, &[0x18, 1], IDENTITY), "only BPE"),
            (file(&pieces, &[0x18, 2, 0xc0, 1, 1], IDENTITY), "suffixes"),
            (file(&pieces, BPE, &[]), "normalisation"),
            (file(&pieces, BPE, &[0x20, 0, 0x12, 1, 9]), "normalisation"),
            (file(&[scored("x", f32::NAN, 1)], BPE, IDENTITY), "not a number"),
            (file(&[scored("x", 0.0, 6)], BPE, IDENTITY), "<0xNN>"),
            (file(&[scored("x", 0.0, 5)], BPE, IDENTITY), "unsupported type 5"),
            (pieces.concat(), "trainer_spec"),
            (Vec::new(), "trainer_spec"),
            (bytes(1, &bytes(1, &[0xff])), "UTF-8"),
            (b"PK\x03\x04 not a model".to_vec(), ""),
        ];
        for (bytes, want) in cases {
            let error = read("tokenizer.model", &bytes).unwrap_err().to_string();
            assert!(error.starts_with("tokenizer.model: ") && error.contains(want), "{error}");
        }
    }
}
