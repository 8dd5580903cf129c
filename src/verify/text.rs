//! The tokenizer against recorded ids and texts.

use super::{Bench, StageReport};
use crate::Result;
use crate::text::{Batch, PaddingSide, Tokenizer};
use serde_json::Value;

/// A JSON list of ids.
pub(super) fn ids(value: &Value) -> Vec<u32> {
    list(value).iter().filter_map(|id| id.as_u64().map(|id| id as u32)).collect()
}

/// A JSON list of texts, or one text.
pub(super) fn texts(value: &Value) -> Vec<String> {
    match value {
        Value::String(one) => vec![one.clone()],
        _ => list(value).iter().filter_map(|text| text.as_str().map(str::to_string)).collect(),
    }
}

pub(super) fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

pub(super) fn tokenization(bench: &Bench) -> Result<Vec<StageReport>> {
    let golden = bench.golden("tokenization")?;
    let mut reports = Vec::new();
    for (file, tokenizer) in loaders(bench)? {
        let mut check = bench.check(&format!("tokenization ({file})"), 0.0);
        let mut decodes = |case: &Value| -> Result<()> {
            let ids = ids(&case["ids"]);
            check.equal(
                &format!("decoding {ids:?}"),
                tokenizer.decode(&ids)?.as_str(),
                case["decode"].as_str().unwrap_or(""),
            );
            let plain = case["decode_skip_special"].as_str().unwrap_or("");
            check.equal(
                &format!("decoding {ids:?} without special tokens"),
                tokenizer.decode_text(&ids)?.as_str(),
                plain,
            );
            Ok(())
        };
        for case in list(&golden.json["strings"]).iter().chain(list(&golden.json["decode"])) {
            decodes(case)?;
        }
        for case in list(&golden.json["strings"]) {
            let text = case["text"].as_str().unwrap_or("");
            check.equal(&format!("ids of {text:?}"), &tokenizer.encode(text), &ids(&case["ids"]));
            let plain = ids(&case["ids_no_special"]);
            check.equal(&format!("ids of {text:?} without <s>"), &tokenizer.encode_without_bos(text), &plain);
        }
        for (name, side) in [("right", PaddingSide::Right), ("left", PaddingSide::Left)] {
            let case = &golden.json["padding"][name];
            let rows: Vec<Vec<u32>> = texts(&case["texts"]).iter().map(|text| tokenizer.encode(text)).collect();
            let batch = Batch::new(&rows, bench.model.special.pad, side);
            let flat = |key: &str| list(&case[key]).iter().flat_map(ids).collect::<Vec<u32>>();
            check.equal(&format!("padding {name}"), &batch.ids, &flat("input_ids"));
            let mask: Vec<u32> = batch.mask.iter().map(|real| u32::from(*real)).collect();
            check.equal(&format!("mask {name}"), &mask, &flat("attention_mask"));
        }
        let cut = &golden.json["truncation"];
        let mut found = tokenizer.encode(cut["text"].as_str().unwrap_or(""));
        found.truncate(cut["max_length"].as_u64().unwrap_or(0) as usize);
        check.equal("truncation", &found, &ids(&cut["ids"]));
        reports.push(check.finish());
    }
    Ok(reports)
}

/// The tokenizer from every file that the folder has it in.
fn loaders(bench: &Bench) -> Result<Vec<(&'static str, Tokenizer)>> {
    let files = &bench.folder.tokenizer;
    let added = bench.model.tokenizer.added_tokens();
    let read = |path| std::fs::read(path).map_err(|e| crate::Error::file(path, e));
    let mut loaders = Vec::new();
    if let Some(path) = &files.model {
        loaders.push(("tokenizer.model", Tokenizer::from_sentencepiece(&read(path)?, &added)?));
    }
    if let Some(path) = &files.json {
        loaders.push(("tokenizer.json", Tokenizer::from_json(&read(path)?, &added)?));
    }
    Ok(loaders)
}
