//! `dreamllm dream`: words to a picture.

use super::{Output, check_interrupt, device, progress};
use crate::diffusion::noise::NoiseSource;
use crate::diffusion::pipeline::{DrawOptions, decode, pictures, sample};
use crate::diffusion::{SamplerKind, SamplerOptions};
use crate::image::{RgbImage, write_png};
use crate::models::dreamllm::{DreamLlm, LoadOptions};
use crate::{Error, Result};
use clap::Args;
use std::path::PathBuf;
use std::time::Instant;

#[derive(Args)]
pub(super) struct DreamArguments {
    /// What to draw.
    prompt: String,
    /// The checkpoint's folder.
    #[arg(short, long, value_name = "CHECKPOINT")]
    model: PathBuf,
    /// What to keep away from.
    #[arg(short, long, default_value = "", value_name = "TEXT")]
    negative_prompt: String,
    /// The picture's file, a PNG.
    #[arg(short, long, default_value = "dream.png", value_name = "FILE")]
    output: PathBuf,
    /// Denoising steps.
    #[arg(long, default_value_t = 50)]
    steps: usize,
    /// Strength of the guidance; 1 and below turn it off.
    #[arg(long, default_value_t = 7.5, value_name = "SCALE")]
    cfg_scale: f32,
    /// Share of the guided prediction brought back to the plain one's contrast, from 0 to 1.
    #[arg(long, default_value_t = 0.0, value_name = "SHARE")]
    guidance_rescale: f32,
    /// The sampler: ddpm, ddim, pndm, dpm++2m, euler, euler-a or unipc; with -karras for Karras' noise levels.
    #[arg(long, default_value = "ddpm", value_parser = SamplerKind::with_options)]
    sampler: (SamplerKind, SamplerOptions),
    /// Fresh noise of DDIM's steps, from 0 to 1.
    #[arg(long, default_value_t = 0.0)]
    eta: f64,
    /// The same seed and options give the same picture.
    #[arg(long, default_value_t = 42)]
    seed: u64,
    /// Generator of the noise: philox, or torch for what PyTorch draws from this seed.
    #[arg(long, default_value = "philox")]
    rng: NoiseSource,
    /// Pixels across; the checkpoint's own resolution by default.
    #[arg(short = 'W', long, value_name = "PIXELS")]
    width: Option<usize>,
    /// Pixels down.
    #[arg(short = 'H', long, value_name = "PIXELS")]
    height: Option<usize>,
}

impl DreamArguments {
    pub async fn run(&self, device: &device::DeviceArguments, output: &Output) -> Result<()> {
        self.check()?;
        let gpu = device.open(output).await?;
        let options = LoadOptions { format: device.format(), vision: false, diffusion: true };
        let model = device::load(&self.model, &gpu, options, output)?;
        let start = Instant::now();
        let picture = self.draw(&model, output).await?;
        let text = self.description();
        let text: Vec<(&str, &str)> = text.iter().map(|(key, value)| (*key, value.as_str())).collect();
        write_png(&self.output, &picture, &text)?;
        self.report(&picture, start, output);
        device.close(&gpu).await
    }

    fn check(&self) -> Result<()> {
        let finite = |name: &str, value: f64| match value.is_finite() {
            true => Ok(()),
            false => Err(Error::Input(format!("--{name} must be a number, not {value}"))),
        };
        finite("cfg-scale", f64::from(self.cfg_scale))?;
        finite("guidance-rescale", f64::from(self.guidance_rescale))?;
        finite("eta", self.eta)?;
        device::check_output(&self.output)
    }

    async fn draw(&self, model: &DreamLlm, output: &Output) -> Result<RgbImage> {
        let diffusion = model.diffusion()?;
        let options = DrawOptions {
            steps: self.steps,
            cfg_scale: self.cfg_scale,
            guidance_rescale: self.guidance_rescale,
            sampler: self.sampler.0,
            sampler_options: SamplerOptions { eta: self.eta, ..self.sampler.1 },
            width: self.width.unwrap_or(diffusion.resolution),
            height: self.height.unwrap_or(diffusion.resolution),
        };
        options.latent_size(diffusion)?;
        let condition = model.condition(&model.context(&self.prompt, &[])?)?;
        let negative = || model.condition(&model.context(&self.negative_prompt, &[])?);
        let unconditional = options.is_guided().then(negative).transpose()?;
        let mut noise = self.rng.seeded(self.seed);
        let bar = progress::steps(output, self.steps);
        let on_step = |done: usize, _: &crate::Tensor| {
            bar.set_position(done as u64);
            check_interrupt()
        };
        let latents = sample(diffusion, &condition, unconditional.as_ref(), &options, &mut *noise, on_step).await?;
        bar.finish_and_clear();
        let drawn = pictures(&decode(diffusion, &latents)?).await?;
        check_interrupt()?;
        drawn.into_iter().next().ok_or_else(|| Error::Input("no picture came out".into()))
    }

    /// What other programs look for in a PNG.
    fn description(&self) -> Vec<(&'static str, String)> {
        let negative = match self.negative_prompt.as_str() {
            "" => String::new(),
            text => format!("\nNegative prompt: {text}"),
        };
        let settings = format!(
            "{}{negative}\nSteps: {}, Sampler: {}, CFG scale: {}, Seed: {}, RNG: {:?}, Version: dreamllm {}",
            self.prompt,
            self.steps,
            self.sampler_name(),
            self.cfg_scale,
            self.seed,
            self.rng,
            env!("CARGO_PKG_VERSION")
        );
        vec![("parameters", settings)]
    }

    fn sampler_name(&self) -> String {
        let (kind, options) = &self.sampler;
        format!("{kind}{}", if options.karras { "-karras" } else { "" })
    }

    fn report(&self, picture: &RgbImage, start: Instant, output: &Output) {
        let seconds = start.elapsed().as_secs_f64();
        let rate = self.steps as f64 / seconds;
        if output.json {
            let report = serde_json::json!({
                "output": self.output, "width": picture.width, "height": picture.height, "seed": self.seed,
                "steps": self.steps, "sampler": self.sampler_name(), "seconds": seconds,
            });
            say!("{report}");
        } else if output.quiet {
            say!("{}", self.output.display());
        } else {
            let (file, width, height) = (self.output.display(), picture.width, picture.height);
            say!("{file}: {width}x{height}, seed {}, {seconds:.1} s ({rate:.1} it/s)", self.seed);
        }
    }
}
