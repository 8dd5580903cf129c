//! The files of a converted folder.

use super::target::Target;
use crate::models::config::DrawingConfig;
use crate::models::survey::Part;
use crate::train::pretraining::SCENE_ENCODER_FILE;
use crate::weights::{BLOCKS_KEY, Blocks, CheckpointFolder, SafetensorsWriter, StoredDType, TensorHeader, TorchWriter};
use crate::{Error, Result};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// Everything that is not weights of the model: configs, tokenizer, and what pretraining left beside it. Components lie in folders within, named as `config.json` names
/// them, where they are looked for first.
pub(super) fn copy_descriptions(source: &CheckpointFolder, to: &Path) -> Result<()> {
    let tokenizer = &source.tokenizer;
    let optional = [&tokenizer.model, &tokenizer.json, &tokenizer.added_tokens, &tokenizer.special_tokens_map];
    let optional = optional.into_iter().chain([&tokenizer.config, &source.generation_config]).flatten();
    copy(&source.root.join("config.json"), to)?;
    let beside = [DrawingConfig::FILE, SCENE_ENCODER_FILE].map(|name| source.root.join(name));
    beside.iter().filter(|file| file.is_file()).try_for_each(|file| copy(file, to))?;
    optional.into_iter().try_for_each(|file| copy(file, to))?;
    let plugins = &source.config.plugins;
    let clip = plugins.clip_vision_embedding.as_ref().map(|plugin| plugin.clip_vision_model_name_or_path.as_str());
    let diffusion = plugins.stable_diffusion_head.as_ref().map(|plugin| plugin.diffusion_name_or_path.as_str());
    let components = [
        (clip, &source.clip_folder, &["config.json", "preprocessor_config.json"][..]),
        (
            diffusion,
            &source.diffusion_folder,
            &["model_index.json", "unet/config.json", "vae/config.json", "scheduler/scheduler_config.json"],
        ),
    ];
    for (name, from, files) in components {
        let name = name.map(crate::weights::last_part).unwrap_or_default();
        for file in files.iter().filter(|file| from.join(file).is_file()) {
            let folder = to.join(name).join(Path::new(file).parent().unwrap_or(Path::new("")));
            fs::create_dir_all(&folder).map_err(|e| Error::file(&folder, e))?;
            copy(&from.join(file), &folder)?;
        }
    }
    Ok(())
}

fn copy(file: &Path, to: &Path) -> Result<()> {
    let name = file.file_name().unwrap_or_default();
    fs::copy(file, to.join(name)).map(|_| ()).map_err(|e| Error::file(file, e))
}

/// All parts under their full names, in one file or in shards with an index.
pub(super) fn write_all(
    targets: Vec<Target<'_>>,
    folder: &Path,
    shard_bytes: u64,
    progress: &dyn Fn(u64) -> Result<()>,
) -> Result<()> {
    let total = targets.iter().map(Target::bytes).sum::<u64>();
    let shards = shards(targets, shard_bytes);
    let file = |i: usize| match shards.len() {
        1 => "model.safetensors".to_string(),
        n => format!("model-{:05}-of-{n:05}.safetensors", i + 1),
    };
    let mut index = BTreeMap::new();
    for (i, shard) in shards.iter().enumerate() {
        write_safetensors(shard, &folder.join(file(i)), |target| &target.name, progress)?;
        index.extend(shard.iter().map(|target| (target.name.clone(), file(i))));
    }
    if shards.len() < 2 {
        return Ok(());
    }
    let index = serde_json::json!({ "metadata": { "total_size": total }, "weight_map": index });
    crate::image::replace_file(folder.join("model.safetensors.index.json"), format!("{index:#}").as_bytes())
}

fn shards(targets: Vec<Target<'_>>, most: u64) -> Vec<Vec<Target<'_>>> {
    let (mut shards, mut bytes) = (vec![Vec::new()], 0);
    for target in targets {
        let more = target.bytes();
        match shards.last_mut() {
            Some(shard) if bytes + more <= most || shard.is_empty() => shard.push(target),
            _ => {
                shards.push(vec![target]);
                bytes = 0;
            }
        }
        bytes += more;
    }
    // Readers that map the file like wide types in front, where everything is aligned.
    let width =
        |target: &Target<'_>| std::cmp::Reverse(if target.blocks().is_some() { 0 } else { target.dtype().unit().1 });
    shards.iter_mut().for_each(|shard| shard.sort_by_key(width));
    shards
}

/// The decoder in safetensors, the plugins as `torch.save` writes them.
pub(super) fn write_official(
    targets: Vec<Target<'_>>,
    folder: &Path,
    progress: &dyn Fn(u64) -> Result<()>,
) -> Result<()> {
    let file = |target: &Target<'_>| match Part::of(&target.name) {
        Part::Decoder => "model.safetensors",
        Part::ImageEncoder | Part::VisualProjector => "clip_vision_embedding.bin",
        Part::Queries => "dream_embedding.bin",
        Part::ConditionProjector | Part::UNet | Part::Vae => "stable_diffusion_head.bin",
    };
    let mut files: BTreeMap<&str, Vec<Target<'_>>> = BTreeMap::new();
    for target in targets {
        files.entry(file(&target)).or_default().push(target);
    }
    for (name, targets) in &files {
        let path = folder.join(name);
        match name.ends_with(".bin") {
            true => write_torch(targets, &path, progress)?,
            false => write_safetensors(targets, &path, |target| &target.short, progress)?,
        }
    }
    Ok(())
}

fn write_safetensors(
    targets: &[Target<'_>],
    path: &Path,
    name: for<'a> fn(&'a Target<'_>) -> &'a str,
    progress: &dyn Fn(u64) -> Result<()>,
) -> Result<()> {
    let headers: Vec<TensorHeader> = targets.iter().map(|target| target.header(name(target))).collect();
    let blocks = |target: &Target<'_>| Some((name(target).to_string(), target.blocks()?));
    let blocks: BTreeMap<String, Blocks> = targets.iter().filter_map(blocks).collect();
    // "pt" is what transformers expects to find.
    let mut metadata = BTreeMap::from([("format".to_string(), "pt".to_string())]);
    if !blocks.is_empty() {
        metadata.insert(BLOCKS_KEY.into(), serde_json::json!(blocks).to_string());
    }
    let mut file = SafetensorsWriter::create(path, headers, &metadata)?;
    for target in targets {
        target.write(|bytes, elements| {
            progress(elements)?;
            file.write(name(target), bytes)
        })?;
    }
    file.finish()
}

fn write_torch(targets: &[Target<'_>], path: &Path, progress: &dyn Fn(u64) -> Result<()>) -> Result<()> {
    let headers = targets.iter().map(|target| TensorHeader { dtype: target.dtype(), ..target.header(&target.short) });
    debug_assert!(targets.iter().all(|target| target.dtype() != StoredDType::U8));
    let mut file = TorchWriter::create(path, headers.collect())?;
    for target in targets {
        target.write(|bytes, elements| {
            progress(elements)?;
            file.write(&target.short, bytes)
        })?;
    }
    file.finish()
}

/// All files within a folder, sorted.
pub(super) fn list(folder: &Path) -> Result<Vec<String>> {
    let (mut found, mut open) = (Vec::new(), vec![folder.to_path_buf()]);
    while let Some(next) = open.pop() {
        for entry in fs::read_dir(&next).map_err(|e| Error::file(&next, e))? {
            let path = entry.map_err(|e| Error::file(&next, e))?.path();
            match path.is_dir() {
                true => open.push(path),
                false => found.extend(path.strip_prefix(folder).ok().map(|file| file.display().to_string())),
            }
        }
    }
    found.sort();
    Ok(found)
}
