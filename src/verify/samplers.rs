//! Samplers and whole pipelines against their recordings, with the recorded noise.

use super::check::{Check, Measure};
use super::golden::{Golden, Recorded};
use super::language::prompt_context;
use super::{Bench, StageReport};
use crate::diffusion::noise::Noise;
use crate::diffusion::pipeline::{DrawOptions, Step, decode, pictures, sample};
use crate::diffusion::{NoiseSchedule, Sampler, SamplerKind, SamplerOptions};
use crate::gpu::Gpu;
use crate::models::config::{Config, SchedulerConfig};
use crate::ops::pointwise::{clamp, mix};
use crate::tensor::Tensor;
use crate::{Error, Result};
use serde_json::Value;

/// The sampler that a diffusers class is.
fn kind_of(class: &str) -> Option<SamplerKind> {
    Some(match class.split_whitespace().next()? {
        "DDPMScheduler" => SamplerKind::Ddpm,
        "DDIMScheduler" => SamplerKind::Ddim,
        "PNDMScheduler" => SamplerKind::Pndm,
        "DPMSolverMultistepScheduler" => SamplerKind::DpmSolver,
        "EulerDiscreteScheduler" => SamplerKind::Euler,
        "EulerAncestralDiscreteScheduler" => SamplerKind::EulerAncestral,
        "UniPCMultistepScheduler" => SamplerKind::UniPc,
        _ => return None,
    })
}

pub(super) async fn schedulers(bench: &Bench<'_>) -> Result<Vec<StageReport>> {
    let golden = bench.golden("schedulers")?;
    // Weights have no part in it.
    let mut check = Check::new("schedulers", 1e-3, Measure::Largest);
    let schedule = NoiseSchedule::new(&bench.folder.scheduler_config)?;
    check.floats_within("alphas_cumprod", schedule.alphas_cumprod(), &golden.get("alphas_cumprod")?.data, 1e-6);
    add_noise(bench, &mut check, &golden, &schedule).await?;
    let mut open = Vec::new();
    let variants = golden.json["variants"].as_object().into_iter().flatten();
    for (name, variant) in variants {
        match kind_of(variant["cls"].as_str().unwrap_or("")) {
            Some(kind) => steps(bench, &mut check, &golden, name, kind, variant).await?,
            None => open.push(name.as_str()),
        }
    }
    let mut reports = vec![check.finish()];
    if !open.is_empty() {
        reports.push(StageReport::not_implemented("schedulers (others)", &open.join(", ")));
    }
    Ok(reports)
}

async fn add_noise(bench: &Bench<'_>, check: &mut Check, golden: &Golden, schedule: &NoiseSchedule) -> Result<()> {
    let gpu = &bench.model.gpu;
    let tensor = |name: &str| golden.get(name)?.to_tensor(gpu);
    let t: Vec<usize> = golden.ids("add_noise.timesteps")?.iter().map(|t| *t as usize).collect();
    let (x0, noise) = (tensor("add_noise.sample")?, tensor("add_noise.noise")?);
    let noisy = schedule.add_noise(&x0, &noise, &t)?;
    check.tensor("add_noise.noisy", &noisy, &golden.get("add_noise.noisy")?).await?;
    let velocity = schedule.velocity(&x0, &noise, &t)?;
    check.tensor("add_noise.velocity", &velocity, &golden.get("add_noise.velocity")?).await?;
    let snr: Vec<f32> = t.iter().map(|&t| schedule.snr(t).map(|snr| snr as f32)).collect::<Result<_>>()?;
    check.floats("add_noise.snr", &snr, &golden.get("add_noise.snr")?.data);
    Ok(())
}

/// Walks a sampler with the recording's stand-in for a model: 0.3 times its input plus 0.1 times recorded noise.
async fn steps(
    bench: &Bench<'_>,
    check: &mut Check,
    golden: &Golden,
    name: &str,
    kind: SamplerKind,
    variant: &Value,
) -> Result<()> {
    let gpu = &bench.model.gpu;
    let config = SchedulerConfig::from_json(name, variant["config"].to_string().as_bytes())?;
    let options = SamplerOptions {
        eta: variant["step_kwargs"]["eta"].as_f64().unwrap_or(0.0),
        karras: variant["config"]["use_karras_sigmas"].as_bool().unwrap_or(false),
        spacing: None,
    };
    let count = variant["steps"].as_u64().unwrap_or(0) as usize;
    let mut sampler = Sampler::new(kind, &config, count, options)?;
    let want = golden.get(&format!("{name}.timesteps"))?.data;
    let timesteps: Vec<f32> = sampler.timesteps().iter().map(|t| *t as f32).collect();
    // Whole numbers agree exactly; those of Karras' levels come out of logarithms.
    check.floats_within(&format!("{name}: timesteps"), &timesteps, &want, 1e-7);
    let recorded = golden.get(&format!("{name}.latents"))?;
    let (eps, fresh) = (golden.get("eps_noise")?, golden.get("step_noise")?);
    let start = golden.get("initial_unit_noise")?.to_tensor(gpu)?;
    let mut x = start.scale(sampler.init_noise_sigma() as f32)?;
    check.tensor(&format!("{name}: latents 0"), &x, &recorded.part(0)).await?;
    for i in 0..timesteps.len() {
        let output = mix(&sampler.scale_input(i, &x)?, &eps.part(i).to_tensor(gpu)?, 0.3, 0.1)?;
        let noise = sampler.needs_noise(i).then(|| fresh.part(i).to_tensor(gpu)).transpose()?;
        x = sampler.step(i, &output, &x, noise.as_ref())?;
        check.tensor(&format!("{name}: latents {}", i + 1), &x, &recorded.part(i + 1)).await?;
    }
    Ok(())
}

/// Noise that was recorded: the initial latents, then one tensor a step.
struct RecordedNoise {
    draws: std::vec::IntoIter<Recorded>,
}

impl Noise for RecordedNoise {
    fn draw(&mut self, gpu: &Gpu, _shape: [usize; 4]) -> Result<Tensor> {
        let next = self.draws.next();
        next.ok_or_else(|| Error::Input("more noise is drawn than was recorded".into()))?.channels_last().to_tensor(gpu)
    }
}

pub(super) async fn pipeline(bench: &Bench<'_>) -> Result<Vec<StageReport>> {
    let golden = bench.golden("pipeline")?;
    let mut check = bench.check("pipeline", bench.bounds.pipeline);
    let mut open = Vec::new();
    for (name, case) in golden.json["cases"].as_object().into_iter().flatten() {
        match kind_of(case["scheduler"].as_str().unwrap_or("")) {
            Some(kind) => draw(bench, &mut check, &golden, name, kind, case).await?,
            None => open.push(name.as_str()),
        }
    }
    let mut reports = vec![check.finish()];
    if !open.is_empty() {
        reports.push(StageReport::not_implemented("pipeline (others)", &open.join(", ")));
    }
    Ok(reports)
}

async fn draw(
    bench: &Bench<'_>,
    check: &mut Check,
    golden: &Golden,
    name: &str,
    kind: SamplerKind,
    case: &Value,
) -> Result<()> {
    let (model, diffusion) = (bench.model, bench.model.diffusion()?);
    let number = |key: &str| case[key].as_u64().unwrap_or(0) as usize;
    let options = DrawOptions {
        steps: number("steps"),
        cfg_scale: case["guidance_scale"].as_f64().unwrap_or(1.0) as f32,
        guidance_rescale: case["guidance_rescale"].as_f64().unwrap_or(0.0) as f32,
        sampler: kind,
        sampler_options: SamplerOptions { karras: name.contains("karras"), ..SamplerOptions::default() },
        width: number("width"),
        height: number("height"),
        ..DrawOptions::default()
    };
    let condition = model.condition(&prompt_context(bench, &case["prompt"])?)?;
    let rows = condition.shape().as_slice()[0];
    let negative = match &case["negative_prompt"] {
        Value::Null => Value::from(vec![""; rows]),
        given => given.clone(),
    };
    let unconditional = options.is_guided().then(|| model.condition(&prompt_context(bench, &negative)?)).transpose()?;
    let want = golden.get(&format!("{name}.cond"))?;
    compare_condition(check, name, unconditional.as_ref(), &condition, &want).await?;

    let mut draws = vec![golden.get(&format!("{name}.initial_latents"))?];
    if golden.has(&format!("{name}.step_noise")) {
        let steps = golden.get(&format!("{name}.step_noise"))?;
        draws.extend((0..steps.shape[0]).map(|i| steps.part(i)));
    }
    let mut noise = RecordedNoise { draws: draws.into_iter() };
    let mut seen = Vec::new();
    let keep = async |step: Step<'_>| {
        seen.push(step.latents.clone());
        Ok(())
    };
    let latents = sample(diffusion, &condition, unconditional.as_ref(), &options, None, &mut noise, keep).await?;
    if golden.has(&format!("{name}.latents")) {
        let want = golden.get(&format!("{name}.latents"))?;
        for (i, x) in seen.iter().enumerate() {
            check.tensor(&format!("{name}: latents {}", i + 1), x, &want.part(i).channels_last()).await?;
        }
    } else {
        let want = golden.get(&format!("{name}.final_latents"))?;
        check.tensor(&format!("{name}: latents"), &latents, &want.channels_last()).await?;
    }
    let pixels = decode(diffusion, &latents)?;
    let unit = clamp(&mix(&pixels, &Tensor::from_f32(&model.gpu, &[1.0], [1])?, 0.5, 0.5)?, 0.0, 1.0)?;
    let image = format!("{name}.image_0_1");
    if golden.has(&image) {
        check.tensor(&format!("{name}: image"), &unit, &golden.get(&image)?.channels_last()).await?;
    }
    let drawn: Vec<u8> = pictures(&pixels).await?.into_iter().flat_map(|picture| picture.pixels).collect();
    if bench.bounds.measure != Measure::Largest {
        // The bytes say no more than the image just did.
        return Ok(());
    }
    let levels = (255.0 * bench.bounds.pipeline).ceil() as u8;
    check.bytes(&format!("{name}: pixels"), &drawn, &golden.bytes(&format!("{name}.image_u8"))?, levels);
    Ok(())
}

/// The recording holds both branches, the unconditional one first.
async fn compare_condition(
    check: &mut Check,
    name: &str,
    unconditional: Option<&Tensor>,
    condition: &Tensor,
    want: &Recorded,
) -> Result<()> {
    let mut got = match unconditional {
        Some(unconditional) => unconditional.read_f32().await?,
        None => Vec::new(),
    };
    got.extend(condition.read_f32().await?);
    check.floats(&format!("{name}: condition"), &got, &want.data);
    Ok(())
}
