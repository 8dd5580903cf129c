//! The model against the official PyTorch code, recorded in `tests/reference/tiny/reference`: what `dreamllm verify` does,
//! on a device as it is, as a weak one, and with f16 weights.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use common::{gpu, tiny, weak_gpu};
use dreamllm::Tensor;
use dreamllm::diffusion::noise::NoiseSource;
use dreamllm::gpu::Gpu;
use dreamllm::models::dreamllm::{DreamLlm, LoadOptions};
use dreamllm::nn::{WeightFormat, probe};
use dreamllm::ops::layout::permute;
use dreamllm::verify::{StageReport, Verdict, verify};
use dreamllm::weights::{CheckpointFolder, WeightFile};
use std::path::PathBuf;

fn passes(gpu: &Gpu, format: WeightFormat) -> Vec<StageReport> {
    let reports = pollster::block_on(verify(&tiny(), gpu, format, |_| Ok(()))).unwrap();
    let failed: Vec<_> = reports.iter().filter(|r| r.verdict == Verdict::Failed).collect();
    assert!(failed.is_empty(), "{failed:#?}");
    reports
}

#[test]
fn every_recorded_stage_passes() {
    let reports = passes(gpu(), WeightFormat::F32);
    let passed: Vec<&str> = reports.iter().filter(|r| r.verdict == Verdict::Passed).map(|r| r.stage.as_str()).collect();
    let wanted = [
        "tokenization (tokenizer.model)",
        "tokenization (tokenizer.json)",
        "preprocess",
        "clip_vision",
        "llama",
        "generate (greedy)",
        "generate (beams)",
        "dream",
        "unet",
        "vae",
        "schedulers",
        "pipeline",
        "train_data",
        "train_batches",
        "train_losses",
        "grads_all",
        "grads_stage1_comprehension",
        "grads_stage1_creation",
        "grads_stage2",
        "vm_variants",
        "adamw_all_lr2e-05",
        "adamw_stage1_comprehension_lr0.01",
        "adamw_stage1_creation_lr0.01",
        "adamw_stage2_lr0.01_wd0.1",
    ];
    assert_eq!(passed, wanted);
}

#[test]
fn a_weak_device_gives_the_same() {
    passes(weak_gpu(), WeightFormat::F32);
}

#[test]
fn f16_weights_stay_within_their_bound() {
    passes(gpu(), WeightFormat::F16);
}

#[test]
fn quantised_weights_stay_within_their_bounds() {
    for format in [WeightFormat::Q8, WeightFormat::Q4] {
        passes(gpu(), format);
    }
}

/// A wrong epsilon moves a normalised tensor by a few millionths: less than the bounds of `verify`, more than the rounding of
/// the tensors that are recorded right behind a norm.
#[test]
fn epsilons_are_those_of_the_official_code() {
    let folder = CheckpointFolder::open(tiny()).unwrap();
    let options = LoadOptions { vision: true, diffusion: true, ..Default::default() };
    let model = DreamLlm::load(&folder, gpu(), options, &|_| ()).unwrap();
    let recorded = |file: &str, name: &str| {
        let file = WeightFile::open(tiny().join("reference").join(file)).unwrap();
        let stored = file.get(name).unwrap_or_else(|| panic!("{name} is not recorded"));
        let shape = stored.shape().to_vec();
        Tensor::from_f32(gpu(), &stored.to_f32().unwrap(), shape.as_slice()).unwrap()
    };
    let image = |x: &Tensor| if x.shape().rank() == 4 { permute(x, &[0, 2, 3, 1]).unwrap() } else { x.clone() };
    let read = |x: &Tensor| pollster::block_on(x.read_f32()).unwrap();
    let diffusion = model.diffusion().unwrap();
    let unet = |name: &str| image(&recorded("unet.safetensors", name));
    let t = Tensor::from_f32(gpu(), &[981.0; 2], [2]).unwrap();
    let run = || diffusion.unet.forward(&unet("a.sample"), &t, &unet("a.encoder_hidden_states"));
    let (_, seen) = probe::watch(run);
    let mut checked = 0;
    for (path, x) in &seen {
        let Some(name) = path.strip_prefix("unet.").filter(|name| name.starts_with("down") && name.contains("norm"))
        else {
            continue;
        };
        let file = WeightFile::open(tiny().join("reference/unet.safetensors")).unwrap();
        if file.get(&format!("a.{name}")).is_none() {
            continue;
        }
        let (got, want) = (read(x), read(&unet(&format!("a.{name}"))));
        let scale = want.iter().fold(0f32, |m, v| m.max(v.abs()));
        let worst = got.iter().zip(&want).fold(0f32, |m, (g, w)| m.max((g - w).abs())) / scale;
        assert!(worst < 1.2e-6, "{name} is off by {worst:.2e}");
        checked += 1;
    }
    assert!(checked >= 6, "only {checked} norms are recorded");
}

#[test]
fn torch_seeds_give_the_noise_that_torch_draws() {
    let file =
        WeightFile::open(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/reference/rng.safetensors")).unwrap();
    for (seed, [b, c, y, x]) in
        [(0, [1, 4, 8, 8]), (42, [2, 4, 16, 16]), (1234567, [1, 4, 13, 7]), (4294967295, [1, 4, 8, 8])]
    {
        let want = file.get(&format!("randn.seed{seed}.{b}x{c}x{y}x{x}")).unwrap().to_f32().unwrap();
        let drawn = NoiseSource::Torch.seeded(seed).draw(gpu(), [b, y, x, c]).unwrap();
        let got = pollster::block_on(permute(&drawn, &[0, 3, 1, 2]).unwrap().read_f32()).unwrap();
        let worst = got.iter().zip(&want).fold(0f32, |m, (g, w)| m.max((g - w).abs()));
        assert!(got.len() == want.len() && worst < 1e-6, "seed {seed}: {worst}");
    }
}
