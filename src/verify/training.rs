//! Losses and gradients of recorded batches against the official code's.

use super::check::Check;
use super::golden::Golden;
use super::text::texts;
use super::{Bench, Measure, StageReport};
use crate::diffusion::NoiseSchedule;
use crate::models::config::{LossScaleSchedule, PredictionType};
use crate::models::dreamllm::{DreamLlm, LoadOptions};
use crate::nn::{Parameter, Parameters, probe};
use crate::ops::cross_entropy::IGNORED;
use crate::text::Batch;
use crate::train::{DiffusionOptions, Draws, GradientSum, Inputs, LossWeights, Losses, Objective, Trained};
use crate::{Error, Result};
use serde_json::Value;

/// Bound of losses, relative.
const LOSS: f64 = 5e-5;
/// Bound of gradients, relative to the tensor's largest magnitude.
const GRADIENT: f64 = 2e-4;
/// Gradients need not be nearer than this, relative to the norm of all: some are zero but for rounding.
const FLOOR: f64 = 1e-6;

/// The recorded stages: name, what learns, weights of the losses, batch.
type Stage = (&'static str, fn() -> Trained, [f64; 2], &'static str);
const STAGES: [Stage; 4] = [
    ("stage1_creation", Trained::stage1_creation, [0.0, 1.0], "creation"),
    ("stage1_comprehension", Trained::stage1_comprehension, [1.0, 0.0], "comprehension"),
    ("stage2", Trained::stage2, [1.0, 10.0], "mixed"),
    ("all", Trained::all, [1.0, 10.0], "mixed"),
];

/// A model of a stage on its batch.
pub(super) struct Run {
    pub model: DreamLlm,
    pub parameters: Parameters,
    pub objective: Objective,
    pub inputs: Inputs,
    pub draws: Option<Draws>,
}

impl Run {
    /// `stage` is a name that begins like a stage's.
    pub fn new(bench: &Bench<'_>, stage: &str) -> Result<Run> {
        let unknown = || Error::Input(format!("verify: there is no training stage {stage}"));
        let named =
            |(name, ..): &&Stage| stage == *name || stage.strip_prefix(name).is_some_and(|s| s.starts_with('_'));
        let (_, trained, [language, diffusion], batch) = STAGES.iter().find(named).ok_or_else(unknown)?;
        let trained = trained();
        let parameters = trained.parameters(bench.model.vision()?.select);
        let options = LoadOptions { vision: true, diffusion: true, ..Default::default() };
        let model = DreamLlm::load_with(bench.folder, &bench.model.gpu, options, Some(&parameters), &|_| ())?;
        let mut objective = Objective::new(&model, trained)?;
        objective.weights =
            LossWeights { language: *language, diffusion: *diffusion, schedule: LossScaleSchedule::None };
        objective.options = DiffusionOptions::default();
        let golden = bench.golden("train_batches")?;
        let inputs = inputs(&model, &golden, batch)?;
        let draws = inputs.dreams.is_some().then(|| draws(&model, &golden, batch)).transpose()?;
        Ok(Run { model, parameters, objective, inputs, draws })
    }

    pub fn losses(&self) -> Result<Losses> {
        self.objective.losses(&self.model, &self.inputs, self.draws.as_ref())
    }

    pub fn gradients(&self, losses: &Losses) -> Result<GradientSum> {
        let mut sum = GradientSum::default();
        sum.add(losses, &self.parameters, 1.0)?;
        Ok(sum)
    }

    pub fn parameter(&self, name: &str) -> Result<Parameter> {
        self.parameters.get(name).ok_or_else(|| Error::Input(format!("there is no parameter {name}")))
    }
}

/// A recorded batch.
fn inputs(model: &DreamLlm, golden: &Golden, batch: &str) -> Result<Inputs> {
    let shape = golden.get(&format!("{batch}.input_ids"))?.shape;
    let ids = golden.ids(&format!("{batch}.input_ids"))?;
    let mask = golden.ids(&format!("{batch}.attention_mask"))?.iter().map(|real| *real != 0).collect();
    let label = |label: &f32| if *label < 0.0 { IGNORED } else { *label as u32 };
    let labels = golden.get(&format!("{batch}.labels"))?.data.iter().map(label).collect();
    let pictures = |kind: &str| {
        let name = format!("{batch}.{kind}");
        golden.has(&name).then(|| golden.get(&name)?.channels_last().to_tensor(&model.gpu)).transpose()
    };
    let behind = |start| (1..).zip(&ids).filter(|(_, id)| **id == start).map(|(place, _)| place).collect();
    Ok(Inputs {
        labels,
        images: pictures("images")?,
        image_places: behind(model.special.im_start),
        dreams: pictures("images_dm")?,
        dream_places: behind(model.special.dream_start),
        rows: Batch { mask, rows: shape[0], width: shape.get(1).copied().unwrap_or(0), ids },
    })
}

/// The random numbers that were recorded with a batch.
fn draws(model: &DreamLlm, golden: &Golden, batch: &str) -> Result<Draws> {
    let tensor = |name: &str| golden.get(&format!("{batch}.{name}"))?.channels_last().to_tensor(&model.gpu);
    Ok(Draws {
        latent: tensor("vae_noise")?,
        noise: tensor("noise")?,
        offset: Some(tensor("offset_noise")?),
        perturbation: Some(tensor("perturb_noise")?),
        timesteps: golden.ids(&format!("{batch}.timesteps"))?.iter().map(|&t| t as usize).collect(),
        dropped: golden.get(&format!("{batch}.drop_mask"))?.data.iter().map(|&m| m != 0.0).collect(),
    })
}

/// Compares the three losses with those of a JSON object.
pub(super) async fn compare_losses(
    check: &mut Check,
    name: &str,
    losses: &Losses,
    want: &Value,
    bound: f64,
) -> Result<()> {
    for (part, loss) in [("loss", &losses.sum), ("lm_loss", &losses.language), ("vm_loss", &losses.diffusion)] {
        if let Some(want) = want[part].as_f64() {
            let got = loss.read_f32().await?;
            check.number(&format!("{name}.{part}"), got.first().copied().unwrap_or(f32::NAN).into(), want, bound);
        }
    }
    Ok(())
}

/// Losses of all stages, and what went into and came out of the UNet.
pub(super) async fn losses(bench: &Bench<'_>) -> Result<StageReport> {
    let golden = bench.golden("train_losses")?;
    let mut check = Check::new("train_losses", LOSS, Measure::Largest);
    for (stage, ..) in STAGES {
        if golden.json[stage].is_null() {
            continue;
        }
        let mut run = Run::new(bench, stage)?;
        let (losses, seen) = probe::watch(|| run.losses());
        compare_losses(&mut check, stage, &losses?, &golden.json[stage], LOSS).await?;
        for (part, x) in seen {
            let name = format!("{stage}.{part}");
            if golden.has(&name) {
                check.tensor(&name, &x, &golden.get(&name)?.as_ours()).await?;
            }
        }
        let logits = format!("{stage}.logits");
        if golden.has(&logits) {
            let got = run.objective.logits(&run.model, &run.inputs)?;
            check.tensor(&logits, &got, &golden.get(&logits)?).await?;
        }
        for (suffix, schedule) in [("l1_norm", LossScaleSchedule::L1Norm), ("l2_norm", LossScaleSchedule::L2Norm)] {
            let name = format!("{stage}_{suffix}");
            if !golden.json[&name].is_null() {
                run.objective.weights.schedule = schedule;
                compare_losses(&mut check, &name, &run.losses()?, &golden.json[&name], LOSS).await?;
            }
        }
    }
    Ok(check.finish())
}

/// The gradient of every parameter of a stage: all elements where they are recorded, norm and sum where only these are.
pub(super) async fn gradients(bench: &Bench<'_>, name: &str) -> Result<StageReport> {
    let golden = bench.golden(name)?;
    let mut check = Check::new(name, GRADIENT, Measure::Largest);
    let run = Run::new(bench, name.trim_start_matches("grads_"))?;
    let sum = run.gradients(&run.losses()?)?;
    let without: Vec<String> = run.parameters.trained().into_iter().map(|(name, _)| name).collect();
    let without: Vec<&String> = without.iter().filter(|name| sum.get(name).is_none()).collect();
    let mut recorded = texts(&golden.json["trainable_without_grad"]);
    recorded.sort();
    check.equal("trained without a gradient", &without, &recorded.iter().collect());
    let norms = golden.json["norms"].as_object().cloned().unwrap_or_default();
    check.equal("number of gradients", &sum.iter().count(), &norms.len());
    let part = |entry: &Value, i: usize| entry[i].as_f64().unwrap_or(f64::NAN);
    let global = norms.values().map(|entry| part(entry, 0).powi(2)).sum::<f64>().sqrt();
    let mut near = 0;
    for (parameter, entry) in &norms {
        let Some(gradient) = sum.get(parameter) else {
            check.fail(format!("{parameter} has no gradient"));
            continue;
        };
        let got = run.parameter(parameter)?.official(gradient).await?;
        if golden.has(parameter) {
            let off = distance(&got, &golden.get(parameter)?.data, global);
            near += usize::from(off < 2e-5);
            check.error(parameter, off, GRADIENT);
        }
        // A sum of n elements is off by at most √n times the norm of what they are off by.
        let (norm, total) = got.iter().fold((0.0, 0.0), |(n, t), &g| (n + f64::from(g).powi(2), t + f64::from(g)));
        let scale = part(entry, 0).max(global * FLOOR / GRADIENT);
        check.error(&format!("norm of {parameter}"), (norm.sqrt() - part(entry, 0)).abs() / scale, GRADIENT);
        let off = (total - part(entry, 1)).abs() / (scale * (got.len() as f64).sqrt());
        check.error(&format!("sum of {parameter}"), off, GRADIENT);
    }
    let stored = golden.names().len();
    check.note(format!("{near} of {stored} recorded tensors are within 2e-5"));
    Ok(check.finish())
}

/// Largest error, relative to the largest magnitude or to what counts as rounding.
fn distance(got: &[f32], want: &[f32], global: f64) -> f64 {
    if got.len() != want.len() {
        return f64::INFINITY;
    }
    let largest = want.iter().fold(0.0, |m: f64, w| m.max(w.abs().into()));
    let far = |m: f64, d: f32| if d.is_nan() { f64::INFINITY } else { m.max(d.abs().into()) };
    let off = got.iter().zip(want).map(|(g, w)| g - w).fold(0.0, far);
    off / largest.max(global * FLOOR / GRADIENT)
}

/// The options of the diffusion loss, with the gradients that are recorded of each.
pub(super) async fn variants(bench: &Bench<'_>) -> Result<StageReport> {
    let golden = bench.golden("vm_variants")?;
    let mut check = Check::new("vm_variants", GRADIENT, Measure::Largest);
    let mut run = Run::new(bench, "stage2")?;
    let norms = bench.golden("train_losses")?.json["stage2"]["grad_norm"].as_f64().unwrap_or(0.0);
    for (name, variant) in golden.json["variants"].as_object().into_iter().flatten() {
        let option = |key: &str| variant["kwargs"][key].as_f64();
        run.objective.options = DiffusionOptions {
            noise_offset: option("noise_offset").unwrap_or(0.0),
            input_perturbation: option("input_perturbation").unwrap_or(0.0),
            snr_gamma: option("snr_gamma"),
            drop_prob: option("drop_prob"),
        };
        let mut scheduler = run.model.diffusion()?.scheduler.clone();
        scheduler.prediction_type = match variant["prediction_type"].as_str() {
            Some("v_prediction") => PredictionType::VPrediction,
            _ => PredictionType::Epsilon,
        };
        run.objective.schedule = NoiseSchedule::new(&scheduler)?;
        let losses = run.losses()?;
        compare_losses(&mut check, name, &losses, variant, LOSS).await?;
        let sum = run.gradients(&losses)?;
        let recorded = golden.names();
        let of = format!("{name}.grad.");
        for (full, parameter) in recorded.iter().filter_map(|full| Some((full, full.strip_prefix(&of)?))) {
            let gradient = sum.get(parameter).ok_or_else(|| Error::Input(format!("{parameter} has no gradient")))?;
            let got = run.parameter(parameter)?.official(gradient).await?;
            check.error(full, distance(&got, &golden.get(full)?.data, norms), GRADIENT);
        }
    }
    Ok(check.finish())
}
