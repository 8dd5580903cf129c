//! The JSON forms that people have records in.

use super::record::{Document, Record, Turn};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What the records of a source are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A picture and its caption: `{"image": "a.png", "text": "…"}`. Also `file_name` and `caption`, as elsewhere; with
    /// `source` and `target` instead, a picture to read and one to draw.
    #[default]
    Pairs,
    /// Interleaved documents in the MMC4 schema: `{"text_list": […], "image_info": [{"image_name": "a.png",
    /// "matched_text_index": 0}, …]}`. With `"instruction": "…"` the document is its answer; with `"given": 1` its first picture
    /// is only read, not drawn.
    Documents,
    /// LLaVA conversations: `{"image": "a.png", "conversations": [{"from": "human", "value": "<image>\n…"}, …]}`, or with the
    /// pictures in each turn: `"modal_info": {"<image>": ["image", ["a.png", "b.png"]]}`.
    Conversations,
}

/// Reads a record; pictures are names. `text_key` is where a pair has its caption, if not under a usual name.
pub fn parse(kind: Kind, json: &Value, text_key: Option<&str>) -> Result<Record<String>> {
    if !json.is_object() {
        return Err(Error::Input("is not a JSON object".into()));
    }
    match kind {
        Kind::Pairs => pair(json, text_key),
        Kind::Documents => document(json),
        Kind::Conversations => conversation(json),
    }
}

fn pair(json: &Value, text_key: Option<&str>) -> Result<Record<String>> {
    if let (Some(source), Some(target)) = (json["source"].as_str(), json["target"].as_str()) {
        return Ok(Record::PicturePair { source: source.into(), target: target.into() });
    }
    let picture = one_of(json, &["image", "file_name"])?.to_string();
    Ok(Record::Pair { picture, text: caption(json, text_key)? })
}

/// The caption of a pair. An empty one is an error: there is nothing to learn from it.
pub(super) fn caption(json: &Value, text_key: Option<&str>) -> Result<String> {
    let text = match text_key {
        Some(key) => one_of(json, &[key])?,
        None => one_of(json, &["text", "caption"])?,
    };
    if text.is_empty() { Err(Error::Input("the caption is empty".into())) } else { Ok(text.into()) }
}

fn one_of<'a>(json: &'a Value, keys: &[&str]) -> Result<&'a str> {
    let missing = || Error::Input(format!("has no text under \"{}\"", keys.join("\" or \"")));
    keys.iter().find_map(|key| json[key].as_str()).ok_or_else(missing)
}

fn document(json: &Value) -> Result<Record<String>> {
    let texts = list(json, "text_list")?.iter().map(|text| text.as_str().map(str::to_string));
    let texts =
        texts.collect::<Option<Vec<_>>>().ok_or_else(|| Error::Input("text_list holds more than texts".into()))?;
    let mut pictures = Vec::new();
    for info in list(json, "image_info")? {
        let after = info["matched_text_index"].as_u64().and_then(|index| usize::try_from(index).ok());
        let after = after.ok_or_else(|| Error::Input("a picture of image_info has no matched_text_index".into()))?;
        pictures.push((after, one_of(info, &["image_name"])?.to_string()));
    }
    if pictures.is_empty() {
        return Err(Error::Input("image_info names no picture".into()));
    }
    pictures.sort_by_key(|(after, _)| *after); // stable: pictures of one text stay in their order
    let instruction = json["instruction"].as_str().map(str::to_string);
    let given = match &json["given"] {
        Value::Null => Some(0),
        given => given.as_u64().and_then(|given| usize::try_from(given).ok()).filter(|given| *given <= pictures.len()),
    };
    let given = given.ok_or_else(|| Error::Input("\"given\" is no number of pictures of the document".into()))?;
    Ok(Record::Document(Document { instruction, texts, pictures, given }))
}

fn list<'a>(json: &'a Value, key: &str) -> Result<&'a [Value]> {
    json[key].as_array().map(Vec::as_slice).ok_or_else(|| Error::Input(format!("has no list {key:?}")))
}

/// What stands in the text for a picture to read, and for one to draw and then read.
const PLACEHOLDERS: [&str; 2] = ["<image>", "<dream>"];

fn conversation(json: &Value) -> Result<Record<String>> {
    let mut messages = list(json, "conversations")?;
    // An answer without a question, in front, is left out. From there on sides alternate, whatever the names say.
    if messages.first().is_some_and(|message| message["from"].as_str().is_some_and(|from| !is_user(from))) {
        messages = &messages[1..];
    }
    if messages.is_empty() {
        return Err(Error::Input("the conversation has no turns".into()));
    }
    let turns = messages.iter().map(|message| turn(json, message)).collect::<Result<_>>()?;
    Ok(Record::Conversation(turns))
}

fn is_user(from: &str) -> bool {
    ["user", "human"].contains(&from)
}

fn turn(json: &Value, message: &Value) -> Result<Turn<String>> {
    let from = one_of(message, &["from"])?;
    if !is_user(from) && !["assistant", "gpt", "obj365", "vg"].contains(&from) {
        return Err(Error::Input(format!("a turn is from {from:?}, neither user nor assistant")));
    }
    let text = one_of(message, &["value"])?.to_string();
    let places = places(&text);
    let mut pictures = Vec::with_capacity(places.len());
    let mut used = [0; PLACEHOLDERS.len()];
    for place in places {
        let picture = match json["image"].as_str() {
            // One picture for the whole conversation, once for each placeholder in a turn. (Officially a turn that has both
            // placeholders is written twice, which turns the sides around; here it is written once.)
            Some(picture) => (used[place] == 0).then(|| picture.to_string()),
            None => listed(message, place).get(used[place]).and_then(Value::as_str).map(str::to_string),
        };
        used[place] += 1;
        pictures.push(picture.ok_or_else(|| miscounted(&text))?);
    }
    let spare = |place: usize| json["image"].is_null() && listed(message, place).len() > used[place];
    if (0..PLACEHOLDERS.len()).any(spare) { Err(miscounted(&text)) } else { Ok(Turn { text, pictures }) }
}

fn miscounted(text: &str) -> Error {
    let start: String = text.chars().take(40).collect();
    Error::Input(format!("a turn has other numbers of placeholders than pictures: {start:?}"))
}

/// The placeholders of a text, in order, by their index in [`PLACEHOLDERS`].
fn places(text: &str) -> Vec<usize> {
    let mut places: Vec<(usize, usize)> =
        (0..).zip(PLACEHOLDERS).flat_map(|(i, name)| text.match_indices(name).map(move |(at, _)| (at, i))).collect();
    places.sort_unstable();
    places.into_iter().map(|(_, i)| i).collect()
}

/// The pictures that a turn itself lists for a placeholder.
fn listed(message: &Value, place: usize) -> &[Value] {
    message["modal_info"][PLACEHOLDERS[place]][1].as_array().map_or(&[], Vec::as_slice)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn error(kind: Kind, value: Value) -> String {
        parse(kind, &value, None).unwrap_err().to_string()
    }

    #[test]
    fn pairs_have_several_forms() {
        let want = Record::Pair { picture: "a.png".into(), text: "A dog.".into() };
        for value in [json!({"image": "a.png", "text": "A dog."}), json!({"file_name": "a.png", "caption": "A dog."})] {
            assert_eq!(parse(Kind::Pairs, &value, None).unwrap(), want);
        }
        let other = json!({"image": "a.png", "text": "no", "blip": "A dog."});
        assert_eq!(parse(Kind::Pairs, &other, Some("blip")).unwrap(), want);
        let pictures = json!({"source": "a.png", "target": "b.png"});
        let want = Record::PicturePair { source: "a.png".to_string(), target: "b.png".to_string() };
        assert_eq!(parse(Kind::Pairs, &pictures, None).unwrap(), want);
        assert!(error(Kind::Pairs, json!({"image": "a.png"})).contains("\"text\" or \"caption\""));
        assert!(error(Kind::Pairs, json!({"text": "a"})).contains("\"image\" or \"file_name\""));
        assert!(error(Kind::Pairs, json!({"image": "a.png", "text": ""})).contains("empty"));
        assert!(error(Kind::Pairs, json!(["a.png", "A dog."])).contains("object"));
    }

    #[test]
    fn pictures_of_documents_are_sorted_by_their_text_and_otherwise_stay_in_order() {
        let info = |name, index| json!({"image_name": name, "matched_text_index": index});
        let value = json!({"text_list": ["x", "y"], "image_info": [info("a", 1), info("b", 0), info("c", 1)]});
        let Record::Document(document) = parse(Kind::Documents, &value, None).unwrap() else { panic!() };
        let pictures: Vec<_> = document.pictures.iter().map(|(index, name)| (*index, name.as_str())).collect();
        assert_eq!(pictures, [(0, "b"), (1, "a"), (1, "c")]);
        assert_eq!(document.instruction, None);
        assert_eq!(document.given, 0);
        let given = |n| json!({"text_list": ["x", "y"], "image_info": [info("a", 0), info("b", 1)], "given": n});
        let Ok(Record::Document(read)) = parse(Kind::Documents, &given(1), None) else { panic!() };
        assert_eq!(read.given, 1);
        assert!(error(Kind::Documents, given(3)).contains("given"));
        assert!(error(Kind::Documents, json!({"image_info": []})).contains("text_list"));
        assert!(error(Kind::Documents, json!({"text_list": [], "image_info": []})).contains("no picture"));
        assert!(error(Kind::Documents, json!({"text_list": [1], "image_info": []})).contains("text_list"));
        let negative = json!({"text_list": ["x"], "image_info": [info("a", -1)]});
        assert!(error(Kind::Documents, negative).contains("matched_text_index"));
    }

    #[test]
    fn placeholders_take_pictures_in_order() {
        let modal = json!({"<image>": ["image", ["a", "b"]], "<dream>": ["image", ["c"]]});
        let message = json!({"from": "user", "value": "<image><dream> <image>", "modal_info": modal});
        let Record::Conversation(turns) =
            parse(Kind::Conversations, &json!({"conversations": [message]}), None).unwrap()
        else {
            panic!()
        };
        assert_eq!(turns[0].pictures, ["a", "c", "b"]);
    }

    #[test]
    fn conversations_that_do_not_fit_are_refused() {
        let one = |value: Value| json!({"conversations": [value]});
        let of = |value: Value| error(Kind::Conversations, value);
        assert!(of(json!({"conversations": []})).contains("no turns"));
        assert!(of(one(json!({"from": "gpt", "value": "Alone."}))).contains("no turns"));
        assert!(of(one(json!({"from": "robot", "value": "a"}))).contains("no turns"));
        assert!(of(one(json!({"value": "a"}))).contains("from"));
        assert!(of(one(json!({"from": "user", "value": "<image>"}))).contains("placeholders"));
        let two = json!({"image": "a", "conversations": [{"from": "user", "value": "<image><image>"}]});
        assert!(of(two).contains("placeholders"));
        let spare = json!({"from": "user", "value": "<image>", "modal_info": {"<image>": ["image", ["a", "b"]]}});
        assert!(of(one(spare)).contains("placeholders"));
        let robot = json!({"conversations": [{"from": "user", "value": "a"}, {"from": "robot", "value": "b"}]});
        assert!(of(robot).contains("robot"));
    }
}
