//! What a text says about a picture. Only what it says is judged.

use super::scene::{Color, Ground, Object, Place, Relation, Scene, Shape, Size, Texture};
use serde::Serialize;

/// What a picture has to show: these objects and no others.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Demand {
    /// Each object that is named.
    pub objects: Vec<ObjectDemand>,
    /// How objects stand to each other: the first, where it is, and the second, by their place in `objects`.
    pub relations: Vec<(usize, Relation, usize)>,
    /// The background.
    pub ground: Option<Ground>,
}

/// What is said about one object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct ObjectDemand {
    /// Its outline.
    pub shape: Option<Shape>,
    /// Its colour.
    pub color: Option<Color>,
    /// Its size.
    pub size: Option<Size>,
    /// What is on it.
    pub texture: Option<Texture>,
    /// Its ninth of the picture.
    pub place: Option<Place>,
}

impl Demand {
    /// Everything there is to say about a scene.
    pub fn of(scene: &Scene) -> Demand {
        let object = |n| ObjectDemand { place: Some(scene.place(n)), ..ObjectDemand::of(&scene.objects[n]) };
        let pairs = (0..scene.objects.len()).flat_map(|a| (0..a).map(move |b| (a, b)));
        Demand {
            objects: (0..scene.objects.len()).map(object).collect(),
            relations: pairs.filter_map(|(a, b)| scene.relation(a, b).map(|relation| (a, relation, b))).collect(),
            ground: Some(scene.ground),
        }
    }
}

impl ObjectDemand {
    /// Everything about an object but its place.
    pub fn of(object: &Object) -> ObjectDemand {
        ObjectDemand {
            shape: Some(object.shape),
            color: Some(object.color),
            size: Some(object.size),
            texture: Some(object.texture),
            place: None,
        }
    }

    /// It in words: "a small red circle on the left". A texture that is plain is not mentioned, nor is what is not said.
    pub fn words(&self, article: &str) -> String {
        let texture = self.texture.filter(|texture| *texture != Texture::Plain);
        let words = [self.size.map(Size::word), self.color.map(Color::word), texture.map(Texture::word)];
        let mut words: Vec<&str> = words.into_iter().flatten().collect();
        words.push(self.shape.map_or("object", Shape::word));
        let vowel = words[0].starts_with(['a', 'e', 'i', 'o', 'u']);
        let article = if article == "a" && vowel { "an" } else { article };
        let place = self.place.map_or(String::new(), |place| format!(" {}", at(place)));
        format!("{article} {}{place}", words.join(" "))
    }
}

/// A place with its preposition.
pub(super) fn at(place: Place) -> String {
    let preposition = match place {
        Place::Middle => "in the",
        Place::Left | Place::Right => "on the",
        _ => "at the",
    };
    format!("{preposition} {}", place.word())
}
