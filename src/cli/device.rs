//! Arguments about the device and the checkpoint, shared by all commands, and opening both.

use super::{Output, progress};
use crate::gpu::{Gpu, GpuOptions, summarise};
use crate::image::check_writable;
use crate::models::OnPart;
use crate::models::dreamllm::{Diffusion, DreamLlm, LoadOptions, bytes_to_load, stored_bytes, unread};
use crate::models::survey::{MemoryPlan, Part, survey};
use crate::nn::WeightFormat;
use crate::tensor::{format_bytes, parse_bytes};
use crate::weights::{CheckpointFolder, OpenOptions};
use crate::{Error, Result};
use clap::{Args, ValueEnum};
use std::path::{Path, PathBuf};
use std::sync::Arc;

#[derive(Args)]
#[command(next_help_heading = "Device")]
pub(super) struct DeviceArguments {
    /// The GPU to use: part of its name, such as "nvidia", "intel" or "llvmpipe" [env: DREAMLLM_ADAPTER].
    #[arg(long, global = true, value_name = "NAME")]
    adapter: Option<String>,
    /// Format of the large weights on the device; f32 is exact, the others take less memory [default: as the checkpoint stores them].
    #[arg(long, global = true, value_enum, value_name = "FORMAT")]
    weights: Option<Format>,
    /// Behave as a device that binds at most so much at once: a number of bytes, KiB, MiB or GiB, such as 128MiB.
    #[arg(long, global = true, value_name = "BYTES", value_parser = parse_bytes)]
    max_binding: Option<u64>,
    /// Behave as a device without f16 arithmetic.
    #[arg(long, global = true)]
    no_f16: bool,
    /// Behave as a device without subgroup operations.
    #[arg(long, global = true)]
    no_subgroups: bool,
    /// Time every kernel and print the sums when done (slower).
    #[arg(long, global = true)]
    profile: bool,
    /// Write every recorded dispatch to this file.
    #[arg(long, global = true, value_name = "FILE")]
    record: Option<PathBuf>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Format {
    /// 32 bits.
    F32,
    /// 16 bits; half the memory, an error of about 1e-3.
    F16,
    /// 8.5 bits: about a quarter of the memory, an error of about 2e-2.
    Q8,
    /// 4.5 bits: a seventh of the memory, an error of about 3e-1.
    Q4,
}

impl DeviceArguments {
    pub fn format(&self) -> WeightFormat {
        match self.weights {
            None => WeightFormat::Stored,
            Some(Format::F32) => WeightFormat::F32,
            Some(Format::F16) => WeightFormat::F16,
            Some(Format::Q8) => WeightFormat::Q8,
            Some(Format::Q4) => WeightFormat::Q4,
        }
    }

    /// The file of the recording, if one was asked for.
    pub fn recording(&self) -> Option<&Path> {
        self.record.as_deref()
    }

    /// Opens the device; the environment fills what the arguments leave open.
    pub async fn open(&self, output: &Output) -> Result<Gpu> {
        self.record.iter().try_for_each(|file| check_output(file))?;
        let environment = GpuOptions::from_env()?;
        let options = GpuOptions {
            adapter: self.adapter.clone().or(environment.adapter),
            max_binding: self.max_binding.or(environment.max_binding),
            no_f16: self.no_f16 || environment.no_f16,
            no_subgroups: self.no_subgroups || environment.no_subgroups,
            profile: self.profile,
            max_groups: environment.max_groups,
            alignment: environment.alignment,
            pool_bound: None,
        };
        let gpu = Gpu::new(&options).await?;
        let report = gpu.report();
        output.say(&format!("adapter: {} ({}, {})", report.name, report.backend, report.driver));
        if self.profile {
            gpu.start_profile()?;
        }
        if self.record.is_some() {
            gpu.start_log();
        }
        Ok(gpu)
    }

    /// An error where a recording or a profile is asked of a command that times kernels or lists them itself.
    pub fn refuse_recording(&self, command: &str) -> Result<()> {
        let flag = if self.profile { "--profile" } else { "--record" };
        match self.profile || self.record.is_some() {
            true => Err(Error::Input(format!("{flag} does not go with {command}, which watches the kernels itself"))),
            false => Ok(()),
        }
    }

    /// Prints the profile and writes the recording, where they were asked for.
    pub async fn close(&self, gpu: &Gpu) -> Result<()> {
        if self.profile {
            let sums = summarise(&gpu.take_profile().await?);
            let total: f64 = sums.iter().map(|sum| sum.nanoseconds).sum();
            note!("{:>10}  {:>6}  {:>6}  kernel", "ms", "share", "runs");
            for sum in &sums {
                let share = 100.0 * sum.nanoseconds / total.max(1.0);
                note!("{:>10.2}  {share:>5.1}%  {:>6}  {}", sum.nanoseconds / 1e6, sum.runs, sum.kernel);
            }
        }
        if let Some(path) = &self.record {
            let lines: String = gpu.take_log().iter().map(|dispatch| format!("{dispatch}\n")).collect();
            crate::image::replace_file(path, lines.as_bytes())?;
        }
        Ok(())
    }
}

/// Where a checkpoint's parts are, if not where it says.
#[derive(Args)]
pub(super) struct SourceArguments {
    /// A file with the language model instead of the one in the checkpoint, such as a GGUF file of it.
    #[arg(long, value_name = "FILE")]
    language_model: Option<PathBuf>,
    /// The folder of the CLIP model, if it is not in or beside the checkpoint.
    #[arg(long, value_name = "FOLDER")]
    clip: Option<PathBuf>,
    /// The folder of the Stable Diffusion model, if it is not in or beside the checkpoint.
    #[arg(long, value_name = "FOLDER")]
    diffusion: Option<PathBuf>,
}

impl SourceArguments {
    /// How to open the checkpoint.
    pub fn options(&self) -> OpenOptions {
        OpenOptions {
            language_model: self.language_model.clone(),
            clip_folder: self.clip.clone(),
            diffusion_folder: self.diffusion.clone(),
            ..Default::default()
        }
    }
}

/// The checkpoint of a command, and how it is loaded.
#[derive(Args)]
pub(super) struct ModelArguments {
    /// The checkpoint's folder [default: the small model inside the program].
    #[arg(short, long, value_name = "CHECKPOINT")]
    model: Option<PathBuf>,
    /// Keep one part of the model on the device at a time: less memory, more loading.
    #[arg(long)]
    low_memory: bool,
    /// Refuse to load weights that take more device memory than this, such as 8GiB.
    #[arg(long, value_name = "BYTES", value_parser = parse_bytes)]
    max_memory: Option<u64>,
    #[command(flatten)]
    source: SourceArguments,
}

impl ModelArguments {
    /// Opens the checkpoint.
    pub fn open(&self) -> Result<Arc<CheckpointFolder>> {
        let folder = self.model.clone().map_or_else(crate::default_weights::folder, Ok)?;
        CheckpointFolder::open_with(folder, &self.source.options()).map(Arc::new)
    }

    /// Loads the parts that are needed, with a bar by bytes.
    pub async fn load(
        &self,
        folder: &Arc<CheckpointFolder>,
        gpu: &Gpu,
        options: LoadOptions,
        output: &Output,
    ) -> Result<DreamLlm> {
        self.plan(folder, options.format, |part| options.loads(part), output).await?;
        if self.low_memory {
            return DreamLlm::load_by_turns(folder.clone(), gpu, options, on_part(output));
        }
        let bar = progress::bytes(output, bytes_to_load(folder, options));
        let model = DreamLlm::load(folder, gpu, options, &|bytes| bar.inc(bytes))?;
        bar.finish_and_clear();
        let unused = unread(folder, options);
        if let Some(first) = unused.first() {
            output.say(&format!("warning: {} tensors of the checkpoint are not used, such as {first}", unused.len()));
        }
        Ok(model)
    }

    /// Loads only the image generator.
    pub async fn load_diffusion(
        &self,
        folder: &Arc<CheckpointFolder>,
        gpu: &Gpu,
        format: WeightFormat,
        output: &Output,
    ) -> Result<Diffusion> {
        let wants = |part| matches!(part, Part::ConditionProjector | Part::UNet | Part::Vae);
        self.plan(folder, format, wants, output).await?;
        if self.low_memory {
            return Diffusion::open_by_turns(folder.clone(), gpu, format, on_part(output));
        }
        let bar = progress::bytes(output, stored_bytes(&folder.diffusion));
        let diffusion = Diffusion::open(folder, gpu, format, &|bytes| bar.inc(bytes))?;
        bar.finish_and_clear();
        Ok(diffusion)
    }

    /// Says what memory the weights will take, or refuses if that is too much.
    async fn plan(
        &self,
        folder: &CheckpointFolder,
        format: WeightFormat,
        wants: impl Fn(Part) -> bool,
        output: &Output,
    ) -> Result<()> {
        let plan = MemoryPlan::new(&survey(folder).await?, format, wants);
        let (together, in_turn) = (format_bytes(plan.together()), format_bytes(plan.in_turn()));
        output.say(&match self.low_memory {
            true => format!("weights: {in_turn} at a time, of {together} ({plan})"),
            false => format!("weights: {together} ({plan})"),
        });
        self.max_memory.map_or(Ok(()), |limit| plan.check(limit, self.low_memory))
    }

    /// The name of the checkpoint's folder.
    pub fn name(&self) -> String {
        self.model.as_deref().map_or_else(|| "default".into(), name_of)
    }
}

fn on_part(output: &Output) -> OnPart {
    if output.quiet { |_| () } else { |part| note!("loading: {part}") }
}

/// The name of a checkpoint's folder.
fn name_of(folder: &Path) -> String {
    let whole = folder.canonicalize().unwrap_or_else(|_| folder.to_path_buf());
    whole.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

/// Makes a folder for results, unless it is there.
pub(super) fn make_folder(path: &Path) -> Result<()> {
    if path.exists() && !path.is_dir() {
        return Err(Error::file(path, "is a file; a folder is needed"));
    }
    std::fs::create_dir_all(path).map_err(|e| Error::file(path, e))
}

/// Makes a folder for a result that consists of several files, unless there is an empty one.
pub(super) fn new_folder(path: &Path) -> Result<()> {
    make_folder(path)?;
    let mut files = std::fs::read_dir(path).map_err(|e| Error::file(path, e))?;
    match files.next() {
        None => Ok(()),
        Some(_) => Err(Error::file(path, "is not empty; a folder of its own is needed")),
    }
}

/// Where a result will be, whatever the path is that leads there.
pub(super) fn place(path: &Path) -> PathBuf {
    let whole = |path: &Path| path.canonicalize();
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let beside = || Some(whole(parent).ok()?.join(path.file_name()?));
    whole(path).ok().or_else(beside).unwrap_or_else(|| path.to_path_buf())
}

/// An error if two results would be written to the same file, of which one would be lost. A device takes any number.
pub(super) fn check_distinct<'a>(files: impl IntoIterator<Item = &'a Path>) -> Result<()> {
    let mut places = std::collections::HashSet::new();
    let is_device = |file: &Path| std::fs::metadata(file).is_ok_and(|found| !found.is_file() && !found.is_dir());
    let twice = files.into_iter().find(|file| !is_device(file) && !places.insert(place(file)));
    twice.map_or(Ok(()), |file| Err(Error::file(file, "would be written twice; every result needs a file of its own")))
}

/// An error if a result could not be written to `path` in the end.
pub(super) fn check_output(path: &Path) -> Result<()> {
    if path.is_dir() {
        return Err(Error::file(path, "is a folder; a file name is needed"));
    }
    let parent = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    match std::fs::metadata(parent) {
        Ok(folder) if folder.is_dir() => check_writable(path),
        Ok(_) => Err(Error::file(parent, "is not a folder")),
        Err(e) => Err(Error::file(parent, e)),
    }
}
