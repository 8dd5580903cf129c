//! A subject with a random pattern that has no name: what it looks like can only come from a picture.

use super::demand::{Demand, ObjectDemand, at};
use super::dice::Dice;
use super::heldout::{Split, pattern_is_heldout};
use super::scene::{Color, Ground, Object, Place, Relation, Scene, Shape, Size, Texture};
use super::slots::{Slots, slots};
use super::world::{World, jitter, radius};

/// What subjects are called. A name says nothing about the looks.
pub(super) const NAMES: [&str; 4] = ["bo", "kim", "max", "zoe"];

/// Outlines on which four quarters show.
const OUTLINES: [Shape; 3] = [Shape::Circle, Shape::Square, Shape::Diamond];

/// A story: pictures of one subject, and a sentence for each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Story {
    /// What the subject is called.
    pub name: &'static str,
    /// The pictures; the subject is their first object.
    pub scenes: Vec<Scene>,
    /// What each shows.
    pub texts: Vec<String>,
    /// What the texts, and the subject's first picture, say of each; none of the first, which nothing is known of.
    pub told: Vec<Option<Demand>>,
}

impl Story {
    /// What is known of each picture: what is told of it, and the subject's pattern once that was seen.
    pub fn slots(&self) -> Vec<Slots> {
        let pattern = [self.scenes[0].objects[0].pattern];
        self.told.iter().map(|demand| slots(demand.as_ref(), &pattern)).collect()
    }
}

impl Object {
    /// Whether it could be the subject of a story: large, with a pattern, and of an outline on which four quarters show.
    pub fn is_subject(&self) -> bool {
        self.pattern.is_some() && self.size == Size::Large && OUTLINES.contains(&self.shape)
    }
}

impl World {
    /// A story of this split: in the held-out one the subject's pattern never occurs in training.
    pub fn story(&self, pictures: usize, dice: &mut Dice) -> Story {
        let name = dice.pick(&NAMES);
        let subject = self.subject(dice);
        let mut scenes = vec![self.showing(&subject, dice)];
        let mut texts = vec![match dice.chance(0.5) {
            true => format!("this is {name}"),
            false => format!("here is {name}"),
        }];
        let mut told = vec![None];
        // Its colours are its pattern, which no word says.
        let known = ObjectDemand { color: None, ..ObjectDemand::of(&subject) };
        while scenes.len() < pictures {
            let mut scene = self.showing(&subject, dice);
            let mut demand = Demand { objects: vec![known], ..Demand::default() };
            let text = match dice.below(3) {
                0 => {
                    scene.ground = dice.pick(Ground::ALL);
                    let place = scene.place(0);
                    demand.objects[0].place = Some(place);
                    demand.ground = Some(scene.ground);
                    format!("{name} {} on a {} background", at(place), scene.ground.word())
                }
                1 => {
                    demand.objects[0].place = Some(scene.place(0));
                    format!("now {name} is {}", at(scene.place(0)))
                }
                _ => {
                    let relation = dice.pick(Relation::ALL);
                    scene.objects[0].center = self.beside(relation, dice);
                    let other = self.companion(&scene, relation.inverse(), dice);
                    scene.objects.push(other);
                    let (shape, color) = (Some(other.shape), Some(other.color));
                    let said = ObjectDemand { shape, color, ..ObjectDemand::default() };
                    demand.objects.push(said);
                    demand.relations.push((0, relation, 1));
                    format!("{name} {} {}", relation.word(), said.words("a"))
                }
            };
            scenes.push(scene);
            texts.push(text);
            told.push(Some(demand));
        }
        Story { name, scenes, texts, told }
    }

    /// The colours of a subject's quarters, of this split: at least two.
    pub fn pattern(&self, dice: &mut Dice) -> [Color; 4] {
        let heldout = self.split == Split::Heldout;
        loop {
            let pattern = [Color::Red; 4].map(|_| dice.pick(Color::ALL));
            let split = self.split == Split::All || pattern_is_heldout(pattern) == heldout;
            if split && pattern.iter().any(|color| *color != pattern[0]) {
                return pattern;
            }
        }
    }

    /// A large object with a pattern.
    fn subject(&self, dice: &mut Dice) -> Object {
        let pattern = self.pattern(dice);
        Object {
            shape: dice.pick(&OUTLINES),
            color: pattern[0],
            size: Size::Large,
            texture: Texture::Plain,
            pattern: Some(pattern),
            center: [0; 2],
            radius: radius(self.side, Size::Large, dice),
            jitter: jitter(dice),
        }
    }

    /// The subject somewhere.
    fn showing(&self, subject: &Object, dice: &mut Dice) -> Scene {
        let place = dice.pick(Place::ALL);
        let object = Object { center: self.center_of(place, dice), ..*subject };
        Scene { side: self.side, ground: dice.pick(Ground::ALL), jitter: jitter(dice), objects: vec![object] }
    }

    /// A small named object beside the subject, of another outline.
    fn companion(&self, scene: &Scene, relation: Relation, dice: &mut Dice) -> Object {
        loop {
            let mut other = self.object(self.beside(relation, dice), dice);
            self.resize(&mut other, Size::Small, dice);
            let alone = Scene { objects: vec![other], ..scene.clone() };
            let known = self.split != Split::Train || !alone.is_heldout();
            if known && other.shape != scene.objects[0].shape {
                return other;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_subject_stays_itself_and_texts_say_where_it_is() {
        for split in [Split::Train, Split::Heldout] {
            let world = World { split, ..World::default() };
            for index in 0..300 {
                let story = world.story(3, &mut Dice::new(2, 6, index));
                assert_eq!((story.scenes.len(), story.texts.len()), (3, 3));
                let look = |scene: &Scene| (scene.objects[0].pattern, scene.objects[0].shape);
                assert!(story.scenes.iter().all(|scene| look(scene) == look(&story.scenes[0])));
                assert!(story.scenes.iter().all(|scene| scene.is_heldout() == (split == Split::Heldout)));
                for (scene, text) in story.scenes.iter().zip(&story.texts).skip(1) {
                    let there = match scene.objects.len() {
                        1 => text.contains(&at(scene.place(0))),
                        _ => scene.relation(0, 1).is_some_and(|relation| text.contains(relation.word())),
                    };
                    assert!(there && text.contains(story.name), "{text}");
                }
            }
        }
    }
}
