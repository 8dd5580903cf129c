//! One step of editing a picture: what is said, and what comes of it.

use super::demand::{ObjectDemand, at};
use super::dice::Dice;
use super::question::{Asked, named};
use super::scene::{Color, Ground, Place, Relation, Scene, Shape, Size, Texture};
use super::world::{World, jitter};

/// A change of a scene. Objects are named by their place in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Edit {
    /// Another colour.
    Color(usize, Color),
    /// Another outline.
    Shape(usize, Shape),
    /// Another size.
    Size(usize, Size),
    /// A single object goes to another ninth.
    Move(usize, Place),
    /// The other background.
    Ground(Ground),
    /// A new object on this side of the only one.
    Add(Relation, Color, Shape, Size),
    /// One of several objects goes.
    Remove(usize),
}

impl Edit {
    /// A change that makes a difference and that the scene has room for; none if the dice chose one that it has not.
    pub fn draw(world: &World, scene: &Scene, dice: &mut Dice) -> Option<Edit> {
        let objects = &scene.objects;
        let n = dice.below(objects.len());
        let edit = match dice.weighted(&[0.25, 0.2, 0.15, 0.15, 0.1, 0.1, 0.05]) {
            0 => Edit::Color(n, dice.pick(Color::ALL)),
            1 => Edit::Shape(n, dice.pick(Shape::ALL)),
            2 => Edit::Size(n, dice.pick(world.sizes())),
            3 => Edit::Move(n, dice.pick(Place::ALL)),
            4 => Edit::Ground(scene.ground.other()),
            5 => Edit::Add(free_side(scene)?, dice.pick(Color::ALL), dice.pick(Shape::ALL), dice.pick(world.sizes())),
            _ => Edit::Remove(n),
        };
        let fits = match edit {
            Edit::Color(_, color) => objects.iter().all(|object| object.color != color),
            Edit::Shape(_, shape) => objects.iter().all(|object| object.shape != shape),
            // A small object cannot keep its stripes, and three large ones have no room.
            Edit::Size(n, size) => {
                let keeps = objects[n].texture == Texture::Plain || world.shows_texture(size);
                objects[n].size != size && keeps && (objects.len() < 3 || size == Size::Small)
            }
            Edit::Move(_, place) => objects.len() == 1 && scene.place(0) != place,
            Edit::Ground(_) => true,
            Edit::Add(_, color, shape, _) => objects[0].color != color && objects[0].shape != shape,
            Edit::Remove(_) => objects.len() > 1,
        };
        fits.then_some(edit)
    }

    /// The scene after it.
    pub fn apply(self, world: &World, scene: &Scene, dice: &mut Dice) -> Scene {
        let mut scene = scene.clone();
        match self {
            Edit::Color(n, color) => scene.objects[n].color = color,
            Edit::Shape(n, shape) => scene.objects[n].shape = shape,
            Edit::Size(n, size) => world.resize(&mut scene.objects[n], size, dice),
            Edit::Move(n, place) => scene.objects[n].center = world.center_of(place, dice),
            Edit::Ground(ground) => {
                scene.ground = ground;
                scene.jitter = jitter(dice);
            }
            Edit::Add(relation, color, shape, size) => {
                let mut object = world.object(world.beside(relation, dice), dice);
                (object.color, object.shape) = (color, shape);
                world.resize(&mut object, size, dice);
                scene.objects.push(object);
            }
            Edit::Remove(n) => {
                scene.objects.remove(n);
            }
        }
        scene
    }

    /// The instruction, for the scene before it.
    pub fn words(self, scene: &Scene, dice: &mut Dice) -> String {
        let single = scene.objects.len() == 1;
        let mut name = |n, asked| if single && dice.chance(0.5) { "it".into() } else { named(scene, n, asked, dice) };
        match self {
            Edit::Color(n, color) => format!("make {} {}", name(n, Asked::Color), color.word()),
            Edit::Shape(n, shape) => {
                let new = ObjectDemand { shape: Some(shape), ..ObjectDemand::default() };
                format!("turn {} into {}", name(n, Asked::Shape), new.words("a"))
            }
            Edit::Size(n, size) => format!("make {} {}", name(n, Asked::Size), size.word()),
            Edit::Move(n, place) => format!("put {} {}", name(n, Asked::Other), at(place)),
            Edit::Ground(ground) => format!("make the background {}", ground.word()),
            Edit::Add(relation, color, shape, size) => {
                let new = ObjectDemand {
                    shape: Some(shape),
                    color: Some(color),
                    size: Some(size),
                    ..ObjectDemand::default()
                };
                format!("add {} {} {}", new.words("a"), relation.word(), name(0, Asked::Other))
            }
            Edit::Remove(n) => format!("remove {}", named(scene, n, Asked::Other, dice)),
        }
    }

    /// A scene after it, with the object that the instruction names before the others, which have the order in which they are seen.
    fn named_first(self, scene: &Scene) -> Scene {
        let named = match self {
            Edit::Color(n, _) | Edit::Shape(n, _) | Edit::Size(n, _) | Edit::Move(n, _) => Some(scene.objects[n]),
            Edit::Add(..) => Some(scene.objects[0]),
            Edit::Ground(_) | Edit::Remove(_) => None,
        };
        let mut scene = scene.in_reading_order();
        scene.objects.sort_by_key(|object| named.is_some_and(|named| *object != named));
        scene
    }

    /// What has changed, as the answer to a question; none for what changes the number of objects.
    pub fn changes(self) -> Option<&'static str> {
        Some(match self {
            Edit::Color(..) => "color",
            Edit::Shape(..) => "shape",
            Edit::Size(..) => "size",
            Edit::Move(..) => "place",
            Edit::Ground(_) => "background",
            Edit::Add(..) | Edit::Remove(_) => return None,
        })
    }
}

/// The side of a single object on which there is room for another one: an object in the middle of one side leaves the other side.
fn free_side(scene: &Scene) -> Option<Relation> {
    match (scene.objects.len(), scene.place(0)) {
        (1, Place::Left) => Some(Relation::RightOf),
        (1, Place::Right) => Some(Relation::LeftOf),
        (1, Place::Top) => Some(Relation::Below),
        (1, Place::Bottom) => Some(Relation::Above),
        _ => None,
    }
}

impl World {
    /// Scenes of a step-by-step edit and the instruction before each but the first; after one, the object that it named is the first
    /// of its scene and the others are in reading order. In training every scene is of this split; for
    /// the held-out split the last one is, so that what is to be drawn is a composition never seen.
    pub fn edits(&self, steps: usize, dice: &mut Dice) -> (Vec<Scene>, Vec<String>) {
        let any = World { split: super::Split::All, ..self.clone() };
        loop {
            let mut scenes = vec![any.draw(dice)];
            let mut said = Vec::with_capacity(steps);
            while said.len() < steps {
                let before = &scenes[said.len()];
                let Some(edit) = Edit::draw(self, before, dice) else { continue };
                said.push(edit.words(before, dice));
                scenes.push(edit.named_first(&edit.apply(self, before, dice)));
            }
            let wanted = match self.split {
                super::Split::Train => scenes.iter().all(|scene| self.takes(scene)),
                _ => scenes.last().is_some_and(|scene| self.takes(scene)),
            };
            if wanted {
                return (scenes, said);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Demand, Split};
    use super::*;

    #[test]
    fn a_step_changes_what_it_says_and_nothing_else() {
        let world = World { side: 64, textures: true, medium: true, ..World::default() };
        let mut kinds = std::collections::HashMap::new();
        for index in 0..4000 {
            let (scene, mut dice) = world.scene(index);
            let Some(edit) = Edit::draw(&world, &scene, &mut dice) else { continue };
            let after = edit.apply(&world, &scene, &mut dice);
            assert_eq!(after.objects.len().abs_diff(scene.objects.len()), usize::from(edit.changes().is_none()));
            if let Some(what) = edit.changes() {
                *kinds.entry(what).or_insert(0) += 1;
                let [a, b] = [Demand::of(&scene), Demand::of(&after)];
                let differ = |f: &dyn Fn(&ObjectDemand) -> String| {
                    let list = |demand: &Demand| demand.objects.iter().map(f).collect::<Vec<_>>();
                    list(&a) != list(&b)
                };
                assert_eq!(differ(&|o| format!("{:?}", o.color)), what == "color");
                assert_eq!(differ(&|o| format!("{:?}", o.shape)), what == "shape");
                assert_eq!(differ(&|o| format!("{:?}", o.size)), what == "size");
                assert_eq!(differ(&|o| format!("{:?}", o.place)), what == "place");
                assert_eq!(a.ground != b.ground, what == "background");
            }
        }
        assert!(kinds.len() == 5 && kinds.values().all(|n| *n > 100), "{kinds:?}");
    }

    #[test]
    fn the_named_object_comes_first_and_the_others_as_they_are_seen() {
        let (mut named, mut seen) = (0, 0);
        for index in 0..400 {
            let (scenes, said) = World::default().edits(1, &mut Dice::new(1, 6, index));
            let [before, after] = [&scenes[0], &scenes[1]];
            if before.objects.len() != 2 || after.objects.len() != 2 {
                continue;
            }
            match before.objects.iter().position(|object| !after.objects.contains(object)) {
                // The other one has stayed as it was.
                Some(changed) => {
                    assert_eq!(after.objects[1], before.objects[1 - changed], "{}", said[0]);
                    named += usize::from(*after != after.in_reading_order());
                }
                None => {
                    assert_eq!(*after, after.in_reading_order(), "{}", said[0]);
                    seen += 1;
                }
            }
        }
        assert!(named > 20 && seen > 5, "{named} {seen}");
    }

    #[test]
    fn edits_keep_to_their_split() {
        for split in [Split::Train, Split::Heldout] {
            let world = World { split, ..World::default() };
            for index in 0..100 {
                let (scenes, said) = world.edits(3, &mut Dice::new(1, 5, index));
                assert_eq!((scenes.len(), said.len()), (4, 3));
                assert_eq!(scenes[3].is_heldout(), split == Split::Heldout);
                assert!(split == Split::Heldout || !scenes.iter().any(Scene::is_heldout));
            }
        }
    }
}
