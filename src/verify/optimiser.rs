//! Recorded AdamW steps: three on one batch, at rates 0, peak and 0.75 peak.

use super::check::Check;
use super::training::{Run, compare_losses};
use super::{Bench, Measure, StageReport};
use crate::Result;
use crate::ops::adamw::AdamW;
use crate::train::{Decay, GradientSum, Optimiser, RateSchedule};
use std::collections::BTreeMap;

/// Bound of losses and norms, relative.
const LOSS: f64 = 1e-4;
/// Bound of parameters, relative to the learning rate.
const PARAMETER: f64 = 5e-2;
/// Bound of how far a tensor has moved, relative.
const UPDATE: f64 = 1e-2;
/// Elements whose gradient is smaller than this, relative to the tensor's largest, move by the sign of rounding.
const NOISE: f32 = 1e-4;
/// As in the gradients' stage: tensors whose gradient is nothing but rounding.
const FLOOR: f64 = 1e-6;

pub(super) async fn adamw(bench: &Bench<'_>, name: &str) -> Result<StageReport> {
    let golden = bench.golden(name)?;
    let mut check = Check::new(name, PARAMETER, Measure::Largest);
    let run = Run::new(bench, name.trim_start_matches("adamw_"))?;
    let settings = &golden.json["optimizer"];
    let setting = |key: &str| settings[key].as_f64().unwrap_or(f64::NAN);
    let adamw = AdamW { weight_decay: setting("weight_decay"), eps: setting("eps"), ..AdamW::default() };
    let mut optimiser = Optimiser::new(adamw, Some(setting("max_grad_norm") as f32));
    let (warmup, total) = (setting("warmup_steps") as u64, setting("total_steps") as u64);
    let rates = RateSchedule { peak: setting("lr"), warmup, total, decay: Decay::Cosine };
    let start = values(&run).await?;
    let (mut clear, mut travelled) = (BTreeMap::new(), 0.0);
    for (step, want) in (0..).zip(golden.json["steps"].as_array().into_iter().flatten()) {
        let at = format!("step {step}");
        let losses = run.losses()?;
        compare_losses(&mut check, &at, &losses, want, LOSS).await?;
        let sum = run.gradients(&losses)?;
        let rate = rates.rate(step);
        travelled += rate;
        check.number(&format!("{at}.lr"), rate, want["lr"].as_f64().unwrap_or(f64::NAN), 1e-9);
        let norm = optimiser.step(&run.model.gpu, &run.parameters, &sum, rate)?.read_f32().await?;
        let recorded = want["grad_norm"].as_f64().unwrap_or(f64::NAN);
        check.number(&format!("{at}.grad_norm"), f64::from(norm[0]), recorded, LOSS);
        mark_clear(&run, &sum, recorded, &mut clear).await?;
    }
    compare_losses(&mut check, "final", &run.losses()?, &golden.json["final"], LOSS).await?;
    let spared = |(name, p): (String, crate::nn::Parameter)| (!p.decays).then_some(name);
    let spared: Vec<String> = run.parameters.trained().into_iter().filter_map(spared).collect();
    check.equal("without decay", &spared, &super::text::texts(&golden.json["no_decay"]));
    for (parameter, new) in values(&run).await? {
        let clear = clear.get(&parameter);
        if golden.has(&parameter) {
            let want = golden.get(&parameter)?.data;
            compare(&mut check, &parameter, [&new, &want], clear, [rates.peak, travelled]);
        }
        let moved = distance(&new, &start[&parameter]);
        let recorded = golden.json["update_norm"][&parameter].as_f64().unwrap_or(f64::NAN);
        if clear.is_none_or(|clear| clear.contains(&true)) {
            check.number(&format!("update of {parameter}"), moved, recorded, UPDATE);
        }
        let norm = new.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt();
        let recorded = golden.json["norms"][&parameter][0].as_f64().unwrap_or(f64::NAN);
        check.number(&format!("norm of {parameter}"), norm, recorded, LOSS);
    }
    Ok(check.finish())
}

/// Current values of everything trained, in the official order.
async fn values(run: &Run) -> Result<BTreeMap<String, Vec<f32>>> {
    let mut values = BTreeMap::new();
    for (name, parameter) in run.parameters.trained() {
        values.insert(name, parameter.official(&parameter.tensor).await?);
    }
    Ok(values)
}

/// Marks the elements whose gradient was more than noise in every step.
async fn mark_clear(run: &Run, sum: &GradientSum, norm: f64, clear: &mut BTreeMap<String, Vec<bool>>) -> Result<()> {
    for (name, gradient) in sum.iter() {
        let gradient = run.parameter(name)?.official(gradient).await?;
        let largest = gradient.iter().fold(0f32, |m, g| m.max(g.abs()));
        // All of a tensor that is nothing but rounding is small.
        let small = if f64::from(largest) < norm * FLOOR { f32::INFINITY } else { NOISE * largest };
        let marks = clear.entry(name.to_string()).or_insert_with(|| vec![true; gradient.len()]);
        marks.iter_mut().zip(&gradient).for_each(|(mark, g)| *mark &= g.abs() > small);
    }
    Ok(())
}

/// Strictly where the gradient was clear; elsewhere an element may have gone the other way in every step.
fn compare(
    check: &mut Check,
    name: &str,
    [got, want]: [&[f32]; 2],
    clear: Option<&Vec<bool>>,
    [peak, travelled]: [f64; 2],
) {
    if got.len() != want.len() {
        return check.fail(format!("{name} has {} elements, recorded {}", got.len(), want.len()));
    }
    let off = |i: usize| f64::from((got[i] - want[i]).abs()) / peak;
    let is_clear = |i: &usize| clear.is_some_and(|clear| clear[*i]);
    let worst = |indices: &mut dyn Iterator<Item = usize>| {
        indices.map(off).fold(0.0, |m: f64, x| if x.is_nan() { f64::INFINITY } else { m.max(x) })
    };
    check.error(name, worst(&mut (0..got.len()).filter(is_clear)), PARAMETER);
    let noisy = worst(&mut (0..got.len()).filter(|i| !is_clear(i)));
    if noisy * peak > 2.0 * travelled {
        check.fail(format!("{name} is off by {noisy:.1e} of the learning rate where its gradient is small"));
    }
}

fn distance(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2)).sum::<f64>().sqrt()
}
