//! Batches of scenes on the device, by the number of the first one.

use super::edge_weights;
use crate::Result;
use crate::data::shapes::{Demand, Scene, Slots, World, caption, scene_slots, slots};
use crate::gpu::Gpu;
use crate::image::{FloatImage, RgbImage, clip_pixels, diffusion_pixels};
use crate::models::config::ClipPreprocessConfig;
use crate::tensor::Tensor;

/// Scenes with what is said of them.
pub(super) struct Scenes {
    pub scenes: Vec<Scene>,
    /// Captions, and what they demand; of scenes without patterns.
    pub captions: Vec<(String, Demand)>,
    /// What is said of each scene: what its caption says, what a story says of its subject, or all.
    said: Vec<Slots>,
}

impl Scenes {
    /// `count` scenes of a world from number `first` on. A share of them has a pattern: of these the share `stories` are pictures of a
    /// story, and the others have it on any object, so that every colour is seen in every shape, also those that no single colour of
    /// training has.
    pub fn new(world: &World, first: u64, count: usize, patterns: f32, stories: f32) -> Scenes {
        let mut all = Scenes { scenes: Vec::new(), captions: Vec::new(), said: Vec::new() };
        for index in first..first + count as u64 {
            let (mut scene, mut dice) = world.scene(index);
            let caption = caption(&scene, &mut dice);
            let said = match (dice.chance(patterns), dice.chance(stories)) {
                (false, _) => slots(Some(&caption.demand), &[]),
                (true, false) => {
                    let n = dice.below(scene.objects.len());
                    scene.objects[n].pattern = Some(world.pattern(&mut dice));
                    scene_slots(&scene)
                }
                (true, true) => {
                    let mut story = world.story(2, &mut dice);
                    scene = story.scenes.remove(1);
                    story.slots().remove(1)
                }
            };
            all.scenes.push(scene);
            all.captions.push((caption.text, caption.demand));
            all.said.push(said);
        }
        all
    }

    pub fn render(&self) -> Vec<RgbImage> {
        self.scenes.iter().map(Scene::render).collect()
    }

    /// What the denoiser is told of each scene: all, where `uniform` numbers are low, nothing, or what is said of it.
    pub fn slots(&self, uniform: &[[f32; 2]], told: f32, drop: f32) -> Vec<Slots> {
        let of = |((scene, said), [a, b]): ((&Scene, &Slots), &[f32; 2])| match (*a < drop, *b < told) {
            (true, _) => slots(None, &[]),
            (false, true) => scene_slots(scene),
            (false, false) => said.clone(),
        };
        self.scenes.iter().zip(&self.said).zip(uniform).map(of).collect()
    }
}

/// Pictures as the autoencoder takes them, `[N, Y, X, 3]`.
pub(super) fn for_autoencoder(gpu: &Gpu, pictures: &[RgbImage], resolution: usize) -> Result<Tensor> {
    stack(gpu, pictures.iter().map(|picture| diffusion_pixels(picture, resolution)).collect::<Result<_>>()?)
}

/// Pictures as the image encoder takes them, `[N, Y, X, 3]`.
pub(super) fn for_image_encoder(gpu: &Gpu, pictures: &[RgbImage], config: &ClipPreprocessConfig) -> Result<Tensor> {
    stack(gpu, pictures.iter().map(|picture| clip_pixels(picture, config)).collect::<Result<_>>()?)
}

/// How much each pixel weighs, `[N, Y, X, 1]`.
pub(super) fn weights(gpu: &Gpu, pictures: &[RgbImage], strength: f32) -> Result<Tensor> {
    let side = pictures.first().map_or([0, 0], |picture| [picture.height, picture.width]);
    let values: Vec<f32> = pictures.iter().flat_map(|picture| edge_weights(picture, strength)).collect();
    Tensor::from_f32(gpu, &values, [pictures.len(), side[0], side[1], 1])
}

fn stack(gpu: &Gpu, pictures: Vec<FloatImage>) -> Result<Tensor> {
    let [y, x] = pictures.first().map_or([0, 0], |picture| [picture.height, picture.width]);
    let values: Vec<f32> = pictures.iter().flat_map(|picture| picture.values.iter().copied()).collect();
    Tensor::from_f32(gpu, &values, [pictures.len(), y, x, 3])
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn stories_share_the_patterns_with_any_object() {
        let outlines = |patterns: f32, stories: f32| -> (usize, BTreeSet<usize>) {
            let scenes = Scenes::new(&World::default(), 0, 300, patterns, stories).scenes;
            let patterned = scenes.iter().flat_map(|scene| &scene.objects).filter(|object| object.pattern.is_some());
            let shapes: Vec<usize> = patterned.map(|object| object.shape as usize).collect();
            (shapes.len(), shapes.into_iter().collect())
        };
        assert_eq!(outlines(0.0, 1.0), (0, BTreeSet::new()));
        // Subjects of stories have three outlines, one in every picture.
        let ((of_stories, three), (of_any, six)) = (outlines(1.0, 1.0), outlines(1.0, 0.0));
        assert_eq!((of_stories, of_any, three.len(), six.len()), (300, 300, 3, 6));
        let (some, _) = outlines(0.5, 0.5);
        assert!((120..180).contains(&some), "{some}");
    }
}
