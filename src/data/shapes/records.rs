//! What the world says and shows as training records, by index.

use super::caption::{Caption, caption};
use super::demand::Demand;
use super::dice::Dice;
use super::question::{Question, Topic};
use super::scene::Scene;
use super::several::ORDINALS;
use super::slots::{Slots, scene_slots, slots};
use super::world::{Stream, World};
use crate::data::parse::Kind;
use crate::data::record::{Document, Record, Turn};
use crate::image::RgbImage;
use serde::{Deserialize, Serialize};

/// Most questions about a picture, which is then drawn and read once for all of their answers.
const QUESTIONS: usize = 6;
/// How often each of [`Topic::SINGLE`] is asked: what needs two things looked up at once is learned last.
const SINGLE: [f32; 10] = [1.0, 1.0, 0.7, 1.0, 1.0, 3.0, 1.3, 1.3, 0.4, 1.0];
/// How often pictures are drawn for each of [`Topic::SEVERAL`].
const SEVERAL: [f32; 5] = [0.2, 0.1, 0.25, 0.05, 0.4];

/// What a record is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Theme {
    /// A picture and its caption (a pair).
    Captions,
    /// One to six questions about a picture (a conversation).
    Questions,
    /// One to six questions over two or three pictures (a conversation).
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
    /// Questions as those about one or several pictures, which are described in words and not shown (a conversation).
    Descriptions,
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
        Theme::Descriptions,
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
            Theme::Descriptions => "descriptions",
        }
    }

    /// In which training format its records are.
    pub fn kind(self) -> Kind {
        match self {
            Theme::Captions => Kind::Pairs,
            Theme::Questions | Theme::Comparisons | Theme::Instructions | Theme::Descriptions => Kind::Conversations,
            Theme::Edits | Theme::Stories | Theme::Compositions | Theme::Lessons => Kind::Documents,
        }
    }

    /// The theme of a name.
    pub fn from_name(name: &str) -> Option<Theme> {
        Theme::ALL.iter().copied().find(|theme| theme.name() == name)
    }
}

/// A record with what its pictures are to show.
#[derive(Debug, Clone, PartialEq)]
pub struct ToldRecord {
    /// The record.
    pub record: Record<RgbImage>,
    /// What the words and pictures before each picture that may be drawn say of it, in [`slots`].
    pub told: Vec<Slots>,
}

impl World {
    /// The `index`-th record of a theme; pictures are drawn. Themes have their own scenes.
    pub fn record(&self, theme: Theme, index: u64) -> Record<RgbImage> {
        self.told_record(theme, index).record
    }

    /// The same with what its pictures are to show. Of the first picture of a lesson only what is said right before it counts.
    pub fn told_record(&self, theme: Theme, index: u64) -> ToldRecord {
        let stream = Stream::Records as u32 * 256 + theme as u32;
        let mut dice = Dice::new(self.seed, stream, index);
        let dice = &mut dice;
        match theme {
            Theme::Captions => {
                let scene = self.draw(dice);
                let Caption { text, demand } = caption(&scene, dice);
                let record = Record::Pair { picture: scene.render(), text };
                ToldRecord { record, told: vec![slots(Some(&demand), &[])] }
            }
            Theme::Questions => {
                let (scene, questions) = self.questions(dice);
                ToldRecord { record: conversation(&[scene], questions), told: vec![] }
            }
            Theme::Comparisons => {
                let (scenes, questions) = self.comparisons(dice);
                ToldRecord { record: conversation(&scenes, questions), told: vec![] }
            }
            Theme::Descriptions => {
                let (scenes, questions) = match dice.chance(0.7) {
                    true => {
                        let (scene, questions) = self.questions(dice);
                        (vec![scene], questions)
                    }
                    false => self.comparisons(dice),
                };
                let words = described(&scenes, dice);
                ToldRecord { record: asked(words, vec![], questions), told: vec![] }
            }
            Theme::Instructions => self.instruction(dice),
            Theme::Edits => {
                let (mut texts, scenes, told) = self.steps(1 + dice.weighted(&[0.6, 0.3, 0.1]), dice);
                let given = dice.chance(0.5);
                if given && dice.chance(0.5) {
                    texts[0].clear(); // a picture needs no words
                }
                document(None, texts, &scenes, told, usize::from(given))
            }
            Theme::Stories => {
                let story = self.story(2 + usize::from(dice.chance(0.4)), dice);
                let told = story.slots();
                document(None, story.texts, &story.scenes, told, usize::from(dice.chance(0.5)))
            }
            Theme::Compositions => {
                let composition = self.composition(dice);
                let [first, second] = composition.told.map(|demand| slots(demand.as_ref(), &[]));
                let told = vec![first, second, scene_slots(&composition.scenes[2])];
                document(None, composition.texts.to_vec(), &composition.scenes, told, 2 * usize::from(dice.chance(0.5)))
            }
            Theme::Lessons => {
                let (texts, scenes, told) = self.steps(1 + dice.weighted(&[0.7, 0.3]), dice);
                let subject = phrase(&scenes[0], dice).text;
                document(Some(format!("show {subject} and make it different")), texts, &scenes, told, 0)
            }
        }
    }

    /// A caption and what is changed step by step, with the scenes and what is known of each: of the first what the caption says, of
    /// those after a picture everything.
    fn steps(&self, count: usize, dice: &mut Dice) -> (Vec<String>, Vec<Scene>, Vec<Slots>) {
        let (scenes, mut texts) = self.edits(count, dice);
        let Caption { text, demand } = caption(&scenes[0], dice);
        texts.insert(0, text);
        let told = edited(&demand, &scenes);
        (texts, scenes, told)
    }

    fn questions(&self, dice: &mut Dice) -> (Scene, Vec<Question>) {
        let scene = self.draw(dice);
        let mut questions: Vec<Question> = Vec::new();
        let wanted = 1 + dice.below(QUESTIONS);
        while questions.len() < wanted {
            let Some(question) = Question::about(&scene, Topic::SINGLE[dice.weighted(&SINGLE)], dice) else { continue };
            if questions.iter().all(|asked| asked.text != question.text) {
                questions.push(question);
            }
        }
        (scene, questions)
    }

    fn comparisons(&self, dice: &mut Dice) -> (Vec<Scene>, Vec<Question>) {
        let (count, topic) = (2 + usize::from(dice.chance(0.3)), Topic::SEVERAL[dice.weighted(&SEVERAL)]);
        self.questions_over(count, topic, QUESTIONS, dice)
    }

    fn instruction(&self, dice: &mut Dice) -> ToldRecord {
        if dice.chance(0.3) {
            let scene = self.draw(dice);
            let ask = dice.pick(&["what does this picture show?", "what do we see?"]);
            let asked = Turn { text: format!("<image>{ask}"), pictures: vec![scene.render()] };
            let record = Record::Conversation(vec![asked, said(&caption(&scene, dice).text)]);
            return ToldRecord { record, told: vec![] };
        }
        let (scenes, edits) = self.edits(usize::from(dice.chance(0.6)), dice);
        let draw = dice.pick(&["draw", "show", "paint"]);
        let caption = phrase(&scenes[0], dice);
        let asked = std::iter::once(format!("{draw} {}", caption.text)).chain(edits);
        let turn = |(text, scene): (String, &Scene)| {
            let shown = Turn { text: "<dream>".into(), pictures: vec![scene.render()] };
            [Turn { text, pictures: vec![] }, shown]
        };
        let record = Record::Conversation(asked.zip(&scenes).flat_map(turn).collect());
        ToldRecord { record, told: edited(&caption.demand, &scenes) }
    }
}

/// What is known of the pictures of an edit, where each is seen after it is drawn. The object that the instruction names comes first,
/// so that what the instruction says always goes into the same slot: in the order in which objects are seen, every slot would first
/// have to find out whether it is meant, and what is nearest to both answers is a blend of them.
fn edited(first: &Demand, scenes: &[Scene]) -> Vec<Slots> {
    let seen = scenes.iter().skip(1).map(scene_slots);
    std::iter::once(slots(Some(first), &[])).chain(seen).collect()
}

/// Questions and answers about pictures, which are shown with the first.
fn conversation(scenes: &[Scene], questions: Vec<Question>) -> Record<RgbImage> {
    asked("<image>".repeat(scenes.len()), scenes.iter().map(Scene::render).collect(), questions)
}

/// Questions and answers about what stands before the first.
fn asked(mut before: String, mut pictures: Vec<RgbImage>, questions: Vec<Question>) -> Record<RgbImage> {
    let turns = questions.into_iter().flat_map(|Question { text, answer, .. }| {
        let (before, pictures) = (std::mem::take(&mut before), std::mem::take(&mut pictures));
        [Turn { text: before + &text, pictures }, said(answer)]
    });
    Record::Conversation(turns.collect())
}

/// All that pictures show, in words: "first a small red circle at the top on a dark background, second ...".
fn described(scenes: &[Scene], dice: &mut Dice) -> String {
    let mut words = String::new();
    for (scene, number) in scenes.iter().zip(ORDINALS) {
        let mut objects: Vec<String> = Demand::of(scene).objects.iter().map(|object| object.words("a")).collect();
        for n in (1..objects.len()).rev() {
            objects.swap(n, dice.below(n + 1));
        }
        if scenes.len() > 1 {
            words += &format!("{number} ");
        }
        words += &format!("{} on a {} background, ", objects.join(" and "), scene.ground.word());
    }
    words
}

fn said(answer: &str) -> Turn<RgbImage> {
    Turn { text: answer.into(), pictures: vec![] }
}

/// A caption that is no sentence: "draw there is a circle" would be none.
fn phrase(scene: &Scene, dice: &mut Dice) -> Caption {
    loop {
        let caption = caption(scene, dice);
        if caption.text.starts_with('a') {
            return caption;
        }
    }
}

/// Each text, then its picture; the first ones may be given, not drawn.
fn document(
    instruction: Option<String>,
    texts: Vec<String>,
    scenes: &[Scene],
    mut told: Vec<Slots>,
    given: usize,
) -> ToldRecord {
    let pictures = scenes.iter().map(Scene::render).enumerate().collect();
    told.drain(..given.min(told.len()));
    ToldRecord { record: Record::Document(Document { instruction, texts, pictures, given }), told }
}

#[cfg(test)]
mod tests {
    use super::super::{ObjectDemand, ReadObject, recognise};
    use super::*;

    /// Pictures of a record that may be drawn.
    fn drawn(record: &Record<RgbImage>) -> usize {
        match record {
            Record::Pair { .. } | Record::PicturePair { .. } => 1,
            Record::Document(document) => document.pictures.len() - document.given,
            Record::Conversation(turns) => turns.iter().filter(|turn| turn.text == "<dream>").count(),
        }
    }

    #[test]
    fn something_is_told_of_every_picture_that_may_be_drawn_and_of_no_other() {
        let world = World::default();
        for theme in Theme::ALL {
            for index in 0..200 {
                let ToldRecord { record, told } = world.told_record(*theme, index);
                assert_eq!(drawn(&record), told.len(), "{theme:?} {index}");
                assert_eq!(record, world.record(*theme, index));
            }
        }
    }

    #[test]
    fn a_caption_tells_what_it_says_and_a_picture_everything() {
        let world = World::default();
        let whole = |demand: &Demand| slots(Some(demand), &[]);
        for index in 0..200 {
            let ToldRecord { record, told } = world.told_record(Theme::Captions, index);
            let Record::Pair { text, .. } = record else { panic!("captions are pairs") };
            assert_eq!(told, [whole(&Demand::parse(&text).unwrap())], "{text}");
            // After an edit nothing is left open, and what the picture shows is what is told, as the recogniser reads it.
            let ToldRecord { record, told } = world.told_record(Theme::Edits, index);
            let Record::Document(document) = record else { panic!("edits are documents") };
            let (_, picture) = document.pictures.last().unwrap();
            let object = |read: &ReadObject| ObjectDemand {
                shape: Some(read.shape),
                color: Some(read.color),
                size: Some(read.size),
                ..ObjectDemand::default()
            };
            let objects = recognise(picture).unwrap().objects.iter().map(object).collect();
            let shown = whole(&Demand { objects, ..Demand::default() });
            let looks = |slots: &Slots| {
                // Shape, size and colour.
                let look = |object: usize| [1, 2, 6].map(|i| slots[object].get(i).map(|(value, _)| *value));
                let mut looks = [1, 3, 5].map(look);
                looks.sort();
                looks
            };
            assert_eq!(told.last().map(looks), Some(looks(&shown)), "{:?}", document.texts);
        }
    }

    #[test]
    fn a_description_says_what_is_asked_and_shows_nothing() {
        let world = World::default();
        let mut several = 0;
        for index in 0..200 {
            let Record::Conversation(turns) = world.record(Theme::Descriptions, index) else {
                panic!("descriptions are conversations")
            };
            assert!(turns.iter().all(|turn| turn.pictures.is_empty() && !turn.text.contains("<image>")));
            let (words, question) = turns[0].text.rsplit_once(", ").unwrap();
            assert!(words.ends_with("background") && question.ends_with('?'), "{words} {question}");
            several += usize::from(words.starts_with("first"));
            // "what color is the small circle?"
            let asked = question.strip_prefix("what color is the ").and_then(|rest| rest.strip_suffix('?'));
            let answer = &turns[1].text;
            assert!(asked.is_none() || words.contains(&format!(" {answer} ")), "{words} {question} {answer}");
        }
        assert!((30..90).contains(&several), "{several}");
    }

    #[test]
    fn of_a_subject_its_pattern_is_told_after_its_first_picture() {
        for index in 0..100 {
            let ToldRecord { record, told } = World::default().told_record(Theme::Stories, index);
            let Record::Document(document) = record else { panic!("stories are documents") };
            for (n, slots) in told.iter().enumerate() {
                let first = document.given == 0 && n == 0;
                // The number of the slot itself, and four quarters.
                assert_eq!(slots[2].len(), if first { 1 } else { 5 }, "{:?}", document.texts);
            }
        }
    }
}
