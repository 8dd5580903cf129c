//! Questions over two and three pictures, each with an answer of one word.

use super::demand::ObjectDemand;
use super::dice::Dice;
use super::edit::Edit;
use super::question::{NUMBERS, Question, Topic, yes_or_no};
use super::scene::Scene;
use super::world::World;

/// Which picture, as a word.
pub(super) const ORDINALS: [&str; 3] = ["first", "second", "third"];

/// How often another question over the same pictures is about which of them, one of them, or all of them.
const FURTHER: [f32; 3] = [0.4, 0.3, 0.3];
/// So many other questions are tried at most for each that is wanted: few pictures have one of every kind.
const TRIES: usize = 4;
/// How often a "no" about a colour or shape in common is kept where the pictures were not drawn for it: by chance few have one.
const KEPT: f32 = 0.15;

impl World {
    /// Two or three scenes of this split, and a question that needs all of them.
    pub fn question_over(&self, count: usize, topic: Topic, dice: &mut Dice) -> (Vec<Scene>, Question) {
        loop {
            // Mostly single objects: what is asked is which picture, not which object of it.
            let objects = |dice: &mut Dice| if dice.chance(0.6) { 1 } else { 2 };
            let mut scenes: Vec<Scene> = (0..count).map(|_| self.draw_with(objects(dice), dice)).collect();
            let asked = match topic {
                Topic::Which => which(&scenes, dice),
                Topic::Recall => recall(&scenes, dice),
                Topic::Across => alike(self, &mut scenes, dice).and_then(|kind| across(&scenes, kind, dice)),
                Topic::Change => changed(self, &mut scenes, dice).map(|answer| change(count, answer, dice)),
                _ => Some(sum(&scenes, dice)),
            };
            if let Some((text, answer)) = asked {
                let topic = if Topic::SEVERAL.contains(&topic) { topic } else { Topic::Sum };
                return (scenes, Question { topic, text, answer });
            }
        }
    }

    /// The same with up to `most` questions: further ones are about which picture, about one of them, or, where the pictures were
    /// drawn to have something in common or not, about that.
    pub fn questions_over(
        &self,
        count: usize,
        topic: Topic,
        most: usize,
        dice: &mut Dice,
    ) -> (Vec<Scene>, Vec<Question>) {
        let (scenes, first) = self.question_over(count, topic, dice);
        let (mut questions, wanted) = (vec![first], 1 + dice.below(most.max(1)));
        for _ in 0..TRIES * wanted {
            let (other, asked) = match dice.weighted(&FURTHER) {
                0 => (Topic::Which, which(&scenes, dice)),
                1 => (Topic::Recall, recall(&scenes, dice)),
                _ if topic != Topic::Across => continue,
                _ => {
                    let kind = dice.pick(Common::ALL);
                    let keep = matches!(kind, Common::Ground | Common::Size) || dice.chance(KEPT);
                    let asked = across(&scenes, kind, dice);
                    (Topic::Across, asked.filter(|(_, answer)| keep || *answer != "no"))
                }
            };
            let Some((text, answer)) = asked else { continue };
            if questions.len() < wanted && questions.iter().all(|question| question.text != text) {
                questions.push(Question { topic: other, text, answer });
            }
        }
        (scenes, questions)
    }
}

type Asked = Option<(String, &'static str)>;

/// What is true of one picture only.
fn which(scenes: &[Scene], dice: &mut Dice) -> Asked {
    let n = dice.below(scenes.len());
    let object = dice.pick(&scenes[n].objects);
    let mut said = ObjectDemand { color: Some(object.color), shape: Some(object.shape), ..ObjectDemand::default() };
    match dice.below(4) {
        0 => said.shape = None,
        1 => said.color = None,
        2 => said.size = Some(object.size),
        _ => (),
    }
    let shows = |scene: &Scene| {
        let fits = |other: &&super::scene::Object| {
            said.color.is_none_or(|c| c == other.color)
                && said.shape.is_none_or(|s| s == other.shape)
                && said.size.is_none_or(|s| s == other.size)
        };
        scene.objects.iter().any(|other| fits(&other))
    };
    let only = scenes.iter().filter(|scene| shows(scene)).count() == 1;
    only.then(|| {
        let what = said.words("a");
        let text = match dice.chance(0.5) {
            true => format!("which picture shows {what}?"),
            false => format!("in which picture is there {what}?"),
        };
        (text, ORDINALS[n])
    })
}

/// A question about one of them, named by its number.
fn recall(scenes: &[Scene], dice: &mut Dice) -> Asked {
    let n = dice.below(scenes.len());
    let topics = [Topic::Color, Topic::Shape, Topic::Size, Topic::Count, Topic::Place];
    let question = Question::about(&scenes[n], dice.pick(&topics), dice)?;
    let text = question.text.trim_end_matches('?');
    Some((format!("{text} in the {} picture?", ORDINALS[n]), question.answer))
}

/// What pictures of single objects may have in common; of sizes it is asked which is larger.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Common {
    Color,
    Shape,
    Ground,
    Size,
}

impl Common {
    const ALL: &[Common] = &[Common::Color, Common::Shape, Common::Ground, Common::Size];
}

/// Makes the scenes such of single objects, half of the time with something in common: what.
fn alike(world: &World, scenes: &mut [Scene], dice: &mut Dice) -> Option<Common> {
    scenes.iter_mut().for_each(|scene| *scene = world.draw_with(1, dice));
    let kind = dice.pick(Common::ALL);
    if dice.chance(0.5) {
        let first = scenes[0].clone();
        for scene in scenes.iter_mut().skip(1) {
            match kind {
                Common::Color => scene.objects[0].color = first.objects[0].color,
                Common::Shape => scene.objects[0].shape = first.objects[0].shape,
                Common::Ground => scene.ground = first.ground,
                Common::Size => (),
            }
        }
    }
    scenes.iter().all(|scene| world.takes(scene)).then_some(kind)
}

/// What pictures of single objects have in common.
fn across(scenes: &[Scene], kind: Common, dice: &mut Dice) -> Asked {
    let all = if scenes.len() == 2 { "both" } else { "all" };
    let same = |f: &dyn Fn(&Scene) -> usize| yes_or_no(scenes.windows(2).all(|pair| f(&pair[0]) == f(&pair[1])));
    Some(match kind {
        Common::Color => {
            (format!("do {all} objects have the same color?"), same(&|scene| scene.objects[0].color as usize))
        }
        Common::Shape => {
            (format!("do {all} objects have the same shape?"), same(&|scene| scene.objects[0].shape as usize))
        }
        Common::Ground => {
            (format!("do {all} pictures have the same background?"), same(&|scene| scene.ground as usize))
        }
        Common::Size => larger(scenes, dice)?,
    })
}

fn larger(scenes: &[Scene], dice: &mut Dice) -> Asked {
    let size = |scene: &Scene| scene.objects[0].size;
    let (word, best) = match dice.chance(0.5) {
        true => ("larger", scenes.iter().map(size).max()?),
        false => ("smaller", scenes.iter().map(size).min()?),
    };
    let mut those = (0..scenes.len()).filter(|n| size(&scenes[*n]) == best);
    let n = those.next().filter(|_| those.next().is_none())?;
    Some((format!("in which picture is the object {word}?"), ORDINALS[n]))
}

fn sum(scenes: &[Scene], dice: &mut Dice) -> (String, &'static str) {
    let all = if scenes.len() == 2 { "both" } else { "all" };
    let total: usize = scenes.iter().map(|scene| scene.objects.len()).sum();
    let ask = dice.pick(&["are there", "do we see"]);
    (format!("how many objects {ask} in {all} pictures?"), NUMBERS[total.min(6)])
}

/// Makes the last scene the one before it with one thing changed: which.
fn changed(world: &World, scenes: &mut [Scene], dice: &mut Dice) -> Option<&'static str> {
    let last = scenes.len() - 1;
    scenes[last - 1] = world.draw(dice);
    let edit = Edit::draw(world, &scenes[last - 1], dice)?;
    let answer = edit.changes()?;
    scenes[last] = edit.apply(world, &scenes[last - 1], dice);
    world.takes(&scenes[last]).then_some(answer)
}

fn change(pictures: usize, answer: &'static str, dice: &mut Dice) -> (String, &'static str) {
    let text = match (pictures, dice.chance(0.5)) {
        (2, true) => "what is different in the second picture?",
        (2, false) => "what has changed?",
        _ => "what has changed in the third picture?",
    };
    (text.into(), answer)
}
