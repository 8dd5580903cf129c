//! A DreamLLM checkpoint as it lies on disk: the decoder, three plugin files, and the folders of CLIP and Stable
//! Diffusion that describe them.
//!
//! A tensor is taken from the first of: the plugin's own `.bin`; the decoder's files, if they hold the plugins as well
//! (one `pytorch_model.bin` for everything) and the `.bin` is absent; the component's folder.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::file::WeightFile;
use super::set::{Rename, WeightSet};
use super::{rename, shards};
use crate::models::config::{
    ClipPreprocessConfig, ClipVisionConfig, Config, DrawingConfig, DreamConfig, Plugins, SchedulerConfig, UNetConfig,
    VaeConfig,
};
use crate::{Error, Result};

/// The file of a converted folder that says where it comes from.
pub const MANIFEST: &str = "dreamllm.json";

/// The version of converted folders that this program writes, and the last one that it reads.
pub const FOLDER_VERSION: u32 = 1;

/// How a checkpoint is opened when the defaults do not fit.
#[derive(Debug, Clone, Default)]
pub struct OpenOptions {
    /// A file with the decoder's weights instead of those in the folder: GGUF, safetensors or a torch file.
    pub language_model: Option<PathBuf>,
    /// The CLIP folder, if it is not where `config.json` says.
    pub clip_folder: Option<PathBuf>,
    /// The Stable Diffusion folder, if it is not where `config.json` says.
    pub diffusion_folder: Option<PathBuf>,
    /// Whether projectors and dream queries may be absent, as before the first training stage.
    pub allow_missing_plugins: bool,
    /// Whether any weights may be absent, as before training: configs and the tokenizer are enough.
    pub allow_missing_weights: bool,
}

/// Files of the tokenizer that the checkpoint has.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TokenizerFiles {
    /// `tokenizer.model`, the sentencepiece model.
    pub model: Option<PathBuf>,
    /// `tokenizer.json`, the fast tokenizer.
    pub json: Option<PathBuf>,
    /// `added_tokens.json`.
    pub added_tokens: Option<PathBuf>,
    /// `special_tokens_map.json`.
    pub special_tokens_map: Option<PathBuf>,
    /// `tokenizer_config.json`.
    pub config: Option<PathBuf>,
}

/// An opened checkpoint: all configs, and all weights by the names of [`rename`].
#[derive(Debug)]
pub struct CheckpointFolder {
    /// The folder.
    pub root: PathBuf,
    /// The folder of the image encoder's configs.
    pub clip_folder: PathBuf,
    /// The folder of the image generator's configs.
    pub diffusion_folder: PathBuf,
    /// `config.json`.
    pub config: DreamConfig,
    /// The vision tower's config.
    pub clip_config: ClipVisionConfig,
    /// How images are prepared for it.
    pub clip_preprocess: ClipPreprocessConfig,
    /// The UNet's config.
    pub unet_config: UNetConfig,
    /// The VAE's config.
    pub vae_config: VaeConfig,
    /// The noise schedule.
    pub scheduler_config: SchedulerConfig,
    /// `model.…`, `lm_head.weight`.
    pub language: WeightSet,
    /// `clip_vision_model.vision_model.…`, `projector.projector.…`.
    pub clip: WeightSet,
    /// `dream_queries`.
    pub dream: WeightSet,
    /// `unet.…`, `vae.…`, `projector.projector.weight`.
    pub diffusion: WeightSet,
    /// The tokenizer's files.
    pub tokenizer: TokenizerFiles,
    /// `generation_config.json`, if there is one.
    pub generation_config: Option<PathBuf>,
    /// How its pictures are best drawn.
    pub drawing: DrawingConfig,
}

/// Where a plugin's tensors may be, besides a component's folder.
struct PluginSource {
    file: &'static str,
    rename: Rename,
    rename_in_all: Rename,
    /// Names that only the plugin has begin so.
    own: &'static str,
}

const CLIP: PluginSource = PluginSource {
    file: "clip_vision_embedding.bin",
    rename: rename::clip_plugin,
    rename_in_all: rename::clip_in_all,
    own: "projector.",
};
const DREAM: PluginSource = PluginSource {
    file: "dream_embedding.bin",
    rename: rename::dream_plugin,
    rename_in_all: rename::dream_in_all,
    own: "dream_queries",
};
const DIFFUSION: PluginSource = PluginSource {
    file: "stable_diffusion_head.bin",
    rename: rename::diffusion_plugin,
    rename_in_all: rename::diffusion_in_all,
    own: "projector.",
};

impl CheckpointFolder {
    /// Opens a complete checkpoint. Only configs and tables of tensors are read.
    pub fn open(root: impl AsRef<Path>) -> Result<Self> {
        Self::open_with(root, &OpenOptions::default())
    }

    /// The same with component folders elsewhere, or without trained plugins.
    pub fn open_with(root: impl AsRef<Path>, options: &OpenOptions) -> Result<Self> {
        let root = root.as_ref();
        if !root.is_dir() {
            let why = if root.exists() { "is not a folder" } else { "there is no such folder" };
            return Err(Error::file(root, why));
        }
        check_version(root)?;
        let config = DreamConfig::open(&root.join("config.json"))?;
        let folders = Folders::find(root, &config.plugins, options)?;
        let decoder = shards::open_weights(root, shards::TRANSFORMERS)?;
        let any = options.allow_missing_weights;
        let plugin = |source: &PluginSource| source.open(root, &decoder, options.allow_missing_plugins || any);
        let opened = Self {
            clip_config: ClipVisionConfig::open(&folders.clip.join("config.json"))?,
            clip_preprocess: ClipPreprocessConfig::open(&folders.clip.join("preprocessor_config.json"))?,
            unet_config: UNetConfig::open(&folders.diffusion.join("unet/config.json"))?,
            vae_config: VaeConfig::open(&folders.diffusion.join("vae/config.json"))?,
            scheduler_config: SchedulerConfig::open(&folders.diffusion.join("scheduler/scheduler_config.json"))?,
            language: language(root, &decoder, options)?,
            clip: folders.complete_clip(plugin(&CLIP)?, any)?,
            dream: plugin(&DREAM)?,
            diffusion: folders.complete_diffusion(plugin(&DIFFUSION)?, any)?,
            tokenizer: TokenizerFiles::find(root),
            generation_config: existing(root, "generation_config.json"),
            drawing: DrawingConfig::find(root)?,
            root: root.to_path_buf(),
            config,
            clip_folder: folders.clip,
            diffusion_folder: folders.diffusion,
        };
        opened.check_configs().map_err(|why| Error::file(root, why))?;
        Ok(opened)
    }

    /// Without what the training stages learn: decoder, projectors and dream queries. What is left has weights of its own training.
    pub fn without_stages(mut self) -> Self {
        self.language = WeightSet::new();
        self.dream = WeightSet::new();
        [&mut self.clip, &mut self.diffusion].into_iter().for_each(|set| set.remove("projector."));
        self
    }

    /// What the configs say about each other must agree.
    fn check_configs(&self) -> Result<(), String> {
        if let Some(clip) = &self.config.plugins.clip_vision_embedding {
            self.clip_config.hidden_state(clip.select_layer)?;
        }
        let (side, crop) = (self.clip_config.image_size, self.clip_preprocess.crop_size);
        if self.clip_preprocess.do_center_crop && crop != [side, side] {
            return Err(format!("CLIP's crop_size is {} x {}, but its image_size {side}", crop[0], crop[1]));
        }
        let (unet, vae) = (self.unet_config.in_channels, self.vae_config.latent_channels);
        if unet != vae || self.unet_config.out_channels != vae {
            let out = self.unet_config.out_channels;
            return Err(format!(
                "the VAE has {vae} latent_channels, the UNet {unet} in_channels and {out} out_channels"
            ));
        }
        Ok(())
    }
}

/// A folder that a later version of this program converted may hold what this one would misread.
fn check_version(root: &Path) -> Result<()> {
    #[derive(serde::Deserialize)]
    struct Version {
        format_version: u32,
    }
    let Some(path) = existing(root, MANIFEST) else { return Ok(()) };
    let json = std::fs::read(&path).map_err(|e| Error::file(&path, e))?;
    let Version { format_version } = serde_json::from_slice(&json).map_err(|e| Error::file(&path, e))?;
    match format_version {
        1..=FOLDER_VERSION => Ok(()),
        _ => Err(Error::file(
            &path,
            format!("format version {format_version}; this program reads up to {FOLDER_VERSION}"),
        )),
    }
}

impl PluginSource {
    /// The plugin's set from its own file or from the decoder's.
    fn open(&self, root: &Path, decoder: &[Arc<WeightFile>], allow_missing: bool) -> Result<WeightSet> {
        let mut set = WeightSet::new();
        match existing(root, self.file) {
            Some(path) => set.add(Arc::new(WeightFile::open(path)?), self.rename),
            None => decoder.iter().for_each(|file| set.add(file.clone(), self.rename_in_all)),
        }
        if allow_missing || set.has_prefix(self.own) {
            return Ok(set);
        }
        let why = match existing(root, self.file) {
            Some(_) => format!("{} holds no {} tensors", self.file, self.own.trim_end_matches('.')),
            None => format!("has no {}, and its decoder files do not hold that plugin either", self.file),
        };
        Err(Error::file(root, why))
    }
}

/// The decoder's set: from the file that was given, the folder's files, or a single GGUF file in the folder.
fn language(root: &Path, decoder: &[Arc<WeightFile>], options: &OpenOptions) -> Result<WeightSet> {
    let mut set = WeightSet::new();
    let mut from_files = |files: &[Arc<WeightFile>]| files.iter().for_each(|f| set.add(f.clone(), rename::language));
    match &options.language_model {
        Some(file) => from_files(&[Arc::new(WeightFile::open(file)?)]),
        None => from_files(decoder),
    }
    if options.language_model.is_some() || set.has_prefix("model.") {
        return Ok(set);
    }
    match shards::gguf_files(root)?.as_slice() {
        [file] => set.add(Arc::new(WeightFile::open(file)?), rename::language),
        [] if options.allow_missing_weights => {}
        [] => {
            let why =
                "has no decoder weights (model.safetensors, pytorch_model.bin, either with .index.json, or a .gguf)";
            return Err(Error::file(root, why));
        }
        several => {
            let why = format!("holds {} GGUF files; say which one the language model is", several.len());
            return Err(Error::file(root, why));
        }
    }
    Ok(set)
}

/// The folders of the components.
struct Folders {
    clip: PathBuf,
    diffusion: PathBuf,
}

impl Folders {
    fn find(root: &Path, plugins: &Plugins, options: &OpenOptions) -> Result<Self> {
        let absent = |name: &str| Error::file(root.join("config.json"), format!("plugins_init_kwargs has no {name}"));
        let clip = match (&options.clip_folder, &plugins.clip_vision_embedding) {
            (Some(folder), _) => given(folder)?,
            (None, Some(clip)) => {
                shards::component_folder(root, "clip_vision_model_name_or_path", &clip.clip_vision_model_name_or_path)?
            }
            (None, None) => return Err(absent("clip_vision_embedding")),
        };
        let diffusion = match (&options.diffusion_folder, &plugins.stable_diffusion_head) {
            (Some(folder), _) => given(folder)?,
            (None, Some(head)) => {
                shards::component_folder(root, "diffusion_name_or_path", &head.diffusion_name_or_path)?
            }
            (None, None) => return Err(absent("stable_diffusion_head")),
        };
        if !options.allow_missing_plugins {
            plugins.clip_vision_embedding.as_ref().ok_or_else(|| absent("clip_vision_embedding"))?;
            plugins.dream_embedding.as_ref().ok_or_else(|| absent("dream_embedding"))?;
            plugins.stable_diffusion_head.as_ref().ok_or_else(|| absent("stable_diffusion_head"))?;
        }
        Ok(Self { clip, diffusion })
    }

    fn complete_clip(&self, mut set: WeightSet, allow_missing: bool) -> Result<WeightSet> {
        let prefix = (!allow_missing).then_some("clip_vision_model.");
        fill(&mut set, &self.clip, shards::TRANSFORMERS, rename::clip_folder, prefix)?;
        Ok(set)
    }

    fn complete_diffusion(&self, mut set: WeightSet, allow_missing: bool) -> Result<WeightSet> {
        let prefix = |part| (!allow_missing).then_some(part);
        fill(&mut set, &self.diffusion.join("unet"), shards::DIFFUSERS, rename::unet_folder, prefix("unet."))?;
        fill(&mut set, &self.diffusion.join("vae"), shards::DIFFUSERS, rename::vae_folder, prefix("vae."))?;
        Ok(set)
    }
}

fn given(folder: &Path) -> Result<PathBuf> {
    if folder.is_dir() { Ok(folder.to_path_buf()) } else { Err(Error::file(folder, "there is no such folder")) }
}

/// Adds a component folder's weights behind the plugin's. One of the two must have some that begin with `prefix`, if given.
fn fill(set: &mut WeightSet, folder: &Path, names: &[&str], rename: Rename, prefix: Option<&str>) -> Result<()> {
    for file in shards::open_weights(folder, names)? {
        set.add(file, rename);
    }
    let Some(prefix) = prefix.filter(|prefix| !set.has_prefix(prefix)) else { return Ok(()) };
    Err(Error::file(folder, format!("has no weights, and the checkpoint holds no {}… tensors either", prefix)))
}

impl TokenizerFiles {
    fn find(root: &Path) -> Self {
        Self {
            model: existing(root, "tokenizer.model"),
            json: existing(root, "tokenizer.json"),
            added_tokens: existing(root, "added_tokens.json"),
            special_tokens_map: existing(root, "special_tokens_map.json"),
            config: existing(root, "tokenizer_config.json"),
        }
    }
}

fn existing(root: &Path, name: &str) -> Option<PathBuf> {
    Some(root.join(name)).filter(|path| path.is_file())
}

#[cfg(test)]
mod tests;
