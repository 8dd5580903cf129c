//! Against the recordings of the official tokenizer (`tests/reference/tiny/reference/tokenization.json`).

use serde_json::Value;

use super::super::{Batch, Chat, PaddingSide, Prompt};
use super::*;

fn path(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/reference/tiny").join(name)
}

fn recorded(name: &str) -> Value {
    serde_json::from_slice(&std::fs::read(path("reference").join(name)).unwrap()).unwrap()
}

pub(in super::super) fn tiny() -> Tokenizer {
    Tokenizer::from_folder(&path("")).unwrap()
}

/// The same tokenizer by each of the ways to load it.
fn all_ways() -> Vec<Tokenizer> {
    let config: Value = serde_json::from_slice(&std::fs::read(path("config.json")).unwrap()).unwrap();
    let added = added::added_tokens_from_config(&config).unwrap();
    let read = |name| std::fs::read(path(name)).unwrap();
    vec![
        tiny(),
        Tokenizer::from_sentencepiece(&read("tokenizer.model"), &added).unwrap(),
        Tokenizer::from_json(&read("tokenizer.json"), &AddedTokens::new()).unwrap(),
        Tokenizer::from_json(&read("tokenizer.json"), &added).unwrap(),
    ]
}

fn ids(value: &Value) -> Vec<u32> {
    value.as_array().unwrap().iter().map(|id| id.as_u64().unwrap() as u32).collect()
}

fn rows(value: &Value) -> Vec<Vec<u32>> {
    value.as_array().unwrap().iter().map(ids).collect()
}

fn strings(value: &Value) -> Vec<&str> {
    value.as_array().unwrap().iter().map(|s| s.as_str().unwrap()).collect()
}

#[test]
fn every_recorded_text_encodes_and_decodes() {
    let file = recorded("tokenization.json");
    let cases = file["strings"].as_array().unwrap();
    assert!(cases.len() > 45);
    for tokenizer in all_ways() {
        for case in cases {
            let text = case["text"].as_str().unwrap();
            let got = tokenizer.encode(text);
            assert_eq!(got, ids(&case["ids"]), "{text:?}");
            assert_eq!(tokenizer.encode_without_bos(text), ids(&case["ids_no_special"]), "{text:?}");
            let tokens: Vec<_> = got.iter().map(|&id| tokenizer.token(id).unwrap()).collect();
            assert_eq!(tokens, strings(&case["tokens"]), "{text:?}");
            assert_eq!(tokenizer.decode(&got).unwrap(), case["decode"].as_str().unwrap(), "{text:?}");
            assert_eq!(tokenizer.decode_text(&got).unwrap(), case["decode_skip_special"].as_str().unwrap(), "{text:?}");
        }
    }
}

#[test]
fn every_recorded_id_sequence_decodes() {
    let file = recorded("tokenization.json");
    for tokenizer in all_ways() {
        for case in file["decode"].as_array().unwrap() {
            let ids = ids(&case["ids"]);
            assert_eq!(tokenizer.decode(&ids).unwrap(), case["decode"].as_str().unwrap(), "{ids:?}");
            assert_eq!(tokenizer.decode_text(&ids).unwrap(), case["decode_skip_special"].as_str().unwrap(), "{ids:?}");
        }
    }
}

#[test]
fn generated_text_decodes() {
    let tokenizer = tiny();
    let file = recorded("generate.json");
    for case in file["cases"].as_array().unwrap() {
        for (row, text) in rows(&case["output_ids"]).iter().zip(strings(&case["output_text_skip_special"])) {
            assert_eq!(tokenizer.decode_text(row).unwrap(), text);
        }
    }
}

#[test]
fn recorded_prompts_encode_and_pad() {
    let tokenizer = tiny();
    let file = recorded("generate.json");
    let pad = tokenizer.special_id("[PAD]").unwrap();
    for case in file["cases"].as_array().unwrap() {
        let encoded: Vec<_> = strings(&case["prompts"]).into_iter().map(|text| tokenizer.encode(text)).collect();
        let batch = Batch::new(&encoded, pad, PaddingSide::Left);
        assert_eq!(batch.ids, rows(&case["input_ids"]).concat(), "{}", case["name"]);
        if case["attention_mask"].is_array() {
            let mask: Vec<bool> = rows(&case["attention_mask"]).concat().iter().map(|&m| m == 1).collect();
            assert_eq!(batch.mask, mask);
        }
    }
}

#[test]
fn padding_and_truncation() {
    let tokenizer = tiny();
    let file = recorded("tokenization.json");
    let pad = tokenizer.special_id("[PAD]").unwrap();
    for (side, name) in [(PaddingSide::Right, "right"), (PaddingSide::Left, "left")] {
        let case = &file["padding"][name];
        let encoded: Vec<_> = strings(&case["texts"]).into_iter().map(|text| tokenizer.encode(text)).collect();
        let batch = Batch::new(&encoded, pad, side);
        let want = rows(&case["input_ids"]);
        assert_eq!((batch.rows, batch.width), (want.len(), want[0].len()));
        assert_eq!(batch.ids, want.concat());
        let mask: Vec<u32> = batch.mask.iter().map(|&m| u32::from(m)).collect();
        assert_eq!(mask, rows(&case["attention_mask"]).concat());
    }
    let case = &file["truncation"];
    let mut got = tokenizer.encode(case["text"].as_str().unwrap());
    got.truncate(case["max_length"].as_u64().unwrap() as usize);
    assert_eq!(got, ids(&case["ids"]));
}

#[test]
fn chats_give_the_recorded_prompts() {
    let tokenizer = tiny();
    let special = SpecialTokens::new(&tokenizer).unwrap();
    let file = recorded("generate.json");
    let patches = file["n_patch"].as_u64().unwrap() as usize;
    let wanted = [("greedy_text", 0), ("greedy_one_image", 1), ("greedy_two_images", 2)];
    let questions = ["How many windows does the house have?", "What is in this image?", "What colour is the bird?"];
    for ((name, images), question) in wanted.into_iter().zip(questions) {
        let case = file["cases"].as_array().unwrap().iter().find(|case| case["name"] == name).unwrap();
        let text = Chat::evaluation().ask(images, question).prompt();
        let prompt = Prompt::new(&tokenizer.encode(&text), &special, images, patches).unwrap();
        assert_eq!(prompt.ids, rows(&case["input_ids"])[0], "{name}");
        assert_eq!(prompt.images.len(), images);
    }
}

#[test]
fn empty_templates_are_the_recorded_ones() {
    let file = recorded("tokenization.json");
    let texts: Vec<_> = file["strings"].as_array().unwrap().iter().map(|case| case["text"].as_str().unwrap()).collect();
    assert!(texts.contains(&Chat::training().text().as_str()));
    assert!(texts.contains(&Chat::evaluation().text().as_str()));
    assert!(
        texts.contains(
            &Chat::with_system("A chat.")
                .ask(1, "\nDescribe it.")
                .answer("It is a cat.")
                .ask(0, "And now?")
                .prompt()
                .as_str()
        )
    );
}

#[test]
fn special_tokens_are_the_recorded_ones() {
    let file = recorded("tokenization.json");
    for mut tokenizer in all_ways() {
        let special = SpecialTokens::new(&tokenizer).unwrap();
        let want = file["added_tokens"].as_object().unwrap();
        assert!(want.iter().all(|(name, id)| tokenizer.id(name) == id.as_u64().map(|id| id as u32)));
        assert_eq!((special.im_patch, special.dream_start, special.pad, special.eos), (516, 515, 512, 2));
        assert_eq!(
            (u64::from(tokenizer.len()), tokenizer.added_tokens().len()),
            (file["total_size"].as_u64().unwrap(), 8)
        );
        tokenizer.add_tokens(&SpecialTokens::ADDED).unwrap();
        assert_eq!(tokenizer.len(), 520);
    }
}

#[test]
fn a_bare_vocabulary_can_be_extended() {
    let bytes = std::fs::read(path("tokenizer.model")).unwrap();
    let mut tokenizer = Tokenizer::from_sentencepiece(&bytes, &AddedTokens::new()).unwrap();
    let error = SpecialTokens::new(&tokenizer).unwrap_err().to_string();
    assert!(error.contains("[PAD]"), "{error}");
    tokenizer.add_tokens(&SpecialTokens::ADDED).unwrap();
    let special = SpecialTokens::new(&tokenizer).unwrap();
    assert_eq!((special.pad, special.image, special.dream_end), (512, 513, 519));
    assert_eq!(tokenizer.encode("<image>"), [1, 513]);
}

#[test]
fn added_tokens_that_clash_are_refused() {
    let bytes = std::fs::read(path("tokenizer.model")).unwrap();
    let cases: [&[(&str, u32)]; 5] =
        [&[("<image>", 2)], &[("<image>", 512), ("<dream>", 512)], &[("", 512)], &[("x", u32::MAX)], &[("</s>", 1)]];
    for added in cases {
        let added = added.iter().map(|&(name, id)| (name.into(), id)).collect();
        assert!(Tokenizer::from_sentencepiece(&bytes, &added).is_err(), "{added:?}");
    }
}

#[test]
fn folders_without_a_tokenizer_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let error = Tokenizer::from_folder(folder.path()).unwrap_err().to_string();
    assert!(error.contains("neither a tokenizer.model nor a tokenizer.json"), "{error}");
    std::fs::write(folder.path().join("tokenizer.model"), "rubbish").unwrap();
    let error = Tokenizer::from_folder(folder.path()).unwrap_err().to_string();
    assert!(error.contains("tokenizer.model"), "{error}");
    std::fs::remove_file(folder.path().join("tokenizer.model")).unwrap();
    std::fs::copy(path("tokenizer.json"), folder.path().join("tokenizer.json")).unwrap();
    assert_eq!(Tokenizer::from_folder(folder.path()).unwrap().encode("a<image>"), [1, 286, 518]);
}

/// Every prefix and every changed byte of a file loads or is refused; nothing panics.
#[test]
fn damaged_files_never_panic() {
    let bytes = std::fs::read(path("tokenizer.model")).unwrap();
    for length in (0..bytes.len()).step_by(97) {
        let _ = Tokenizer::from_sentencepiece(&bytes[..length], &AddedTokens::new());
    }
    let mut damaged = bytes.clone();
    for place in (0..bytes.len()).step_by(89) {
        damaged[place] ^= 0xa5;
        if let Ok(tokenizer) = Tokenizer::from_sentencepiece(&damaged, &AddedTokens::new()) {
            let _ = tokenizer.decode(&tokenizer.encode("Hello</s> wörld"));
        }
        damaged[place] = bytes[place];
    }
}

/// A vocabulary of LLaMA's size loads quickly, and a long text without any structure encodes in about linear time: a
/// quadratic merge of 400,000 symbols would take hours here.
#[test]
fn large_vocabularies_and_long_texts_are_fast() {
    let piece = |text: String, score: f32, kind: u8| {
        let inner = [&[0x0a, text.len() as u8], text.as_bytes(), &[0x15], &score.to_le_bytes(), &[0x18, kind]].concat();
        [&[0x0a, inner.len() as u8], &inner[..]].concat()
    };
    let mut file: Vec<u8> =
        [("<unk>", 2), ("<s>", 3), ("</s>", 3), ("▁", 1)].map(|(t, k)| piece(t.into(), 0.0, k)).concat();
    file.extend((0..=255).flat_map(|b| piece(format!("<0x{b:02X}>"), 0.0, 6)));
    file.extend((1..40).flat_map(|n| piece("a".repeat(n), n as f32, 1)));
    file.extend((0..32_000).flat_map(|i| piece(format!("x{i}"), -(i as f32), 1)));
    file.extend([0x12, 2, 0x18, 2, 0x1a, 2, 0x20, 0]);
    let start = std::time::Instant::now();
    let tokenizer = Tokenizer::from_sentencepiece(&file, &AddedTokens::new()).unwrap();
    let loaded = start.elapsed();
    let encoded = tokenizer.encode(&"a".repeat(400_000));
    let done = start.elapsed() - loaded;
    println!("loading {loaded:?}, encoding {done:?}, {} ids", encoded.len());
    assert!(encoded.len() < 400_000 / 20 && loaded.as_secs_f32() < 2.0 && done.as_secs_f32() < 10.0);
}
