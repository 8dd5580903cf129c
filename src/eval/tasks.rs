//! What a model is asked, and how its answer is judged.

use super::report::Report;
use crate::Result;
use crate::data::shapes::{
    Caption, Demand, Dice, Scene, Topic, World, caption, recognise, shows_subject, subject_quarters,
};
use crate::data::shapes::{Question, Reading};
use crate::image::RgbImage;

/// What a model gets: text with `<image>` where its pictures go.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    /// The prompt or the question.
    pub text: String,
    /// Its pictures.
    pub images: Vec<RgbImage>,
}

/// A picture to be drawn.
#[derive(Debug, Clone, PartialEq)]
pub struct DrawTask {
    /// What the model gets.
    pub request: Request,
    /// The table that counts it.
    pub table: &'static str,
    /// Its row.
    pub row: &'static str,
    /// What has to be there.
    pub goal: Goal,
    /// A picture that is right.
    pub real: RgbImage,
}

/// What a drawn picture is judged by.
#[derive(Debug, Clone, PartialEq)]
pub enum Goal {
    /// What the text says.
    Demand(Demand),
    /// The subject (first object) of this scene, where it is there.
    Subject(Scene),
}

/// A question with an answer of one word.
#[derive(Debug, Clone, PartialEq)]
pub struct AnswerTask {
    /// What the model gets.
    pub request: Request,
    /// What it is about.
    pub topic: Topic,
    /// The right word.
    pub answer: &'static str,
}

/// The stream of a kind of task; training records have others.
fn dice(world: &World, kind: u32, index: u64) -> Dice {
    Dice::new(world.seed, 1024 + kind, index)
}

/// Text and pictures in turn, as documents have them.
fn interleaved(texts: &[String], scenes: &[Scene]) -> Request {
    let text = texts.join("<image>");
    Request { text, images: scenes.iter().take(texts.len().saturating_sub(1)).map(Scene::render).collect() }
}

impl DrawTask {
    /// A picture from a prompt about `objects` objects.
    pub fn prompt(world: &World, objects: usize, index: u64) -> DrawTask {
        let mut dice = dice(world, objects as u32, index);
        let scene = world.draw_with(objects, &mut dice);
        let Caption { text, demand } = caption(&scene, &mut dice);
        DrawTask {
            request: Request { text, images: vec![] },
            table: "pictures from prompts",
            row: ["one object", "two objects", "three objects"][objects.clamp(1, 3) - 1],
            goal: Goal::Demand(demand),
            real: scene.render(),
        }
    }

    /// One step of editing: the picture with its caption, and the instruction. All the rest has to stay.
    pub fn edit(world: &World, index: u64) -> DrawTask {
        let mut dice = dice(world, 4, index);
        let (scenes, said) = world.edits(1, &mut dice);
        let texts = [vec![caption(&scenes[0], &mut dice).text], said].concat();
        let row = if scenes[1].objects.len() == 1 { "one object after it" } else { "two objects after it" };
        let goal = Goal::Demand(Demand::of(&scenes[1]));
        DrawTask {
            request: interleaved(&texts, &scenes),
            table: "edits in context",
            row,
            goal,
            real: scenes[1].render(),
        }
    }

    /// The next picture of a story.
    pub fn subject(world: &World, index: u64) -> DrawTask {
        let story = world.story(2, &mut dice(world, 5, index));
        DrawTask {
            request: interleaved(&story.texts, &story.scenes),
            table: "subjects",
            row: "identity",
            goal: Goal::Subject(story.scenes[1].clone()),
            real: story.scenes[1].render(),
        }
    }

    /// The objects of two pictures in one.
    pub fn composition(world: &World, index: u64) -> DrawTask {
        let composition = world.composition(&mut dice(world, 6, index));
        let mut demand = Demand { ground: None, ..Demand::of(&composition.scenes[2]) };
        demand.objects.iter_mut().for_each(|object| object.place = None);
        DrawTask {
            request: interleaved(&composition.texts, &composition.scenes),
            table: "compositions",
            row: "two pictures in one",
            goal: Goal::Demand(demand),
            real: composition.scenes[2].render(),
        }
    }

    /// Judges a picture and counts it; whether all of it is right.
    pub fn count(&self, picture: &RgbImage, report: &mut Report) -> Result<bool> {
        let reading = recognise(picture)?;
        let right = match &self.goal {
            Goal::Demand(demand) => {
                let judgement = demand.judge(&reading);
                report.add(self.table, self.row, judgement.all);
                if self.table == "pictures from prompts" {
                    let table = format!("attributes, {}", self.row);
                    judgement.tallies().into_iter().for_each(|(name, tally)| report.tally(&table, name, tally));
                }
                judgement.all
            }
            Goal::Subject(scene) => count_subject(scene, &reading, report),
        };
        Ok(right)
    }
}

fn count_subject(scene: &Scene, reading: &Reading, report: &mut Report) -> bool {
    let identity = shows_subject(scene, reading);
    report.add("subjects", "identity", identity);
    report.tally("subjects", "quarters of the pattern", subject_quarters(scene, reading));
    // Pattern aside, the text says where it is and what is beside it.
    let mut demand = Demand::of(scene);
    (demand.objects[0].color, demand.objects[0].size) = (None, None);
    demand.objects.iter_mut().skip(1).for_each(|other| (other.size, other.place) = (None, None));
    demand.ground = None;
    if scene.objects.len() > 1 {
        demand.objects[0].place = None;
    }
    let all = identity && demand.judge(reading).all;
    report.add("subjects", "identity and scene", all);
    all
}

impl AnswerTask {
    /// A question about one picture; topics take turns.
    pub fn single(world: &World, index: u64) -> AnswerTask {
        let mut dice = dice(world, 7, index);
        let topic = Topic::SINGLE[index as usize % Topic::SINGLE.len()];
        for _ in 0..100 {
            let scene = world.draw(&mut dice);
            if let Some(question) = Question::about(&scene, topic, &mut dice) {
                return AnswerTask::new(question, &[scene]);
            }
        }
        // A world without textures has nothing to ask about them.
        let scene = world.draw(&mut dice);
        AnswerTask::new(Question::any(&scene, &mut dice), &[scene])
    }

    /// A question over several pictures; topics take turns.
    pub fn several(world: &World, pictures: usize, index: u64) -> AnswerTask {
        let topics = Topic::SEVERAL;
        let topic = topics[index as usize % topics.len()];
        let (scenes, question) = world.question_over(pictures, topic, &mut dice(world, 7 + pictures as u32, index));
        AnswerTask::new(question, &scenes)
    }

    fn new(question: Question, scenes: &[Scene]) -> AnswerTask {
        let text = "<image>".repeat(scenes.len()) + &question.text;
        let images = scenes.iter().map(Scene::render).collect();
        AnswerTask { request: Request { text, images }, topic: question.topic, answer: question.answer }
    }

    /// The table that counts it.
    pub fn table(&self) -> &'static str {
        match self.request.images.len() {
            1 => "questions about one picture",
            2 => "questions over two pictures",
            _ => "questions over three pictures",
        }
    }

    /// Counts an answer: its first word has to be the right one.
    pub fn count(&self, answer: &str, report: &mut Report) -> bool {
        let first = answer.split_whitespace().next().unwrap_or_default();
        let right = first.trim_matches(|c: char| !c.is_alphanumeric()).eq_ignore_ascii_case(self.answer);
        let table = self.table();
        report.add(table, self.topic.name(), right);
        report.add(table, "all", right);
        right
    }
}
