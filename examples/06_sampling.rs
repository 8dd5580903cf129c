//! 6 of 7 · Sampling: a picture out of noise, one step at a time.
//!
//! `cargo run --example 06_sampling`

use dreamllm::diffusion::noise::{BatchNoise, Noise, NoiseSource};
use dreamllm::diffusion::pipeline::{DrawOptions, decode_pictures, sample};
use dreamllm::diffusion::{NoiseSchedule, Sampler, SamplerKind, SamplerOptions, guide};
use dreamllm::gpu::{Gpu, GpuOptions};
use dreamllm::models::dreamllm::Diffusion;
use dreamllm::nn::WeightFormat;
use dreamllm::ops::random::normal;
use dreamllm::weights::CheckpointFolder;
use dreamllm::{Result, Tensor};

const STEPS: usize = 5;
const SCALE: f32 = 4.0;

fn main() -> Result<()> {
    pollster::block_on(run())
}

/// Largest difference between two tensors.
async fn difference(a: &Tensor, b: &Tensor) -> Result<f32> {
    let (a, b) = (a.read_f32().await?, b.read_f32().await?);
    Ok(a.iter().zip(&b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max))
}

async fn run() -> Result<()> {
    let gpu = Gpu::new(&GpuOptions::from_env()?).await?;
    let folder = CheckpointFolder::open("tests/reference/tiny")?;
    let model = Diffusion::open(&folder, &gpu, WeightFormat::F32, &|_| ())?;
    // What the UNet attends to: eight vectors. They come from the language model (see 07); any will do here.
    let [wanted, nothing] = [1, 2].map(|stream| normal(&gpu, [1, 8, model.condition_width], 7, stream));
    let (wanted, nothing) = (wanted?, nothing?);

    // The latents of a picture of 32 x 32 pixels are 16 x 16 cells of four channels, and begin as noise alone.
    let side = 32 / model.downscale;
    let mut noise = BatchNoise::new(NoiseSource::Philox, 42, 1);
    let mut x = noise.draw(&gpu, [1, side, side, model.latent_channels])?;

    // In training a picture x0 became α x0 + σ ε at a timestep t, with noise ε. DDIM goes back on that way: from the UNet's
    // prediction follow x0 and ε, and the two are mixed again with the α and σ of the next timestep.
    let levels = NoiseSchedule::new(&model.scheduler)?;
    let mut sampler = Sampler::new(SamplerKind::Ddim, &model.scheduler, STEPS, SamplerOptions::default())?;
    let timesteps = sampler.timesteps().to_vec();
    for (i, &t) in timesteps.iter().enumerate() {
        let at = Tensor::from_f32(&gpu, &[t as f32], [1])?;
        // Guidance: away from what the UNet predicts for nothing, beyond what it predicts for what is wanted.
        let (without, with) = (model.unet.forward(&x, &at, &nothing)?, model.unet.forward(&x, &at, &wanted)?);
        let predicted = guide(&without, &with, SCALE, 0.0)?;
        let clean = sampler.clean(i, &predicted, &x)?;
        let next = sampler.step(i, &predicted, &x, None)?;
        let (alpha, sigma) = levels.signal_and_noise(t as usize)?;
        println!("t = {t:3}: {:.0}% of the latents is noise", 100.0 * sigma);
        if let Some(&t) = timesteps.get(i + 1) {
            let (next_alpha, next_sigma) = levels.signal_and_noise(t as usize)?;
            let share = |x: f64| x as f32;
            let epsilon = x.sub(&clean.scale(share(alpha))?)?.scale(share(1.0 / sigma))?;
            let mixed = clean.scale(share(next_alpha))?.add(&epsilon.scale(share(next_sigma))?)?;
            assert!(difference(&mixed, &next).await? < 1e-3);
        }
        x = next;
    }

    // The pipeline does the same, with both branches in one batch.
    let kind = SamplerKind::Ddim;
    let options =
        DrawOptions { steps: STEPS, cfg_scale: SCALE, sampler: kind, width: 32, height: 32, ..Default::default() };
    let mut noise = BatchNoise::new(NoiseSource::Philox, 42, 1);
    let same = sample(&model, &wanted, Some(&nothing), &options, None, &mut noise, async |_| Ok(())).await?;
    assert!(difference(&same, &x).await? < 1e-3);
    // And the VAE makes pixels of the latents.
    let pictures = decode_pictures(&model, &x, None).await?;
    assert_eq!((pictures[0].width, pictures[0].height), (32, 32));
    Ok(())
}
