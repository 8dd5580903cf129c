//! Converted folders, GGUF decoders and `info`: the same model in other files.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use common::{gpu, tiny};
use dreamllm::convert::{ConvertOptions, Manifest, convert};
use dreamllm::diffusion::pipeline::DrawOptions;
use dreamllm::gpu::{Gpu, GpuOptions};
use dreamllm::interleaved::{ComposeOptions, Part, compose};
use dreamllm::models::answer::AnswerOptions;
use dreamllm::models::dreamllm::{DreamLlm, LoadOptions};
use dreamllm::models::survey::{MemoryPlan, survey};
use dreamllm::nn::{Parameters, WeightFormat};
use dreamllm::verify::{Verdict, verify_against};
use dreamllm::weights::{CheckpointFolder, OpenOptions, SafetensorsWriter, StoredDType, TensorHeader};
use dreamllm::{DType, Error, Result, Tensor};
use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Output};

const ALL: LoadOptions = LoadOptions { format: WeightFormat::Stored, vision: true, diffusion: true, initial: None };

fn converted(source: &Path, out: &Path, format: WeightFormat, official: bool, shard_bytes: u64) {
    let options = ConvertOptions { format, official, shard_bytes };
    let source = CheckpointFolder::open(source).unwrap();
    pollster::block_on(convert(&source, out, &options, &|_| Ok(()))).unwrap();
}

/// Every weight on the device: its type and the bytes of its memory, by full name.
fn loaded(folder: &CheckpointFolder, format: WeightFormat) -> BTreeMap<String, (DType, Vec<u8>)> {
    let parameters = Parameters::new(|_| false);
    DreamLlm::load_with(folder, gpu(), LoadOptions { format, ..ALL }, Some(&parameters), &|_| ()).unwrap();
    let bytes = |tensor: &Tensor| pollster::block_on(tensor.read_bytes()).unwrap();
    parameters.all().into_iter().map(|(name, p)| (name, (p.tensor.dtype(), bytes(&p.tensor)))).collect()
}

/// Compares without printing megabytes.
fn assert_same(got: &BTreeMap<String, (DType, Vec<u8>)>, want: &BTreeMap<String, (DType, Vec<u8>)>) {
    assert!(got.len() > 300 && got.keys().eq(want.keys()), "{} and {} weights", got.len(), want.len());
    for (name, want) in want {
        assert!(got[name] == *want, "{name} is {} and differs, or was {}", got[name].0, want.0);
    }
}

fn dreamllm(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_dreamllm")).args(arguments).output().unwrap()
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn a_converted_folder_is_what_loading_with_that_format_makes() {
    let folder = tempfile::tempdir().unwrap();
    let original = CheckpointFolder::open(tiny()).unwrap();
    for (name, format) in [("q8", WeightFormat::Q8), ("q4", WeightFormat::Q4), ("f16", WeightFormat::F16)] {
        let out = folder.path().join(name);
        converted(&tiny(), &out, format, false, u64::MAX);
        let (want, opened) = (loaded(&original, format), CheckpointFolder::open(&out).unwrap());
        assert_same(&loaded(&opened, WeightFormat::Stored), &want);
        assert_same(&loaded(&opened, format), &want);
        let wanted = match format {
            WeightFormat::Q8 => DType::Q8,
            WeightFormat::Q4 => DType::Q4,
            _ => DType::F16,
        };
        assert!(want.values().filter(|(dtype, _)| *dtype == wanted).count() > 80, "{name}");
        // Smaller than the original: norms and biases stay f32.
        let bytes = |folder: &CheckpointFolder| {
            folder.sets().iter().flat_map(|(_, set)| set.tensors()).map(|t| t.stored_bytes()).sum::<u64>()
        };
        assert!(bytes(&opened) * 10 < bytes(&original) * 6, "{name}");
    }
}

#[test]
fn nothing_is_lost_on_the_way_there_and_back() {
    let folder = tempfile::tempdir().unwrap();
    let (one, back) = (folder.path().join("one"), folder.path().join("back"));
    converted(&tiny(), &one, WeightFormat::Stored, false, 1_000_000);
    assert!(one.join("model.safetensors.index.json").exists(), "1 MB a file makes shards of this checkpoint");
    converted(&one, &back, WeightFormat::Stored, true, u64::MAX);
    let want = loaded(&CheckpointFolder::open(tiny()).unwrap(), WeightFormat::F32);
    for path in [&one, &back] {
        let opened = CheckpointFolder::open(path).unwrap();
        assert_same(&loaded(&opened, WeightFormat::Stored), &want);
        assert!(opened.sets().iter().all(|(_, set)| set.files().all(|file| Path::new(file).starts_with(path))));
    }
    // The official layout has the official files, with the official names.
    let names = |root: &Path, file: &str| {
        let file = dreamllm::weights::WeightFile::open(root.join(file)).unwrap();
        let keep = |name: &&str| !name.ends_with("position_ids") && !name.ends_with("inv_freq");
        file.names().filter(keep).map(str::to_string).collect::<std::collections::BTreeSet<_>>()
    };
    for file in ["model.safetensors", "clip_vision_embedding.bin", "dream_embedding.bin"] {
        assert_eq!(names(&back, file), names(&tiny(), file), "{file}");
    }
    assert!(names(&back, "stable_diffusion_head.bin").is_superset(&names(&tiny(), "stable_diffusion_head.bin")));
    // The manifest tells where it came from, with the hash that sha256sum prints.
    let manifest: Manifest = serde_json::from_slice(&std::fs::read(one.join("dreamllm.json")).unwrap()).unwrap();
    assert_eq!(manifest.source_fingerprint, CheckpointFolder::open(tiny()).unwrap().fingerprint());
    let decoder = manifest.source_files.iter().find(|file| file.bytes == 665_208).unwrap();
    let sum = Command::new("sha256sum").arg(tiny().join("model.safetensors")).output().unwrap();
    assert!(String::from_utf8_lossy(&sum.stdout).starts_with(&decoder.sha256));
}

#[test]
fn quantised_folders_go_back_to_official_floats() {
    let folder = tempfile::tempdir().unwrap();
    let (q8, back) = (folder.path().join("q8"), folder.path().join("back"));
    converted(&tiny(), &q8, WeightFormat::Q8, false, u64::MAX);
    converted(&q8, &back, WeightFormat::F32, true, u64::MAX);
    // The values of the blocks, filters turned back into PyTorch's order; quantised once more they are the same blocks.
    let (q8, back) = (CheckpointFolder::open(&q8).unwrap(), CheckpointFolder::open(&back).unwrap());
    assert_same(&loaded(&back, WeightFormat::F32), &loaded(&q8, WeightFormat::F32));
    let name = "unet.down_blocks.0.resnets.0.conv1.weight";
    let original = CheckpointFolder::open(tiny()).unwrap();
    let read = |folder: &CheckpointFolder| folder.diffusion.require(name).unwrap().to_f32().unwrap();
    let (got, want) = (read(&back), read(&original));
    let scale = want.iter().fold(0f32, |m, x| m.max(x.abs()));
    let worst = got.iter().zip(&want).fold(0f32, |m, (g, w)| m.max((g - w).abs()));
    assert!(worst > 0.0 && worst < scale / 200.0, "{worst} of {scale}");
    let source = CheckpointFolder::open(tiny()).unwrap();
    let options = ConvertOptions { format: WeightFormat::Q4, official: true, ..Default::default() };
    let refused = pollster::block_on(convert(&source, &folder.path().join("no"), &options, &|_| Ok(()))).unwrap_err();
    assert!(refused.to_string().contains("quantised"), "{refused}");
}

#[test]
fn a_quantised_folder_passes_the_stages_of_its_origin() {
    let folder = tempfile::tempdir().unwrap();
    let (q8, reference) = (folder.path().join("q8"), tiny().join("reference"));
    converted(&tiny(), &q8, WeightFormat::Q8, false, u64::MAX);
    let verified = |root: &Path, format| {
        let reports = verify_against(root, &reference, gpu(), format, |_| Ok(()));
        let reports = pollster::block_on(reports).unwrap();
        let failed: Vec<_> = reports.iter().filter(|report| report.verdict == Verdict::Failed).collect();
        assert!(failed.is_empty(), "{failed:#?}");
        reports.into_iter().map(|report| (report.stage, report.worst.to_bits())).collect::<Vec<_>>()
    };
    // The bounds are those of the format in the files, and the errors are those of rounding while loading.
    assert_eq!(verified(&q8, WeightFormat::Stored), verified(&tiny(), WeightFormat::Q8));
}

#[test]
fn a_conversion_that_ends_early_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let source = CheckpointFolder::open(tiny()).unwrap();
    let entries = || std::fs::read_dir(folder.path()).unwrap().count();
    let run = |out: &str, progress: &dyn Fn(u64) -> Result<()>| {
        pollster::block_on(convert(&source, &folder.path().join(out), &ConvertOptions::default(), progress))
    };
    let count = std::cell::Cell::new(0);
    let stop = |_| {
        count.set(count.get() + 1);
        if count.get() == 100 { Err(Error::Cancelled) } else { Ok(()) }
    };
    assert!(matches!(run("a", &stop), Err(Error::Cancelled)));
    assert_eq!(entries(), 0);
    std::fs::create_dir(folder.path().join("full")).unwrap();
    std::fs::write(folder.path().join("full/mine"), "mine").unwrap();
    assert!(run("full", &|_| Ok(())).unwrap_err().to_string().contains("not empty"));
    std::fs::write(folder.path().join("file"), "mine").unwrap();
    assert!(run("file", &|_| Ok(())).is_err());
    assert!(run("no/such/parent", &|_| Ok(())).is_err());
    assert_eq!((entries(), std::fs::read_dir(folder.path().join("full")).unwrap().count()), (2, 1));
    std::fs::create_dir(folder.path().join("empty")).unwrap();
    run("empty", &|_| Ok(())).unwrap();
    assert!(folder.path().join("empty/model.safetensors").exists());
    assert_eq!(entries(), 3);
    // A folder of a later version is not misread.
    std::fs::write(folder.path().join("empty/dreamllm.json"), r#"{"format_version": 99}"#).unwrap();
    assert!(CheckpointFolder::open(folder.path().join("empty")).unwrap_err().to_string().contains("99"));
}

#[test]
fn the_commands_convert_and_read_what_was_converted() {
    let folder = tempfile::tempdir().unwrap();
    let (q8, picture) = (folder.path().join("q8"), folder.path().join("a.png"));
    let out = dreamllm(&["convert", text(&tiny()), text(&q8), "--weights", "q8", "--json"]);
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let report: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
    assert!(report["tensors"].as_u64() > Some(300) && report["unused"].as_array().unwrap().is_empty(), "{report}");
    let draw = |model: &Path, more: &[&str]| {
        let arguments = ["dream", "A dog.", "-m", text(model), "--steps", "2", "-q", "-o", text(&picture)];
        let out = dreamllm(&[&arguments[..], more].concat());
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        dreamllm::image::load(&picture).unwrap()
    };
    assert!(draw(&q8, &[]) == draw(&tiny(), &["--weights", "q8"]));
    let ask = |model: &Path, more: &[&str]| {
        let arguments = ["ask", "What is this?", "-m", text(model), "--max-tokens", "6", "-q"];
        dreamllm(&[&arguments[..], more].concat()).stdout
    };
    assert_eq!(ask(&q8, &[]), ask(&tiny(), &["--weights", "q8"]));
    let again = dreamllm(&["convert", text(&tiny()), text(&q8)]);
    assert_eq!(again.status.code(), Some(1));

    let out = dreamllm(&["info", text(&q8), "--json"]);
    let info: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
    let parts = info["parts"].as_array().unwrap();
    let original: serde_json::Value =
        serde_json::from_slice(&dreamllm(&["info", text(&tiny()), "--json"]).stdout).unwrap();
    for (part, original) in parts.iter().zip(original["parts"].as_array().unwrap()) {
        assert_eq!((&part["name"], &part["parameters"]), (&original["name"], &original["parameters"]));
    }
    assert!(parts[0]["dtypes"]["Q8"].as_u64() > Some(100_000), "{info}");
    // What is said of q8 is what a q8 folder takes as it is stored.
    assert_eq!(info["memory"][0]["together"], original["memory"][3]["together"]);
    let words = String::from_utf8(dreamllm(&["info", text(&tiny())]).stdout).unwrap();
    assert!(words.contains("UNet") && words.contains("with --low-memory"), "{words}");
    let file = dreamllm(&["info", text(&tiny().join("dream_embedding.bin"))]);
    assert!(String::from_utf8_lossy(&file.stdout).contains("torch file"));
}

/// A GGUF file with the tiny checkpoint's decoder, as llama.cpp's converter writes one: `kind` is the number of the
/// matrices' type, `encode` makes its bytes.
fn write_gguf(path: &Path, kind: u32, encode: &dyn Fn(&[f32]) -> Vec<u8>) {
    let folder = CheckpointFolder::open(tiny()).unwrap();
    let heads = folder.config.num_attention_heads;
    let string = |text: &str| [&(text.len() as u64).to_le_bytes()[..], text.as_bytes()].concat();
    let (mut table, mut data) = (Vec::new(), Vec::new());
    for tensor in folder.language.tensors() {
        let name = tensor.name().replace("model.layers.", "blk.").replace("model.embed_tokens", "token_embd");
        let name = name.replace("model.norm", "output_norm").replace("lm_head", "output");
        let name = name.replace("self_attn.o_proj", "attn_output").replace("self_attn.", "attn_").replace("_proj", "");
        let name = name.replace("mlp.", "ffn_").replace("input_layernorm", "attn_norm");
        let name = name.replace("post_attention_layernorm", "ffn_norm");
        let mut values = tensor.to_f32().unwrap();
        let row = *tensor.shape().last().unwrap();
        if name.contains("attn_q") || name.contains("attn_k") {
            let half = tensor.shape()[0] / heads / 2;
            let old = |new: usize| new / (2 * half) * 2 * half + new % 2 * half + new % (2 * half) / 2;
            let moved = |new: usize| values[old(new) * row..][..row].to_vec();
            values = (0..tensor.shape()[0]).flat_map(moved).collect();
        }
        // 172 columns are no whole blocks; llama.cpp's converter leaves such a matrix alone, too.
        let large = tensor.shape().len() == 2 && row.is_multiple_of(32);
        table.extend(string(&name));
        table.extend((tensor.shape().len() as u32).to_le_bytes());
        tensor.shape().iter().rev().for_each(|side| table.extend((*side as u64).to_le_bytes()));
        table.extend(if large { kind } else { 0 }.to_le_bytes());
        table.extend((data.len() as u64).to_le_bytes());
        data.extend(if large { encode(&values) } else { values.iter().flat_map(|x| x.to_le_bytes()).collect() });
        data.resize(data.len().next_multiple_of(32), 0);
    }
    let mut file = [b"GGUF", &3u32.to_le_bytes()[..], &(folder.language.len() as u64).to_le_bytes()].concat();
    file.extend(2u64.to_le_bytes());
    file.extend([string("general.architecture"), 8u32.to_le_bytes().to_vec(), string("llama")].concat());
    file.extend(string("llama.attention.head_count"));
    file.extend(4u32.to_le_bytes());
    file.extend((heads as u32).to_le_bytes());
    file.extend(table);
    file.resize(file.len().next_multiple_of(32), 0);
    file.extend(data);
    std::fs::write(path, file).unwrap();
}

#[test]
fn a_gguf_decoder_is_the_same_decoder() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("decoder.gguf");
    let options = OpenOptions { language_model: Some(file.clone()), ..Default::default() };
    let original = loaded(&CheckpointFolder::open(tiny()).unwrap(), WeightFormat::F32);
    write_gguf(&file, 0, &|values| values.iter().flat_map(|x| x.to_le_bytes()).collect());
    assert_same(&loaded(&CheckpointFolder::open_with(tiny(), &options).unwrap(), WeightFormat::Stored), &original);

    // The commands, with the file given and with one that lies in the folder.
    let root = folder.path().join("tiny");
    assert!(Command::new("cp").arg("-r").arg(tiny()).arg(&root).status().unwrap().success());
    std::fs::remove_dir_all(root.join("reference")).unwrap();
    std::fs::remove_file(root.join("model.safetensors")).unwrap();
    let ask = |model: &Path, more: &[&str]| {
        let arguments = ["ask", "What is this?", "-m", text(model), "--max-tokens", "8", "-q"];
        let out = dreamllm(&[&arguments[..], more].concat());
        (out.status.code(), out.stdout, String::from_utf8_lossy(&out.stderr).into_owned())
    };
    let (want, refused) = (ask(&tiny(), &[]), ask(&root, &[]));
    assert!(refused.0 == Some(1) && refused.2.contains(".gguf"), "{}", refused.2);
    assert_eq!(ask(&root, &["--language-model", text(&file)]), want);
    std::fs::rename(&file, root.join("decoder.gguf")).unwrap();
    assert_eq!(ask(&root, &[]), want);
    std::fs::copy(root.join("decoder.gguf"), root.join("other.gguf")).unwrap();
    assert!(ask(&root, &[]).2.contains("2 GGUF files"));

    // Blocks are read as what they stand for: half a step is the most they are off.
    let q8_0 = |values: &[f32]| -> Vec<u8> {
        let block = |block: &[f32]| {
            let d = half::f16::from_f32(block.iter().fold(0f32, |m, x| m.max(x.abs())) / 127.0);
            let steps = block.iter().map(|x| (x / d.to_f32()).round().clamp(-127.0, 127.0) as i8 as u8);
            d.to_le_bytes().into_iter().chain(steps).collect::<Vec<u8>>()
        };
        values.chunks(32).flat_map(block).collect()
    };
    write_gguf(&file, 8, &q8_0);
    let rounded = loaded(&CheckpointFolder::open_with(tiny(), &options).unwrap(), WeightFormat::Stored);
    for (name, (_, bytes)) in
        rounded.iter().filter(|(name, _)| name.starts_with("model.layers.") && name.ends_with("q_proj.weight"))
    {
        let floats = |bytes: &[u8]| bytemuck::pod_collect_to_vec::<u8, f32>(bytes);
        let (got, want) = (floats(bytes), floats(&original[name].1));
        let scale = want.iter().fold(0f32, |m, x| m.max(x.abs()));
        let worst = got.iter().zip(&want).fold(0f32, |m, (g, w)| m.max((g - w).abs()));
        assert!(worst > 0.0 && worst < scale / 250.0, "{name}: {worst} of {scale}");
    }
    // A decoder of another size is one clear error.
    let headers =
        vec![TensorHeader { name: "model.embed_tokens.weight".into(), dtype: StoredDType::U8, shape: vec![3] }];
    let mut other = SafetensorsWriter::create(folder.path().join("o.safetensors"), headers, &BTreeMap::new()).unwrap();
    other.write("model.embed_tokens.weight", &[1, 2, 3]).unwrap();
    other.finish().unwrap();
    let refused = ask(&tiny(), &["--language-model", text(&folder.path().join("o.safetensors"))]);
    assert!(refused.0 == Some(1) && refused.2.contains("model.embed_tokens.weight"), "{}", refused.2);
}

#[test]
fn parts_by_turns_draw_and_write_the_same_in_less_memory() {
    let folder = std::sync::Arc::new(CheckpointFolder::open(tiny()).unwrap());
    let plan = MemoryPlan::new(&pollster::block_on(survey(&folder)).unwrap(), WeightFormat::Stored, |_| true);
    assert!(plan.in_turn() * 10 < plan.together() * 9, "{plan:?}");
    let draw = DrawOptions { steps: 2, width: 32, height: 32, ..Default::default() };
    let words = AnswerOptions { max_tokens: 8, ..Default::default() };
    let options = ComposeOptions { words, draw, every: Some(4), most_pictures: 1, ..Default::default() };
    let run = |load: &dyn Fn(&Gpu) -> DreamLlm| {
        // A device of its own, so that its memory is that of this model.
        let gpu = gpu().emulate(&GpuOptions::default()).unwrap();
        let model = load(&gpu);
        gpu.take_peak_memory();
        let loaded = gpu.memory().0;
        let composed = pollster::block_on(compose(&model, "Snow", &[], &options, |_| Ok(()))).unwrap();
        (composed.document.parts, loaded, gpu.take_peak_memory())
    };
    let (together, all, peak) = run(&|gpu| DreamLlm::load(&folder, gpu, ALL, &|_| ()).unwrap());
    let (by_turns, few, less) = run(&|gpu| DreamLlm::load_by_turns(folder.clone(), gpu, ALL, |_| ()).unwrap());
    assert!(together == by_turns, "another document");
    assert!(together.iter().any(|part| matches!(part, Part::Picture(_))));
    // What is planned is what is there: all weights, then only the small ones; and the peak is lower by what is away.
    let rest = all.abs_diff(plan.together());
    assert!(rest < plan.together() / 50, "{all} bytes on the device, {} planned", plan.together());
    let away = plan.together() - plan.in_turn();
    assert!(few < plan.together() / 20 && less + away * 9 / 10 < peak, "{few} {less} {peak}, {away} away");
    // The command says the numbers, and keeps to a limit.
    let tiny = tiny();
    let picture = tempfile::tempdir().unwrap();
    let (file, limit) = (picture.path().join("a.png"), ((plan.in_turn() + plan.together()) / 2).to_string());
    let arguments = ["dream", "A dog.", "-m", text(&tiny), "--steps", "1", "-o", text(&file), "--max-memory", &limit];
    let refused = dreamllm(&arguments);
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(refused.status.code() == Some(1) && said.contains("over the limit") && !file.exists(), "{said}");
    let out = dreamllm(&[&arguments[..], &["--low-memory"]].concat());
    let said = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success() && file.exists() && said.contains("loading: UNet"), "{said}");
    dreamllm(&["dream", "A dog.", "-m", text(&tiny), "--steps", "1", "-o", text(&picture.path().join("b.png"))]);
    let pixels = |name: &str| dreamllm::image::load(picture.path().join(name)).unwrap();
    assert!(pixels("a.png") == pixels("b.png"));
}
