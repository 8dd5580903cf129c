//! Every word of this world.

use super::scene::{Color, Ground, Place, Shape, Size, Texture};
use super::story::NAMES;
use crate::text::{Role, SYSTEM, tokenizer_json};

/// Words that are no attributes, names or places.
const OTHERS: &[&str] = &[
    "a",
    "above",
    "add",
    "all",
    "an",
    "and",
    "are",
    "at",
    "background",
    "below",
    "big",
    "both",
    "changed",
    "color",
    "different",
    "do",
    "does",
    "draw",
    "first",
    "five",
    "four",
    "has",
    "have",
    "here",
    "how",
    "in",
    "into",
    "is",
    "it",
    "larger",
    "make",
    "many",
    "no",
    "now",
    "object",
    "objects",
    "of",
    "on",
    "one",
    "or",
    "over",
    "paint",
    "picture",
    "pictures",
    "place",
    "put",
    "remove",
    "same",
    "second",
    "see",
    "shape",
    "show",
    "shows",
    "six",
    "size",
    "smaller",
    "than",
    "the",
    "there",
    "third",
    "this",
    "three",
    "to",
    "turn",
    "two",
    "under",
    "we",
    "what",
    "where",
    "which",
    "with",
    "yes",
    "zero",
];

/// Signs: of a list of objects, and at the end of a question.
pub const SIGNS: [char; 2] = [',', '?'];

/// All words of captions, questions, answers, instructions and documents, sorted, without [`SIGNS`].
pub fn vocabulary() -> Vec<&'static str> {
    let mut words: Vec<&str> = OTHERS.to_vec();
    words.extend(Shape::ALL.iter().map(|shape| shape.word()));
    words.extend(Color::ALL.iter().map(|color| color.word()));
    words.extend(Size::ALL.iter().map(|size| size.word()));
    words.extend(Texture::ALL.iter().map(|texture| texture.word()));
    words.extend(Ground::ALL.iter().map(|ground| ground.word()));
    words.extend(Place::ALL.iter().map(|place| place.word()));
    words.extend(NAMES);
    words.sort_unstable();
    words.dedup();
    words
}

/// The `tokenizer.json` of models that learn from this world alone: every word is a token, and so is the sentence with which
/// conversations begin.
pub fn shapes_tokenizer() -> String {
    let mut words: Vec<String> = vocabulary().into_iter().map(String::from).collect();
    words.extend([Role::User, Role::Assistant].map(|role| format!("{}:", role.name())));
    tokenizer_json(&words.iter().map(String::as_str).collect::<Vec<_>>(), &[SYSTEM])
}

#[cfg(test)]
mod tests {
    use super::super::records::Theme;
    use super::super::world::World;
    use super::*;
    use crate::data::record::Record;
    use crate::text::Tokenizer;
    use std::collections::BTreeSet;

    /// The texts of a record.
    fn texts<P>(record: Record<P>) -> Vec<String> {
        match record {
            Record::Pair { text, .. } => vec![text],
            Record::Document(document) => document.texts,
            Record::Conversation(turns) => turns.into_iter().map(|turn| turn.text).collect(),
            Record::PicturePair { .. } => vec![],
        }
    }

    #[test]
    fn it_has_every_word_that_is_used_and_no_other() {
        let world = World { side: 64, objects: [1.0; 3], textures: true, medium: true, ..World::default() };
        let mut used = BTreeSet::new();
        for theme in Theme::ALL {
            // "six" is the rarest: a sum over three pictures of two objects each.
            let count = if *theme == Theme::Comparisons { 6000 } else { 400 };
            for text in (0..count).flat_map(|index| texts(world.record(*theme, index))) {
                let plain = text.replace("<image>", " ").replace("<dream>", " ").replace(SIGNS, " ");
                used.extend(plain.split_whitespace().map(str::to_string));
            }
        }
        let words = vocabulary();
        let used: Vec<&str> = used.iter().map(String::as_str).collect();
        let missing: Vec<_> = used.iter().filter(|word| !words.contains(word)).collect();
        let spare: Vec<_> = words.iter().filter(|word| !used.contains(word)).collect();
        assert!(missing.is_empty() && spare.is_empty(), "missing {missing:?}, not used {spare:?}");
        assert!(words.len() <= 150, "{} words", words.len());
    }
    #[test]
    fn the_tokenizer_of_the_configs_is_this_one_and_spells_nothing() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/configs/shapes/model/tokenizer.json");
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(path, shapes_tokenizer()).unwrap();
        }
        assert_eq!(std::fs::read_to_string(path).unwrap(), shapes_tokenizer(), "UPDATE_GOLDEN=1 writes it anew");
        let tokenizer = Tokenizer::from_json(shapes_tokenizer().as_bytes(), &Default::default()).unwrap();
        let whole = |token: &str| vocabulary().iter().any(|word| token == format!("\u{2581}{word}"));
        for theme in Theme::ALL {
            for text in (0..50).flat_map(|index| texts(World::default().record(*theme, index))) {
                for id in tokenizer.encode_without_bos(&text) {
                    let token = tokenizer.token(id).unwrap();
                    assert!(
                        whole(token) || token.starts_with('<') || [",", "?", "\u{2581}"].contains(&token),
                        "{token:?} in {text:?}"
                    );
                }
            }
        }
        assert_eq!(tokenizer.encode_without_bos(SYSTEM).len(), 1);
    }
}
