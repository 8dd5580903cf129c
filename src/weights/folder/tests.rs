use std::fs;

use tempfile::TempDir;

use super::super::StoredDType;
use super::super::torch_bin::tests::{Saved, torch_save};
use super::*;

fn tiny() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/reference/tiny")
}

/// A copy of the reference checkpoint without its recordings.
fn copy() -> TempDir {
    fn copy_folder(from: &Path, to: &Path) {
        fs::create_dir_all(to).unwrap();
        for entry in fs::read_dir(from).unwrap().map(Result::unwrap).filter(|e| e.file_name() != "reference") {
            let target = to.join(entry.file_name());
            if entry.path().is_dir() {
                copy_folder(&entry.path(), &target)
            } else {
                fs::copy(entry.path(), target).unwrap();
            }
        }
    }
    let folder = TempDir::new().unwrap();
    copy_folder(&tiny(), folder.path());
    folder
}

fn refusal(root: &Path) -> String {
    let error = CheckpointFolder::open(root).unwrap_err().to_string();
    assert!(!error.contains('\n'), "{error}");
    error
}

#[test]
fn the_reference_checkpoint_opens_whole() {
    let folder = CheckpointFolder::open(tiny()).unwrap();
    assert_eq!(folder.dream.names().collect::<Vec<_>>(), ["dream_queries"]);
    assert_eq!((folder.language.len(), folder.clip.len(), folder.diffusion.len()), (21, 57, 449));
    assert!(
        folder.language.contains("model.layers.1.mlp.up_proj.weight") && folder.language.contains("lm_head.weight")
    );
    assert!(folder.diffusion.contains("vae.decoder.mid_block.attentions.0.to_out.0.weight"));
    assert_eq!(folder.clip.require("projector.projector.weight").unwrap().shape(), [64, 48]);
    assert!(folder.tokenizer.model.is_some() && folder.tokenizer.json.is_some() && folder.generation_config.is_some());
    assert_eq!(folder.clip.unread().len(), 56);
}

#[test]
fn plugin_files_win_and_component_folders_fill_in_with_the_same_values() {
    let whole = CheckpointFolder::open(tiny()).unwrap();
    let copied = copy();
    // Of the plugins only the projectors are left; everything else must come from the (half precision) folders.
    let saved = |set: &WeightSet, name: &str| set.require(name).unwrap().to_f32().unwrap();
    let weight = saved(&whole.diffusion, "projector.projector.weight");
    let only = [Saved {
        name: "projector.projector.weight",
        elements: &weight,
        offset: 0,
        shape: &[32, 64],
        strides: &[64, 1],
    }];
    fs::write(copied.path().join(DIFFUSION.file), torch_save(&only)).unwrap();
    let weight = saved(&whole.clip, "projector.projector.weight");
    let only = [Saved {
        name: "projector.projector.weight",
        elements: &weight,
        offset: 0,
        shape: &[64, 48],
        strides: &[48, 1],
    }];
    fs::write(copied.path().join(CLIP.file), torch_save(&only)).unwrap();

    let filled = CheckpointFolder::open_with(copied.path(), &OpenOptions::default());
    // The reference ships VAE and CLIP weights in their folders but no UNet: a fine-tuned one is only in the plugin.
    let error = filled.unwrap_err().to_string();
    assert!(error.contains("unet") && error.contains("has no weights"), "{error}");

    fs::copy(tiny().join(DIFFUSION.file), copied.path().join(DIFFUSION.file)).unwrap();
    let filled = CheckpointFolder::open(copied.path()).unwrap();
    let mut compared = 0;
    for want in whole.clip.tensors().filter(|t| t.name().starts_with("clip_vision_model.")) {
        let got = filled.clip.require(want.name()).unwrap();
        assert_eq!((want.dtype(), got.dtype()), (StoredDType::F32, StoredDType::F16), "{}", want.name());
        assert_eq!(want.to_f32().unwrap(), got.to_f32().unwrap(), "{}", want.name());
        compared += 1;
    }
    assert_eq!(compared, 55);
}

#[test]
fn the_published_vae_has_the_plugins_values_under_old_names() {
    let whole = CheckpointFolder::open(tiny()).unwrap();
    let mut vae = WeightSet::new();
    let path = tiny().join("stable-diffusion-2-1-base/vae/diffusion_pytorch_model.safetensors");
    vae.add(Arc::new(WeightFile::open(path).unwrap()), rename::vae_folder);
    assert!(vae.len() > 50);
    for tensor in vae.tensors() {
        let want = whole.diffusion.require(tensor.name()).unwrap();
        assert_eq!(want.to_f32().unwrap(), tensor.to_f32().unwrap(), "{}", tensor.name());
    }
}

#[test]
fn one_file_for_everything_works_without_plugin_files() {
    let whole = CheckpointFolder::open(tiny()).unwrap();
    let copied = copy();
    let all = [
        ("model.", &whole.language),
        ("model.clip_vision_embedding.", &whole.clip),
        ("model.dream_embedding.", &whole.dream),
        ("stable_diffusion_head.", &whole.diffusion),
    ];
    let mut header = serde_json::Map::new();
    let mut data: Vec<u8> = Vec::new();
    for (prefix, set) in all {
        for tensor in set.tensors() {
            let raw = tensor.raw().unwrap();
            let prefix = if prefix == "model." { "" } else { prefix };
            let entry = serde_json::json!({"dtype": "F32", "shape": tensor.shape(), "data_offsets": [data.len(), data.len() + raw.len()]});
            header.insert(format!("{prefix}{}", tensor.name()), entry);
            data.extend(raw);
        }
    }
    let header = serde_json::Value::Object(header).to_string();
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header.as_bytes());
    bytes.extend(data);
    // The content decides, not the name.
    fs::remove_file(copied.path().join("model.safetensors")).unwrap();
    fs::write(copied.path().join("pytorch_model.bin"), bytes).unwrap();
    for file in [CLIP.file, DREAM.file, DIFFUSION.file] {
        fs::remove_file(copied.path().join(file)).unwrap();
    }
    let all = CheckpointFolder::open(copied.path()).unwrap();
    let pairs = [
        (&whole.language, &all.language),
        (&whole.clip, &all.clip),
        (&whole.dream, &all.dream),
        (&whole.diffusion, &all.diffusion),
    ];
    for (want, got) in pairs {
        assert_eq!(want.names().collect::<Vec<_>>(), got.names().collect::<Vec<_>>());
        for tensor in want.tensors() {
            assert_eq!(tensor.raw(), got.require(tensor.name()).unwrap().raw(), "{}", tensor.name());
        }
    }
}

#[test]
fn shards_are_found_by_their_index() {
    let copied = copy();
    let root = copied.path();
    fs::rename(root.join("model.safetensors"), root.join("model-00001-of-00002.safetensors")).unwrap();
    let numbers = [7.0f32];
    let extra = [Saved { name: "model.extra", elements: &numbers, offset: 0, shape: &[1], strides: &[1] }];
    fs::write(root.join("model-00002-of-00002.safetensors"), torch_save(&extra)).unwrap();
    let index = root.join("model.safetensors.index.json");
    let map = r#"{"metadata": {}, "weight_map": {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}}"#;
    fs::write(&index, map).unwrap();
    let folder = CheckpointFolder::open(root).unwrap();
    assert_eq!(folder.language.len(), 22);
    assert_eq!(folder.language.require("model.extra").unwrap().to_f32().unwrap(), [7.0]);

    fs::remove_file(root.join("model-00002-of-00002.safetensors")).unwrap();
    assert!(refusal(root).contains("names model-00002-of-00002.safetensors, which is missing"));
    fs::write(&index, r#"{"weight_map": {"a": "../../etc/passwd"}}"#).unwrap();
    assert!(refusal(root).contains("no plain file name"));
    fs::write(&index, "{}").unwrap();
    assert!(refusal(root).contains("weight_map"));
}

#[test]
fn component_folders_may_lie_beside_the_checkpoint_or_be_given() {
    let copied = copy();
    let beside = TempDir::new().unwrap();
    let root = beside.path().join("checkpoint");
    fs::rename(copied.path(), &root).unwrap();
    for name in ["clip-vit-large-patch14", "stable-diffusion-2-1-base"] {
        fs::rename(root.join(name), beside.path().join(name)).unwrap();
    }
    assert!(CheckpointFolder::open(&root).is_ok());
    fs::rename(beside.path().join("clip-vit-large-patch14"), beside.path().join("elsewhere")).unwrap();
    let error = refusal(&root);
    assert!(error.contains("no folder clip-vit-large-patch14") && error.contains("openai/clip"), "{error}");
    let options = OpenOptions { clip_folder: Some(beside.path().join("elsewhere")), ..Default::default() };
    assert!(CheckpointFolder::open_with(&root, &options).is_ok());
    // The names in config.json are hints, not ways out of the folder.
    let config = fs::read_to_string(root.join("config.json")).unwrap();
    fs::write(root.join("config.json"), config.replace("openai/clip-vit-large-patch14", "..")).unwrap();
    assert!(refusal(&root).contains("clip_vision_model_name_or_path"));
}

#[test]
fn what_is_missing_is_named() {
    assert!(refusal(Path::new("/no/such/folder")).contains("no such folder"));
    assert!(refusal(&tiny().join("config.json")).contains("is not a folder"));
    let without = |file: &str, want: &str| {
        let copied = copy();
        fs::remove_file(copied.path().join(file)).unwrap();
        let error = refusal(copied.path());
        assert!(error.contains(want), "{file}: {error}");
    };
    without("config.json", "config.json: is missing");
    without("model.safetensors", "no decoder weights");
    without(CLIP.file, "has no clip_vision_embedding.bin");
    without(DREAM.file, "has no dream_embedding.bin");
    without(DIFFUSION.file, "has no stable_diffusion_head.bin");
    without("clip-vit-large-patch14/preprocessor_config.json", "preprocessor_config.json: is missing");
    without("stable-diffusion-2-1-base/unet/config.json", "unet/config.json: is missing");
    // Before stage I there are no projectors and no dream queries.
    let copied = copy();
    fs::remove_file(copied.path().join(DREAM.file)).unwrap();
    let options = OpenOptions { allow_missing_plugins: true, ..Default::default() };
    assert!(CheckpointFolder::open_with(copied.path(), &options).unwrap().dream.is_empty());
}

#[test]
fn configs_that_contradict_each_other_are_refused() {
    let copied = copy();
    let edit = |file: &str, from: &str, to: &str| {
        let path = copied.path().join(file);
        let json = fs::read_to_string(tiny().join(file)).unwrap();
        assert!(json.contains(from));
        fs::write(path, json.replace(from, to)).unwrap();
    };
    edit("config.json", "\"select_layer\": -2", "\"select_layer\": -9");
    assert!(refusal(copied.path()).contains("select_layer -9"));
    edit("config.json", "a", "a");
    edit("stable-diffusion-2-1-base/vae/config.json", "\"latent_channels\": 4", "\"latent_channels\": 8");
    assert!(refusal(copied.path()).contains("latent_channels"));
}
