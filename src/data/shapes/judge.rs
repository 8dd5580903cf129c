//! How much of what a text demands a picture shows.

use super::demand::{Demand, ObjectDemand};
use super::recognise::{ReadObject, Reading};
use super::scene::{Relation, Scene};
use serde::{Deserialize, Serialize};

/// Right and asked, for each attribute; an attribute that the text does not mention is not asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Judgement {
    /// Whether everything is right: as many objects as are named, every attribute, and a picture that could be read.
    pub all: bool,
    /// The number of objects.
    pub count: Tally,
    /// Shapes.
    pub shape: Tally,
    /// Colours.
    pub color: Tally,
    /// Sizes.
    pub size: Tally,
    /// Textures.
    pub texture: Tally,
    /// Places.
    pub place: Tally,
    /// Relations.
    pub relation: Tally,
    /// The background.
    pub ground: Tally,
}

/// Right ones of those that were asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Tally {
    /// Right.
    pub right: u64,
    /// Asked.
    pub asked: u64,
}

impl Tally {
    /// Counts one more.
    pub fn add(&mut self, right: bool) {
        self.right += u64::from(right);
        self.asked += 1;
    }
}

/// A drawn object may lie this much of the side beside the ninth that it should be in: one pixel of 32.
const SLACK: f32 = 1.0 / 32.0;

impl Demand {
    /// Judges a reading. Objects of the text are paired with those of the picture so that as much as possible is right.
    pub fn judge(&self, reading: &Reading) -> Judgement {
        let all = orders(reading.objects.len().max(self.objects.len()).min(4));
        let judged = all.iter().map(|order| self.judge_in(reading, order));
        let best = judged.max_by_key(|judgement| (judgement.all, judgement.right())).unwrap_or_default();
        Judgement { all: best.all && !reading.unsure, ..best }
    }

    /// With object `n` of the text paired with object `order[n]` of the picture.
    fn judge_in(&self, reading: &Reading, order: &[usize]) -> Judgement {
        let mut judgement = Judgement::default();
        let found = |n: usize| order.get(n).and_then(|m| reading.objects.get(*m));
        judgement.count.add(reading.objects.len() == self.objects.len());
        for (n, said) in self.objects.iter().enumerate() {
            judgement.object(said, found(n));
        }
        for (a, relation, b) in &self.relations {
            let holds = |(a, b): (&ReadObject, &ReadObject)| is_so(*relation, a.position, b.position);
            judgement.relation.add(found(*a).zip(found(*b)).is_some_and(holds));
        }
        if let Some(ground) = self.ground {
            judgement.ground.add(reading.ground == ground);
        }
        judgement.all = judgement.tallies().iter().all(|(_, tally)| tally.right == tally.asked);
        judgement
    }
}

/// A drawn relation needs less distance than a generated one: an eighth of the side.
fn is_so(relation: Relation, a: [f32; 2], b: [f32; 2]) -> bool {
    let middle = [(a[0] + b[0]) / 2.0, (a[1] + b[1]) / 2.0];
    let away = |at: [f32; 2]| [0, 1].map(|i| middle[i] + 2.0 * (at[i] - middle[i]));
    relation.holds(away(a), away(b))
}

impl Judgement {
    fn object(&mut self, said: &ObjectDemand, found: Option<&ReadObject>) {
        let is = |f: &dyn Fn(&ReadObject) -> bool| found.is_some_and(f);
        if let Some(shape) = said.shape {
            self.shape.add(is(&|object| object.shape == shape));
        }
        if let Some(color) = said.color {
            self.color.add(is(&|object| object.color == color && object.pattern.is_none()));
        }
        if let Some(size) = said.size {
            self.size.add(is(&|object| object.size == size));
        }
        if let Some(texture) = said.texture {
            self.texture.add(is(&|object| object.texture == texture));
        }
        if let Some(place) = said.place {
            self.place.add(is(&|object| place.holds(object.position[0], object.position[1], SLACK)));
        }
    }

    /// Each attribute with its name in tables.
    pub fn tallies(&self) -> [(&'static str, Tally); 8] {
        [
            ("count", self.count),
            ("shape", self.shape),
            ("color", self.color),
            ("size", self.size),
            ("texture", self.texture),
            ("place", self.place),
            ("relation", self.relation),
            ("background", self.ground),
        ]
    }

    fn right(&self) -> u64 {
        self.tallies().iter().map(|(_, tally)| tally.right).sum()
    }
}

/// Whether a picture shows the subject of a scene (its first object): an object with the same outline and the same colours in all
/// four quarters.
pub fn shows_subject(scene: &Scene, reading: &Reading) -> bool {
    let Some(subject) = scene.objects.first() else { return false };
    reading.objects.iter().any(|object| object.pattern == subject.pattern && object.shape == subject.shape)
}

/// How many of the four quarters of a scene's subject a picture has right, at best.
pub fn subject_quarters(scene: &Scene, reading: &Reading) -> Tally {
    let Some(wanted) = scene.objects.first().and_then(|object| object.pattern) else { return Tally::default() };
    let right = |object: &ReadObject| {
        let has = object.pattern.unwrap_or([object.color; 4]);
        wanted.iter().zip(has).filter(|(a, b)| **a == *b).count() as u64
    };
    Tally { right: reading.objects.iter().map(right).max().unwrap_or_default(), asked: 4 }
}

/// All orders of the numbers below `n`.
fn orders(n: usize) -> Vec<Vec<usize>> {
    let mut all = vec![vec![]];
    for number in 0..n {
        let insert = |order: &Vec<usize>| {
            let with = |at: usize| {
                let mut order = order.clone();
                order.insert(at, number);
                order
            };
            (0..=order.len()).map(with).collect::<Vec<_>>()
        };
        all = all.iter().flat_map(insert).collect();
    }
    all
}

#[cfg(test)]
mod tests {
    use super::super::{Dice, World, caption, recognise};
    use super::*;

    #[test]
    fn a_picture_satisfies_its_own_caption_and_not_that_of_another() {
        let world = World { objects: [1.0; 3], ..World::default() };
        let mut wrong = 0;
        for index in 0..150 {
            let (scene, mut dice) = world.scene(index);
            let reading = recognise(&scene.render()).unwrap();
            let said = caption(&scene, &mut dice).demand;
            assert!(said.judge(&reading).all, "{said:?} {reading:?}");
            assert!(Demand::of(&scene).judge(&reading).all, "{scene:?} {reading:?}");
            let other = recognise(&world.scene(index + 1000).0.render()).unwrap();
            wrong += usize::from(Demand::of(&scene).judge(&other).all);
        }
        assert_eq!(wrong, 0);
    }

    #[test]
    fn attributes_are_counted_one_by_one() {
        let (scene, _) = World { objects: [0.0, 1.0, 0.0], ..World::default() }.scene(0);
        let mut reading = recognise(&scene.render()).unwrap();
        let demand = Demand::of(&scene);
        let tally = |right, asked| Tally { right, asked };
        let judgement = demand.judge(&reading);
        assert_eq!((judgement.color, judgement.relation, judgement.count), (tally(2, 2), tally(1, 1), tally(1, 1)));
        // Colours exchanged: both are wrong, the rest is right.
        let (a, b) = (reading.objects[0].color, reading.objects[1].color);
        (reading.objects[0].color, reading.objects[1].color) = (b, a);
        let judgement = demand.judge(&reading);
        assert!(!judgement.all);
        assert_eq!((judgement.color, judgement.shape, judgement.relation), (tally(0, 2), tally(2, 2), tally(1, 1)));
        reading.objects.pop();
        let judgement = demand.judge(&reading);
        assert_eq!((judgement.count, judgement.relation), (tally(0, 1), tally(0, 1)));
        assert_eq!(judgement.shape, tally(1, 2));
    }

    #[test]
    fn subjects_are_told_by_all_their_quarters() {
        let world = World::default();
        let stories: Vec<_> = (0..30).map(|n| world.story(2, &mut Dice::new(5, 1, n))).collect();
        for (n, story) in stories.iter().enumerate() {
            let reading = recognise(&story.scenes[1].render()).unwrap();
            assert!(shows_subject(&story.scenes[0], &reading));
            assert_eq!(subject_quarters(&story.scenes[0], &reading), Tally { right: 4, asked: 4 });
            let other = &stories[(n + 1) % stories.len()];
            assert!(!shows_subject(&other.scenes[0], &reading));
            assert!(subject_quarters(&other.scenes[0], &reading).right < 4);
        }
    }
}
