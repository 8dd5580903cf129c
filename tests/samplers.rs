//! Samplers against recordings of diffusers: timesteps, sigmas and every latent of every variant.

#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use common::gpu;
use dreamllm::diffusion::{NoiseSchedule, Sampler, SamplerKind, SamplerOptions, guide};
use dreamllm::models::config::{Config, SchedulerConfig};
use dreamllm::ops::pointwise::mix;
use dreamllm::{Shape, Tensor};
use safetensors::SafeTensors;
use serde_json::{Value, json};
use std::path::PathBuf;

/// Largest error of a latent, as a fraction of its largest magnitude.
const TOLERANCE: f32 = 3e-6;

fn path(name: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "tests/reference/tiny", name].iter().collect()
}

/// Python's JSON has infinities.
fn json_file(name: &str) -> Value {
    let text = std::fs::read_to_string(path(name)).unwrap().replace("-Infinity", "null");
    serde_json::from_str(&text).unwrap()
}

struct Recording {
    bytes: Vec<u8>,
    variants: serde_json::Map<String, Value>,
}

impl Recording {
    fn open() -> Recording {
        let bytes = std::fs::read(path("reference/schedulers.safetensors")).unwrap();
        let variants = json_file("reference/schedulers.json")["variants"].as_object().unwrap().clone();
        Recording { bytes, variants }
    }

    /// Shape and elements; integers become floats.
    fn read(&self, name: &str) -> (Vec<usize>, Vec<f32>) {
        let file = SafeTensors::deserialize(&self.bytes).unwrap();
        let tensor = file.tensor(name).unwrap();
        let values = match tensor.dtype() {
            safetensors::Dtype::F32 => bytemuck::pod_collect_to_vec(tensor.data()),
            _ => bytemuck::pod_collect_to_vec::<u8, i64>(tensor.data()).iter().map(|x| *x as f32).collect(),
        };
        (tensor.shape().to_vec(), values)
    }

    /// A tensor, or entry `i` of its first axis. Samplers are elementwise, so NCHW serves as well as channels-last.
    fn tensor(&self, name: &str, i: Option<usize>) -> Tensor {
        let (shape, values) = self.read(name);
        let (shape, values) = match i {
            None => (&shape[..], &values[..]),
            Some(i) => {
                let length: usize = shape[1..].iter().product();
                (&shape[1..], &values[i * length..(i + 1) * length])
            }
        };
        Tensor::from_f32(gpu(), values, Shape::new(shape)).unwrap()
    }
}

fn host(x: &Tensor) -> Vec<f32> {
    pollster::block_on(x.read_f32()).unwrap()
}

fn error(x: &Tensor, golden: &[f32]) -> f32 {
    let x = host(x);
    assert_eq!(x.len(), golden.len());
    let largest = golden.iter().fold(0.0, |m: f32, g| m.max(g.abs()));
    x.iter().zip(golden).map(|(x, g)| if x.is_finite() { (x - g).abs() } else { f32::INFINITY }).fold(0.0, f32::max)
        / largest
}

/// Python writes None for what is not set.
fn config(value: &Value) -> SchedulerConfig {
    let mut value = value.clone();
    value.as_object_mut().unwrap().retain(|_, v| !v.is_null());
    SchedulerConfig::from_json("config", value.to_string().as_bytes()).unwrap()
}

/// The Stable Diffusion folder's config with what the variant's name says.
fn folder_config(name: &str) -> SchedulerConfig {
    let mut value = json_file("stable-diffusion-2-1-base/scheduler/scheduler_config.json");
    if name.contains("v_prediction") {
        value["prediction_type"] = json!("v_prediction");
    }
    for spacing in ["leading", "trailing"].into_iter().filter(|s| name.contains(s)) {
        value["timestep_spacing"] = json!(spacing);
    }
    config(&value)
}

fn kind(class: &str) -> SamplerKind {
    match class {
        "DDPMScheduler" => SamplerKind::Ddpm,
        "DDIMScheduler" => SamplerKind::Ddim,
        "PNDMScheduler" => SamplerKind::Pndm,
        "DPMSolverMultistepScheduler" => SamplerKind::DpmSolver,
        "EulerDiscreteScheduler" => SamplerKind::Euler,
        "EulerAncestralDiscreteScheduler" => SamplerKind::EulerAncestral,
        "UniPCMultistepScheduler" => SamplerKind::UniPc,
        _ => panic!("{class}"),
    }
}

fn options(name: &str, variant: &Value) -> SamplerOptions {
    let eta = variant["step_kwargs"]["eta"].as_f64().unwrap_or(0.0);
    SamplerOptions { eta, karras: name.contains("karras"), spacing: None }
}

/// Equal, but for Euler's with Karras sigmas: those are interpolated between logarithms of MKL's square roots.
fn check_timesteps(name: &str, timesteps: &[f64], golden: &[f32]) {
    let most = if name.starts_with("euler_karras") { 999.0 * f64::from(f32::EPSILON) } else { 0.0 };
    assert_eq!(timesteps.len(), golden.len(), "{name}");
    let close = timesteps.iter().zip(golden).all(|(t, g)| (t - f64::from(*g)).abs() <= most);
    assert!(close, "{name}: {timesteps:?}, but recorded {golden:?}");
}

/// To the last bit of f32, of which MKL's square roots miss up to 0.74.
fn check_sigmas(name: &str, sigmas: &[f64], golden: &[f32]) {
    assert_eq!(sigmas.len(), golden.len(), "{name}");
    let close = |(s, g): (&f64, &f32)| (s - f64::from(*g)).abs() <= f64::from(*g) * f64::from(f32::EPSILON);
    assert!(sigmas.iter().zip(golden).all(close), "{name}: {sigmas:?}, but recorded {golden:?}");
}

/// Largest error over the latents of a run.
fn run(recording: &Recording, name: &str, variant: &Value, mut sampler: Sampler) -> f32 {
    let timesteps = sampler.timesteps().to_vec();
    check_timesteps(name, &timesteps, &recording.read(&format!("{name}.timesteps")).1);
    if let Some(sigmas) = sampler.sigmas() {
        check_sigmas(name, sigmas, &recording.read(&format!("{name}.sigmas")).1);
    }
    assert_eq!(sampler.init_noise_sigma(), variant["init_noise_sigma"].as_f64().unwrap(), "{name}");
    let drawn = (0..timesteps.len()).filter(|i| sampler.needs_noise(*i)).count();
    assert_eq!(drawn as u64, variant["noise_draws"].as_u64().unwrap(), "{name}");

    let (shape, golden) = recording.read(&format!("{name}.latents"));
    let length: usize = shape[1..].iter().product();
    assert_eq!(shape[0], timesteps.len() + 1);
    let unit = recording.tensor("initial_unit_noise", None);
    let mut x = unit.scale(sampler.init_noise_sigma() as f32).unwrap();
    let mut worst = error(&x, &golden[..length]);
    for i in 0..timesteps.len() {
        let input = sampler.scale_input(i, &x).unwrap();
        let output = mix(&input, &recording.tensor("eps_noise", Some(i)), 0.3, 0.1).unwrap();
        let noise = sampler.needs_noise(i).then(|| recording.tensor("step_noise", Some(i)));
        x = sampler.step(i, &output, &x, noise.as_ref()).unwrap();
        worst = worst.max(error(&x, &golden[(i + 1) * length..(i + 2) * length]));
    }
    worst
}

fn check(class: &str) {
    let recording = Recording::open();
    let mut failures = Vec::new();
    let mut seen = 0;
    for (name, variant) in recording.variants.iter().filter(|(_, v)| v["cls"] == class) {
        let steps = variant["steps"].as_u64().unwrap() as usize;
        for config in [folder_config(name), config(&variant["config"])] {
            let sampler = Sampler::new(kind(class), &config, steps, options(name, variant)).unwrap();
            let worst = run(&recording, name, variant, sampler);
            println!("{name:40} {worst:.1e}");
            if worst > TOLERANCE {
                failures.push(format!("{name}: {worst:e}"));
            }
        }
        seen += 1;
    }
    assert!(seen > 0 && failures.is_empty(), "{failures:#?}");
}

#[test]
fn ddpm() {
    check("DDPMScheduler");
}

#[test]
fn ddim() {
    check("DDIMScheduler");
}

#[test]
fn pndm() {
    check("PNDMScheduler");
}

#[test]
fn dpm_solver() {
    check("DPMSolverMultistepScheduler");
}

#[test]
fn euler() {
    check("EulerDiscreteScheduler");
}

#[test]
fn euler_ancestral() {
    check("EulerAncestralDiscreteScheduler");
}

#[test]
fn unipc() {
    check("UniPCMultistepScheduler");
}

#[test]
fn alphas_are_those_of_torch() {
    let schedule = NoiseSchedule::new(&folder_config("")).unwrap();
    assert_eq!(schedule.alphas_cumprod(), Recording::open().read("alphas_cumprod").1);
}

#[test]
fn training_noise() {
    let recording = Recording::open();
    let schedule = NoiseSchedule::new(&folder_config("")).unwrap();
    let timesteps: Vec<usize> = recording.read("add_noise.timesteps").1.iter().map(|t| *t as usize).collect();
    let [x0, noise] = ["sample", "noise"].map(|name| recording.tensor(&format!("add_noise.{name}"), None));
    let noisy = schedule.add_noise(&x0, &noise, &timesteps).unwrap();
    assert!(error(&noisy, &recording.read("add_noise.noisy").1) < 1e-6);
    let velocity = schedule.velocity(&x0, &noise, &timesteps).unwrap();
    assert!(error(&velocity, &recording.read("add_noise.velocity").1) < 1e-6);
    for (t, golden) in timesteps.iter().zip(recording.read("add_noise.snr").1) {
        let snr = schedule.snr(*t).unwrap() as f32;
        assert!((snr - golden).abs() < 1e-5 * golden, "{t}: {snr} {golden}");
    }
    assert!(schedule.add_noise(&x0, &noise, &timesteps[1..]).is_err());
    assert!(schedule.add_noise(&x0, &noise, &[0, 1, 2, 1000]).is_err());
}

/// Guidance of one sample on the host, as diffusers writes it.
fn guided(u: &[f32], c: &[f32], scale: f64, rescale: f64) -> Vec<f32> {
    let std = |x: &[f64]| {
        let mean = x.iter().sum::<f64>() / x.len() as f64;
        (x.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (x.len() - 1) as f64).sqrt()
    };
    let [u, c] = [u, c].map(|x| x.iter().map(|v| f64::from(*v)).collect::<Vec<f64>>());
    let guided: Vec<f64> = u.iter().zip(&c).map(|(u, c)| u + scale * (c - u)).collect();
    let ratio = std(&c) / std(&guided);
    guided.iter().map(|g| (rescale * g * ratio + (1.0 - rescale) * g) as f32).collect()
}

#[test]
fn guidance() {
    let recording = Recording::open();
    let [u, c] = [0, 1].map(|i| recording.tensor("step_noise", Some(i)));
    // The samples differ in size, so that a deviation taken over the whole batch would show.
    let factors = Tensor::from_f32(gpu(), &[1.0, 7.0], [2, 1, 1, 1]).unwrap();
    let (u, c) = (u.mul(&factors).unwrap(), c.mul(&factors).unwrap());
    let (hu, hc) = (host(&u), host(&c));
    for (scale, rescale) in [(7.5, 0.0), (7.5, 0.7), (2.0, 1.0)] {
        let half = hu.len() / 2;
        let mut golden = guided(&hu[..half], &hc[..half], scale, rescale);
        golden.extend(guided(&hu[half..], &hc[half..], scale, rescale));
        let y = guide(&u, &c, scale as f32, rescale as f32).unwrap();
        assert!(error(&y, &golden) < 1e-6, "{scale} {rescale}: {}", error(&y, &golden));
    }
    assert_eq!(host(&guide(&u, &c, 1.0, 0.7).unwrap()), hc);
    assert!(guide(&u, &factors, 2.0, 0.0).is_err());
}

#[test]
fn other_betas() {
    let schedule = |changes: Value| NoiseSchedule::new(&config(&changes)).unwrap();
    // The cosine schedule's product telescopes, before the last beta, which is capped.
    let cosine = schedule(json!({"beta_schedule": "squaredcos_cap_v2"}));
    let level = |s: f64| ((s + 0.008) / 1.008 * std::f64::consts::FRAC_PI_2).cos().powi(2);
    for t in [0, 1, 500, 998] {
        let exact = level((t + 1) as f64 / 1000.0) / level(0.0);
        assert!((f64::from(cosine.alphas_cumprod()[t]) / exact - 1.0).abs() < 1e-4, "{t}");
    }
    assert_eq!(cosine.betas()[999], 0.999);
    let linear = schedule(json!({"num_train_timesteps": 3, "beta_start": 0.25, "beta_end": 0.75}));
    assert_eq!((linear.betas(), linear.alphas_cumprod()), (&[0.25, 0.5, 0.75][..], &[0.75, 0.375, 0.09375][..]));
    let trained = schedule(json!({"num_train_timesteps": 3, "trained_betas": [0.25, 0.5, 0.75]}));
    assert_eq!(trained.betas(), linear.betas());
    let sigmoid = schedule(json!({"beta_schedule": "sigmoid"}));
    let middle = (sigmoid.betas()[499] + sigmoid.betas()[500]) / 2.0;
    assert!((middle - 0.01005).abs() < 1e-6 && (sigmoid.betas()[0] - 0.0001 - 0.0199 / 404.4288).abs() < 1e-7);
}
