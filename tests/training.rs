//! What training promises beyond the recorded numbers (those are in `tests/parity.rs`): which parts learn, what checkpoints
//! save, that a model which learns can be looked at, and that it learns.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use common::{gpu, open, tiny};
use dreamllm::gpu::{Gpu, GpuOptions};
use dreamllm::image::{FloatImage, RgbImage, clip_pixels, diffusion_pixels, load};
use dreamllm::models::config::DreamConfig;
use dreamllm::models::dreamllm::{DreamLlm, LoadOptions};
use dreamllm::models::llama::{Llama, Tokens};
use dreamllm::nn::{Lora, Parameters, WeightFormat, Weights};
use dreamllm::ops::adamw::AdamW;
use dreamllm::ops::cross_entropy::IGNORED;
use dreamllm::ops::select::argmax;
use dreamllm::text::{Batch, PaddingSide};
use dreamllm::train::{
    Decay, Draws, GradientSum, Inputs, LossWeights, Objective, Optimiser, RateSchedule, Trained, Trainer,
};
use dreamllm::weights::{CheckpointFolder, WeightFile, WeightSet};
use dreamllm::{Tensor, autograd};
use std::collections::BTreeSet;
use std::sync::Arc;

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

/// Names of what a loss depends on.
fn learning(sum: &GradientSum) -> BTreeSet<String> {
    let moves = |(_, gradient): &(&str, &Tensor)| read(gradient).iter().any(|g| *g != 0.0);
    sum.iter().filter(moves).map(|(name, _)| name.to_string()).collect()
}

fn names(sum: &GradientSum) -> BTreeSet<String> {
    sum.iter().map(|(name, _)| name.to_string()).collect()
}

/// Rows of like length are computed together: a short row beside a much longer one learns what both learn alone.
#[test]
fn rows_of_a_batch_are_as_alone() {
    let (model, parameters, objective) = model(gpu(), Trained { decoder: true, ..Trained::default() });
    let row = |tokens: u32| (0..tokens).map(|at| 3 + (at * at + tokens) % 200).collect::<Vec<u32>>();
    let rows = [row(170), row(9), row(12), row(60)];
    let of = |rows: &[Vec<u32>]| {
        let rows = Batch::new(rows, model.special.pad, PaddingSide::Right);
        let label = |(id, real): (&u32, &bool)| if *real { *id } else { IGNORED };
        let labels = rows.ids.iter().zip(&rows.mask).map(label).collect();
        let inputs = Inputs { rows, labels, images: None, image_places: vec![], dreams: None, dream_places: vec![] };
        let losses = objective.losses(&model, &inputs, None).unwrap();
        let mut sum = GradientSum::default();
        sum.add(&losses, &parameters, 1.0).unwrap();
        let name = "model.layers.0.self_attn.k_proj.weight";
        (f64::from(read(&losses.language)[0]), read(sum.get(name).unwrap()))
    };
    let (together, gradient) = of(&rows);
    let places = |row: &Vec<u32>| (row.len() - 1) as f64;
    let all: f64 = rows.iter().map(places).sum();
    let (mut mean, mut gradients) = (0.0, vec![0f64; gradient.len()]);
    for row in &rows {
        let (loss, gradient) = of(std::slice::from_ref(row));
        mean += loss * places(row) / all;
        gradients.iter_mut().zip(gradient).for_each(|(sum, g)| *sum += f64::from(g) * places(row) / all);
    }
    assert!((together - mean).abs() < 1e-5 * mean, "{together} {mean}");
    let largest = gradients.iter().fold(0f64, |m, g| m.max(g.abs()));
    let worst = gradients.iter().zip(&gradient).fold(0f64, |m, (a, b)| m.max((a - f64::from(*b)).abs()));
    assert!(largest > 0.0 && worst < 1e-4 * largest, "{worst} of {largest}");
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

/// What the configs of the stages train is what `verify` compares with the official stages.
#[test]
fn the_configs_of_the_stages_train_what_the_stages_train() {
    let trained = |name: &str| {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("configs").join(name);
        dreamllm::train::dream::TrainConfig::open(&path).unwrap().trained
    };
    let (comprehension, creation) = (Trained::stage1_comprehension(), Trained::stage1_creation());
    let both = Trained { visual_projector: comprehension.visual_projector, ..creation };
    assert_eq!(trained("stage1.toml"), both);
    assert_eq!(trained("stage2.toml"), Trained::stage2());
    assert_eq!(trained("stage3.toml"), Trained::stage2());
}

#[test]
fn a_frozen_projector_passes_no_gradient() {
    let frozen = Trained { dream_queries: true, clip: true, ..Default::default() };
    assert_eq!(learning(&gradients(frozen).0), BTreeSet::new());
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

/// PyTorch's table is told of the padding token of the config, `<unk>`, and leaves its row alone even where it is read.
#[test]
fn the_padding_token_learns_nothing() {
    let (model, parameters, objective) = model(gpu(), Trained { decoder: true, ..Default::default() });
    let mut inputs = pairs(&model, false);
    let (padding, at) = (model.config.pad_token_id.unwrap(), inputs.rows.width - 12);
    inputs.rows.ids[at] = padding;
    let other = inputs.rows.ids[at - 1] as usize;
    let mut sum = GradientSum::default();
    sum.add(&objective.losses(&model, &inputs, None).unwrap(), &parameters, 1.0).unwrap();
    let table = read(sum.get("model.embed_tokens.weight").unwrap());
    let row = |id: usize| &table[id * 64..(id + 1) * 64];
    assert!(row(padding as usize).iter().all(|g| *g == 0.0) && row(other).iter().any(|g| *g != 0.0));
}

/// AdamW moves a parameter on in a step whose batch has no use for it, as officially: its gradient is zero there, not missing.
#[test]
fn steps_without_a_picture_move_the_queries_on() {
    let mut trainer = trainer(Trained::stage2(), 1e-2, 100);
    trainer.rates = RateSchedule { peak: 1e-2, warmup: 0, total: 100, decay: Decay::Constant };
    let name = "model.dream_embedding.dream_queries";
    let queries = |trainer: &Trainer| read(&trainer.parameters.get(name).unwrap().tensor);
    let draws = draws(&trainer.model, &trainer.objective);
    let with = [(pairs(&trainer.model, true), Some(draws))];
    let without = [(pairs(&trainer.model, false), None)];
    let before = queries(&trainer);
    trainer.step(&with).unwrap();
    let once = queries(&trainer);
    trainer.step(&without).unwrap();
    let twice = queries(&trainer);
    assert_eq!(trainer.optimiser.slots[name].steps, 2);
    // Bias-corrected moments after a gradient and zero: 0.09 / 0.19 over the root of 0.000999 / 0.001999.
    let ratio = (0.09 / 0.19) / (0.000_999f64 / 0.001_999).sqrt();
    for ((a, b), c) in before.iter().zip(&once).zip(&twice).filter(|((a, b), _)| (*a - *b).abs() > 9.9e-3) {
        let (first, second) = (f64::from(b - a), f64::from(c - b));
        assert!((second / first - ratio).abs() < 1e-3, "{first} {second}");
    }
    assert!(before != once && once != twice);
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
    const STEPS: u64 = 40;
    let mut trainer = trainer(Trained::all(), 2e-3, STEPS);
    let draws = draws(&trainer.model, &trainer.objective);
    let batches = [(pairs(&trainer.model, true), Some(draws)), (pairs(&trainer.model, false), None)];
    let mut losses = Vec::new();
    for step in 0..STEPS {
        let done = trainer.step(&batches).unwrap();
        if step == 0 || step + 1 == STEPS {
            losses.push([&done.losses[1].language, &done.losses[0].diffusion].map(|loss| read(loss)[0]));
        }
    }
    println!("words and pictures, first and last: {losses:?}");
    assert!((0..2).all(|part| losses[1][part] < 0.1 * losses[0][part]), "{losses:?}");
    // Both texts are now the most probable words, one after the other, and so what a greedy search writes.
    let inputs = &batches[1].0;
    let logits = trainer.objective.logits(&trainer.model, inputs).unwrap().detach();
    let words = pollster::block_on(argmax(&logits).unwrap().read_u32()).unwrap();
    let learned = |at: &usize| inputs.labels[*at] != IGNORED;
    assert!((1..words.len()).filter(learned).all(|at| words[at - 1] == inputs.labels[at]));
}

/// Adapters learn while their base stays; merged, the weights do the same, and so does what is loaded from the merged weights.
#[test]
fn adapters_learn_beside_frozen_weights_and_merge() {
    let lora =
        Lora { rank: 4, alpha: 8.0, targets: ["q_proj", "o_proj", "down_proj"].map(String::from).into(), seed: 1 };
    let parameters = Trained::default().parameters(2).with_lora(Some(lora));
    let model = load_model(gpu(), &parameters);
    let objective = Objective::new(&model, Trained::default()).unwrap();
    let trained = parameters.trained();
    assert_eq!(trained.len(), 2 * 3 * 2);
    assert!(trained.iter().all(|(name, _)| name.contains(".lora_")), "{:?}", trained[0].0);
    let inputs = pairs(&model, false);
    let plain = load_model(gpu(), &Trained::default().parameters(2));
    // B is zero at first.
    assert_eq!(logits_of(&model, &objective, &inputs), logits_of(&plain, &objective, &inputs));
    let base = read(&parameters.get("model.layers.1.self_attn.q_proj.weight").unwrap().tensor);
    let rates = RateSchedule { peak: 2e-2, warmup: 0, total: 100, decay: Decay::Constant };
    let optimiser = Optimiser::new(AdamW::default(), Some(1.0));
    let mut trainer = Trainer { model, parameters, objective, optimiser, rates, step: 0 };
    let batch = [(pairs(&trainer.model, false), None)];
    let losses: Vec<f32> = (0..8).map(|_| read(&trainer.step(&batch).unwrap().losses[0].language)[0]).collect();
    println!("language losses with adapters: {losses:?}");
    assert!(losses[7] < 0.5 * losses[0], "{losses:?}");
    let Trainer { model, parameters, objective, .. } = trainer;
    assert_eq!(read(&parameters.get("model.layers.1.self_attn.q_proj.weight").unwrap().tensor), base);
    let learned = logits_of(&model, &objective, &batch[0].0);
    let merged = parameters.merged().unwrap();
    assert!(merged.lora().is_none());
    let same = logits_of(&load_model(gpu(), &merged), &objective, &batch[0].0);
    let largest = learned.iter().fold(0f32, |m, x| m.max(x.abs()));
    let worst = learned.iter().zip(&same).fold(0f32, |m, (a, b)| m.max((a - b).abs()));
    println!("merged logits are off by {:e} of the largest", worst / largest);
    assert!(worst < 1e-5 * largest, "{worst} of {largest}");
    assert_ne!(logits_of(&plain, &objective, &batch[0].0), same);
}

fn logits_of(model: &DreamLlm, objective: &Objective, inputs: &Inputs) -> Vec<f32> {
    read(&objective.logits(model, inputs).unwrap().detach())
}

/// A decoder of `layers` layers in memory, 64 wide, with small weights.
fn decoder(gpu: &Gpu, layers: usize) -> Llama {
    let folder = CheckpointFolder::open(tiny()).unwrap();
    let config = DreamConfig { num_hidden_layers: layers, ..folder.config.clone() };
    let mut set = WeightSet::new();
    let (mut header, mut data) = (serde_json::Map::new(), Vec::new());
    let first = "model.layers.0.";
    for tensor in folder.language.tensors() {
        let name = tensor.name().to_string();
        let copies = if name.starts_with(first) { 0..layers } else { 0..1 };
        for layer in copies.filter(|_| !name.starts_with("model.layers.1.")) {
            let start = data.len();
            data.extend(tensor.to_f32().unwrap().iter().flat_map(|x| (0.2 * x).to_le_bytes()));
            let entry =
                serde_json::json!({ "dtype": "F32", "shape": tensor.shape(), "data_offsets": [start, data.len()] });
            header.insert(name.replace(first, &format!("model.layers.{layer}.")), entry);
        }
    }
    let header = serde_json::Value::from(header).to_string();
    let bytes = [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &data].concat();
    set.add(Arc::new(WeightFile::from_bytes("decoder".to_string(), bytes).unwrap()), |name| Some(name.to_string()));
    Llama::load(&Weights::root(&set, gpu, WeightFormat::F32, &|_| ()), &config).unwrap()
}

/// Bytes that one pass to the input and back takes beyond the weights: with checkpoints every layer costs its input alone.
#[test]
fn checkpoints_make_depth_cheap() {
    let peak = |layers: usize, checkpoints: bool| {
        let gpu = open(&GpuOptions::from_env().unwrap());
        let llama = decoder(&gpu, layers);
        let embeds = Tensor::from_f32(&gpu, &vec![0.1; 256 * 64], [1, 256, 64]).unwrap().variable();
        pollster::block_on(embeds.read_f32()).unwrap();
        gpu.take_peak_memory();
        let weights = gpu.memory().0;
        let tokens = Tokens::default();
        let y = match checkpoints {
            true => llama.forward_checkpointed(&embeds, &tokens),
            false => llama.forward(&embeds, &tokens, None),
        };
        let y = y.unwrap();
        drop(autograd::gradients(&y, &y.detach()).unwrap());
        gpu.take_peak_memory() - weights
    };
    println!("layers      plain  checkpoints");
    let table = [2, 4, 8, 16].map(|layers| {
        let [plain, with] = [false, true].map(|checkpoints| peak(layers, checkpoints));
        println!("{layers:>6} {plain:>10} {with:>12}");
        [plain, with]
    });
    let growth = |way: usize| table[3][way] as f64 / table[0][way] as f64;
    assert!(growth(0) > 4.0 && growth(1) < 2.5, "{} without, {} with", growth(0), growth(1));
    assert!(table[3][1] * 4 < table[3][0], "{table:?}");
}
