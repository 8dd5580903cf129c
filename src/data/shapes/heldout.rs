//! Compositions that never occur in training.

use super::scene::{Color, Relation, Scene, Shape};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};

/// Which scenes a world has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Split {
    /// Those without any held-out composition.
    #[default]
    Train,
    /// Those with at least one.
    Heldout,
    /// All.
    All,
}

impl std::str::FromStr for Split {
    type Err = Error;

    fn from_str(name: &str) -> Result<Split> {
        match name {
            "train" => Ok(Split::Train),
            "heldout" => Ok(Split::Heldout),
            "all" => Ok(Split::All),
            _ => Err(Error::Input(format!("\"{name}\" is none of train, heldout, all"))),
        }
    }
}

/// Whether objects of this colour never have this shape in training: seven of the 48 pairs, one for each colour but black.
pub fn pair_is_heldout(color: Color, shape: Shape) -> bool {
    let color = color as usize;
    color < 7 && shape as usize == (5 * color + 2) % 6
}

/// Whether a shape never stands in this relation to another one in training. `right of` and `below` are read as seen from the other
/// object: of the 60 combinations of two different shapes, ten.
pub fn shapes_are_heldout(first: Shape, relation: Relation, second: Shape) -> bool {
    let (first, across, second) = forward(first, relation, second);
    let (a, b) = (first as usize, second as usize);
    // Every shape is once on either side, along one of the axes, and four once more.
    match across {
        true => b == (a + 2) % 6,
        false => a < 4 && b == (a + 1) % 6,
    }
}

/// The same for colours: of 112 combinations, twelve.
pub fn colors_are_heldout(first: Color, relation: Relation, second: Color) -> bool {
    let (first, across, second) = forward(first, relation, second);
    let (a, b) = (first as usize, second as usize);
    match across {
        true => b == (a + 3) % 8,
        false => a % 2 == 0 && b == (a + 5) % 8,
    }
}

/// Reads a relation from the object that is left or above; whether it is a horizontal one.
fn forward<T>(first: T, relation: Relation, second: T) -> (T, bool, T) {
    match relation {
        Relation::LeftOf => (first, true, second),
        Relation::RightOf => (second, true, first),
        Relation::Above => (first, false, second),
        Relation::Below => (second, false, first),
    }
}

/// Whether a story's subject never has these colours in training: an eighth of all patterns.
pub fn pattern_is_heldout(pattern: [Color; 4]) -> bool {
    let sum: usize = (1..).zip(pattern).map(|(n, color)| n * color as usize).sum();
    sum % 8 == 5
}

impl Scene {
    /// Whether it shows a composition that never occurs in training. A subject's pattern counts, its shape and colours do not.
    pub fn is_heldout(&self) -> bool {
        let pairs = || {
            let pairs = (0..self.objects.len()).flat_map(|a| (0..self.objects.len()).map(move |b| (a, b)));
            pairs.filter(|(a, b)| a != b && self.objects[*a].pattern.or(self.objects[*b].pattern).is_none())
        };
        let alone = self.objects.iter().any(|object| match object.pattern {
            Some(pattern) => pattern_is_heldout(pattern),
            None => pair_is_heldout(object.color, object.shape),
        });
        // Objects that lie across from each other stand in two relations.
        let related = |(a, b): (usize, usize)| {
            let (first, second) = (&self.objects[a], &self.objects[b]);
            Relation::ALL.iter().filter(|r| r.holds(self.position(a), self.position(b))).any(|&relation| {
                shapes_are_heldout(first.shape, relation, second.shape)
                    || colors_are_heldout(first.color, relation, second.color)
            })
        };
        alone || pairs().any(related)
    }
}

/// The lists, as `docs/shapes-heldout.md` publishes them.
pub fn heldout_page() -> String {
    let mut page = String::from(HEAD);
    page += "\n## Color and shape\n\n";
    for color in Color::ALL {
        for shape in Shape::ALL.iter().filter(|shape| pair_is_heldout(*color, **shape)) {
            page += &format!("- {} {}\n", color.word(), shape.word());
        }
    }
    page += "\n## Shapes in a relation\n\nEach also the other way round: `right of` for `left of`, `below` for `above`.\n\n";
    page += &relations(Shape::ALL, Shape::word, shapes_are_heldout);
    page += "\n## Colors in a relation\n\nEach also the other way round.\n\n";
    page += &relations(Color::ALL, Color::word, colors_are_heldout);
    page
}

fn relations<T: Copy>(all: &[T], word: fn(T) -> &'static str, heldout: fn(T, Relation, T) -> bool) -> String {
    let mut lines = String::new();
    for relation in [Relation::LeftOf, Relation::Above] {
        for first in all {
            for second in all.iter().filter(|second| heldout(*first, relation, **second)) {
                lines += &format!("- {} {} {}\n", word(*first), relation.word(), word(*second));
            }
        }
    }
    lines
}

const HEAD: &str = "# What the shapes world never shows in training

Scenes of the split `train` have none of these compositions; every scene of the split `heldout` has at least one. Each word by itself is seen in
training, in many other compositions. Written by `heldout_page()` of `src/data/shapes/heldout.rs`; a test compares.

Subjects of stories: a pattern of quarters c1 c2 c3 c4 (row by row; red = 0, green, blue, yellow, purple, orange, white, black = 7) is held out if
c1 + 2 c2 + 3 c3 + 4 c4 leaves 5 when divided by 8.

In pretraining (UNet, VAE and image encoder) objects with a pattern have every shape, so that quarters show each colour in each shape. The model in
`weights/` has one more exception: up to run 19 of 57 these patterns were any four colours, held-out ones among them (docs/training.md).
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_published_lists_are_these() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/shapes-heldout.md");
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(path, heldout_page()).unwrap();
        }
        assert_eq!(std::fs::read_to_string(path).unwrap(), heldout_page(), "UPDATE_GOLDEN=1 writes it anew");
    }

    #[test]
    fn every_value_is_seen_in_most_of_its_compositions() {
        let pairs: Vec<_> = Color::ALL.iter().flat_map(|c| Shape::ALL.iter().map(move |s| (*c, *s))).collect();
        let held = |f: &dyn Fn(&(Color, Shape)) -> bool| pairs.iter().filter(|p| f(p)).count();
        assert_eq!(held(&|p| pair_is_heldout(p.0, p.1)), 7);
        assert!(Shape::ALL.iter().all(|s| held(&|p| p.1 == *s && pair_is_heldout(p.0, p.1)) <= 2));
        let mut counts = (0, 0);
        for relation in Relation::ALL {
            let inverse = relation.inverse();
            for (a, b) in Shape::ALL.iter().flat_map(|a| Shape::ALL.iter().map(move |b| (*a, *b))) {
                assert_eq!(shapes_are_heldout(a, *relation, b), shapes_are_heldout(b, inverse, a));
                counts.0 += usize::from(shapes_are_heldout(a, *relation, b));
            }
            for (a, b) in Color::ALL.iter().flat_map(|a| Color::ALL.iter().map(move |b| (*a, *b))) {
                assert_eq!(colors_are_heldout(a, *relation, b), colors_are_heldout(b, inverse, a));
                counts.1 += usize::from(colors_are_heldout(a, *relation, b));
            }
        }
        // Each is counted from both objects.
        assert_eq!(counts, (20, 24));
    }
}
