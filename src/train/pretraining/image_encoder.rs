//! What the image encoder learns before it meets words: to say of each patch which object is there, and what the whole picture is like.
//!
//! ```text
//! loss = mean over patches of CE(shape) + CE(colour) + CE(size) + CE(place) + CE(quarter) + CE(background) + CE(number)
//! ```
//!
//! Linear heads read the patch vectors, which are all that DreamLLM reads. The heads are thrown away. It stands for CLIP's training on
//! pictures with captions, which needs far more of them: from questions alone, a scouting in PyTorch had attributes still at chance
//! after a thousand steps.

use crate::Result;
use crate::data::shapes::{Color, Ground, Place, Scene, Shape, Size};
use crate::models::dreamllm::Vision;
use crate::nn::{Linear, Weights};
use crate::ops::cross_entropy::cross_entropy;
use crate::ops::layout::slice;
use crate::tensor::Tensor;

/// Most objects of a picture.
const COUNTS: usize = 3;

/// What every patch is asked, with the number of answers; the last one of the first five is "nothing is there".
pub const PATCH_QUESTIONS: [(&str, usize); 7] = [
    ("shape", Shape::ALL.len() + 1),
    ("color", Color::ALL.len() + 1),
    ("size", Size::ALL.len() + 1),
    ("place", Place::ALL.len() + 1),
    ("quarter", 4 + 1),
    ("ground", Ground::ALL.len()),
    ("count", COUNTS),
];

/// A head over the encoder's vectors for each of [`PATCH_QUESTIONS`].
pub struct PatchHeads(Vec<Linear>);

/// What the heads have to say about a batch: for each of [`PATCH_QUESTIONS`] the answers of every patch, row by row, picture by picture.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PatchLabels(pub [Vec<u32>; PATCH_QUESTIONS.len()]);

impl PatchHeads {
    /// Loads from `w = patch_heads`; `width` is that of the encoder.
    pub fn load(w: &Weights, width: usize) -> Result<PatchHeads> {
        PATCH_QUESTIONS
            .iter()
            .map(|(name, answers)| Linear::load(&(w / name), width, *answers))
            .collect::<Result<_>>()
            .map(PatchHeads)
    }

    /// Pixels `[N, Y, X, 3]` prepared for the encoder → the loss `[1]`.
    pub fn loss(&self, vision: &Vision, pixels: &Tensor, labels: &PatchLabels) -> Result<Tensor> {
        let mut sum: Option<Tensor> = None;
        for (scores, target) in self.scores(vision, pixels)?.iter().zip(&labels.0) {
            let target = Tensor::from_u32(pixels.gpu(), target, [target.len()])?;
            let loss = cross_entropy(scores, &target)?;
            sum = Some(sum.map_or(Ok(loss.clone()), |sum| sum.add(&loss))?);
        }
        sum.ok_or_else(|| crate::Error::Input("the image encoder has no heads".into()))
    }

    /// Scores of the answers to each of [`PATCH_QUESTIONS`], `[N · P, answers]`.
    pub fn scores(&self, vision: &Vision, pixels: &Tensor) -> Result<Vec<Tensor>> {
        let hidden = vision.clip.hidden_state(pixels, vision.select)?;
        let [n, tokens, c] = hidden.dims("image encoder hidden state", "N T C")?;
        let patches = slice(&hidden, 1, 1, tokens - 1)?.reshape([n * (tokens - 1), c])?;
        self.0.iter().map(|head| head.forward(&patches)).collect()
    }
}

impl PatchLabels {
    /// Adds a picture that is cut into `across` patches a side. An object is in a patch if its square, its radius around its
    /// centre, covers a quarter of it; the one that covers most counts. Of a patterned object the quarter that lies nearest
    /// gives the colour; quarters are numbered as patterns are.
    pub fn add(&mut self, scene: &Scene, across: usize) {
        let patch = (4 * scene.side / across) as i32;
        for cell in 0..across * across {
            let corner = [cell % across, cell / across].map(|at| at as i32 * patch);
            let covered = |n: &usize| {
                let object = &scene.objects[*n];
                let overlap = |axis: usize| {
                    let (low, high) = (object.center[axis] - object.radius, object.center[axis] + object.radius);
                    (high.min(corner[axis] + patch) - low.max(corner[axis])).max(0)
                };
                overlap(0) * overlap(1)
            };
            let most = (0..scene.objects.len()).max_by_key(covered).filter(|n| covered(n) >= patch * patch / 4);
            let answers = most.map(|n| {
                let object = &scene.objects[n];
                let middle = corner.map(|at| at + patch / 2);
                let quarter = usize::from(middle[0] > object.center[0]) + 2 * usize::from(middle[1] > object.center[1]);
                let color = object.pattern.map_or(object.color, |pattern| pattern[quarter]);
                [object.shape as usize, color as usize, object.size as usize, scene.place(n) as usize, quarter]
            });
            let of_object = answers.unwrap_or([0, 1, 2, 3, 4].map(|question| PATCH_QUESTIONS[question].1 - 1));
            let of_picture = [scene.ground as usize, scene.objects.len().clamp(1, COUNTS) - 1];
            for (labels, answer) in self.0.iter_mut().zip(of_object.into_iter().chain(of_picture)) {
                labels.push(answer as u32);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::shapes::World;

    #[test]
    fn patches_are_labelled_by_what_covers_them() {
        let world = World::default();
        for index in 0..200 {
            let (scene, _) = world.scene(index);
            let mut labels = PatchLabels::default();
            labels.add(&scene, 4);
            let [shape, color, size, place, quarter, ground, count] = &labels.0;
            assert!(labels.0.iter().all(|answers| answers.len() == 16));
            // Every object is somewhere, and nothing else is.
            for object in &scene.objects {
                assert!(shape.contains(&(object.shape as u32)) && color.contains(&(object.color as u32)));
            }
            let known = |label: &u32| *label == 6 || scene.objects.iter().any(|object| object.shape as u32 == *label);
            assert!(shape.iter().all(known) && shape.contains(&6));
            // Where there is nothing, nothing has a size or a place; the background is everywhere.
            let empty = |n: usize| [shape[n] == 6, color[n] == 8, size[n] == 3, place[n] == 9, quarter[n] == 4];
            assert!((0..16).all(|n| empty(n) == [shape[n] == 6; 5]));
            let places: Vec<u32> = (0..scene.objects.len()).map(|n| scene.place(n) as u32).collect();
            assert!(
                place.iter().all(|at| *at == 9 || places.contains(at)) && places.iter().all(|at| place.contains(at))
            );
            assert!(ground.iter().all(|at| *at == scene.ground as u32));
            assert!(count.iter().all(|n| *n + 1 == scene.objects.len() as u32));
        }
    }
}
