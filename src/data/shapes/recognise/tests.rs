use super::super::{Dice, Scene, Split, World};
use super::*;
use crate::random::philox::normals;

fn rich(side: usize) -> World {
    World { side, objects: [1.0; 3], textures: true, medium: side > 32, split: Split::All, ..World::default() }
}

/// What was read wrongly of a scene; nothing if all is right and it is sure.
fn wrong(scene: &Scene, image: &RgbImage) -> Option<String> {
    let reading = recognise(image).unwrap();
    let right = |n: usize| {
        let (object, place) = (&scene.objects[n], scene.place(n));
        reading.objects.iter().any(|read| {
            let color = object.pattern.is_some() || read.color == object.color;
            let all = (read.shape, read.size, read.texture, read.pattern, read.place);
            color && all == (object.shape, object.size, object.texture, object.pattern, place)
        })
    };
    let count = reading.objects.len() == scene.objects.len();
    let all = count && !reading.unsure && reading.ground == scene.ground && (0..scene.objects.len()).all(right);
    (!all).then(|| format!("{scene:?}\n{reading:?}"))
}

/// How many of `count` scenes are read right, after something is done to their pictures.
fn share(world: &World, count: u64, spoil: impl Fn(RgbImage, u64) -> RgbImage) -> f64 {
    let right = (0..count).filter(|&index| {
        let scene = world.scene(index).0;
        wrong(&scene, &spoil(scene.render(), index)).is_none()
    });
    right.count() as f64 / count as f64
}

fn noisy(image: RgbImage, index: u64, level: f32) -> RgbImage {
    let noise = normals(index, 77, image.pixels.len());
    let pixels = image.pixels.iter().zip(noise).map(|(p, n)| (f32::from(*p) + level * n).round() as u8).collect();
    RgbImage { pixels, ..image }
}

/// [1 2 1]/4 along both axes.
fn blurred(image: &RgbImage) -> RgbImage {
    let (w, h) = (image.width as i64, image.height as i64);
    let at = |x: i64, y: i64, c| {
        let (x, y) = (x.clamp(0, w - 1), y.clamp(0, h - 1));
        f32::from(image.pixels[(3 * (y * w + x) + c) as usize])
    };
    let along = |x, y, c| 0.25 * at(x - 1, y, c) + 0.5 * at(x, y, c) + 0.25 * at(x + 1, y, c);
    let value = |n: i64| {
        let (x, y, c) = (n / 3 % w, n / 3 / w, n % 3);
        (0.25 * along(x, y - 1, c) + 0.5 * along(x, y, c) + 0.25 * along(x, y + 1, c)).round() as u8
    };
    RgbImage { pixels: (0..3 * w * h).map(value).collect(), ..image.clone() }
}

#[test]
fn rendered_scenes_are_read_back() {
    let plain = World { split: Split::All, ..World::default() };
    for (world, count, least) in [(plain, 500, 0.995), (rich(32), 300, 0.995), (rich(64), 100, 0.995)] {
        let share = share(&world, count, |image, _| image);
        println!("clean, {} pixels, textures {}: {share:.4}", world.side, world.textures);
        assert!(share >= least, "{share} of {world:?}");
    }
}

#[test]
fn noise_and_blur_cost_little() {
    let world = World { split: Split::All, ..World::default() };
    type Spoil<'a> = &'a dyn Fn(RgbImage, u64) -> RgbImage;
    let cases: [(&str, f64, Spoil); 5] = [
        ("noise of 8 levels", 0.99, &|image, index| noisy(image, index, 8.0)),
        ("noise of 16 levels", 0.9, &|image, index| noisy(image, index, 16.0)),
        ("blurred once", 0.99, &|image, _| blurred(&image)),
        ("blurred twice", 0.93, &|image, _| blurred(&blurred(&image))),
        ("blurred once, noise of 8 levels", 0.97, &|image, index| noisy(blurred(&image), index, 8.0)),
    ];
    for (what, least, spoil) in cases {
        let share = share(&world, 150, spoil);
        println!("{what}: {share:.3}");
        assert!(share >= least, "{what}: {share}");
    }
}

#[test]
fn subjects_are_read_by_their_pattern() {
    for side in [32, 64] {
        let world = World { side, split: Split::All, ..World::default() };
        let scenes: Vec<Scene> = (0..60).flat_map(|n| world.story(2, &mut Dice::new(3, 9, n)).scenes).collect();
        let errors: Vec<String> = scenes.iter().filter_map(|scene| wrong(scene, &scene.render())).collect();
        assert!(errors.len() <= 1, "{} of {}:\n{}", errors.len(), scenes.len(), errors.join("\n"));
    }
}

#[test]
fn what_is_no_scene_is_unsure() {
    let picture = |pixels: Vec<u8>| RgbImage::new(32, 32, pixels).unwrap();
    for level in [0, 15, 78, 128, 190, 255] {
        assert!(recognise(&picture(vec![level; 3072])).unwrap().unsure, "flat {level}");
    }
    for seed in 0..200 {
        let uniform = crate::random::philox::uniforms(seed, 5, 3072);
        assert!(recognise(&picture(uniform.iter().map(|u| (255.0 * u) as u8).collect())).unwrap().unsure);
        let grey = normals(seed, 6, 3072).into_iter().map(|n| (128.0 + 40.0 * n) as u8).collect();
        assert!(recognise(&picture(grey)).unwrap().unsure);
    }
    // Smooth noise: what a picture looks like that never got out of its noise.
    for seed in 0..50 {
        let raw = normals(seed, 7, 3072).into_iter().map(|n| (128.0 + 90.0 * n) as u8).collect();
        let smooth = blurred(&blurred(&blurred(&picture(raw))));
        assert!(recognise(&smooth).unwrap().unsure, "seed {seed}");
    }
    assert!(recognise(&RgbImage::new(16, 16, vec![0; 768]).unwrap()).is_err());
    assert!(recognise(&RgbImage { width: 32, height: 32, pixels: vec![] }).is_err());
}
