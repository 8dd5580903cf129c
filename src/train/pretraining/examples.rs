//! What a model makes of scenes that it was never trained on: a sheet of pictures and numbers.

use super::batches::{Scenes, for_autoencoder, for_image_encoder};
use super::{PATCH_QUESTIONS, PatchHeads, PretrainConfig, PretrainTask, Pretraining, SceneEncoder, imitation};
use crate::data::shapes::{
    Demand, Object, Scene, Tally, recognise, scene_slots, shows_subject, slots, subject_quarters,
};
use crate::diffusion::SamplerKind;
use crate::diffusion::noise::BatchNoise;
use crate::diffusion::pipeline::{DrawOptions, decode_pictures, pictures, sample};
use crate::image::{RgbImage, replace_file, write_png};
use crate::models::dreamllm::DreamLlm;
use crate::nn::{Parameters, WeightFormat, Weights};
use crate::tensor::Tensor;
use crate::weights::WeightSet;
use crate::{Error, Result};
use serde_json::{Value, json};
use std::path::Path;

/// Scenes that are looked at.
const SCENES: usize = 64;
/// Of these, the ones on the sheet.
const SHOWN: usize = 16;
/// Denoising steps and guidance of the pictures.
const STEPS: usize = 20;
const GUIDANCE: f32 = 2.0;

/// The model with the parameters that are to be looked at.
struct Model<'a> {
    dream: DreamLlm,
    scene_encoder: SceneEncoder,
    heads: PatchHeads,
    config: &'a PretrainConfig,
}

/// Writes `scores.json` and, where there are pictures, `sheet.png`: what is wanted above what was made.
pub(super) async fn show(task: &PretrainTask, parameters: &Parameters, to: &Path) -> Result<()> {
    let (set, gpu) = (WeightSet::new(), &task.model.gpu);
    let w = Weights::root(&set, gpu, WeightFormat::F32, &|_| ()).kept_in(Some(parameters), "");
    let dream = task.model_with(parameters)?;
    let (width, encoder_width) = (dream.diffusion()?.condition_width, task.encoder_width());
    let scene_encoder = SceneEncoder::load(&(&w / "scene_encoder"), width)?;
    let heads = PatchHeads::load(&(&w / "patch_heads"), encoder_width)?;
    let model = Model { dream, scene_encoder, heads, config: &task.config };
    let scenes = task.heldout(SCENES);
    let mut scores = match task.config.pretrain {
        Pretraining::ImageEncoder => model.accuracies(task, &scenes).await?,
        _ => model.pictures(&scenes, to).await?,
    };
    if let Some(records) = &task.records {
        scores["records"] = json!(records.scores(&model.dream, &model.scene_encoder).await?);
    }
    replace_file(to.join("scores.json"), format!("{scores:#}\n").as_bytes())
}

impl Model<'_> {
    async fn pictures(&self, scenes: &Scenes, to: &Path) -> Result<Value> {
        let wanted = scenes.render();
        let diffusion = self.dream.diffusion()?;
        let made = match self.config.pretrain {
            Pretraining::Autoencoder | Pretraining::Decoder => {
                let pixels = for_autoencoder(&self.dream.gpu, &wanted, diffusion.resolution)?;
                pictures(&diffusion.vae.decode(&diffusion.vae.encode(&pixels)?.mean)?).await?
            }
            _ => self.draw(&self.conditions(scenes)?).await?,
        };
        write_png(to.join("sheet.png"), &sheet(&wanted, &made)?, &[])?;
        let right = self.right(scenes, &made)?;
        let [subjects, quarters] = subjects(scenes, &made)?;
        Ok(json!({
            "scenes": made.len(),
            "all_correct": right,
            "subjects": subjects,
            "quarters": quarters,
            "psnr": psnr(&wanted, &made),
        }))
    }

    /// Share of the pictures that show, as the recogniser reads them, everything that they were to show: the whole scene, or what
    /// the caption says of it. Scenes with patterns are left out.
    fn right(&self, scenes: &Scenes, made: &[RgbImage]) -> Result<f64> {
        let mut tally = Tally::default();
        for ((scene, (_, said)), picture) in scenes.scenes.iter().zip(&scenes.captions).zip(made) {
            let plain = scene.objects.iter().all(|object| object.pattern.is_none());
            let demand = if self.config.pretrain == Pretraining::Imitation { said } else { &Demand::of(scene) };
            if plain {
                tally.add(demand.judge(&recognise(picture)?).all);
            }
        }
        Ok(share(tally))
    }

    /// Condition vectors of scenes, and those of nothing.
    fn conditions(&self, scenes: &Scenes) -> Result<[Tensor; 2]> {
        let gpu = &self.dream.gpu;
        if self.config.pretrain == Pretraining::Imitation {
            let texts: Vec<Option<&str>> = scenes.captions.iter().map(|(text, _)| Some(text.as_str())).collect();
            let nothing = vec![None; texts.len()];
            return Ok([imitation::conditions(&self.dream, &texts)?, imitation::conditions(&self.dream, &nothing)?]);
        }
        let told: Vec<_> = scenes.scenes.iter().map(scene_slots).collect();
        let nothing = vec![slots(None, &[]); told.len()];
        Ok([self.scene_encoder.forward(gpu, &told)?, self.scene_encoder.forward(gpu, &nothing)?])
    }

    async fn draw(&self, [condition, nothing]: &[Tensor; 2]) -> Result<Vec<RgbImage>> {
        let (diffusion, rows) = (self.dream.diffusion()?, condition.shape().as_slice()[0]);
        let (width, height) = (diffusion.resolution, diffusion.resolution);
        let options = DrawOptions {
            steps: STEPS,
            cfg_scale: GUIDANCE,
            sampler: SamplerKind::Ddim,
            width,
            height,
            batch: rows,
            ..Default::default()
        };
        let mut noise = BatchNoise::new(options.rng, options.seed, rows);
        let quiet = async |_: crate::diffusion::pipeline::Step<'_>| Ok(());
        let latents = sample(diffusion, condition, Some(nothing), &options, None, &mut noise, quiet).await?;
        decode_pictures(diffusion, &latents, None).await
    }

    /// How often each head is right.
    async fn accuracies(&self, task: &PretrainTask, scenes: &Scenes) -> Result<Value> {
        let vision = self.dream.vision()?;
        let pixels = for_image_encoder(&self.dream.gpu, &scenes.render(), &vision.preprocess)?;
        let given = self.heads.scores(vision, &pixels)?;
        let labels = task.labels(scenes)?;
        let mut scores = json!({ "scenes": scenes.scenes.len() });
        for (((name, answers), given), labels) in PATCH_QUESTIONS.iter().zip(given).zip(&labels.0) {
            scores[*name] = accuracy(&given.read_f32().await?, *answers, labels).into();
        }
        Ok(scores)
    }
}

/// Of the subjects, the share that has its outline and all quarters right, and the share of right quarters.
fn subjects(scenes: &Scenes, made: &[RgbImage]) -> Result<[Option<f64>; 2]> {
    let (mut whole, mut quarters) = (Tally::default(), Tally::default());
    for (scene, picture) in scenes.scenes.iter().zip(made) {
        let Some(n) = scene.objects.iter().position(Object::is_subject) else { continue };
        let subject = Scene { objects: vec![scene.objects[n]], ..scene.clone() };
        let reading = recognise(picture)?;
        let right = subject_quarters(&subject, &reading);
        quarters = Tally { right: quarters.right + right.right, asked: quarters.asked + right.asked };
        whole.add(shows_subject(&subject, &reading));
    }
    Ok([whole, quarters].map(|tally| (tally.asked > 0).then(|| share(tally))))
}

fn share(tally: Tally) -> f64 {
    tally.right as f64 / tally.asked.max(1) as f64
}

/// Share of rows whose largest score is at the label.
fn accuracy(scores: &[f32], classes: usize, labels: &[u32]) -> f64 {
    let best = |row: &[f32]| (0..row.len()).max_by(|&a, &b| row[a].total_cmp(&row[b]));
    let right = scores.chunks_exact(classes).zip(labels).filter(|(row, label)| best(row) == Some(**label as usize));
    right.count() as f64 / labels.len().max(1) as f64
}

/// Two rows of pictures.
fn sheet(wanted: &[RgbImage], made: &[RgbImage]) -> Result<RgbImage> {
    let first = wanted.first().ok_or_else(|| Error::Input("there is nothing to show".into()))?;
    let (width, height, shown) = (first.width, first.height, SHOWN.min(wanted.len()));
    let mut pixels = Vec::with_capacity(6 * shown * width * height);
    for (row, y) in [wanted, made].iter().flat_map(|row| (0..height).map(move |y| (row, y))) {
        for picture in row.iter().take(shown) {
            pixels.extend_from_slice(picture.pixels.get(3 * width * y..3 * width * (y + 1)).unwrap_or_default());
        }
    }
    RgbImage::new(shown * width, 2 * height, pixels)
}

/// Peak signal-to-noise ratio over all pictures, dB.
fn psnr(wanted: &[RgbImage], made: &[RgbImage]) -> f64 {
    let pairs = wanted.iter().zip(made).flat_map(|(a, b)| a.pixels.iter().zip(&b.pixels));
    let (sum, count) = pairs.fold((0.0, 0), |(sum, n), (a, b)| (sum + f64::from(a.abs_diff(*b)).powi(2), n + 1));
    10.0 * (255.0 * 255.0 * count as f64 / sum.max(1e-9)).log10()
}
