//! A picture made of two others.

use super::demand::{Demand, ObjectDemand};
use super::dice::Dice;
use super::heldout::Split;
use super::scene::{Relation, Scene};
use super::world::World;

/// Two pictures of one object each, and one with both.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Composition {
    /// The two and the one.
    pub scenes: [Scene; 3],
    /// What is said before each.
    pub texts: [String; 3],
    /// What that says of the first two, where it says something.
    pub told: [Option<Demand>; 2],
}

impl World {
    /// A composition whose last picture is of this split. What is composed is named by the number of its picture only, so that it can
    /// only come from there.
    pub fn composition(&self, dice: &mut Dice) -> Composition {
        let all = World { split: Split::All, ..self.clone() };
        loop {
            let mut last = self.draw_with(2, dice);
            let alone = |n: usize, dice: &mut Dice| {
                let mut scene = all.draw_with(1, dice);
                scene.objects[0] = super::Object { center: scene.objects[0].center, ..last.objects[n] };
                scene
            };
            let [first, second] = [alone(0, dice), alone(1, dice)];
            // Parts of what is held out by its relation are seen in training, others are not.
            if self.split == Split::Train && (first.is_heldout() || second.is_heldout()) {
                continue;
            }
            let Some(relation) = last.relation(0, 1) else { continue };
            last.ground = second.ground;
            let [(one, of_first), (two, of_second)] =
                [opening(&first, "first", dice), opening(&second, "second", dice)];
            let texts = [one, two, join(relation, dice)];
            return Composition { scenes: [first, second, last], texts, told: [of_first, of_second] };
        }
    }
}

fn opening(scene: &Scene, number: &str, dice: &mut Dice) -> (String, Option<Demand>) {
    match dice.below(3) {
        0 => (format!("the {number} picture"), None),
        1 => (format!("this is the {number} picture"), None),
        // Its shape is no secret, but its colour and size are.
        _ => {
            let said = ObjectDemand { shape: Some(scene.objects[0].shape), ..ObjectDemand::default() };
            let demand = Demand { objects: vec![said], ..Demand::default() };
            (format!("the {number} picture shows {}", said.words("a")), Some(demand))
        }
    }
}

fn join(relation: Relation, dice: &mut Dice) -> String {
    let words = super::caption::relation_words(relation, dice);
    match dice.chance(0.5) {
        true => format!("the first object {words} the second object"),
        false => format!("put the first object {words} the second object"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_picture_has_the_objects_of_the_others() {
        for split in [Split::Train, Split::Heldout] {
            let world = World { split, ..World::default() };
            for index in 0..300 {
                let Composition { scenes, texts, .. } = world.composition(&mut Dice::new(2, 7, index));
                let look = |scene: &Scene, n: usize| {
                    let object = scene.objects[n];
                    (object.shape, object.color, object.size, object.texture)
                };
                assert_eq!((look(&scenes[0], 0), look(&scenes[1], 0)), (look(&scenes[2], 0), look(&scenes[2], 1)));
                assert_eq!(scenes[2].is_heldout(), split == Split::Heldout);
                assert!(split == Split::Heldout || !scenes.iter().any(Scene::is_heldout));
                assert!(texts[2].contains("first") && texts[2].contains("second"));
            }
        }
    }
}
