//! A scene in words, with some of its attributes left out.

use super::demand::{Demand, ObjectDemand};
use super::dice::Dice;
use super::scene::{Relation, Scene, Texture};

/// A text, and what it says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caption {
    /// Words in small letters, without a full stop.
    pub text: String,
    /// What it says.
    pub demand: Demand,
}

/// How often size, place and background are mentioned.
const SIZE: f32 = 0.7;
const PLACE: f32 = 0.6;
const GROUND: f32 = 0.6;
/// How often one of colour and shape is left out.
const VAGUE: f32 = 0.1;

/// What a caption may begin with.
const OPENINGS: [&str; 5] = ["", "", "a picture of ", "there is ", "we see "];

/// A caption of a scene without subjects.
pub fn caption(scene: &Scene, dice: &mut Dice) -> Caption {
    let opening = dice.pick(&OPENINGS);
    let mut order: Vec<usize> = (0..scene.objects.len()).collect();
    for n in (1..order.len()).rev() {
        order.swap(n, dice.below(n + 1));
    }
    let mut objects: Vec<ObjectDemand> = order.iter().map(|&n| said(scene, n, dice)).collect();
    let mut relations = Vec::new();
    let related = order.len() > 1 && dice.chance(0.7);
    let relation = if related { scene.relation(order[0], order[1]) } else { None };
    let mut text = String::from(opening);
    let count = objects.len();
    for (n, object) in objects.iter_mut().enumerate() {
        let link = match (n, relation) {
            (0, _) => String::new(),
            (1, Some(relation)) => {
                relations.push((0, relation, 1));
                format!(" {} ", relation_words(relation, dice))
            }
            _ if n + 1 == count => " and ".into(),
            _ => ", ".into(),
        };
        // Where a relation is named, the place of the two would say nothing new.
        if n < 2 && relation.is_some() {
            object.place = None;
        }
        text += &link;
        text += &object.words("a");
    }
    let ground = dice.chance(GROUND).then_some(scene.ground);
    if let Some(ground) = ground {
        let word = dice.pick(&["on", "with"]);
        text += &format!(" {word} a {} background", ground.word());
    }
    Caption { text, demand: Demand { objects, relations, ground } }
}

/// What is said about an object.
fn said(scene: &Scene, n: usize, dice: &mut Dice) -> ObjectDemand {
    let mut demand = ObjectDemand::of(&scene.objects[n]);
    if !dice.chance(SIZE) {
        demand.size = None;
    }
    if dice.chance(PLACE) {
        demand.place = Some(scene.place(n));
    }
    if dice.chance(VAGUE) {
        if dice.chance(0.5) { demand.shape = None } else { demand.color = None }
    }
    // "plain" is not said, so nothing is claimed about the texture of what is called a red circle.
    demand.texture = demand.texture.filter(|texture| *texture != Texture::Plain && dice.chance(0.8));
    demand
}

/// A relation in one of its wordings.
pub(super) fn relation_words(relation: Relation, dice: &mut Dice) -> &'static str {
    dice.pick(match relation {
        Relation::LeftOf => &["left of", "to the left of"],
        Relation::RightOf => &["right of", "to the right of"],
        Relation::Above => &["above", "over"],
        Relation::Below => &["below", "under"],
    })
}

#[cfg(test)]
mod tests {
    use super::super::world::World;
    use super::*;

    #[test]
    fn captions_are_read_back_as_what_they_say() {
        let worlds =
            [World::default(), World { side: 64, objects: [1.0; 3], textures: true, medium: true, ..World::default() }];
        for world in worlds {
            for index in 0..3000 {
                let (scene, mut dice) = world.scene(index);
                let caption = caption(&scene, &mut dice);
                let read = Demand::parse(&caption.text).unwrap();
                assert_eq!(read, caption.demand, "{}", caption.text);
            }
        }
    }

    #[test]
    fn wordings_vary_and_say_what_is_there() {
        let texts: std::collections::HashSet<String> = (0..1000)
            .map(|index| {
                let (scene, mut dice) = World::default().scene(index);
                caption(&scene, &mut dice).text
            })
            .collect();
        assert!(texts.len() > 950, "{}", texts.len());
        let (scene, _) = World::default().scene(0);
        let all = Demand::of(&scene);
        let some = caption(&scene, &mut Dice::new(1, 9, 0)).demand;
        for object in &some.objects {
            let fits = |full: &ObjectDemand| {
                object.shape.is_none_or(|s| Some(s) == full.shape) && object.color.is_none_or(|c| Some(c) == full.color)
            };
            assert!(all.objects.iter().any(fits));
        }
    }
}
