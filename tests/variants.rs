//! Checkpoints of other configs than the recorded one, made from it: what differs is known without a recording.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use common::{gpu, tiny};
use dreamllm::convert::{ConvertOptions, convert};
use dreamllm::diffusion::{Sampler, SamplerKind, SamplerOptions};
use dreamllm::image::RgbImage;
use dreamllm::models::decoding::Decoding;
use dreamllm::models::dreamllm::{DreamLlm, LoadOptions};
use dreamllm::models::preflight::picture_side;
use dreamllm::nn::{WeightFormat, probe};
use dreamllm::text::Tokenizer;
use dreamllm::train::Trained;
use dreamllm::verify::{Verdict, verify_against};
use dreamllm::weights::CheckpointFolder;
use dreamllm::{Error, Result, Tensor};
use safetensors::tensor::{Dtype, SafeTensors, TensorView, serialize_to_file};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;
use tempfile::TempDir;

const ALL: LoadOptions = LoadOptions { format: WeightFormat::Stored, vision: true, diffusion: true, initial: None };

/// A tensor in a file: type, shape, bytes.
type Stored = (Dtype, Vec<usize>, Vec<u8>);

/// Rewrites a safetensors file.
fn rewrite(path: &Path, edit: impl FnOnce(&mut BTreeMap<String, Stored>)) {
    let bytes = std::fs::read(path).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let stored = |(name, t): (String, TensorView)| (name, (t.dtype(), t.shape().to_vec(), t.data().to_vec()));
    let mut tensors: BTreeMap<String, Stored> = file.tensors().into_iter().map(stored).collect();
    edit(&mut tensors);
    let views = tensors
        .iter()
        .map(|(name, (dtype, shape, bytes))| (name.as_str(), TensorView::new(*dtype, shape.clone(), bytes).unwrap()));
    serialize_to_file(views, None, path).unwrap();
}

/// Rewrites a JSON file.
fn rewrite_json(path: &Path, edit: impl FnOnce(&mut Value)) {
    let mut json = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    edit(&mut json);
    std::fs::write(path, json.to_string()).unwrap();
}

/// The tiny checkpoint as one folder that can be changed.
fn copy() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let options = ConvertOptions { format: WeightFormat::Stored, official: false, shard_bytes: u64::MAX };
    let source = CheckpointFolder::open(tiny()).unwrap();
    pollster::block_on(convert(&source, folder.path(), &options, &|_| Ok(()))).unwrap();
    folder
}

fn load(folder: &TempDir) -> DreamLlm {
    DreamLlm::load(&CheckpointFolder::open(folder.path()).unwrap(), gpu(), ALL, &|_| ()).unwrap()
}

fn read(x: &Tensor) -> Vec<f32> {
    pollster::block_on(x.read_f32()).unwrap()
}

fn picture() -> RgbImage {
    dreamllm::image::load(tiny().join("reference/images/rgb_97x61.png")).unwrap()
}

fn floats(values: impl Iterator<Item = f32>) -> Vec<u8> {
    values.flat_map(f32::to_le_bytes).collect()
}

/// `use_additional_post_layernorm`: a norm over the decoder's width, behind the projector, that learns in every stage.
#[test]
fn an_additional_norm_follows_the_projector() {
    let folder = copy();
    let plain = read(&load(&folder).vision().unwrap().read(gpu(), &[picture()]).unwrap());
    let width = plain.len() / 16;
    let gain = |i: usize| 1.0 + 0.1 * (i % 7) as f32;
    let bias = |i: usize| 0.2 * (i % 3) as f32 - 0.1;
    rewrite(&folder.path().join("model.safetensors"), |tensors| {
        let mut add = |name: &str, values: Vec<u8>| {
            let name = format!("model.clip_vision_embedding.post_layernorm.{name}");
            tensors.insert(name, (Dtype::F32, vec![width], values));
        };
        add("weight", floats((0..width).map(gain)));
        add("bias", floats((0..width).map(bias)));
    });
    rewrite_json(&folder.path().join("config.json"), |config| {
        config["plugins_init_kwargs"]["clip_vision_embedding"]["use_additional_post_layernorm"] = true.into();
    });
    let normed = read(&load(&folder).vision().unwrap().read(gpu(), &[picture()]).unwrap());
    for (row, got) in plain.chunks(width).zip(normed.chunks(width)) {
        let mean = row.iter().sum::<f32>() / width as f32;
        let variance = row.iter().map(|x| (x - mean).powi(2)).sum::<f32>() / width as f32;
        for (i, (x, got)) in row.iter().zip(got).enumerate() {
            let want = (x - mean) / (variance + 1e-5).sqrt() * gain(i) + bias(i);
            assert!((got - want).abs() < 1e-4, "{got}, not {want}");
        }
    }
    let name = "model.clip_vision_embedding.post_layernorm.weight";
    let stages = [Trained::stage1_comprehension(), Trained::stage1_creation(), Trained::stage2()];
    assert!(stages.into_iter().all(|stage| stage.includes(name, 2)));
    // CLIP's own, which comes after the hidden state that is read, learns in none.
    let own = "model.clip_vision_embedding.clip_vision_model.vision_model.post_layernorm.weight";
    assert!(!Trained::all().includes(own, 2));
}

/// SD 1.x: projections around the transformer blocks are 1 x 1 convolutions. They compute the same, and show pictures.
#[test]
fn convolutional_projections_are_linear_ones_of_another_shape() {
    let (folder, linear) = (copy(), load(&copy()));
    rewrite(&folder.path().join("model.safetensors"), |tensors| {
        let projections = tensors
            .iter_mut()
            .filter(|(name, _)| name.ends_with("proj_in.weight") || name.ends_with("proj_out.weight"));
        for (_, (_, shape, _)) in projections.filter(|(name, _)| name.contains(".unet.")) {
            shape.extend([1, 1]);
        }
    });
    let unet = folder.path().join("stable-diffusion-2-1-base/unet/config.json");
    rewrite_json(&unet, |config| config["use_linear_projection"] = false.into());
    let convolutional = load(&folder);
    let of = |model: &DreamLlm| {
        let x: Vec<f32> = (0..16 * 16 * 4).map(|i| (i as f32 * 0.37).sin()).collect();
        let x = Tensor::from_f32(gpu(), &x, [1, 16, 16, 4]).unwrap();
        let condition = model.condition(&model.context("A photo of a dog.", &[]).unwrap()).unwrap();
        let t = Tensor::from_f32(gpu(), &[500.0], [1]).unwrap();
        let (y, seen) = probe::watch(|| model.diffusion().unwrap().unet.forward(&x, &t, &condition));
        let shown = seen.into_iter().filter(|(name, _)| name.ends_with("proj_in"));
        (read(&y.unwrap()), shown.map(|(_, x)| x.shape().rank()).collect::<Vec<_>>())
    };
    let ((want, rows), (got, pictures)) = (of(&linear), of(&convolutional));
    assert!(want.iter().zip(&got).all(|(a, b)| (a - b).abs() < 1e-5));
    assert!(!rows.is_empty() && rows.iter().all(|rank| *rank == 3) && pictures == vec![4; rows.len()]);
}

/// Of large checkpoints the script records less: the last logits, pictures by their shape, the bytes of some drawings.
#[test]
fn slim_recordings_are_compared_as_far_as_they_go() {
    let folder = tempfile::tempdir().unwrap();
    let (reference, source) = (folder.path(), tiny().join("reference"));
    for part in ["images", "data"] {
        std::fs::create_dir(reference.join(part)).unwrap();
        for file in std::fs::read_dir(source.join(part)).unwrap() {
            let file = file.unwrap();
            std::fs::copy(file.path(), reference.join(part).join(file.file_name())).unwrap();
        }
    }
    for name in ["llama", "pipeline", "train_data"] {
        for ending in ["json", "safetensors"] {
            let file = format!("{name}.{ending}");
            std::fs::copy(source.join(&file), reference.join(&file)).unwrap();
        }
    }
    rewrite(&reference.join("llama.safetensors"), |tensors| {
        for name in ["batch_pos_from_mask.logits", "two_images.logits"] {
            let (_, shape, bytes) = tensors.get_mut(name).unwrap();
            let row = bytes.len() / shape[0];
            let kept = 4 * row / shape[1];
            *bytes = bytes.chunks(row).flat_map(|row| row[row.len() - kept..].to_vec()).collect();
            shape[1] = 4;
        }
    });
    rewrite(&reference.join("pipeline.safetensors"), |tensors| {
        tensors.retain(|name, _| !(name.starts_with("sub_") && name.ends_with("image_0_1")));
    });
    rewrite(&reference.join("train_data.safetensors"), |tensors| {
        tensors.retain(|name, _| !name.ends_with(".images") && !name.ends_with(".images_dm"));
    });
    let root = tiny();
    let reports = verify_against(&root, reference, gpu(), WeightFormat::F32, |_| Ok(()));
    let reports = pollster::block_on(reports).unwrap();
    for stage in ["llama", "pipeline", "train_data"] {
        let report = reports.iter().find(|report| report.stage == stage).unwrap();
        assert_eq!(report.verdict, Verdict::Passed, "{report:#?}");
    }
}

/// A prompt may be as long as the decoder's positions go, and as the factor by which they are scaled; a dream comes on top.
#[test]
fn scaled_positions_make_room() {
    let folder = copy();
    let config = folder.path().join("config.json");
    rewrite_json(&config, |config| config["max_position_embeddings"] = 64.into());
    let ids = |n: usize| vec![5; n];
    let room = |model: &DreamLlm, n: usize| -> Result<Vec<f32>> {
        let mut decoding = Decoding::new(model);
        decoding.read_ids(&ids(n))?;
        Ok(read(&decoding.logits()?))
    };
    let plain = load(&folder);
    assert!(room(&plain, 64).is_ok() && matches!(room(&plain, 65), Err(Error::Input(_))));
    let text = "a".repeat(3);
    let long = (1..200).map(|n| text.repeat(n)).find(|t| plain.tokenizer.encode(t).len() == 64).unwrap();
    assert!(plain.condition(&plain.context(&long, &[]).unwrap()).is_ok());
    assert!(plain.context(&(long + "aaaaaa"), &[]).is_err());
    rewrite_json(&config, |config| config["rope_scaling"] = serde_json::json!({ "type": "dynamic", "factor": 2.0 }));
    let scaled = load(&folder);
    assert_eq!(room(&scaled, 64).unwrap(), room(&plain, 64).unwrap());
    assert!(room(&scaled, 128).unwrap().iter().all(|x| x.is_finite()) && room(&scaled, 129).is_err());
}

/// A model whose scores are NaN says so.
#[test]
fn scores_that_are_not_numbers_are_an_error() {
    let folder = copy();
    rewrite(&folder.path().join("model.safetensors"), |tensors| {
        tensors.get_mut("lm_head.weight").unwrap().2.fill(0xff);
    });
    let model = load(&folder);
    let mut decoding = Decoding::new(&model);
    decoding.read("A photo", &[]).unwrap();
    let error = pollster::block_on(decoding.choose(Default::default(), 0, 0)).unwrap_err().to_string();
    assert!(error.contains("not numbers"), "{error}");
}

#[test]
fn integers_are_no_weights() {
    let folder = copy();
    rewrite(&folder.path().join("model.safetensors"), |tensors| {
        let (dtype, shape, bytes) = tensors.get_mut("model.norm.weight").unwrap();
        (*dtype, *bytes) = (Dtype::I32, vec![1; 4 * shape[0]]);
    });
    let folder = CheckpointFolder::open(folder.path()).unwrap();
    let error = DreamLlm::load(&folder, gpu(), ALL, &|_| ()).err().unwrap().to_string();
    assert!(error.contains("model.norm.weight") && error.contains("I32"), "{error}");
}

#[test]
fn configs_decide_what_is_drawn_and_refused() {
    let folder = copy();
    let opened = || CheckpointFolder::open(folder.path());
    // What only some samplers know is no obstacle to the others.
    let scheduler = folder.path().join("stable-diffusion-2-1-base/scheduler/scheduler_config.json");
    rewrite_json(&scheduler, |config| config["rescale_betas_zero_snr"] = true.into());
    let sampler = |kind| Sampler::new(kind, &opened().unwrap().scheduler_config, 10, SamplerOptions::default());
    assert!(sampler(SamplerKind::Ddpm).is_ok());
    assert!(sampler(SamplerKind::Ddim).err().unwrap().to_string().contains("rescale_betas_zero_snr"));
    // The UNet says how large pictures are.
    assert_eq!(picture_side(&opened().unwrap()), 32);
    rewrite_json(&folder.path().join("stable-diffusion-2-1-base/unet/config.json"), |config| {
        config["sample_size"] = 24.into()
    });
    assert_eq!(picture_side(&opened().unwrap()), 48);
    // Another spacing of words is refused, never guessed.
    let tokenizer = folder.path().join("tokenizer_config.json");
    for (key, value) in [("legacy", false), ("add_bos_token", false), ("add_eos_token", true)] {
        std::fs::write(&tokenizer, serde_json::json!({ key: value }).to_string()).unwrap();
        let error = Tokenizer::from_folder(folder.path()).err().unwrap().to_string();
        assert!(error.contains(key), "{error}");
    }
    std::fs::write(&tokenizer, r#"{"legacy": true, "add_bos_token": true}"#).unwrap();
    assert!(Tokenizer::from_folder(folder.path()).is_ok());
}
