//! Questions about one picture, each with an answer of one word.

use super::caption::relation_words;
use super::demand::ObjectDemand;
use super::dice::Dice;
use super::scene::{Color, Ground, Object, Place, Scene, Shape, Size, Texture};
use serde::{Deserialize, Serialize};

/// What a question is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Topic {
    /// What colour something has.
    Color,
    /// Which shape something has.
    Shape,
    /// How many there are.
    Count,
    /// How big something is.
    Size,
    /// Where something is.
    Place,
    /// Whether something is there.
    Exists,
    /// Whether two objects have something in common, or which is larger.
    Compare,
    /// How two objects stand to each other.
    Relation,
    /// How the background is.
    Ground,
    /// What is on something.
    Texture,
    /// In which of several pictures something is.
    Which,
    /// What one of several pictures shows.
    Recall,
    /// Whether several pictures have something in common, or in which something is larger.
    Across,
    /// How many there are in several pictures together.
    Sum,
    /// What differs between two pictures.
    Change,
}

impl Topic {
    /// Those about one picture.
    pub const SINGLE: &[Topic] = &[
        Topic::Color,
        Topic::Shape,
        Topic::Count,
        Topic::Size,
        Topic::Place,
        Topic::Exists,
        Topic::Compare,
        Topic::Relation,
        Topic::Ground,
        Topic::Texture,
    ];

    /// Those over several pictures.
    pub const SEVERAL: &[Topic] = &[Topic::Which, Topic::Recall, Topic::Across, Topic::Sum, Topic::Change];

    /// Its name in tables.
    pub fn name(self) -> &'static str {
        match self {
            Topic::Color => "color",
            Topic::Shape => "shape",
            Topic::Count => "count",
            Topic::Size => "size",
            Topic::Place => "place",
            Topic::Exists => "exists",
            Topic::Compare => "compare",
            Topic::Relation => "relation",
            Topic::Ground => "background",
            Topic::Texture => "texture",
            Topic::Which => "which picture",
            Topic::Recall => "one of several",
            Topic::Across => "across pictures",
            Topic::Sum => "sum",
            Topic::Change => "change",
        }
    }
}

/// A question and its answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// What it is about.
    pub topic: Topic,
    /// The question, without its pictures.
    pub text: String,
    /// One word.
    pub answer: &'static str,
}

/// Numbers as words.
pub(super) const NUMBERS: [&str; 7] = ["zero", "one", "two", "three", "four", "five", "six"];

pub(super) fn yes_or_no(yes: bool) -> &'static str {
    if yes { "yes" } else { "no" }
}

impl Question {
    /// A question about a scene without subjects; none where the topic has nothing to ask.
    pub fn about(scene: &Scene, topic: Topic, dice: &mut Dice) -> Option<Question> {
        let n = dice.below(scene.objects.len());
        let (text, answer) = match topic {
            Topic::Color => color(scene, n, dice),
            Topic::Shape => shape(scene, n, dice),
            Topic::Count => count(scene, n, dice),
            Topic::Size => size(scene, n, dice),
            Topic::Place => place(scene, n, dice),
            Topic::Exists => exists(scene, n, dice),
            Topic::Compare => compare(scene, n, dice)?,
            Topic::Relation => relation(scene, n, dice)?,
            Topic::Ground => ground(scene, dice),
            Topic::Texture => texture(scene, n, dice)?,
            _ => return None,
        };
        Some(Question { topic, text, answer })
    }

    /// A question about a scene, of any topic that has one.
    pub fn any(scene: &Scene, dice: &mut Dice) -> Question {
        loop {
            let topic = dice.pick(Topic::SINGLE);
            if let Some(question) = Question::about(scene, topic, dice) {
                return question;
            }
        }
    }
}

/// What is asked for, which the question must not give away.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Asked {
    Color,
    Shape,
    Size,
    Other,
}

/// Object `n` as "the red circle", in words that fit no other object and leave out what is asked.
pub(super) fn named(scene: &Scene, n: usize, asked: Asked, dice: &mut Dice) -> String {
    let object = &scene.objects[n];
    let mut said = ObjectDemand::default();
    let color = asked != Asked::Color && dice.chance(0.6);
    let shape = asked != Asked::Shape && dice.chance(0.6);
    let size = asked != Asked::Size && dice.chance(0.25);
    said.color = color.then_some(object.color);
    said.shape = shape.then_some(object.shape);
    said.size = size.then_some(object.size);
    let alike = |other: &Object| said.size.is_none_or(|size| other.size == size);
    let alone = scene.objects.len() == 1 || scene.objects.iter().filter(|other| alike(other)).count() == 1;
    if said.color.is_none() && said.shape.is_none() && !alone {
        // One of the two always tells objects apart.
        match asked {
            Asked::Color => said.shape = Some(object.shape),
            _ => said.color = Some(object.color),
        }
    }
    said.words("the")
}

fn color(scene: &Scene, n: usize, dice: &mut Dice) -> (String, &'static str) {
    let name = named(scene, n, Asked::Color, dice);
    let text = match dice.chance(0.5) {
        true => format!("what color is {name}?"),
        false => format!("which color does {name} have?"),
    };
    (text, scene.objects[n].color.word())
}

fn shape(scene: &Scene, n: usize, dice: &mut Dice) -> (String, &'static str) {
    let name = named(scene, n, Asked::Shape, dice);
    let text = match dice.chance(0.5) {
        true => format!("what shape is {name}?"),
        false => format!("which shape does {name} have?"),
    };
    (text, scene.objects[n].shape.word())
}

fn count(scene: &Scene, n: usize, dice: &mut Dice) -> (String, &'static str) {
    let all = scene.objects.len();
    let (what, number) = match dice.weighted(&[0.6, 0.2, 0.2]) {
        0 => ("objects".to_string(), all),
        1 => {
            let size = scene.objects[n].size;
            let like = scene.objects.iter().filter(|object| object.size == size).count();
            (format!("{} objects", size.word()), like)
        }
        _ => {
            let color = if dice.chance(0.5) { scene.objects[n].color } else { dice.pick(Color::ALL) };
            let like = scene.objects.iter().filter(|object| object.color == color).count();
            (format!("{} objects", color.word()), like)
        }
    };
    let text = match dice.chance(0.5) {
        true => format!("how many {what} are there?"),
        false => format!("how many {what} do we see?"),
    };
    (text, NUMBERS[number])
}

fn size(scene: &Scene, n: usize, dice: &mut Dice) -> (String, &'static str) {
    let name = named(scene, n, Asked::Size, dice);
    let text = match dice.chance(0.5) {
        true => format!("how big is {name}?"),
        false => format!("what size is {name}?"),
    };
    (text, scene.objects[n].size.word())
}

fn place(scene: &Scene, n: usize, dice: &mut Dice) -> (String, &'static str) {
    let place: Place = scene.place(n);
    (format!("where is {}?", named(scene, n, Asked::Other, dice)), place.word())
}

/// Half of the answers are no: with another colour or shape, and of two objects as often with their colours exchanged.
fn exists(scene: &Scene, n: usize, dice: &mut Dice) -> (String, &'static str) {
    let object = &scene.objects[n];
    let mut wanted = ObjectDemand { shape: Some(object.shape), color: Some(object.color), ..ObjectDemand::default() };
    match dice.weighted(&[0.5, 0.2, 0.15, 0.15]) {
        0 => (),
        1 if scene.objects.len() > 1 => wanted.color = Some(scene.objects[(n + 1) % scene.objects.len()].color),
        2 => wanted.shape = Some(dice.pick(Shape::ALL)),
        _ => wanted.color = Some(dice.pick(Color::ALL)),
    }
    if dice.chance(0.2) {
        if dice.chance(0.5) { wanted.shape = None } else { wanted.color = None }
    }
    let fits = |object: &Object| {
        wanted.shape.is_none_or(|shape| shape == object.shape) && wanted.color.is_none_or(|color| color == object.color)
    };
    let yes = scene.objects.iter().any(fits);
    let what = wanted.words("a");
    let text = match dice.chance(0.5) {
        true => format!("is there {what}?"),
        false => format!("do we see {what}?"),
    };
    (text, yes_or_no(yes))
}

fn compare(scene: &Scene, n: usize, dice: &mut Dice) -> Option<(String, &'static str)> {
    let m = another(scene, n, dice)?;
    let (a, b) = (&scene.objects[n], &scene.objects[m]);
    let [first, second] = [n, m].map(|n| named(scene, n, Asked::Size, dice));
    let same = format!("do {first} and {second} have the same size?");
    // Half of all answers are yes; which of two equal objects is larger is not asked.
    match (a.size == b.size, dice.chance(0.5), dice.chance(0.5)) {
        (true, true, _) => None,
        (true, false, _) => Some((same, "yes")),
        (false, true, _) => Some((same, "no")),
        (false, false, true) => Some((format!("is {first} larger than {second}?"), yes_or_no(a.size > b.size))),
        (false, false, false) => Some((format!("is {first} smaller than {second}?"), yes_or_no(a.size < b.size))),
    }
}

fn relation(scene: &Scene, n: usize, dice: &mut Dice) -> Option<(String, &'static str)> {
    let m = another(scene, n, dice)?;
    let holds = scene.relation(n, m)?;
    let a = &scene.objects[n];
    let words = relation_words(holds, dice);
    Some(match dice.below(3) {
        0 => {
            // A wrong one is the opposite, so that the answer needs both objects.
            let yes = dice.chance(0.5);
            let words = if yes { words } else { relation_words(holds.inverse(), dice) };
            let [first, second] = [n, m].map(|n| named(scene, n, Asked::Other, dice));
            (format!("is {first} {words} {second}?"), yes_or_no(yes))
        }
        1 => (format!("what color is the object {words} {}?", named(scene, m, Asked::Other, dice)), a.color.word()),
        _ => (format!("what shape is {words} {}?", named(scene, m, Asked::Other, dice)), a.shape.word()),
    })
}

/// Another object; with three, one that is related in one way only, so that "what is above it" has one answer.
fn another(scene: &Scene, n: usize, dice: &mut Dice) -> Option<usize> {
    let others: Vec<usize> = (0..scene.objects.len()).filter(|m| *m != n).collect();
    let fits = |m: &usize| {
        let relation = scene.relation(n, *m);
        let same = |k: &usize| *k == n || scene.relation(*k, *m) != relation;
        (0..scene.objects.len()).filter(|k| k != m).all(|k| same(&k))
    };
    let fitting: Vec<usize> = others.into_iter().filter(fits).collect();
    if fitting.is_empty() { None } else { Some(dice.pick(&fitting)) }
}

fn ground(scene: &Scene, dice: &mut Dice) -> (String, &'static str) {
    let ground: Ground = scene.ground;
    match dice.below(3) {
        0 => ("is the background light or dark?".into(), ground.word()),
        1 => ("how is the background?".into(), ground.word()),
        _ => {
            let asked = dice.pick(Ground::ALL);
            (format!("is the background {}?", asked.word()), yes_or_no(asked == ground))
        }
    }
}

/// Only where a texture can be told: in a world without textures every object is plain, which nobody asks.
fn texture(scene: &Scene, n: usize, dice: &mut Dice) -> Option<(String, &'static str)> {
    scene.objects.iter().find(|object| object.texture != Texture::Plain)?;
    let object = scene.objects.get(n).filter(|object| object.size == Size::Large || scene.side >= 64)?;
    let name = named(scene, n, Asked::Other, dice);
    Some(match dice.chance(0.5) {
        true => (format!("is {name} plain, striped or dotted?"), object.texture.word()),
        false => {
            let asked = dice.pick(Texture::ALL);
            (format!("is {name} {}?", asked.word()), yes_or_no(asked == object.texture))
        }
    })
}

#[cfg(test)]
mod tests;
