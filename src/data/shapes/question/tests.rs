use super::super::{Demand, World};
use super::*;
use std::collections::{HashMap, HashSet};

fn worlds() -> [World; 2] {
    let rich = World { side: 64, objects: [1.0; 3], textures: true, medium: true, ..World::default() };
    [World::default(), rich]
}

#[test]
fn names_fit_one_object_and_do_not_give_the_answer_away() {
    for world in worlds() {
        for index in 0..2000 {
            let (scene, mut dice) = world.scene(index);
            for n in 0..scene.objects.len() {
                for asked in [Asked::Color, Asked::Shape, Asked::Size, Asked::Other] {
                    let said = Demand::parse(&named(&scene, n, asked, &mut dice)).unwrap().objects[0];
                    let fits = |object: &Object| {
                        said.color.is_none_or(|c| c == object.color)
                            && said.shape.is_none_or(|s| s == object.shape)
                            && said.size.is_none_or(|s| s == object.size)
                    };
                    let fitting: Vec<usize> = (0..scene.objects.len()).filter(|m| fits(&scene.objects[*m])).collect();
                    assert_eq!(fitting, [n]);
                    let given = [
                        (Asked::Color, said.color.is_some()),
                        (Asked::Shape, said.shape.is_some()),
                        (Asked::Size, said.size.is_some()),
                    ];
                    assert!(!given.contains(&(asked, true)));
                }
            }
        }
    }
}

/// Answers of each topic with their counts.
fn answers(questions: impl Iterator<Item = Question>) -> HashMap<Topic, HashMap<&'static str, usize>> {
    let mut counts: HashMap<_, HashMap<_, usize>> = HashMap::new();
    for question in questions {
        assert!(question.text.ends_with('?') && !question.answer.contains(' '), "{question:?}");
        *counts.entry(question.topic).or_default().entry(question.answer).or_default() += 1;
    }
    counts
}

fn check(topic: Topic, counts: &HashMap<&'static str, usize>) {
    let count = |answer| counts.get(answer).copied().unwrap_or_default();
    let (yes, no) = (count("yes"), count("no"));
    if yes + no > 0 {
        let share = yes as f64 / (yes + no) as f64;
        assert!((0.3..0.66).contains(&share), "{topic:?}: {share}");
    }
    let total: usize = counts.values().sum();
    let most = counts.values().max().copied().unwrap_or_default();
    assert!(most as f64 <= 0.66 * total as f64, "{topic:?} can be guessed: {counts:?}");
}

#[test]
fn answers_are_one_word_and_cannot_be_guessed() {
    for world in worlds() {
        let ask = |index| {
            let (scene, mut dice) = world.scene(index);
            Question::any(&scene, &mut dice)
        };
        let counts = answers((0..20_000).map(ask));
        assert_eq!(counts.len(), Topic::SINGLE.len() - usize::from(!world.textures));
        counts.iter().for_each(|(topic, counts)| check(*topic, counts));
    }
}

#[test]
fn questions_over_several_pictures_have_one_answer() {
    for count in [2, 3] {
        let ask = |index: u64| {
            let mut dice = Dice::new(4, 8, index);
            let topic = Topic::SEVERAL[index as usize % Topic::SEVERAL.len()];
            let (scenes, question) = World::default().question_over(count, topic, &mut dice);
            assert!(scenes.len() == count && !scenes.iter().any(Scene::is_heldout) && question.topic == topic);
            question
        };
        let counts = answers((0..5000).map(ask));
        assert_eq!(counts.len(), Topic::SEVERAL.len());
        counts.iter().for_each(|(topic, counts)| check(*topic, counts));
    }
}

#[test]
fn further_questions_over_the_same_pictures_differ_and_cannot_be_guessed() {
    let mut all = Vec::new();
    for index in 0..12_000 {
        let (count, topic) = (2 + usize::from(index % 3 == 0), Topic::SEVERAL[index % Topic::SEVERAL.len()]);
        let mut dice = Dice::new(4, 9, index as u64);
        let (scenes, questions) = World::default().questions_over(count, topic, 6, &mut dice);
        assert!(scenes.len() == count && questions[0].topic == topic && questions.len() <= 6);
        let texts: HashSet<&str> = questions.iter().map(|question| question.text.as_str()).collect();
        assert_eq!(texts.len(), questions.len());
        all.extend(questions.into_iter().skip(1));
    }
    assert!(all.len() > 18_000, "{}", all.len());
    for about in ["color", "shape", "background"] {
        let of = |question: &Question| question.topic == Topic::Across && question.text.contains(about);
        let some: Vec<_> = all.iter().filter(|question| of(question)).cloned().collect();
        assert!(some.len() > 60, "{about}: {}", some.len());
        answers(some.into_iter()).iter().for_each(|(topic, counts)| check(*topic, counts));
    }
    answers(all.into_iter()).iter().for_each(|(topic, counts)| check(*topic, counts));
}

/// Answers worked out again from the words of the question.
#[test]
fn existence_and_relations_are_true_of_the_scene() {
    for index in 0..4000 {
        let (scene, mut dice) = World::default().scene(index);
        for topic in [Topic::Exists, Topic::Relation] {
            let Some(question) = Question::about(&scene, topic, &mut dice) else { continue };
            if topic == Topic::Relation && !question.text.starts_with("is ") {
                continue;
            }
            let words = question.text.replace("do we see", "there is");
            let demand = Demand::parse(&words).unwrap();
            let place = |said: ObjectDemand| {
                let fits = |object: &Object| {
                    said.color.is_none_or(|c| c == object.color)
                        && said.shape.is_none_or(|s| s == object.shape)
                        && said.size.is_none_or(|s| s == object.size)
                };
                (0..scene.objects.len()).find(|n| fits(&scene.objects[*n]))
            };
            let found: Vec<_> = demand.objects.iter().map(|object| place(*object)).collect();
            let related = |(a, relation, b): &(usize, _, usize)| {
                found[*a].zip(found[*b]).is_some_and(|(a, b)| scene.relation(a, b) == Some(*relation))
            };
            let holds = found.iter().all(Option::is_some) && demand.relations.iter().all(related);
            assert_eq!(question.answer, yes_or_no(holds), "{}", question.text);
        }
    }
}
