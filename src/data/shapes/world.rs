//! Scenes by seed and index.

use super::dice::Dice;
use super::heldout::Split;
use super::scene::{Color, Ground, Object, Place, Relation, Scene, Shape, Size, Texture};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};

/// What the scenes are like. `World::default()` is the world of the small default model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct World {
    /// Pixels of a picture's side: 32 or 64.
    pub side: usize,
    /// Seed of everything.
    pub seed: u64,
    /// Whether scenes have held-out compositions.
    pub split: Split,
    /// How often a scene has one, two and three objects, relative to each other.
    pub objects: [f32; 3],
    /// Whether there are stripes and dots. In pictures of 32 pixels only large objects have them: on small ones they cannot be told.
    pub textures: bool,
    /// Whether objects also have the size in between; in pictures of 64 pixels only.
    pub medium: bool,
}

impl Default for World {
    fn default() -> Self {
        let objects = [0.4, 0.6, 0.0];
        World { side: 32, seed: 0, split: Split::Train, objects, textures: false, medium: false }
    }
}

/// What a row of random numbers is for.
#[derive(Debug, Clone, Copy)]
pub(super) enum Stream {
    /// Scenes, and what is said about them.
    Scenes = 0,
    /// Records of a source.
    Records = 1,
}

impl World {
    /// An error unless such pictures can be drawn.
    pub fn check(&self) -> Result<()> {
        let weights = self.objects.iter();
        if ![32, 64].contains(&self.side) {
            return Err(Error::Input(format!("pictures of shapes have a side of 32 or 64 pixels, not {}", self.side)));
        }
        if weights.clone().any(|w| !(w.is_finite() && *w >= 0.0)) || weights.sum::<f32>() <= 0.0 {
            return Err(Error::Input(format!("{:?} are no shares of one, two and three objects", self.objects)));
        }
        if self.medium && self.side < 64 {
            return Err(Error::Input("shapes of medium size need pictures of 64 pixels".into()));
        }
        Ok(())
    }

    /// The scene of an index, and random numbers for what is said about it.
    pub fn scene(&self, index: u64) -> (Scene, Dice) {
        let mut dice = Dice::new(self.seed, Stream::Scenes as u32, index);
        let scene = self.draw(&mut dice);
        (scene, dice)
    }

    /// A scene of this split.
    pub fn draw(&self, dice: &mut Dice) -> Scene {
        let count = dice.weighted(&self.objects) + 1;
        self.draw_with(count, dice)
    }

    /// A scene of this split with one to three objects.
    pub fn draw_with(&self, count: usize, dice: &mut Dice) -> Scene {
        loop {
            let scene = self.any(count, dice);
            if self.takes(&scene) {
                return scene;
            }
        }
    }

    /// Whether a scene belongs to this split.
    pub fn takes(&self, scene: &Scene) -> bool {
        match self.split {
            Split::Train => !scene.is_heldout(),
            Split::Heldout => scene.is_heldout(),
            Split::All => true,
        }
    }

    fn any(&self, count: usize, dice: &mut Dice) -> Scene {
        let centers = self.centers(count, dice);
        let mut objects: Vec<Object> = Vec::with_capacity(count);
        for center in centers {
            // Three large objects would touch.
            let crowded = count == 3 && objects.iter().any(|other| other.size != Size::Small);
            let mut object = self.object(center, dice);
            if crowded {
                self.resize(&mut object, Size::Small, dice);
            }
            while objects.iter().any(|other| other.shape == object.shape) {
                object.shape = dice.pick(Shape::ALL);
            }
            while objects.iter().any(|other| other.color == object.color) {
                object.color = dice.pick(Color::ALL);
            }
            objects.push(object);
        }
        Scene { side: self.side, ground: dice.pick(Ground::ALL), jitter: jitter(dice), objects }
    }

    /// Any object at a place.
    pub(super) fn object(&self, center: [i32; 2], dice: &mut Dice) -> Object {
        let mut object = Object {
            shape: dice.pick(Shape::ALL),
            color: dice.pick(Color::ALL),
            size: Size::Large,
            texture: Texture::Plain,
            pattern: None,
            center,
            radius: 0,
            jitter: jitter(dice),
        };
        let size = dice.pick(self.sizes());
        if self.textures && dice.chance(0.5) {
            object.texture = dice.pick(&[Texture::Striped, Texture::Dotted]);
        }
        self.resize(&mut object, size, dice);
        object
    }

    /// Gives an object a size. A texture that could not be told on it is taken away.
    pub(super) fn resize(&self, object: &mut Object, size: Size, dice: &mut Dice) {
        object.size = size;
        object.radius = radius(self.side, size, dice);
        if !self.shows_texture(size) {
            object.texture = Texture::Plain;
        }
    }

    /// Whether stripes and dots can be told on objects of a size.
    pub(super) fn shows_texture(&self, size: Size) -> bool {
        self.textures && (size == Size::Large || self.side >= 64)
    }

    /// The sizes of objects.
    pub(super) fn sizes(&self) -> &'static [Size] {
        if self.medium { Size::ALL } else { &[Size::Small, Size::Large] }
    }

    /// Centres in quarters of a pixel. One object lies in any of the nine places, two along an axis, three in corners.
    fn centers(&self, count: usize, dice: &mut Dice) -> Vec<[i32; 2]> {
        let scale = self.side as i32 / 32;
        match count {
            1 => {
                let place = dice.pick(Place::ALL);
                vec![self.center_of(place, dice)]
            }
            2 => {
                let relation = dice.pick(Relation::ALL);
                [relation, relation.inverse()].map(|relation| self.beside(relation, dice)).to_vec()
            }
            _ => {
                let mut corners = vec![[0, 0], [2, 0], [0, 2], [2, 2]];
                let mut corner = || corners.remove(dice.below(corners.len()));
                let chosen = [corner(), corner(), corner()];
                let near = |dice: &mut Dice, at: usize| scale * 32 * (at as i32 + 1) + dice.around(scale);
                chosen.map(|corner: [usize; 2]| corner.map(|at| near(dice, at))).to_vec()
            }
        }
    }

    /// The centre of a ninth of the picture, or a little off.
    pub(super) fn center_of(&self, place: Place, dice: &mut Dice) -> [i32; 2] {
        let scale = self.side as i32 / 32;
        let (column, row) = place.cell();
        [column, row].map(|at| scale * 32 * (at as i32 + 1) + dice.around(2 * scale))
    }

    /// A centre on one side of the picture, a little off the middle the other way.
    pub(super) fn beside(&self, relation: Relation, dice: &mut Dice) -> [i32; 2] {
        let scale = self.side as i32 / 32;
        let (near, far) = (30 * scale + dice.below(2) as i32, 98 * scale - dice.below(2) as i32);
        let across = 64 * scale + dice.around(14 * scale);
        match relation {
            Relation::LeftOf => [near, across],
            Relation::RightOf => [far, across],
            Relation::Above => [across, near],
            Relation::Below => [across, far],
        }
    }
}

/// A radius in quarters of a pixel. At 32 pixels a small object must not be smaller: an autoencoder with cells of four pixels
/// blurs it beyond recognition.
pub(super) fn radius(side: usize, size: Size, dice: &mut Dice) -> i32 {
    let (from, to) = match (side, size) {
        (32, Size::Small) => (19, 21),
        (32, _) => (26, 28),
        (_, Size::Small) => (32, 35),
        (_, Size::Medium) => (42, 45),
        (_, Size::Large) => (52, 56),
    };
    from + dice.below((to - from + 1) as usize) as i32
}

/// How far a colour is off: up to 5 in each of its parts.
pub(super) fn jitter(dice: &mut Dice) -> [i8; 3] {
    [0; 3].map(|_: i8| dice.around(5) as i8)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn worlds() -> Vec<World> {
        let three = [0.3, 0.4, 0.3];
        vec![
            World::default(),
            World { side: 64, objects: three, textures: true, medium: true, ..World::default() },
            World { objects: three, textures: true, seed: 3, ..World::default() },
        ]
    }

    #[test]
    fn splits_share_no_scene_and_scenes_depend_on_seed_and_index_alone() {
        for world in worlds() {
            world.check().unwrap();
            let heldout = World { split: Split::Heldout, ..world.clone() };
            for index in 0..400 {
                assert!(!world.scene(index).0.is_heldout());
                assert!(heldout.scene(index).0.is_heldout());
                assert_eq!(world.scene(index).0, world.scene(index).0);
                assert_ne!(world.scene(index).0, world.scene(index + 1).0);
            }
        }
    }

    #[test]
    fn objects_differ_and_neither_touch_nor_leave_the_picture() {
        for world in worlds() {
            for index in 0..2000 {
                let (scene, _) = World { split: Split::All, ..world.clone() }.scene(index);
                for (n, a) in scene.objects.iter().enumerate() {
                    let reach = a.radius * 105 / 100;
                    assert!(a.center.iter().all(|at| at - reach >= 0 && at + reach <= 4 * scene.side as i32), "{a:?}");
                    for (m, b) in scene.objects.iter().enumerate().skip(n + 1) {
                        assert!(a.shape != b.shape && a.color != b.color);
                        let gap = [0, 1].map(|i| (a.center[i] - b.center[i]).abs() - reach - b.radius * 105 / 100);
                        assert!(gap[0].max(gap[1]) >= 4, "{gap:?} quarters between {a:?} and {b:?}");
                        assert!(scene.relation(n, m).is_some());
                    }
                }
            }
        }
    }

    #[test]
    fn bad_worlds_are_refused() {
        let world = World::default();
        assert!(World { side: 48, ..world.clone() }.check().is_err());
        assert!(World { objects: [0.0; 3], ..world.clone() }.check().is_err());
        assert!(World { objects: [1.0, f32::NAN, 0.0], ..world.clone() }.check().is_err());
        assert!(World { medium: true, ..world }.check().is_err());
    }
}
