//! What the image encoder learns before it meets words: to say of each patch which object is there.
//!
//! ```text
//! loss = mean over patches of CE(shape) + CE(colour) + CE(size), and over pictures of CE(background) + CE(number)
//! ```
//!
//! Linear heads read the hidden state that DreamLLM reads: the patch vectors, and for the last two the class token. The heads
//! are thrown away. It stands for CLIP's training on pictures with captions, which needs far more of them: from questions alone,
//! a scouting in PyTorch had attributes still at chance after a thousand steps.

use crate::Result;
use crate::data::shapes::{Color, Ground, Scene, Shape, Size};
use crate::models::dreamllm::Vision;
use crate::nn::{Linear, Weights};
use crate::ops::cross_entropy::cross_entropy;
use crate::ops::layout::slice;
use crate::tensor::Tensor;

/// Heads over the encoder's vectors. The last class of each patch head is "nothing".
pub struct PatchHeads {
    shape: Linear,
    color: Linear,
    size: Linear,
    ground: Linear,
    count: Linear,
}

/// What the heads have to say about a batch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PatchLabels {
    /// Of every patch, row by row, picture by picture.
    pub shape: Vec<u32>,
    /// The same.
    pub color: Vec<u32>,
    /// The same.
    pub size: Vec<u32>,
    /// Of every picture.
    pub ground: Vec<u32>,
    /// One less than the number of objects.
    pub count: Vec<u32>,
}

/// Most objects of a picture.
const COUNTS: usize = 3;

impl PatchHeads {
    /// Loads from `w = patch_heads`; `width` is that of the encoder.
    pub fn load(w: &Weights, width: usize) -> Result<PatchHeads> {
        let head = |name: &str, classes: usize| Linear::load(&(w / name), width, classes);
        Ok(PatchHeads {
            shape: head("shape", Shape::ALL.len() + 1)?,
            color: head("color", Color::ALL.len() + 1)?,
            size: head("size", Size::ALL.len() + 1)?,
            ground: head("ground", Ground::ALL.len())?,
            count: head("count", COUNTS)?,
        })
    }

    /// Pixels `[N, Y, X, 3]` prepared for the encoder → the loss `[1]`.
    pub fn loss(&self, vision: &Vision, pixels: &Tensor, labels: &PatchLabels) -> Result<Tensor> {
        let [patches, pictures] = self.scores(vision, pixels)?;
        let mut sum: Option<Tensor> = None;
        let targets = [&labels.shape, &labels.color, &labels.size, &labels.ground, &labels.count];
        for (scores, target) in patches.iter().chain(&pictures).zip(targets) {
            let target = Tensor::from_u32(pixels.gpu(), target, [target.len()])?;
            let loss = cross_entropy(scores, &target)?;
            sum = Some(sum.map_or(Ok(loss.clone()), |sum| sum.add(&loss))?);
        }
        sum.ok_or_else(|| crate::Error::Input("the image encoder has no heads".into()))
    }

    /// Scores of patches (shape, colour, size), `[N · P, classes]`, and of pictures (background, number), `[N, classes]`.
    pub fn scores(&self, vision: &Vision, pixels: &Tensor) -> Result<[Vec<Tensor>; 2]> {
        let hidden = vision.clip.hidden_state(pixels, vision.select)?;
        let [n, tokens, c] = hidden.dims("image encoder hidden state", "N T C")?;
        let class = slice(&hidden, 1, 0, 1)?.reshape([n, c])?;
        let patches = slice(&hidden, 1, 1, tokens - 1)?.reshape([n * (tokens - 1), c])?;
        let over = |x: &Tensor, heads: &[&Linear]| heads.iter().map(|head| head.forward(x)).collect::<Result<Vec<_>>>();
        Ok([over(&patches, &[&self.shape, &self.color, &self.size])?, over(&class, &[&self.ground, &self.count])?])
    }
}

impl PatchLabels {
    /// Adds a picture that is cut into `across` patches a side. An object is in a patch if its square, its radius around its
    /// centre, covers a quarter of it; the one that covers most counts. Of a patterned object the quarter that lies nearest
    /// gives the colour.
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
            let object = most.map(|n| &scene.objects[n]);
            let color = object.map(|object| {
                let middle = corner.map(|at| at + patch / 2);
                let quarter = usize::from(middle[0] > object.center[0]) + 2 * usize::from(middle[1] > object.center[1]);
                object.pattern.map_or(object.color, |pattern| pattern[quarter])
            });
            self.shape.push(object.map_or(Shape::ALL.len(), |object| object.shape as usize) as u32);
            self.color.push(color.map_or(Color::ALL.len(), |color| color as usize) as u32);
            self.size.push(object.map_or(Size::ALL.len(), |object| object.size as usize) as u32);
        }
        self.ground.push(scene.ground as u32);
        self.count.push(scene.objects.len().clamp(1, COUNTS) as u32 - 1);
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
            assert_eq!((labels.shape.len(), labels.color.len(), labels.count.len()), (16, 16, 1));
            // Every object is somewhere, and nothing else is.
            for object in &scene.objects {
                assert!(labels.shape.contains(&(object.shape as u32)) && labels.color.contains(&(object.color as u32)));
            }
            let known = |label: &u32| *label == 6 || scene.objects.iter().any(|object| object.shape as u32 == *label);
            assert!(labels.shape.iter().all(known) && labels.shape.contains(&6));
        }
    }
}
