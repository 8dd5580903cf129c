//! A demand as a fixed number of slots, each a set of values of attributes: what a picture is drawn from before there are
//! words. Every slot holds what belongs together, so nothing has to be learned about which colour goes with which shape.
//!
//! | slot | what |
//! |---|---|
//! | 0 | the background |
//! | 1, 3, 5 | an object: shape, size, texture, place, and on which side of another one it is |
//! | 2, 4, 6 | the colours of its quarters: of one colour all four, of a subject its pattern |
//! | 7 | the number of objects |
//!
//! An object of one colour is told as a pattern is, because patterns have every colour in every shape: what is learned from them
//! serves the pairs of colour and shape that training never shows.

use super::demand::{Demand, ObjectDemand};
use super::scene::{Color, Ground, Place, Relation, Scene, Shape, Size, Texture};

/// Number of slots.
pub const SLOTS: usize = 8;
/// The values in every slot.
pub type Slots = [Vec<usize>; SLOTS];
/// Most objects that have slots.
const OBJECTS: usize = 3;

/// Attributes with the number of their values; one more stands for "not said".
const ATTRIBUTES: [usize; 11] = [
    Ground::ALL.len(),
    OBJECTS,
    Shape::ALL.len(),
    Size::ALL.len(),
    Texture::ALL.len(),
    Place::ALL.len(),
    Relation::ALL.len(),
    Color::ALL.len(),
    Color::ALL.len(),
    Color::ALL.len(),
    Color::ALL.len(),
];
const GROUND: usize = 0;
const COUNT: usize = 1;
const SHAPE: usize = 2;
const QUARTER: usize = 7;

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
    let mut slots: Slots = std::array::from_fn(|slot| vec![slot]);
    let Some(demand) = demand else { return slots };
    slots[0].push(value(GROUND, demand.ground.map(|ground| ground as usize)));
    slots[7].push(value(COUNT, Some(demand.objects.len().clamp(1, OBJECTS) - 1)));
    for (n, object) in demand.objects.iter().take(OBJECTS).enumerate() {
        slots[1 + 2 * n].extend(attributes(object, side(demand, n)));
        if let Some(pattern) = patterns.get(n).copied().flatten().or(object.color.map(|color| [color; 4])) {
            slots[2 + 2 * n].extend((0..4).map(|quarter| value(QUARTER + quarter, Some(pattern[quarter] as usize))));
        }
    }
    slots
}

/// Everything that a scene shows.
pub fn scene_slots(scene: &Scene) -> Slots {
    let patterns: Vec<_> = scene.objects.iter().map(|object| object.pattern).collect();
    slots(Some(&Demand::of(scene)), &patterns)
}

fn attributes(object: &ObjectDemand, side: Option<Relation>) -> [usize; 5] {
    let values = [
        object.shape.map(|x| x as usize),
        object.size.map(|x| x as usize),
        object.texture.map(|x| x as usize),
        object.place.map(|x: Place| x as usize),
        side.map(|x| x as usize),
    ];
    std::array::from_fn(|i| value(SHAPE + i, values[i]))
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
            assert!(slots.iter().flatten().all(|value| *value < SLOT_VALUES));
            let known = seen.entry(format!("{slots:?}")).or_insert_with(|| demand.clone());
            assert_eq!(known, &demand);
        }
    }

    #[test]
    fn a_color_is_told_as_four_equal_quarters_and_a_pattern_goes_before_it() {
        let demand = |text: &str| Demand::parse(text).unwrap();
        let quarters = |color: Color| (0..4).map(|q| value(QUARTER + q, Some(color as usize))).collect::<Vec<_>>();
        let plain = slots(Some(&demand("a red star")), &[]);
        assert_eq!(plain[2][1..], quarters(Color::Red));
        let patterned = slots(Some(&demand("a red star")), &[Some([Color::Blue; 4])]);
        assert_eq!((&plain[1], &patterned[2][1..]), (&patterned[1], quarters(Color::Blue).as_slice()));
        assert_eq!(slots(Some(&demand("a star")), &[])[2], [2]);
    }

    #[test]
    fn every_value_occurs() {
        let world = World { side: 64, medium: true, textures: true, objects: [1.0, 1.0, 1.0], ..World::default() };
        let mut seen: BTreeSet<usize> = slots(None, &[]).into_iter().flatten().collect();
        assert_eq!(seen.len(), SLOTS);
        for index in 0..2000 {
            let (mut scene, mut dice) = world.scene(index);
            seen.extend(slots(Some(&caption(&scene, &mut dice).demand), &[]).into_iter().flatten());
            scene.objects[0].pattern = Some(world.pattern(&mut dice));
            seen.extend(scene_slots(&scene).into_iter().flatten());
        }
        // The number of objects and a quarter's colour are always said where there is a slot for them.
        assert_eq!(seen.len(), SLOT_VALUES - 5);
    }
}
