//! Tokens beyond the vocabulary (`<image>`, `<dream_start>`, `[PAD]`, …): name to id, as the checkpoint's files say.
//!
//! Their ids are in no fixed order, because transformers once passed them through a Python `set`; they are never guessed.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;

use crate::{Error, Result};

/// Added tokens by name.
pub type AddedTokens = BTreeMap<String, u32>;

/// The tokens of `special_tokens2ids_dict` in a DreamLLM `config.json`; none if the entry is absent.
///
/// The dictionary holds names directly and, under `additional_special_tokens`, a second dictionary of names.
pub fn added_tokens_from_config(config: &Value) -> Result<AddedTokens> {
    let mut tokens = AddedTokens::new();
    if let Some(Value::Object(entries)) = config.get("special_tokens2ids_dict") {
        for (name, value) in entries {
            match value {
                Value::Object(nested) => nested.iter().try_for_each(|(name, id)| insert(&mut tokens, name, id))?,
                id => insert(&mut tokens, name, id)?,
            }
        }
    }
    Ok(tokens)
}

/// Adds `name`; `null` stands for a token that the checkpoint does not have.
fn insert(tokens: &mut AddedTokens, name: &str, id: &Value) -> Result<()> {
    if id.is_null() {
        return Ok(());
    }
    let number = id.as_u64().and_then(|id| u32::try_from(id).ok());
    add(tokens, name, number.ok_or_else(|| Error::format(format!("token {name}"), format!("{id} is not an id")))?)
}

/// Adds `name`, which may be there already if it has the same id.
pub(super) fn add(tokens: &mut AddedTokens, name: &str, id: u32) -> Result<()> {
    match tokens.insert(name.into(), id) {
        Some(other) if other != id => {
            Err(Error::format(format!("token {name}"), format!("has the id {other} in one place and {id} in another")))
        }
        _ => Ok(()),
    }
}

/// All added tokens that a checkpoint folder names: in `added_tokens.json`, in `tokenizer_config.json` and in `config.json`.
///
/// `special_tokens_map.json` says only which of them play which role, by names that are fixed here ([`super::SpecialTokens`]).
pub(super) fn read_folder(folder: &Path) -> Result<AddedTokens> {
    let mut tokens = AddedTokens::new();
    if let Some((path, entries)) = read_json(folder, "added_tokens.json")? {
        let entries = entries.as_object().ok_or_else(|| Error::file(&path, "is no dictionary of names and ids"))?;
        entries.iter().try_for_each(|(name, id)| insert(&mut tokens, name, id)).map_err(|e| Error::file(&path, e))?;
    }
    if let Some((path, config)) = read_json(folder, "tokenizer_config.json")? {
        check_spacing(&config).map_err(|e| Error::file(&path, e))?;
        for (id, token) in config.get("added_tokens_decoder").and_then(Value::as_object).into_iter().flatten() {
            let name = token.get("content").and_then(Value::as_str).zip(id.parse().ok());
            let (name, id) = name.ok_or_else(|| Error::file(&path, format!("added token {id} is malformed")))?;
            add(&mut tokens, name, id).map_err(|e| Error::file(&path, e))?;
        }
    }
    if let Some((path, config)) = read_json(folder, "config.json")? {
        for (name, id) in added_tokens_from_config(&config).map_err(|e| Error::file(&path, e))? {
            add(&mut tokens, &name, id).map_err(|e| Error::file(&path, e))?;
        }
    }
    Ok(tokens)
}

/// An error if a `tokenizer_config.json` asks for another form than DreamLLM's: legacy spacing, `<s>` in front, nothing behind.
fn check_spacing(config: &Value) -> Result<()> {
    for (key, supported) in [("legacy", true), ("add_bos_token", true), ("add_eos_token", false)] {
        if config.get(key).and_then(Value::as_bool).is_some_and(|given| given != supported) {
            return Err(Error::Input(format!("{key} is {}; only {supported} is supported", !supported)));
        }
    }
    Ok(())
}

/// A JSON file that may be absent.
fn read_json(folder: &Path, name: &str) -> Result<Option<(std::path::PathBuf, Value)>> {
    let path = folder.join(name);
    let bytes = match std::fs::read(&path) {
        Ok(bytes) => bytes,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(Error::file(path, e)),
    };
    let value = serde_json::from_slice(&bytes).map_err(|e| Error::file(&path, e))?;
    Ok(Some((path, value)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn config_entries_are_flattened() {
        let config =
            json!({"special_tokens2ids_dict": {"<s>": 1, "[PAD]": null, "additional_special_tokens": {"<image>": 7}}});
        let tokens = added_tokens_from_config(&config).unwrap();
        assert_eq!(tokens, AddedTokens::from([("<s>".into(), 1), ("<image>".into(), 7)]));
        assert!(added_tokens_from_config(&json!({})).unwrap().is_empty());
    }

    #[test]
    fn bad_ids_are_refused() {
        for id in [json!("7"), json!(-1), json!(1.5), json!(1u64 << 32)] {
            let error = added_tokens_from_config(&json!({"special_tokens2ids_dict": {"<image>": id}})).unwrap_err();
            assert!(error.to_string().starts_with("token <image>: "), "{error}");
        }
    }

    #[test]
    fn files_that_disagree_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name, text| std::fs::write(folder.path().join(name), text).unwrap();
        assert!(read_folder(folder.path()).unwrap().is_empty());
        write("added_tokens.json", r#"{"<image>": 7}"#);
        write("tokenizer_config.json", r#"{"added_tokens_decoder": {"8": {"content": "<dream>"}}}"#);
        assert_eq!(read_folder(folder.path()).unwrap().len(), 2);
        write("config.json", r#"{"special_tokens2ids_dict": {"<dream>": 9}}"#);
        let error = read_folder(folder.path()).unwrap_err().to_string();
        assert!(error.contains("config.json") && error.contains("8") && error.contains("9"), "{error}");
        write("config.json", "{");
        assert!(read_folder(folder.path()).unwrap_err().to_string().contains("config.json"));
    }
}
