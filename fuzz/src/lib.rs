//! What each fuzz target does with its bytes. `tests/fuzz_corpus.rs` includes this file to replay the corpus.
//!
//! A target may get an error, never a panic; and what it accepts must be usable.

use dreamllm::text::{AddedTokens, Tokenizer};
use dreamllm::weights::WeightFile;
use std::io::{Cursor, Write};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

/// Elements of a tensor that are read: a view with strides of 0 may have more than its bytes.
const ELEMENTS: usize = 1 << 16;

/// A checkpoint file of any format: its table, and the first elements of every tensor.
pub fn weights(bytes: &[u8]) {
    let Ok(file) = WeightFile::from_bytes("fuzzed", bytes.to_vec()) else { return };
    let mut read = Vec::new();
    for name in file.names() {
        let Some(tensor) = file.get(name) else { panic!("{name:?} is listed, but cannot be found") };
        let count = tensor.len().min(ELEMENTS);
        if let Err(error) = tensor.read_f32(0..count, &mut read) {
            panic!("{name:?} was accepted, but cannot be read: {error}");
        }
        assert_eq!(read.len(), count, "{name:?}");
        if let Some(raw) = tensor.raw() {
            assert_eq!(Some(raw.len()), tensor.dtype().bytes(tensor.len()), "{name:?}");
        }
    }
}

/// A GGUF file: what follows its magic number.
pub fn gguf(bytes: &[u8]) {
    weights(&[b"GGUF", bytes].concat());
}

/// A file of `torch.save`. Bytes that are none become the pickle of one, with a storage of 64 bytes.
pub fn torch(bytes: &[u8]) {
    const LEGACY: &[u8] = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46";
    if bytes.starts_with(b"PK") || bytes.starts_with(LEGACY) {
        return weights(bytes);
    }
    let mut archive = ZipWriter::new(Cursor::new(Vec::new()));
    let stored = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
    for (name, content) in [("a/data.pkl", bytes), ("a/data/0", &[7; 64][..])] {
        let written = archive.start_file(name, stored).map(|()| archive.write_all(content));
        assert!(matches!(written, Ok(Ok(()))));
    }
    if let Ok(whole) = archive.finish() {
        weights(&whole.into_inner());
    }
}

/// A picture of any format.
pub fn picture(bytes: &[u8]) {
    if let Ok(image) = dreamllm::image::decode("fuzzed", bytes) {
        assert_eq!(image.pixels.len(), image.width * image.height * 3);
        assert!(!image.pixels.is_empty());
    }
}

/// A tokenizer, from JSON if the bytes look so, otherwise from sentencepiece's protobuf; then a text there and back.
pub fn tokenizer(bytes: &[u8]) {
    let added = AddedTokens::default();
    let read = match bytes.first() {
        Some(b'{') => Tokenizer::from_json(bytes, &added),
        _ => Tokenizer::from_sentencepiece(bytes, &added),
    };
    let Ok(tokenizer) = read else { return };
    let ids = tokenizer.encode("A <image> of a dog\n\u{4f60}\u{597d} \u{1f436} </s> 1024");
    assert!(ids.iter().all(|&id| id < tokenizer.len()));
    let _ = tokenizer.decode(&ids); // an error is as good as a text
    let mut stream = tokenizer.decode_stream();
    for id in ids {
        if stream.push(id).is_err() {
            return;
        }
    }
    let _ = stream.finish();
}
