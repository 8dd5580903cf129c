//! `dreamllm train` as a user runs it: it learns by heart, it is killed and goes on, it says what is wrong with a config.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use common::{gpu, tiny};
use dreamllm::Tensor;
use dreamllm::diffusion::condition::Condition;
use dreamllm::diffusion::pipeline::{DrawOptions, decode_pictures, draw};
use dreamllm::image::{RgbImage, diffusion_pixels, load, write_png};
use dreamllm::models::answer::{AnswerOptions, write};
use dreamllm::models::decoding::Decoding;
use dreamllm::models::dreamllm::{DreamLlm, LoadOptions};
use dreamllm::nn::WeightFormat;
use dreamllm::random::philox::uniforms;
use dreamllm::train::Ranks;
use dreamllm::train::dream::{TrainConfig, begin};
use dreamllm::train::run::{Line, read_log};
use dreamllm::weights::{CheckpointFolder, WeightFile};
use pollster::block_on;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::time::Duration;

const CAPTIONS: [&str; 8] = [
    "A red square.",
    "A green circle.",
    "A blue stripe.",
    "The sky turns pink.",
    "Snow covers the mountains.",
    "A cup of coffee.",
    "An open book.",
    "A dog runs.",
];

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn dreamllm(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dreamllm"));
    command.args(arguments).stdin(Stdio::null());
    command
}

fn train(config: &Path, more: &[&str]) -> Output {
    dreamllm(&[&["train", "--config", config.to_str().unwrap()], more].concat()).output().unwrap()
}

/// A picture of two colours, n of a kind.
fn picture(n: usize) -> RgbImage {
    let colour = |k: usize| [37, 91, 151].map(|step: usize| (step * (2 * n + k + 1) % 256) as u8);
    let inside = |x: usize, y: usize| match n % 3 {
        0 => (8..24).contains(&x) && (8..24).contains(&y),
        1 => (x as i32 - 16).pow(2) + (y as i32 - 16).pow(2) < 120,
        _ => (8..24).contains(&((x + n) % 32)),
    };
    let pixels = (0..32 * 32).flat_map(|at| colour(usize::from(inside(at % 32, at / 32)))).collect();
    RgbImage::new(32, 32, pixels).unwrap()
}

/// Eight pairs and a document in a folder.
fn data(folder: &Path) {
    let names: Vec<String> = (0..8).map(|n| format!("{n}.png")).collect();
    (0..8).for_each(|n| write_png(folder.join(&names[n]), &picture(n), &[]).unwrap());
    let pair = |n: usize| serde_json::json!({ "image": names[n], "text": CAPTIONS[n] }).to_string() + "\n";
    std::fs::write(folder.join("pairs.jsonl"), (0..8).map(pair).collect::<String>()).unwrap();
    let document = serde_json::json!([{
        "text_list": ["First a square.", "Then a circle."],
        "image_info": [{ "image_name": "0.png", "matched_text_index": 0 }, { "image_name": "1.png", "matched_text_index": 1 }],
    }]);
    std::fs::write(folder.join("documents.json"), document.to_string()).unwrap();
}

/// A config file in the folder, for data in the folder.
fn config(folder: &Path, head: &str, rest: &str) -> PathBuf {
    let path = folder.join("train.toml");
    let at = |name: &str| folder.join(name).display().to_string();
    let text = format!(
        "model = {:?}\nout = {:?}\n{head}\n[data]\nmax_length = 256\n\
         [[data.sources]]\npath = {:?}\n[[data.sources]]\npath = {:?}\nkind = \"documents\"\n{rest}\n",
        tiny(),
        at("run"),
        at("pairs.jsonl"),
        at("documents.json"),
    );
    std::fs::write(&path, text).unwrap();
    path
}

fn log(folder: &Path) -> Vec<Line> {
    read_log(&folder.join("run/log.jsonl")).unwrap()
}

const ALL: &str = "[trained]\ndecoder = true\nvisual_projector = true\ncondition_projector = true\ndream_queries = true\n\
                   clip = true\nclip_embeddings = true\nunet = true\nvae = false\n";

#[test]
fn eight_pairs_and_a_document_are_learned_by_heart() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    data(folder);
    let image = |n: usize| folder.join(format!("{n}.png")).display().to_string();
    let ask = |n: usize| format!("[[samples.asks]]\nimage = {:?}\n", image(n));
    let steps = 90;
    let rest = format!(
        "{ALL}[optimiser]\nrate = 2e-3\nwarmup = 0.02\n[save]\nevery = 1000\n[samples]\nevery = {steps}\nsteps = 20\n\
         cfg_scale = 1\ndreams = [{:?}]\n{}{}",
        CAPTIONS[3],
        ask(0),
        ask(5),
    );
    let config = config(folder, &format!("steps = {steps}\nbatch = 8\nactivation_checkpoints = false\n"), &rest);
    let out = train(&config, &[]);
    assert!(out.status.success(), "{}", text(&out.stderr));
    assert_eq!(text(&out.stdout).trim(), folder.join("run/final").display().to_string());

    let lines = log(folder);
    assert_eq!(lines.len() as u64, steps);
    for part in ["language", "diffusion"] {
        let losses: Vec<f32> = lines.iter().filter_map(|line| line.losses[part]).collect();
        let mean = |losses: &[f32]| losses.iter().sum::<f32>() / losses.len() as f32;
        let (first, last) = (mean(&losses[..2]), mean(&losses[losses.len() - 10..]));
        println!("{part}: {first} at first, {last} at last");
        assert!(last < 0.1 * first, "{part}: {first} at first, {last} at last");
    }

    // What was learned is said: by the look at the last step, and by the trained folder.
    let shown = folder.join("run/samples/step-00000090");
    let answers = std::fs::read_to_string(shown.join("answers.jsonl")).unwrap();
    let answers: Vec<serde_json::Value> = answers.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!([&answers[0]["answer"], &answers[1]["answer"]], [CAPTIONS[0], CAPTIONS[5]]);
    let before = DreamLlm::load(&CheckpointFolder::open(tiny()).unwrap(), gpu(), EVERYTHING, &|_| ()).unwrap();
    let folder_after = CheckpointFolder::open(folder.join("run/final")).unwrap();
    let after = DreamLlm::load(&folder_after, gpu(), EVERYTHING, &|_| ()).unwrap();
    assert_eq!(captioned(&after, 3), CAPTIONS[3]);
    assert_ne!(captioned(&before, 3), CAPTIONS[3]);

    // And drawn: nearer to what the autoencoder makes of the target. Its weights are random and are not trained, so what it
    // decodes is mostly the noise of its own latents, and the error cannot fall far.
    let target = through(&before, &picture(3));
    let [was, is] = [&before, &after].map(|model| error(&target, &drawn(model, CAPTIONS[3])));
    println!("mean squared error of the picture: {was} before, {is} after");
    assert!(is < 0.85 * was, "{was} before, {is} after");
    assert_eq!(load(shown.join("dream-1.png")).unwrap(), drawn(&after, CAPTIONS[3]));
    assert!(std::fs::read_to_string(folder.join("run/curves.svg")).unwrap().matches("<polyline").count() > 5);
}

const EVERYTHING: LoadOptions = LoadOptions { format: WeightFormat::F32, vision: true, diffusion: true, initial: None };

/// What the model writes behind a picture.
fn captioned(model: &DreamLlm, n: usize) -> String {
    let mut decoding = Decoding::new(model);
    decoding.read("<image>", &[picture(n)]).unwrap();
    let options = AnswerOptions { max_tokens: 64, ..Default::default() };
    block_on(write(&mut decoding, &options, |_| Ok(()))).unwrap().text
}

fn drawn(model: &DreamLlm, prompt: &str) -> RgbImage {
    let condition = Condition::new(model, prompt, "", &[]).unwrap();
    let options = DrawOptions { steps: 20, cfg_scale: 1.0, width: 32, height: 32, ..Default::default() };
    let diffusion = model.diffusion().unwrap();
    block_on(draw(diffusion, &condition, &options, None, async |_| Ok(()))).unwrap().remove(0)
}

/// A picture encoded and decoded.
fn through(model: &DreamLlm, picture: &RgbImage) -> RgbImage {
    let pixels = diffusion_pixels(picture, 32).unwrap();
    let pixels = Tensor::from_f32(gpu(), &pixels.values, [1, 32, 32, 3]).unwrap();
    let diffusion = model.diffusion().unwrap();
    let latents = diffusion.vae.encode(&pixels).unwrap().mean.scale(diffusion.scaling_factor).unwrap();
    block_on(decode_pictures(diffusion, &latents, None)).unwrap().remove(0)
}

fn error(a: &RgbImage, b: &RgbImage) -> f64 {
    let squares = a.pixels.iter().zip(&b.pixels).map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2));
    squares.sum::<f64>() / a.pixels.len() as f64
}

/// Waits until the log has a number of lines, or the process has ended.
fn wait(folder: &Path, process: &mut Child, lines: usize) {
    let count = || read_log(&folder.join("run/log.jsonl")).map_or(0, |lines| lines.len());
    while count() < lines && process.try_wait().unwrap().is_none() {
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Without the clock.
fn trace(folder: &Path) -> Vec<Line> {
    log(folder).into_iter().map(|line| Line { seconds: 0.0, ..line }).collect()
}

/// The same bits, wherever it was interrupted: while loading, between steps, while a checkpoint is written.
#[test]
fn a_killed_run_goes_on_as_if_nothing_had_happened() {
    const STEPS: usize = 9;
    let places = [(); 2].map(|_| tempfile::tempdir().unwrap());
    let [whole, killed] = places.each_ref().map(|place| {
        data(place.path());
        let parts = "[trained]\nvisual_projector = true\ncondition_projector = true\ndream_queries = true\n";
        let rest = format!("{parts}[optimiser]\nrate = 1e-2\nema = 0.9\n[save]\nevery = 2\nkeep = 2\n{LOSS}");
        config(place.path(), &format!("steps = {STEPS}\nbatch = 2\naccumulate = 2\nseed = 3\n"), &rest)
    });
    assert!(train(&whole, &[]).status.success());
    let folder = places[1].path();
    let chances = uniforms(5, 0, 8);
    for kill in 0..4 {
        let mut process = dreamllm(&["train", "--config", killed.to_str().unwrap(), "--resume"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let before = read_log(&folder.join("run/log.jsonl")).map_or(0, |lines| lines.len());
        let more = (chances[kill] * 4.0) as usize;
        wait(folder, &mut process, (before + more).min(STEPS));
        std::thread::sleep(Duration::from_secs_f32(0.3 * chances[4 + kill]));
        process.kill().unwrap();
        process.wait().unwrap();
        println!("killed at {before} + {more} lines");
    }
    let out = train(&killed, &["--resume"]);
    assert!(out.status.success(), "{}", text(&out.stderr));
    assert_eq!(trace(folder), trace(places[0].path()));
    for file in ["parameters", "optimiser", "ema"] {
        let read = |place: &tempfile::TempDir| {
            std::fs::read(place.path().join(format!("run/step-00000009/{file}.safetensors"))).unwrap()
        };
        assert!(read(&places[0]) == read(&places[1]), "{file}");
    }
    // The two newest are kept, and nothing that was not finished.
    let names = |folder: &Path| {
        let entries = std::fs::read_dir(folder.join("run")).unwrap();
        let mut names: Vec<String> = entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    };
    let whole_names = names(places[0].path());
    let want = [".lock", "curves.svg", "final", "final-ema", "log.jsonl", "shared", "step-00000008", "step-00000009"];
    assert_eq!(whole_names, want);
    assert_eq!(names(folder), want);
    // A new run does not overwrite it, another config does not continue it, and what is done is done.
    let refused = train(&killed, &[]);
    assert!(!refused.status.success() && text(&refused.stderr).contains("--resume continues it"));
    let other = std::fs::read_to_string(&killed).unwrap().replace("seed = 3", "seed = 4");
    std::fs::write(&killed, other).unwrap();
    let refused = text(&train(&killed, &["--resume"]).stderr);
    assert!(refused.contains("another seed (3 instead of 4)"), "{refused}");
}

const LOSS: &str = "[loss]\nnoise_offset = 0.1\ninput_perturbation = 0.1\nsnr_gamma = 5\ndrop_prob = 0.3\n";

/// Adapters are merged in what is saved, and kept beside it; every config that comes with the program is one.
#[test]
fn adapters_are_saved_merged() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    data(folder);
    let lora = "[lora]\nrank = 2\nalpha = 6\ntargets = [\"q_proj\", \"up_proj\"]\n";
    let rest = format!("[trained]\nvisual_projector = true\n{lora}[optimiser]\nrate = 1e-2\nwarmup = 0\n");
    let config = TrainConfig::open(&config(folder, "steps = 3\nbatch = 2\n", &rest)).unwrap();
    let ranks = Arc::new(Ranks::alone());
    let mut run = begin(gpu(), &config, false, WeightFormat::F32, &ranks, &|_, _| ()).unwrap();
    assert!(block_on(run.train(|_| true)).unwrap());
    let kept = WeightFile::open(folder.join("run/step-00000003/parameters.safetensors")).unwrap();
    assert_eq!(kept.len(), 2 * 2 * 2 + 2);
    let [before, after] = [tiny(), folder.join("run/final")].map(|path| CheckpointFolder::open(path).unwrap());
    let values = |folder: &CheckpointFolder, name: &str| folder.language.get(name).unwrap().to_f32().unwrap();
    for layer in ["self_attn.q_proj", "mlp.up_proj"] {
        let name = |ending: &str| format!("model.layers.1.{layer}.{ending}");
        let factor = |ending: &str| kept.get(&name(ending)).unwrap().to_f32().unwrap();
        let (a, b) = (factor("lora_A.weight"), factor("lora_B.weight"));
        assert!(b.iter().any(|x| *x != 0.0));
        let (old, new) = (values(&before, &name("weight")), values(&after, &name("weight")));
        let worst = (0..old.len()).map(|i| {
            let delta: f32 = (0..2).map(|r| b[i / 64 * 2 + r] * a[r * 64 + i % 64]).sum();
            (old[i] + 3.0 * delta - new[i]).abs()
        });
        assert!(worst.fold(0.0, f32::max) < 1e-6);
    }
    // What was not trained is the same to the bit, and everything is there.
    assert_eq!(values(&before, "lm_head.weight"), values(&after, "lm_head.weight"));
    assert_eq!([before.diffusion.len(), before.clip.len()], [after.diffusion.len(), after.clip.len()]);
    for file in std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/configs")).unwrap() {
        let path = file.unwrap().path();
        if path.extension().is_some_and(|ending| ending == "toml") {
            TrainConfig::open(&path).unwrap();
        }
    }
}

/// Every wrong config is one line that names the key, and no run begins.
#[test]
fn bad_configs_are_one_clear_line() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    data(folder);
    let good = config(folder, "steps = 1\nbatch = 1\n", &format!("{ALL}[optimiser]\nrate = 1e-3"));
    let good = std::fs::read_to_string(good).unwrap();
    TrainConfig::parse(&good).unwrap();
    let cases = [
        ("steps = 1", "steps = 0", "steps must be at least 1"),
        ("steps = 1", "stepps = 1", "unknown field `stepps`"),
        ("steps = 1", "steps = \"many\"", "`steps = \"many\"`: invalid type"),
        ("batch = 1", "batch = -1", "line 4, `batch = -1`"),
        ("batch = 1", "", "missing field `batch`"),
        ("rate = 1e-3", "rate = nan", "optimiser.rate must be"),
        ("rate = 1e-3", "rate = 1e-3\nwarmup = 3", "optimiser.warmup is a share"),
        ("rate = 1e-3", "rate = 1e-3\nema = 1", "optimiser.ema must be"),
        ("rate = 1e-3", "rate = 1e-3\ndecay = \"linear\"", "unknown variant `linear`, expected `constant` or `cosine`"),
        ("rate = 1e-3", "rate = 1e-3\n[loss]\nsnr_gamma = 0", "loss.snr_gamma must be above 0"),
        ("rate = 1e-3", "rate = 1e-3\n[lora]\nrank = 4\nalpha = 8", "lora does not go with trained.decoder"),
        ("[trained]\ndecoder = true", "[trained]\ndecoders = true", "unknown field `decoders`"),
        ("[data]", "[data]\nobjective = \"both\"", "unknown variant `both`"),
        ("[optimiser]", "optimiser]", "line "),
        ("[optimiser]", "[[samples.asks]]\n[optimiser]", "without question and image"),
    ];
    for (old, new, want) in cases {
        let error = TrainConfig::parse(&good.replacen(old, new, 1)).unwrap_err();
        assert!(error.contains(want) && !error.contains('\n'), "{old:?} -> {new:?}: {error}");
    }
    let lora = good
        .replace("decoder = true\n", "")
        .replace("[optimiser]", "[lora]\nrank = 4\nalpha = 8\ntargets = [\"k\"]\n[optimiser]");
    assert!(TrainConfig::parse(&lora).unwrap_err().contains("no layer \"k\""));

    let path = folder.join("bad.toml");
    let tiny_path = format!("{:?}", tiny());
    let looks = |what: &str| format!("{good}\n[samples]\nevery = 1\n{what}\n");
    let out_of = |out: &str| good.replace(&format!("{:?}", folder.join("run")), &format!("{out:?}"));
    for (text_of, want) in [
        (good.replace(&tiny_path, "\"/no/such/model\""), "/no/such/model: there is no such folder"),
        (good.replace("documents.json", "none.json"), "none.json"),
        (good.replace("max_length = 256", "max_length = 5"), "training samples can have"),
        (good.replace("max_length = 256", "interleavd = true"), "unknown field `interleavd`"),
        (looks("asks = [{ image = \"/no/such.png\" }]"), "samples.asks: /no/such.png"),
        (looks("asks = [{ question = \"<image>?\" }]"), "samples.asks: the prompt has places for 1 images"),
        (looks("dreams = [\"<image>\"]"), "samples.dreams: the prompt has places for 1 images"),
        (looks("steps = 2000"), "samples.steps: "),
        (looks("max_tokens = 0"), "samples.max_tokens: "),
        (out_of(""), "out is empty"),
        (good.replace(&tiny_path, "\"\""), "model is empty"),
    ] {
        std::fs::write(&path, text_of).unwrap();
        let out = train(&path, &["-q"]);
        let error = text(&out.stderr);
        assert!(!out.status.success() && error.contains(want) && error.lines().count() == 1, "{want}: {error}");
        assert!(!folder.join("run").exists(), "{want}");
    }
    let missing = text(&train(&folder.join("none.toml"), &["-q"]).stderr);
    assert!(missing.contains("none.toml") && missing.lines().count() == 1, "{missing}");
}

/// A folder that is no run's is refused as it is, with a good config and with a bad one.
#[test]
fn a_run_removes_nothing_that_it_has_not_made() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    data(folder);
    let good = config(folder, "steps = 1\nbatch = 1\n", &format!("{ALL}[optimiser]\nrate = 1e-3"));
    let bad = folder.join("bad.toml");
    std::fs::write(&bad, std::fs::read_to_string(&good).unwrap().replace("documents.json", "none.json")).unwrap();
    let files = [".notes.part", "shared/holiday.jpg", ".backup.old", "final/model.safetensors"];
    for file in files.map(|file| folder.join("run").join(file)) {
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, "mine").unwrap();
    }
    for (config, more) in [(&good, None), (&good, Some("--resume")), (&bad, None), (&bad, Some("--resume"))] {
        let out = train(config, &[&["-q"], more.as_slice()].concat());
        let error = text(&out.stderr);
        assert!(!out.status.success() && error.contains("holds no run") && error.lines().count() == 1, "{error}");
        assert!(files.iter().all(|file| folder.join("run").join(file).is_file()), "{more:?}");
        assert_eq!(std::fs::read_dir(folder.join("run")).unwrap().count(), files.len());
    }
}

/// What cannot be shown after all costs no step.
#[test]
fn a_look_that_fails_comes_after_a_checkpoint() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    data(folder);
    let shown = folder.join("shown.png");
    write_png(&shown, &picture(1), &[]).unwrap();
    let asks = format!("[samples]\nevery = 2\nasks = [{{ image = {shown:?} }}]\n");
    let rest = format!("[trained]\nvisual_projector = true\n[optimiser]\nrate = 1e-3\n{asks}");
    let config = TrainConfig::open(&config(folder, "steps = 4\nbatch = 1\n", &rest)).unwrap();
    let mut run = begin(gpu(), &config, false, WeightFormat::F32, &Arc::new(Ranks::alone()), &|_, _| ()).unwrap();
    std::fs::remove_file(&shown).unwrap();
    assert!(block_on(run.train(|_| true)).unwrap_err().to_string().contains("shown.png"));
    assert!(folder.join("run/step-00000002/state.json").is_file());
}

/// Ctrl-C: what was learned is kept, and the exit code says that it is not all.
#[test]
#[cfg(unix)]
fn an_interrupted_run_is_saved_and_says_that_it_is_not_done() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    data(folder);
    let rest = "[trained]\nvisual_projector = true\n[optimiser]\nrate = 1e-3\n[save]\nevery = 100000\n";
    let config = config(folder, "steps = 100000\nbatch = 1\n", rest);
    let mut command = dreamllm(&["train", "--config", config.to_str().unwrap(), "-q"]);
    let mut process = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    wait(folder, &mut process, 1);
    Command::new("kill").args(["-INT", &process.id().to_string()]).status().unwrap();
    let out = process.wait_with_output().unwrap();
    let said = text(&out.stderr);
    assert_eq!(out.status.code(), Some(130), "{said}");
    assert!(out.stdout.is_empty() && said.contains("which is saved; --resume continues"), "{said}");
    let step = log(folder).len();
    assert!(folder.join(format!("run/step-{step:08}/state.json")).is_file() && !folder.join("run/final").exists());
}
