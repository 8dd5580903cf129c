//! `dreamllm dream`: words, perhaps with pictures among them, to pictures.

use super::drawing::DrawArguments;
use super::{Output, check_interrupt, device, progress};
use crate::diffusion::condition::Condition;
use crate::diffusion::parameters::{Provenance, parameters};
use crate::diffusion::pipeline::{DrawOptions, Step, decode_pictures, draw};
use crate::diffusion::source::Source;
use crate::gpu::Gpu;
use crate::image::{RgbImage, load, replace_file, write_png};
use crate::models::dreamllm::{Diffusion, LoadOptions};
use crate::models::preflight;
use crate::text::place_images;
use crate::weights::CheckpointFolder;
use crate::{Error, Result};
use clap::Args;
use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

/// More would fit no device, and each is a file to check.
const MOST_PICTURES: usize = 1000;

const EXAMPLES: &str = "\
Examples:
  dreamllm dream \"A photo of a dog.\" -m CHECKPOINT -o dog.png
  dreamllm dream \"A <image> in the snow.\" --image cat.jpg -m CHECKPOINT --steps 30 --sampler dpm++2m
  dreamllm dream \"A red house.\" --init house.png --mask roof.png -m CHECKPOINT -o painted.png";

#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct DreamArguments {
    /// What to draw; an <image> in it is the place of a picture, which otherwise stands in front.
    #[arg(required_unless_present = "load_condition", conflicts_with = "load_condition")]
    prompt: Option<String>,
    #[command(flatten)]
    model: device::ModelArguments,
    /// A picture in the prompt, to edit or to take a subject from; may be given several times.
    #[arg(long, value_name = "FILE", conflicts_with = "load_condition")]
    image: Vec<PathBuf>,
    /// The picture's file, a PNG; those of a batch are numbered.
    #[arg(short, long, default_value = "dream.png", value_name = "FILE")]
    output: PathBuf,
    #[command(flatten)]
    draw: DrawArguments,
    /// The same seed and options give the same picture.
    #[arg(long, default_value_t = 42, value_name = "N")]
    seed: u64,
    /// Pictures to draw at once; their seeds count up.
    #[arg(long, default_value_t = 1, value_name = "N")]
    batch: usize,
    /// Start from this picture instead of noise alone.
    #[arg(long, value_name = "FILE")]
    init: Option<PathBuf>,
    /// How much of that picture is replaced, above 0, up to 1 [default: 0.75; with a mask 1].
    #[arg(long, requires = "init", value_name = "SHARE")]
    strength: Option<f64>,
    /// Draw only where this picture is white; it must have the size of the one given to --init.
    #[arg(long, value_name = "FILE", requires = "init")]
    mask: Option<PathBuf>,
    /// Write what the picture would be, beside it, after every N steps.
    #[arg(long, value_name = "N")]
    preview: Option<usize>,
    /// Write the vectors that the picture is drawn from to this file.
    #[arg(long, value_name = "FILE", conflicts_with = "load_condition")]
    save_condition: Option<PathBuf>,
    /// Draw from the vectors in this file, without loading the language model.
    #[arg(long, value_name = "FILE", conflicts_with = "negative_prompt")]
    load_condition: Option<PathBuf>,
}

/// What a picture is drawn from, and by what.
struct Ready {
    diffusion: Diffusion,
    condition: Condition,
    fingerprint: String,
}

impl DreamArguments {
    pub async fn run(&self, device: &device::DeviceArguments, output: &Output) -> Result<()> {
        self.check(device)?;
        let images = self.image.iter().map(load).collect::<Result<Vec<_>>>()?;
        let source = self.source()?;
        let folder = self.model.open()?;
        let options = self.options(&folder, source.as_ref())?;
        self.check_previews(device, options.steps)?;
        self.check_prompts(&folder, images.len())?;
        let gpu = device.open(output).await?;
        let ready = match &self.load_condition {
            Some(file) => self.saved(file, &folder, &gpu, device, output).await?,
            None => self.fresh(&images, &folder, &gpu, device, output).await?,
        };
        if let Some(file) = &self.save_condition {
            replace_file(file, &ready.condition.to_bytes().await?)?;
        }
        let start = Instant::now();
        let drawn = self.draw(&ready, &options, source.as_ref(), output).await?;
        check_interrupt()?;
        let (name, adapter) = (self.model.name(), gpu.report().name.clone());
        let from = Provenance {
            prompt: &ready.condition.prompt,
            negative_prompt: &ready.condition.negative_prompt,
            model: &name,
            fingerprint: &ready.fingerprint,
            adapter: &adapter,
        };
        for (i, picture) in drawn.iter().enumerate() {
            write_png(self.file(i), picture, &[("parameters", &parameters(&options, source.as_ref(), from, i))])?;
        }
        self.report(&drawn, &options, start, output);
        drawn.iter().try_for_each(|picture| output.show(picture))?;
        device.close(&gpu).await
    }

    fn check(&self, device: &device::DeviceArguments) -> Result<()> {
        self.draw.check()?;
        if self.preview == Some(0) {
            return Err(Error::Input("--preview must be at least 1".into()));
        }
        if !(1..=MOST_PICTURES).contains(&self.batch) {
            return Err(Error::Input(format!("--batch must be 1 to {MOST_PICTURES}, not {}", self.batch)));
        }
        let files = self.files(device);
        files.iter().try_for_each(|file| device::check_output(file))?;
        device::check_distinct(files.iter().map(PathBuf::as_path))
    }

    /// Everything that is written in the end.
    fn files(&self, device: &device::DeviceArguments) -> Vec<PathBuf> {
        let pictures = (0..self.batch).map(|i| self.file(i));
        pictures.chain(self.save_condition.clone()).chain(device.recording().map(Path::to_path_buf)).collect()
    }

    /// An error if a preview has a folder's name, or that of something else that is written.
    fn check_previews(&self, device: &device::DeviceArguments, steps: usize) -> Result<()> {
        let Some(every) = self.preview else { return Ok(()) };
        let others: HashSet<PathBuf> = self.files(device).iter().map(|file| device::place(file)).collect();
        for picture in (0..self.batch).map(|i| self.file(i)) {
            let place = device::place(&picture);
            for step in (every..steps).step_by(every) {
                let file = preview_file(&picture, step);
                if others.contains(&place.with_file_name(file.file_name().unwrap_or_default())) {
                    return Err(Error::file(file, "is a preview's file; every result needs a file of its own"));
                }
                if file.is_dir() {
                    return Err(Error::file(file, "is a folder; a preview will be written there"));
                }
            }
        }
        Ok(())
    }

    /// The prompt and the one to keep away from, before the language model is loaded.
    fn check_prompts(&self, folder: &CheckpointFolder, images: usize) -> Result<()> {
        let Some(prompt) = &self.prompt else { return Ok(()) };
        preflight::check_prompt(folder, &place_images(prompt, images), images, 0)?;
        preflight::check_prompt(folder, &self.draw.negative_prompt, 0, 0)
    }

    fn source(&self) -> Result<Option<Source>> {
        let Some(init) = &self.init else { return Ok(None) };
        let mask = self.mask.as_ref().map(load).transpose()?;
        let strength = self.strength.unwrap_or(if mask.is_some() { 1.0 } else { 0.75 });
        let source = Source { picture: load(init)?, mask, strength };
        source.check()?;
        Ok(Some(source))
    }

    /// From words and pictures. The language model leaves the device before drawing begins.
    async fn fresh(
        &self,
        images: &[RgbImage],
        folder: &Arc<CheckpointFolder>,
        gpu: &Gpu,
        device: &device::DeviceArguments,
        output: &Output,
    ) -> Result<Ready> {
        let options =
            LoadOptions { format: device.format(), vision: !images.is_empty(), diffusion: true, ..Default::default() };
        let model = self.model.load(folder, gpu, options, output).await?;
        let prompt = self.prompt.as_deref().unwrap_or_default();
        let condition = Condition::new(&model, prompt, &self.draw.negative_prompt, images)?;
        let fingerprint = model.fingerprint;
        let diffusion = model.diffusion.ok_or_else(|| Error::Input("the image generator was not loaded".into()))?;
        Ok(Ready { diffusion, condition, fingerprint })
    }

    /// From a file.
    async fn saved(
        &self,
        file: &Path,
        folder: &Arc<CheckpointFolder>,
        gpu: &Gpu,
        device: &device::DeviceArguments,
        output: &Output,
    ) -> Result<Ready> {
        let condition = Condition::open(file, gpu)?;
        let fingerprint = folder.fingerprint();
        if condition.fingerprint != fingerprint {
            output.say(&format!("warning: {} was made by another checkpoint", file.display()));
        }
        let diffusion = self.model.load_diffusion(folder, gpu, device.format(), output).await?;
        Ok(Ready { diffusion, condition, fingerprint })
    }

    fn options(&self, folder: &CheckpointFolder, source: Option<&Source>) -> Result<DrawOptions> {
        let side = preflight::picture_side(folder);
        let cell = folder.vae_config.downscale().max(8);
        let size = source.map_or([side, side], |source| source.size(side, cell));
        let options = self.draw.options(&folder.drawing, size, self.seed, self.batch)?;
        preflight::check_drawing(folder, &options)?;
        Ok(options)
    }

    async fn draw(
        &self,
        ready: &Ready,
        options: &DrawOptions,
        source: Option<&Source>,
        output: &Output,
    ) -> Result<Vec<RgbImage>> {
        let bar = progress::steps(output, options.steps);
        let on_step = async |step: Step<'_>| {
            progress::step(&bar, step.done, step.count);
            check_interrupt()?;
            match self.preview {
                Some(every) if step.done % every == 0 && step.done < step.count => {
                    self.preview(ready, options, &step).await
                }
                _ => Ok(()),
            }
        };
        let drawn = draw(&ready.diffusion, &ready.condition, options, source, on_step).await?;
        bar.finish_and_clear();
        Ok(drawn)
    }

    async fn preview(&self, ready: &Ready, options: &DrawOptions, step: &Step<'_>) -> Result<()> {
        let pictures = decode_pictures(&ready.diffusion, &step.clean()?, options.tiling).await?;
        for (i, picture) in pictures.iter().enumerate() {
            write_png(preview_file(&self.file(i), step.done), picture, &[])?;
        }
        Ok(())
    }

    /// The file of a picture of the batch.
    fn file(&self, index: usize) -> PathBuf {
        match self.batch {
            1 => self.output.clone(),
            _ => numbered(&self.output, &(index + 1).to_string()),
        }
    }

    fn report(&self, drawn: &[RgbImage], options: &DrawOptions, start: Instant, output: &Output) {
        let seconds = start.elapsed().as_secs_f64();
        let files = || (0..drawn.len()).map(|i| (self.file(i), options.seed_of(i)));
        if output.json {
            let pictures: Vec<_> = files()
                .map(|(file, seed)| serde_json::json!({ "output": file.display().to_string(), "seed": seed }))
                .collect();
            let report = serde_json::json!({
                "width": options.width, "height": options.height, "steps": options.steps,
                "sampler": options.sampler_name(), "seconds": seconds, "pictures": pictures,
            });
            say!("{report}");
        } else if output.quiet {
            files().for_each(|(file, _)| say!("{}", file.display()));
        } else {
            let (width, height, rate) = (options.width, options.height, options.steps as f64 / seconds);
            for (file, seed) in files() {
                say!("{}: {width}x{height}, seed {seed}", file.display());
            }
            say!("{seconds:.1} s ({rate:.1} it/s)");
        }
    }
}

/// What a picture would be after a step.
fn preview_file(picture: &Path, step: usize) -> PathBuf {
    numbered(picture, &format!("step-{step}"))
}

/// `a.png` with a mark: `a-mark.png`. A name that is no UTF-8 keeps its bytes.
fn numbered(path: &Path, mark: &str) -> PathBuf {
    let mut name = path.file_stem().unwrap_or_default().to_os_string();
    name.push(format!("-{mark}"));
    if let Some(ending) = path.extension() {
        name.push(".");
        name.push(ending);
    }
    path.with_file_name(name)
}
