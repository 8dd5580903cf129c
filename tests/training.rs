//! What training promises beyond the recorded numbers (those are in `tests/parity.rs`): which parts learn, what checkpoints
//! save, that a model which learns can be looked at, and that it learns.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use common::{gpu, open, tiny};
use dreamllm::Tensor;
use dreamllm::gpu::{Gpu, GpuOptions};
use dreamllm::image::{FloatImage, RgbImage, clip_pixels, diffusion_pixels, load};
use dreamllm::models::dreamllm::{DreamLlm, LoadOptions};
use dreamllm::nn::Parameters;
use dreamllm::ops::adamw::AdamW;
use dreamllm::ops::cross_entropy::IGNORED;
use dreamllm::text::{Batch, PaddingSide};
use dreamllm::train::{
    Decay, Draws, GradientSum, Inputs, LossWeights, Objective, Optimiser, RateSchedule, Trained, Trainer,
};
use dreamllm::weights::CheckpointFolder;
use std::collections::BTreeSet;

/// The pictures and texts of the reference's `pairs.json`.
const PAIRS: [(&str, &str); 2] = [
    ("rgb_97x61.png", "A photo of a dog running on the green grass."),
    ("rgb_64x48.jpg", "A cup of coffee next to an open book, close shot."),
];

fn load_model(gpu: &Gpu, parameters: &Parameters) -> DreamLlm {
    let options = LoadOptions { vision: true, diffusion: true, ..Default::default() };
    DreamLlm::load_with(&CheckpointFolder::open(tiny()).unwrap(), gpu, options, Some(parameters), &|_| ()).unwrap()
}

/// The tiny checkpoint with some parts that learn, on a device of its own or the shared one.
fn model(gpu: &Gpu, trained: Trained) -> (DreamLlm, Parameters, Objective) {
    let parameters = trained.parameters(2);
    let model = load_model(gpu, &parameters);
    assert_eq!(model.vision().unwrap().select, 2);
    let objective = Objective::new(&model, trained).unwrap();
    (model, parameters, objective)
}

fn pixels(gpu: &Gpu, prepare: impl Fn(&RgbImage) -> FloatImage) -> Tensor {
    let pictures = PAIRS.map(|(file, _)| prepare(&load(tiny().join("reference/images").join(file)).unwrap()));
    let values: Vec<f32> = pictures.iter().flat_map(|p| p.values.iter().copied()).collect();
    Tensor::from_f32(gpu, &values, [2, pictures[0].height, pictures[0].width, 3]).unwrap()
}

/// Both pairs in one direction: `<s>` picture text `</s>` to be told, or `<s>` text dream `</s>` to be drawn.
fn pairs(model: &DreamLlm, creation: bool) -> Inputs {
    let (s, vision) = (&model.special, model.vision().unwrap());
    let block = |start, count, end| [&[start][..], &vec![s.im_patch; count], &[end]].concat();
    let rows = PAIRS.map(|(_, text)| {
        let text = model.tokenizer.encode(text)[1..].to_vec();
        let picture = block(s.im_start, vision.patches, s.im_end);
        let dream = block(s.dream_start, model.dream_queries.shape().as_slice()[0], s.dream_end);
        let (before, after) = if creation { (text, dream) } else { (picture, text) };
        [vec![s.bos], before, after, vec![s.eos]].concat()
    });
    let batch = Batch::new(&rows, s.pad, PaddingSide::Right);
    let told = |(at, id): (usize, &u32)| {
        let learned = !creation && batch.mask[at] && at % batch.width > vision.patches + 2;
        if learned { *id } else { IGNORED }
    };
    let behind = |start| (1..).zip(&batch.ids).filter(|(_, id)| **id == start).map(|(at, _)| at).collect::<Vec<_>>();
    let gpu = &model.gpu;
    let for_clip = |image: &RgbImage| clip_pixels(image, &vision.preprocess).unwrap();
    let for_vae = |image: &RgbImage| diffusion_pixels(image, 32).unwrap();
    Inputs {
        labels: batch.ids.iter().enumerate().map(told).collect(),
        images: (!creation).then(|| pixels(gpu, for_clip)),
        image_places: behind(s.im_start),
        dreams: creation.then(|| pixels(gpu, for_vae)),
        dream_places: behind(s.dream_start),
        rows: batch,
    }
}

fn draws(model: &DreamLlm, objective: &Objective) -> Draws {
    Draws::seeded(&model.gpu, 7, [2, 16, 16, 4], objective.schedule.timesteps(), &objective.options).unwrap()
}

/// Gradients of both directions together.
fn gradients(trained: Trained) -> (GradientSum, Parameters) {
    let (model, parameters, objective) = model(gpu(), trained);
    let mut sum = GradientSum::default();
    for creation in [true, false] {
        let draws = draws(&model, &objective);
        let losses = objective.losses(&model, &pairs(&model, creation), Some(&draws)).unwrap();
        sum.add(&losses, &parameters, 1.0).unwrap();
    }
    (sum, parameters)
}

fn read(x: &Tensor) -> Vec<f32> {
    pollster::block_on(x.read_f32()).unwrap()
}

fn names(sum: &GradientSum) -> BTreeSet<String> {
    sum.iter().map(|(name, _)| name.to_string()).collect()
}

#[test]
fn only_trained_parts_have_gradients() {
    let projector = "model.clip_vision_embedding.projector.projector";
    let (sum, parameters) = gradients(Trained::stage1_comprehension());
    assert_eq!(names(&sum), [format!("{projector}.bias"), format!("{projector}.weight")].into());
    // Everything is known by name, not only what learns.
    assert!(parameters.all().len() > 450, "{}", parameters.all().len());
    assert_eq!(parameters.trained().len(), 2);
    let (sum, _) = gradients(Trained::stage1_creation());
    let creation = ["model.dream_embedding.dream_queries", "stable_diffusion_head.projector.projector.weight"];
    assert_eq!(names(&sum), creation.map(String::from).into());
}

#[test]
fn a_frozen_projector_passes_no_gradient() {
    let frozen = Trained { dream_queries: true, clip: true, ..Default::default() };
    assert_eq!(names(&gradients(frozen).0), BTreeSet::new());
    let (sum, _) = gradients(Trained { condition_projector: true, visual_projector: true, ..frozen });
    assert!(sum.get("model.dream_embedding.dream_queries").is_some());
    assert!(names(&sum).iter().any(|name| name.contains("encoder.layers.1.")), "{:?}", names(&sum));
    // Neither what lies behind the hidden state that is read, nor the embeddings.
    let beyond = |name: &String| ["layers.2.", "post_layernorm", "embeddings"].iter().any(|part| name.contains(part));
    assert!(!names(&sum).iter().any(beyond), "{:?}", names(&sum));
}

#[test]
fn checkpoints_give_the_same_bits_in_less_memory() {
    let run = |checkpoints| {
        // A device of its own, whose memory nobody else uses.
        let gpu = open(&GpuOptions::from_env().unwrap());
        let (model, parameters, mut objective) = model(&gpu, Trained { decoder: true, ..Default::default() });
        objective.checkpoints = checkpoints;
        let inputs = pairs(&model, false);
        gpu.take_peak_memory();
        let mut sum = GradientSum::default();
        sum.add(&objective.losses(&model, &inputs, None).unwrap(), &parameters, 1.0).unwrap();
        let peak = gpu.take_peak_memory();
        let bits = |(name, x): (&str, &Tensor)| (name.to_string(), read(x).iter().map(|x| x.to_bits()).collect());
        (peak, sum.iter().map(bits).collect::<Vec<(String, Vec<u32>)>>())
    };
    let ((plain, without), (less, with)) = (run(false), run(true));
    assert!(without.len() == 21 && without == with, "{} gradients", without.len());
    println!("{plain} bytes without checkpoints, {less} with");
    assert!(less < plain, "{less} bytes with checkpoints, {plain} without");
}

#[test]
fn batches_are_averaged() {
    let (model, parameters, objective) = model(gpu(), Trained::stage1_comprehension());
    let inputs = pairs(&model, false);
    let sum = |weights: &[f32]| {
        let mut sum = GradientSum::default();
        for weight in weights {
            sum.add(&objective.losses(&model, &inputs, None).unwrap(), &parameters, *weight).unwrap();
        }
        read(sum.get("model.clip_vision_embedding.projector.projector.weight").unwrap())
    };
    let (once, quarters) = (sum(&[1.0]), sum(&[0.25, 0.5, 0.25]));
    let largest = once.iter().fold(0f32, |m, g| m.max(g.abs()));
    assert!(largest > 0.0 && once.iter().zip(&quarters).all(|(a, b)| (a - b).abs() < 1e-5 * largest));
}

fn trainer(trained: Trained, peak: f64, total: u64) -> Trainer {
    let (model, parameters, mut objective) = model(gpu(), trained);
    objective.weights = LossWeights { language: 1.0, diffusion: 10.0, ..objective.weights };
    let rates = RateSchedule { peak, warmup: 2, total, decay: Decay::Cosine };
    let optimiser = Optimiser::new(AdamW::default(), Some(1.0));
    Trainer { model, parameters, objective, optimiser, rates, step: 0 }
}

#[test]
fn what_was_learned_is_seen_without_a_tape() {
    let mut trainer = trainer(Trained::stage2(), 1e-2, 10);
    let question = |model: &DreamLlm| model.context(PAIRS[0].1, &[]).unwrap();
    let look = |parameters: &Parameters| {
        // A cache has no backward pass: were anything tracked, this would be an error.
        let model = load_model(gpu(), &parameters.detached());
        read(&model.condition(&question(&model)).unwrap())
    };
    let before = look(&trainer.parameters);
    for step in 0..2 {
        let draws = draws(&trainer.model, &trainer.objective);
        let batches = [(pairs(&trainer.model, true), Some(draws)), (pairs(&trainer.model, false), None)];
        assert_eq!(trainer.step(&batches).unwrap().losses.len(), 2);
        // With a warm-up the first step has rate 0.
        assert_eq!(look(&trainer.parameters) == before, step == 0);
    }
    let tracked = trainer.model.condition(&question(&trainer.model)).unwrap_err().to_string();
    assert!(tracked.contains("no backward pass"), "{tracked}");
}

/// Two pairs in both directions with fixed noise: words and noise are learned by heart.
#[test]
fn two_pairs_are_learned_by_heart() {
    let steps: u64 = std::env::var("STEPS").map_or(60, |s| s.parse().unwrap());
    let peak: f64 = std::env::var("PEAK").map_or(5e-3, |s| s.parse().unwrap());
    let mut trainer = trainer(Trained::all(), peak, steps);
    let draws = draws(&trainer.model, &trainer.objective);
    let mut batches = [(pairs(&trainer.model, true), Some(draws)), (pairs(&trainer.model, false), None)];
    let mut losses = Vec::new();
    for step in 0..=steps {
        let step_ = trainer.step(&mut batches).unwrap();
        if step % 10 == 0 {
            let [drawn, told] = [&step_.losses[0].diffusion, &step_.losses[1].language].map(|loss| read(loss)[0]);
            println!("step {step}: words {told}, pictures {drawn}");
            losses.push([told, drawn]);
        }
    }
    let (first, last) = (losses[0], losses[losses.len() - 1]);
    assert!(last[0] < 0.1 * first[0] && last[1] < 0.1 * first[1], "{first:?} to {last:?}");
}
