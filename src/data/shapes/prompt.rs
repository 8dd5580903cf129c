//! From a prompt back to what it demands: captions as the world writes them, and what people write instead.

use super::demand::{Demand, ObjectDemand};
use super::scene::{Color, Ground, Place, Relation, Shape, Size, Texture};
use crate::{Error, Result};

/// Words that say nothing to be judged.
const SILENT: [&str; 32] = [
    "a",
    "an",
    "the",
    "is",
    "are",
    "of",
    "on",
    "in",
    "at",
    "to",
    "with",
    "and",
    "picture",
    "image",
    "photo",
    "there",
    "this",
    "we",
    "see",
    "i",
    "draw",
    "paint",
    "show",
    "me",
    "shows",
    "make",
    "please",
    "background",
    "side",
    "here",
    "it",
    "one",
];

impl Demand {
    /// Reads a prompt such as "a small red circle left of a large blue square on a dark background". An error names the word
    /// that this world does not have.
    pub fn parse(prompt: &str) -> Result<Demand> {
        let lower = prompt.to_lowercase();
        let words: Vec<&str> =
            lower.split(|c: char| !c.is_alphanumeric() && c != '-').filter(|w| !w.is_empty()).collect();
        let mut reader = Reader::default();
        let mut rest = words.as_slice();
        while let Some((word, after)) = rest.split_first() {
            let used = reader.word(word, after)?;
            rest = after.get(used..).unwrap_or_default();
        }
        reader.end(prompt)
    }
}

/// The demand so far.
#[derive(Debug, Default)]
struct Reader {
    demand: Demand,
    /// The object whose adjectives have come, but not its noun.
    object: ObjectDemand,
    /// The relation whose second object has not come.
    relation: Option<(usize, Relation)>,
}

impl Reader {
    /// Takes a word; how many of those after it belong to it.
    fn word(&mut self, word: &str, after: &[&str]) -> Result<usize> {
        let next = after.first().copied().unwrap_or_default();
        if let Some(relation) = relation(word, next) {
            let last = self.demand.objects.len().checked_sub(1);
            let last = last.ok_or_else(|| Error::Input(format!("nothing is {word} of anything before \"{word}\"")))?;
            self.relation = Some((last, relation));
            return Ok(usize::from(next == "of"));
        }
        if let Some((place, used)) = place(word, next) {
            match self.demand.objects.last_mut() {
                Some(object) if self.object == ObjectDemand::default() => object.place = Some(place),
                _ => self.object.place = Some(place),
            }
            return Ok(used);
        }
        if let Some(color) = Color::from_word(word) {
            self.object.color = Some(color);
        } else if let Some(size) = size(word) {
            self.object.size = Some(size);
        } else if let Some(texture) = Texture::from_word(word) {
            self.object.texture = Some(texture);
        } else if let Some(ground) = Ground::from_word(word) {
            self.demand.ground = Some(ground);
        } else if let Some(shape) = noun(word) {
            self.object.shape = shape;
            self.close();
        } else if !SILENT.contains(&word) {
            return Err(Error::Input(format!("the world of shapes has no word \"{word}\"")));
        }
        Ok(0)
    }

    fn close(&mut self) {
        let here = self.demand.objects.len();
        self.demand.objects.push(std::mem::take(&mut self.object));
        if let Some((first, relation)) = self.relation.take() {
            self.demand.relations.push((first, relation, here));
        }
    }

    fn end(self, prompt: &str) -> Result<Demand> {
        if self.demand.objects.is_empty() || self.object != ObjectDemand::default() || self.relation.is_some() {
            return Err(Error::Input(format!("\"{prompt}\" does not end with an object such as \"a red circle\"")));
        }
        Ok(self.demand)
    }
}

fn relation(word: &str, next: &str) -> Option<Relation> {
    match (word, next) {
        ("left", "of") => Some(Relation::LeftOf),
        ("right", "of") => Some(Relation::RightOf),
        ("above" | "over", _) => Some(Relation::Above),
        ("below" | "under" | "beneath", _) => Some(Relation::Below),
        _ => None,
    }
}

/// A place, and how many words after the first one it has.
fn place(word: &str, next: &str) -> Option<(Place, usize)> {
    let row = match word {
        "center" | "centre" => "middle",
        "upper" => "top",
        "lower" => "bottom",
        other => other,
    };
    let corner = ["top", "bottom"].contains(&row) && ["left", "right"].contains(&next);
    match corner {
        true => Place::from_word(&format!("{row}-{next}")).map(|place| (place, 1)),
        false => Place::from_word(row).map(|place| (place, 0)),
    }
}

fn size(word: &str) -> Option<Size> {
    match word {
        "big" | "huge" => Some(Size::Large),
        "little" | "tiny" => Some(Size::Small),
        other => Size::from_word(other),
    }
}

/// A shape, or an object of which none is said.
fn noun(word: &str) -> Option<Option<Shape>> {
    match word {
        "object" | "shape" | "thing" => Some(None),
        other => Shape::from_word(other).map(Some),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_write_is_understood() {
        let demand = Demand::parse("Draw a BIG red circle, to the left of a tiny square. Dark background!").unwrap();
        let circle = ObjectDemand {
            shape: Some(Shape::Circle),
            color: Some(Color::Red),
            size: Some(Size::Large),
            ..ObjectDemand::default()
        };
        let square = ObjectDemand { shape: Some(Shape::Square), size: Some(Size::Small), ..ObjectDemand::default() };
        assert_eq!(demand.objects, [circle, square]);
        assert_eq!(demand.relations, [(0, Relation::LeftOf, 1)]);
        assert_eq!(demand.ground, Some(Ground::Dark));
        let place = |text: &str| Demand::parse(text).unwrap().objects[0].place;
        assert_eq!(place("a star at the top left"), Some(Place::TopLeft));
        assert_eq!(place("a star in the centre"), Some(Place::Middle));
        assert_eq!(place("on the right there is a star"), Some(Place::Right));
        assert_eq!(place("a star"), None);
    }

    #[test]
    fn what_is_no_demand_is_refused() {
        let error = |text: &str| Demand::parse(text).unwrap_err().to_string();
        assert!(error("a red dog").contains("\"dog\""));
        assert!(error("").contains("does not end") && error("a red").contains("does not end"));
        assert!(error("a red circle left of").contains("does not end"));
        assert!(error("above a red circle").contains("above"));
    }
}
