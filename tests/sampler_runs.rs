//! Samplers where the answer is known in closed form, runs that begin late, and what is refused.
//!
//! For data that are normal with deviation s the best prediction is known, ε = σ_t·x/(α_t²·s² + σ_t²), and the
//! probability flow takes x from one level to another by the factor √(α'²s² + σ'²)/√(α²s² + σ²).

#![allow(clippy::unwrap_used)]

mod common;

use common::gpu;
use dreamllm::Tensor;
use dreamllm::diffusion::{NoiseSchedule, Sampler, SamplerKind, SamplerOptions};
use dreamllm::models::config::{Config, PredictionType, SchedulerConfig};
use serde_json::{Value, json};

const DATA_DEVIATION: f64 = 0.5;

/// Stable Diffusion's config with changes.
fn config(changes: &[(&str, Value)]) -> SchedulerConfig {
    let mut value = json!({
        "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "steps_offset": 1,
        "clip_sample": false, "set_alpha_to_one": false, "skip_prk_steps": true,
    });
    for (key, change) in changes {
        value[*key] = change.clone();
    }
    SchedulerConfig::from_json("config", value.to_string().as_bytes()).unwrap()
}

fn sampler(kind: SamplerKind, config: &SchedulerConfig, steps: usize, karras: bool) -> Sampler {
    Sampler::new(kind, config, steps, SamplerOptions { eta: 0.0, karras, spacing: None }).unwrap()
}

fn tensor(values: &[f32]) -> Tensor {
    Tensor::from_f32(gpu(), values, [1, 1, 1, values.len()]).unwrap()
}

fn host(x: &Tensor) -> Vec<f32> {
    pollster::block_on(x.read_f32()).unwrap()
}

/// α and σ of the latent that the UNet sees at step `i`.
fn level(sampler: &Sampler, config: &SchedulerConfig, i: usize) -> (f64, f64) {
    match sampler.sigmas() {
        Some(sigmas) => of_sigma(sigmas[i]),
        None => NoiseSchedule::new(config).unwrap().signal_and_noise(sampler.timesteps()[i] as usize).unwrap(),
    }
}

fn of_sigma(sigma: f64) -> (f64, f64) {
    let alpha = 1.0 / (1.0 + sigma * sigma).sqrt();
    (alpha, alpha * sigma)
}

fn end(sampler: &Sampler, config: &SchedulerConfig) -> (f64, f64) {
    match sampler.sigmas() {
        Some(sigmas) => of_sigma(*sigmas.last().unwrap()),
        None => NoiseSchedule::new(config).unwrap().signal_and_noise(0).unwrap(),
    }
}

fn deviation((alpha, sigma): (f64, f64)) -> f64 {
    (alpha * alpha * DATA_DEVIATION * DATA_DEVIATION + sigma * sigma).sqrt()
}

/// The best prediction as a factor on the UNet's input.
fn predicted(kind: PredictionType, (alpha, sigma): (f64, f64)) -> f64 {
    let noise = sigma / deviation((alpha, sigma)).powi(2);
    let clean = (1.0 - sigma * noise) / alpha;
    match kind {
        PredictionType::Epsilon => noise,
        PredictionType::Sample => clean,
        PredictionType::VPrediction => alpha * noise - sigma * clean,
    }
}

/// Relative error of the latent at step `stop`, or at the end, of a run from step `start`.
fn flow_error(sampler: &mut Sampler, config: &SchedulerConfig, start: usize, stop: usize) -> f64 {
    let mut x = tensor(&[1.0, -0.3, 2.0, 0.7]);
    for i in start..stop {
        let input = sampler.scale_input(i, &x).unwrap();
        let output = input.scale(predicted(config.prediction_type, level(sampler, config, i)) as f32).unwrap();
        x = sampler.step(i, &output, &x, None).unwrap();
    }
    // Euler's latents are larger by 1/α than what the UNet sees.
    let seen = host(&sampler.scale_input(start, &tensor(&[1.0])).unwrap())[0];
    let reached = if stop < sampler.timesteps().len() { level(sampler, config, stop) } else { end(sampler, config) };
    let exact = f64::from(seen) * deviation(reached) / deviation(level(sampler, config, start));
    (f64::from(host(&x)[0]) / exact - 1.0).abs()
}

/// Errors of 50 steps: those of first order, those that take one long step at the end, and the others.
const DETERMINISTIC: [(SamplerKind, bool, f64); 8] = [
    (SamplerKind::Ddim, false, 5e-2),
    (SamplerKind::Pndm, false, 3e-2),
    (SamplerKind::DpmSolver, false, 5e-2),
    (SamplerKind::DpmSolver, true, 3e-3),
    (SamplerKind::Euler, false, 6e-2),
    (SamplerKind::Euler, true, 4e-2),
    (SamplerKind::UniPc, false, 3e-2),
    (SamplerKind::UniPc, true, 5e-4),
];

#[test]
fn follow_the_flow_from_any_start() {
    for (kind, karras, tolerance) in DETERMINISTIC {
        for prediction in ["epsilon", "v_prediction", "sample"] {
            let config = config(&[("prediction_type", json!(prediction))]);
            // One sampler for all starts: nothing of an earlier run may be left.
            let mut sampler = sampler(kind, &config, 50, karras);
            for start in [0, 1, 2, 20, 45] {
                let stop = sampler.timesteps().len();
                let error = flow_error(&mut sampler, &config, start, stop);
                println!("{kind:10} karras {karras:5} {prediction} from {start}: {error:.1e}");
                assert!(error < tolerance, "{kind} {karras} {prediction} from {start}: {error:e}");
            }
        }
    }
}

/// PNDM's equations 11 to 13 on one number, for a given number of steps of equal width.
fn pndm_on_a_number(schedule: &NoiseSchedule, steps: usize) -> f64 {
    let width = (schedule.timesteps() / steps) as i64;
    let alpha_bar = |t: i64| f64::from(schedule.alphas_cumprod()[t.max(0) as usize]);
    let noise = |x: f64, t: i64| {
        let (alpha, sigma) = (alpha_bar(t).sqrt(), (1.0 - alpha_bar(t)).sqrt());
        x * sigma / deviation((alpha, sigma)).powi(2)
    };
    let transfer = |x: f64, e: f64, t: i64, s: i64| {
        let (a, b) = (alpha_bar(t), alpha_bar(s));
        let denominator = a.sqrt() * (((1.0 - b) * a).sqrt() + ((1.0 - a) * b).sqrt());
        (b / a).sqrt() * x - (b - a) / denominator * e
    };
    let (mut x, mut history) = (1.0, Vec::new());
    for step in 0..steps as i64 {
        let t = (steps as i64 - 1 - step) * width + 1;
        let (middle, next) = (t - width / 2, t - width);
        let e = noise(x, t);
        history.insert(0, e);
        let e = if step < 3 {
            let e_2 = noise(transfer(x, e, t, middle), middle);
            let e_3 = noise(transfer(x, e_2, t, middle), middle);
            let e_4 = noise(transfer(x, e_3, t, next), next);
            (e + 2.0 * e_2 + 2.0 * e_3 + e_4) / 6.0
        } else {
            (55.0 * history[0] - 59.0 * history[1] + 37.0 * history[2] - 9.0 * history[3]) / 24.0
        };
        x = transfer(x, e, t, next);
    }
    x
}

#[test]
fn runge_kutta_starts_pndm() {
    let config = config(&[("skip_prk_steps", json!(false))]);
    let mut sampler = sampler(SamplerKind::Pndm, &config, 10, false);
    assert_eq!(sampler.timesteps().len(), 3 * 4 + 7);
    let mut x = tensor(&[1.0]);
    for i in 0..sampler.timesteps().len() {
        let factor = predicted(PredictionType::Epsilon, level(&sampler, &config, i));
        x = sampler.step(i, &x.scale(factor as f32).unwrap(), &x, None).unwrap();
    }
    let exact = pndm_on_a_number(&NoiseSchedule::new(&config).unwrap(), 10);
    assert!((f64::from(host(&x)[0]) - exact).abs() < 1e-5 * exact.abs(), "{:?} {exact}", host(&x));
    assert!(sampler.step(2, &x, &x, None).is_err(), "begins inside a step");
    assert!(Sampler::new(SamplerKind::Pndm, &config, 3, SamplerOptions::default()).is_err());
}

#[test]
fn every_number_of_steps_gives_finite_latents() {
    let config = config(&[]);
    let x = tensor(&[1.0, -0.5]);
    for (kind, name) in SamplerKind::ALL {
        for steps in [1, 2, 3, 4, 14, 15, 999, 1000] {
            for karras in [false, true] {
                let Ok(mut sampler) =
                    Sampler::new(kind, &config, steps, SamplerOptions { eta: 0.0, karras, spacing: None })
                else {
                    // No Karras sigmas, or leading timesteps that end beyond the last one.
                    assert!(!["dpm++2m", "euler", "unipc"].contains(&name) && (karras || steps == 1000));
                    continue;
                };
                if steps == 999 && sampler.sigmas().is_some() {
                    continue; // they take 1000
                }
                let mut latent = x.clone();
                for i in 0..sampler.timesteps().len() {
                    let prediction = sampler.scale_input(i, &latent).unwrap().scale(0.5).unwrap();
                    latent = sampler.step(i, &prediction, &latent, Some(&x)).unwrap();
                }
                assert!(host(&latent).iter().all(|v| v.is_finite()), "{name} {steps} {karras}: {:?}", host(&latent));
                let timesteps = sampler.timesteps();
                assert!(timesteps.iter().all(|t| (0.0..1000.0).contains(t)), "{name} {steps}: {timesteps:?}");
                assert!(timesteps.windows(2).all(|t| t[0] >= t[1]), "{name} {steps}: {timesteps:?}");
            }
        }
    }
}

#[test]
fn noise_of_a_late_start() {
    let config = config(&[]);
    let (x0, noise) = (tensor(&[1.0, -0.5]), tensor(&[0.25, 2.0]));
    for (kind, name) in SamplerKind::ALL {
        let sampler = sampler(kind, &config, 20, false);
        let (alpha, sigma) = level(&sampler, &config, 5);
        let noisy = sampler.add_noise(5, &x0, &noise).unwrap();
        // The UNet sees the same, whatever the sampler's scale.
        let seen = host(&sampler.scale_input(5, &noisy).unwrap());
        for (seen, (x0, noise)) in seen.iter().zip([(1.0, 0.25), (-0.5, 2.0)]) {
            assert!((f64::from(*seen) - alpha * x0 - sigma * noise).abs() < 1e-6, "{name}");
        }
        assert!(sampler.add_noise(21, &x0, &noise).is_err());
        assert!(sampler.add_noise(0, &x0, &tensor(&[1.0])).is_err());
    }
}

#[test]
fn clips_where_asked() {
    let config = config(&[("clip_sample", json!(true)), ("clip_sample_range", json!(0.5)), ("steps_offset", json!(0))]);
    for kind in [SamplerKind::Ddpm, SamplerKind::Ddim] {
        let mut sampler = sampler(kind, &config, 1, false);
        // With so little noise x_0 is about the latent, and the step ends on it.
        let (x, noise) = (tensor(&[3.0, 0.25]), tensor(&[0.0, 0.0]));
        let y = host(&sampler.step(0, &noise, &x, Some(&noise)).unwrap());
        assert!((y[0] - 0.5).abs() < 1e-2 && (y[1] - 0.25).abs() < 1e-3, "{kind}: {y:?}");
    }
}

#[test]
fn refuses_what_cannot_be() {
    let refused = |kind: SamplerKind, config: &SchedulerConfig, steps: usize, eta: f64, karras: bool| {
        let error =
            Sampler::new(kind, config, steps, SamplerOptions { eta, karras, spacing: None }).unwrap_err().to_string();
        assert!(!error.is_empty() && !error.contains('\n'), "{error}");
    };
    let plain = config(&[]);
    for (kind, name) in SamplerKind::ALL {
        assert_eq!((name.parse::<SamplerKind>().unwrap(), kind.to_string()), (kind, name.to_string()));
        refused(kind, &plain, 0, 0.0, false);
        refused(kind, &plain, 1001, 0.0, false);
        refused(kind, &plain, 10, f64::NAN, false);
        refused(kind, &plain, 10, 1.5, false);
    }
    refused(SamplerKind::Ddpm, &plain, 10, 0.5, false);
    refused(SamplerKind::Ddpm, &plain, 10, 0.0, true);
    refused(SamplerKind::Ddpm, &plain, 1000, 0.0, false);
    // No signal left, or no noise added.
    for betas in [vec![0.5; 1000], vec![1e-12; 1000]] {
        refused(SamplerKind::Euler, &config(&[("trained_betas", json!(betas))]), 10, 0.0, false);
    }
    assert_eq!(
        SamplerKind::with_options("DPM++2M-karras").unwrap(),
        (SamplerKind::DpmSolver, SamplerOptions { eta: 0.0, karras: true, spacing: None })
    );
    assert!(SamplerKind::with_options("ddpm-karras").is_err());
    assert!("plms2".parse::<SamplerKind>().unwrap_err().to_string().contains("ddpm, ddim, pndm"));
    let mut sampler = sampler(SamplerKind::Ddpm, &plain, 10, false);
    let x = tensor(&[1.0, 2.0]);
    assert!(sampler.step(0, &x, &x, None).is_err(), "noise is missing");
    assert!(sampler.step(0, &tensor(&[1.0]), &x, Some(&x)).is_err(), "no broadcasting");
    assert!(sampler.step(10, &x, &x, Some(&x)).is_err());
}
