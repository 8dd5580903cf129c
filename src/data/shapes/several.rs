//! Questions over two and three pictures, each with an answer of one word.

use super::demand::ObjectDemand;
use super::dice::Dice;
use super::edit::Edit;
use super::question::{NUMBERS, Question, Topic, yes_or_no};
use super::scene::Scene;
use super::world::World;

/// Which picture, as a word.
const ORDINALS: [&str; 3] = ["first", "second", "third"];

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
                Topic::Across => across(self, &mut scenes, dice),
                Topic::Change => change(self, &mut scenes, dice),
                _ => Some(sum(&scenes, dice)),
            };
            if let Some((text, answer)) = asked {
                let topic = if Topic::SEVERAL.contains(&topic) { topic } else { Topic::Sum };
                return (scenes, Question { topic, text, answer });
            }
        }
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

/// What pictures of single objects have in common.
fn across(world: &World, scenes: &mut [Scene], dice: &mut Dice) -> Asked {
    scenes.iter_mut().for_each(|scene| *scene = world.draw_with(1, dice));
    let kind = dice.below(4);
    // Half of the time they are to have it in common.
    if dice.chance(0.5) {
        let first = scenes[0].clone();
        for scene in scenes.iter_mut().skip(1) {
            match kind {
                0 => scene.objects[0].color = first.objects[0].color,
                1 => scene.objects[0].shape = first.objects[0].shape,
                2 => scene.ground = first.ground,
                _ => (),
            }
        }
    }
    if !scenes.iter().all(|scene| world.takes(scene)) {
        return None;
    }
    let all = if scenes.len() == 2 { "both" } else { "all" };
    let same = |f: &dyn Fn(&Scene) -> usize| yes_or_no(scenes.windows(2).all(|pair| f(&pair[0]) == f(&pair[1])));
    Some(match kind {
        0 => (format!("do {all} objects have the same color?"), same(&|scene| scene.objects[0].color as usize)),
        1 => (format!("do {all} objects have the same shape?"), same(&|scene| scene.objects[0].shape as usize)),
        2 => (format!("do {all} pictures have the same background?"), same(&|scene| scene.ground as usize)),
        _ => larger(scenes, dice)?,
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

/// The last picture is the one before it with one thing changed.
fn change(world: &World, scenes: &mut [Scene], dice: &mut Dice) -> Asked {
    let last = scenes.len() - 1;
    scenes[last - 1] = world.draw(dice);
    let edit = Edit::draw(world, &scenes[last - 1], dice)?;
    let answer = edit.changes()?;
    scenes[last] = edit.apply(world, &scenes[last - 1], dice);
    if !world.takes(&scenes[last]) {
        return None;
    }
    let text = match (last, dice.chance(0.5)) {
        (1, true) => "what is different in the second picture?".into(),
        (1, false) => "what has changed?".to_string(),
        _ => "what has changed in the third picture?".into(),
    };
    Some((text, answer))
}
