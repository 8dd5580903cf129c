//! What the world says and shows as training records, by index.

use super::caption::caption;
use super::dice::Dice;
use super::question::{Question, Topic};
use super::scene::Scene;
use super::world::{Stream, World};
use crate::data::parse::Kind;
use crate::data::record::{Document, Record, Turn};
use crate::image::RgbImage;
use serde::{Deserialize, Serialize};

/// What a record is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Theme {
    /// A picture and its caption (a pair).
    Captions,
    /// One to three questions about a picture (a conversation).
    Questions,
    /// A question over two or three pictures (a conversation).
    Comparisons,
    /// A picture to be drawn on request, often changed in a second turn, or one to be described (a conversation).
    Instructions,
    /// One to three steps of editing (a document).
    Edits,
    /// A subject in two or three pictures (a document).
    Stories,
    /// Two pictures and their composition (a document).
    Compositions,
    /// Steps of editing that an instruction asks for (a document).
    Lessons,
}

impl Theme {
    /// All themes.
    pub const ALL: &[Theme] = &[
        Theme::Captions,
        Theme::Questions,
        Theme::Comparisons,
        Theme::Instructions,
        Theme::Edits,
        Theme::Stories,
        Theme::Compositions,
        Theme::Lessons,
    ];

    /// Its name in options and files.
    pub fn name(self) -> &'static str {
        match self {
            Theme::Captions => "captions",
            Theme::Questions => "questions",
            Theme::Comparisons => "comparisons",
            Theme::Instructions => "instructions",
            Theme::Edits => "edits",
            Theme::Stories => "stories",
            Theme::Compositions => "compositions",
            Theme::Lessons => "lessons",
        }
    }

    /// In which training format its records are.
    pub fn kind(self) -> Kind {
        match self {
            Theme::Captions => Kind::Pairs,
            Theme::Questions | Theme::Comparisons | Theme::Instructions => Kind::Conversations,
            Theme::Edits | Theme::Stories | Theme::Compositions | Theme::Lessons => Kind::Documents,
        }
    }

    /// The theme of a name.
    pub fn from_name(name: &str) -> Option<Theme> {
        Theme::ALL.iter().copied().find(|theme| theme.name() == name)
    }
}

impl World {
    /// The `index`-th record of a theme; pictures are drawn. Themes have their own scenes.
    pub fn record(&self, theme: Theme, index: u64) -> Record<RgbImage> {
        let stream = Stream::Records as u32 * 256 + theme as u32;
        let mut dice = Dice::new(self.seed, stream, index);
        let dice = &mut dice;
        match theme {
            Theme::Captions => {
                let scene = self.draw(dice);
                Record::Pair { picture: scene.render(), text: caption(&scene, dice).text }
            }
            Theme::Questions => self.questions(dice),
            Theme::Comparisons => {
                let (count, topic) = (2 + usize::from(dice.chance(0.3)), dice.pick(Topic::SEVERAL));
                let (scenes, question) = self.question_over(count, topic, dice);
                let asked = Turn { text: "<image>".repeat(count) + &question.text, pictures: draw(&scenes) };
                Record::Conversation(vec![asked, said(question.answer)])
            }
            Theme::Instructions => self.instruction(dice),
            Theme::Edits => {
                let (mut texts, scenes) = self.steps(1 + dice.weighted(&[0.6, 0.3, 0.1]), dice);
                let given = dice.chance(0.5);
                if given && dice.chance(0.5) {
                    texts[0].clear(); // a picture needs no words
                }
                document(None, texts, &scenes, usize::from(given))
            }
            Theme::Stories => {
                let story = self.story(2 + usize::from(dice.chance(0.4)), dice);
                document(None, story.texts, &story.scenes, usize::from(dice.chance(0.5)))
            }
            Theme::Compositions => {
                let composition = self.composition(dice);
                document(None, composition.texts.to_vec(), &composition.scenes, 2 * usize::from(dice.chance(0.5)))
            }
            Theme::Lessons => {
                let (texts, scenes) = self.steps(1 + dice.weighted(&[0.7, 0.3]), dice);
                let subject = phrase(&scenes[0], dice);
                document(Some(format!("show {subject} and make it different")), texts, &scenes, 0)
            }
        }
    }

    /// A caption and what is changed step by step, with the scenes.
    fn steps(&self, count: usize, dice: &mut Dice) -> (Vec<String>, Vec<Scene>) {
        let (scenes, mut texts) = self.edits(count, dice);
        texts.insert(0, caption(&scenes[0], dice).text);
        (texts, scenes)
    }

    fn questions(&self, dice: &mut Dice) -> Record<RgbImage> {
        let scene = self.draw(dice);
        let mut turns = Vec::new();
        let mut asked: Vec<Topic> = Vec::new();
        let wanted = 1 + dice.below(3);
        while asked.len() < wanted {
            let question = Question::any(&scene, dice);
            if asked.contains(&question.topic) {
                continue;
            }
            asked.push(question.topic);
            let first = turns.is_empty();
            let text = if first { format!("<image>{}", question.text) } else { question.text };
            let pictures = if first { vec![scene.render()] } else { vec![] };
            turns.extend([Turn { text, pictures }, said(question.answer)]);
        }
        Record::Conversation(turns)
    }

    fn instruction(&self, dice: &mut Dice) -> Record<RgbImage> {
        if dice.chance(0.3) {
            let scene = self.draw(dice);
            let ask = dice.pick(&["what does this picture show?", "what do we see?"]);
            let asked = Turn { text: format!("<image>{ask}"), pictures: vec![scene.render()] };
            return Record::Conversation(vec![asked, said(&caption(&scene, dice).text)]);
        }
        let (scenes, edits) = self.edits(usize::from(dice.chance(0.6)), dice);
        let draw = dice.pick(&["draw", "show", "paint"]);
        let caption = phrase(&scenes[0], dice);
        let asked = std::iter::once(format!("{draw} {caption}")).chain(edits);
        let turn = |(text, scene): (String, &Scene)| {
            let shown = Turn { text: "<dream>".into(), pictures: vec![scene.render()] };
            [Turn { text, pictures: vec![] }, shown]
        };
        Record::Conversation(asked.zip(&scenes).flat_map(turn).collect())
    }
}

fn draw(scenes: &[Scene]) -> Vec<RgbImage> {
    scenes.iter().map(Scene::render).collect()
}

fn said(answer: &str) -> Turn<RgbImage> {
    Turn { text: answer.into(), pictures: vec![] }
}

/// A caption that is no sentence: "draw there is a circle" would be none.
fn phrase(scene: &Scene, dice: &mut Dice) -> String {
    loop {
        let text = caption(scene, dice).text;
        if text.starts_with('a') {
            return text;
        }
    }
}

/// Each text, then its picture; the first ones may be given, not drawn.
fn document(instruction: Option<String>, texts: Vec<String>, scenes: &[Scene], given: usize) -> Record<RgbImage> {
    let pictures = scenes.iter().map(Scene::render).enumerate().collect();
    Record::Document(Document { instruction, texts, pictures, given })
}
