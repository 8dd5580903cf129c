//! A demand as a fixed number of slots, each a set of values of attributes: what a picture is drawn from before there are
//! words. Every slot holds what belongs together, so nothing has to be learned about which colour goes with which shape.
//!
//! | slot | what |
//! |---|---|
//! | 0 | the background |
//! | 1, 3, 5 | an object: shape, colour, size, texture, place, and on which side of another one it is |
//! | 2, 4, 6 | the colours of its quarters, if it has a pattern |
//! | 7 | the number of objects |
//!
//! Of a pattern the object's slot has the four colours, each with a quarter of the weight.

use super::demand::{Demand, ObjectDemand};
use super::scene::{Color, Ground, Place, Relation, Scene, Shape, Size, Texture};
use std::ops::Range;

/// Number of slots.
pub const SLOTS: usize = 8;
/// The values in every slot, with their weights.
pub type Slots = [Vec<(usize, f32)>; SLOTS];
/// Most objects that have slots.
const OBJECTS: usize = 3;

/// Attributes with the number of their values; one more stands for "not said".
const ATTRIBUTES: [usize; 12] = [
    Ground::ALL.len(),
    OBJECTS,
    Shape::ALL.len(),
    Color::ALL.len(),
    Size::ALL.len(),
    Texture::ALL.len(),
    Place::ALL.len(),
    Relation::ALL.len(),
    Color::ALL.len(),
    Color::ALL.len(),
    Color::ALL.len(),
    Color::ALL.len(),
];
/// What they are called.
const NAMES: [&str; 12] = [
    "background",
    "count",
    "shape",
    "color",
    "size",
    "texture",
    "place",
    "side",
    "quarter",
    "quarter",
    "quarter",
    "quarter",
];
const GROUND: usize = 0;
const COUNT: usize = 1;
const SHAPE: usize = 2;
const COLOR: usize = 3;
const SIZE: usize = 4;
const TEXTURE: usize = 5;
const PLACE: usize = 6;
const SIDE: usize = 7;
const QUARTER: usize = 8;

/// Number of different values that [`slots`] speaks of.
pub const SLOT_VALUES: usize = {
    let (mut sum, mut i) = (SLOTS, 0);
    while i < ATTRIBUTES.len() {
        sum += ATTRIBUTES[i] + 1;
        i += 1;
    }
    sum
};

/// The values in every slot, each below [`SLOT_VALUES`]. `patterns` are those of the objects in the demand's order; they go
/// before colours. Without a demand nothing is said at all.
pub fn slots(demand: Option<&Demand>, patterns: &[Option<[Color; 4]>]) -> Slots {
    let mut slots: Slots = std::array::from_fn(|slot| vec![(slot, 1.0)]);
    let Some(demand) = demand else { return slots };
    let mut say = |slot: usize, attribute: usize, said: Option<usize>, weight: f32| {
        slots[slot].push((value(attribute, said), weight));
    };
    say(0, GROUND, demand.ground.map(|ground| ground as usize), 1.0);
    say(7, COUNT, Some(demand.objects.len().clamp(1, OBJECTS) - 1), 1.0);
    for (n, object) in demand.objects.iter().take(OBJECTS).enumerate() {
        let slot = 1 + 2 * n;
        for (attribute, said) in attributes(object, side(demand, n)) {
            say(slot, attribute, said, 1.0);
        }
        match patterns.get(n).copied().flatten() {
            None => say(slot, COLOR, object.color.map(|color| color as usize), 1.0),
            Some(pattern) => {
                for (quarter, color) in pattern.into_iter().enumerate() {
                    say(slot, COLOR, Some(color as usize), 0.25);
                    say(slot + 1, QUARTER + quarter, Some(color as usize), 1.0);
                }
            }
        }
    }
    slots
}

/// Everything that a scene shows.
pub fn scene_slots(scene: &Scene) -> Slots {
    let patterns: Vec<_> = scene.objects.iter().map(|object| object.pattern).collect();
    slots(Some(&Demand::of(scene)), &patterns)
}

/// What is said of an object, but for its colour.
fn attributes(object: &ObjectDemand, side: Option<Relation>) -> [(usize, Option<usize>); 5] {
    [
        (SHAPE, object.shape.map(|x| x as usize)),
        (SIZE, object.size.map(|x| x as usize)),
        (TEXTURE, object.texture.map(|x| x as usize)),
        (PLACE, object.place.map(|x: Place| x as usize)),
        (SIDE, side.map(|x| x as usize)),
    ]
}

/// On which side of another object one is said to be.
fn side(demand: &Demand, object: usize) -> Option<Relation> {
    demand.relations.iter().find_map(|&(first, relation, second)| match object {
        _ if object == first => Some(relation),
        _ if object == second => Some(relation.inverse()),
        _ => None,
    })
}

fn value(attribute: usize, value: Option<usize>) -> usize {
    let before: usize = ATTRIBUTES[..attribute].iter().map(|n| n + 1).sum();
    SLOTS + before + value.unwrap_or(ATTRIBUTES[attribute])
}

/// The name of the attribute that a value of [`slots`] is of, and all values of it; none of what only numbers the slots.
pub fn slot_attribute(of: usize) -> Option<(&'static str, Range<usize>)> {
    let all = |attribute| value(attribute, Some(0))..value(attribute, None) + 1;
    (0..ATTRIBUTES.len()).map(|n| (NAMES[n], all(n))).find(|(_, values)| values.contains(&of))
}

#[cfg(test)]
mod tests {
    use super::super::{World, caption};
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn different_demands_have_different_slots() {
        let mut seen = std::collections::BTreeMap::new();
        let world = World { objects: [1.0, 1.0, 1.0], ..World::default() };
        for index in 0..3000 {
            let (scene, mut dice) = world.scene(index);
            let demand = caption(&scene, &mut dice).demand;
            let slots = slots(Some(&demand), &[]);
            assert!(slots.iter().flatten().all(|(value, _)| *value < SLOT_VALUES));
            let known = seen.entry(format!("{slots:?}")).or_insert_with(|| demand.clone());
            assert_eq!(known, &demand);
        }
    }

    #[test]
    fn a_pattern_is_told_by_place_and_in_the_objects_slot_by_share() {
        let demand = Demand::parse("a red star").unwrap();
        let color = |color: Color| value(COLOR, Some(color as usize));
        let shares = |slots: &Slots, color: usize| {
            slots[1].iter().filter(|(value, _)| *value == color).map(|(_, weight)| weight).sum::<f32>()
        };
        let plain = slots(Some(&demand), &[]);
        assert_eq!((shares(&plain, color(Color::Red)), plain[2].len()), (1.0, 1));
        let pattern = [Color::Blue, Color::Green, Color::Blue, Color::Blue];
        let patterned = slots(Some(&demand), &[Some(pattern)]);
        let told = [Color::Red, Color::Green, Color::Blue].map(|of| shares(&patterned, color(of)));
        assert_eq!(told, [0.0, 0.25, 0.75]);
        assert_eq!(patterned[2][2], (value(QUARTER + 1, Some(Color::Green as usize)), 1.0));
        // All weights of a slot but its own sum up to the same.
        let sum = |slots: &Slots| slots[1].iter().map(|(_, weight)| weight).sum::<f32>();
        assert_eq!((sum(&plain), sum(&patterned)), (7.0, 7.0));
    }

    #[test]
    fn every_value_occurs() {
        let world = World { side: 64, medium: true, textures: true, objects: [1.0, 1.0, 1.0], ..World::default() };
        let values = |slots: Slots| slots.into_iter().flatten().map(|(value, _)| value);
        let mut seen: BTreeSet<usize> = values(slots(None, &[])).collect();
        assert_eq!(seen.len(), SLOTS);
        for index in 0..2000 {
            let (mut scene, mut dice) = world.scene(index);
            seen.extend(values(slots(Some(&caption(&scene, &mut dice).demand), &[])));
            scene.objects[0].pattern = Some(world.pattern(&mut dice));
            seen.extend(values(scene_slots(&scene)));
        }
        // The number of objects and a quarter's colour are always said where there is a slot for them.
        assert_eq!(seen.len(), SLOT_VALUES - 5);
    }
}
