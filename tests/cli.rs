//! The commands as a user runs them: results, bad input, interruption.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use common::tiny;
use std::path::Path;
use std::process::{Command, Output, Stdio};

fn dreamllm(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dreamllm"));
    command.args(arguments).stdin(Stdio::null());
    command
}

fn run(arguments: &[&str]) -> Output {
    dreamllm(arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn dreams_and_asks() {
    let folder = tempfile::tempdir().unwrap();
    let (picture, again) = (folder.path().join("a.png"), folder.path().join("b.png"));
    let tiny = tiny();
    let draw = |file: &Path, seed: &str| {
        let arguments = [
            "dream",
            "A photo of a dog.",
            "-m",
            path(&tiny),
            "--steps",
            "2",
            "--seed",
            seed,
            "-o",
            path(file),
            "--json",
        ];
        let out = run(&arguments);
        assert!(out.status.success(), "{}", text(&out.stderr));
        let report: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
        assert_eq!((report["width"].as_u64(), report["height"].as_u64()), (Some(32), Some(32)));
        std::fs::read(file).unwrap()
    };
    let first = draw(&picture, "1");
    assert_eq!(draw(&again, "1"), first, "the same seed gives another picture");
    assert_ne!(draw(&again, "2"), first, "another seed gives the same picture");

    let out =
        run(&["ask", "What is this?", "--image", path(&picture), "-m", path(&tiny), "--max-tokens", "5", "--json"]);
    assert!(out.status.success(), "{}", text(&out.stderr));
    let report: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
    assert_eq!(report["tokens"].as_u64(), Some(5));
    // Streamed text is the same text.
    let streamed =
        run(&["ask", "What is this?", "--image", path(&picture), "-m", path(&tiny), "--max-tokens", "5", "-q"]);
    assert_eq!(text(&streamed.stdout).trim_end_matches('\n'), report["answer"].as_str().unwrap());
}

/// The text chunk of a PNG file.
fn parameters(file: &Path) -> String {
    let bytes = std::fs::read(file).unwrap();
    let key = b"tEXtparameters\0";
    let at = bytes.windows(key.len()).position(|window| window == key).expect("no parameters");
    let length = u32::from_be_bytes(bytes[at - 4..at].try_into().unwrap()) as usize;
    text(&bytes[at + key.len()..at + 4 + length])
}

#[test]
fn pictures_come_from_pictures_and_say_so() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| path(&folder.path().join(name)).to_string();
    let tiny = tiny();
    let image = path(&tiny.join("reference/images/rgb_97x61.png")).to_string();
    let (drawn, condition, again) = (at("a.png"), at("c.safetensors"), at("b.png"));
    let run_ok = |arguments: &[&str]| {
        let all = [arguments, &["-m", path(&tiny), "--steps", "3", "-q"]].concat();
        let out = run(&all);
        assert!(out.status.success(), "{all:?}: {}", text(&out.stderr));
        text(&out.stdout)
    };
    let prompt = ["dream", "a <image> in snow", "--image", &image, "-n", "ugly", "--sampler", "dpm++2m-karras"];
    let files = run_ok(
        &[&prompt[..], &["-o", &drawn, "--batch", "2", "--preview", "2", "--save-condition", &condition]].concat(),
    );
    assert_eq!(files, format!("{}\n{}\n", at("a-1.png"), at("a-2.png")));
    assert!(["a-1-step-2.png", "a-2-step-2.png"].iter().all(|name| folder.path().join(name).exists()));
    let said = parameters(&folder.path().join("a-2.png"));
    let start = "a <image> in snow\nNegative prompt: ugly\nSteps: 3, Sampler: DPM++ 2M Karras, CFG scale: 7.5, Seed: 43, \
                 Size: 32x32, Model hash: ";
    assert!(said.starts_with(start) && said.contains("Model: tiny, ") && said.contains("Adapter: "), "{said}");
    // From the saved vectors alone: the same picture with the same text.
    run_ok(&["dream", "--load-condition", &condition, "--sampler", "dpm++2m-karras", "-o", &again, "--seed", "43"]);
    assert_eq!(parameters(Path::new(&again)), said);
    // A picture to start from sets the size, and its strength is told.
    run_ok(&["dream", "a dog", "--init", &image, "--strength", "0.7", "-o", &again, "--spacing", "trailing"]);
    let said = parameters(Path::new(&again));
    assert!(said.contains("Size: 48x32") && said.contains("Denoising strength: 0.7"), "{said}");
    run_ok(&["dream", "a dog", "--vae-tiling", "6", "-W", "64", "-H", "48", "-o", &again]);
}

#[test]
fn composes_and_continues_a_document() {
    let folder = tempfile::tempdir().unwrap();
    let (first, second) = (folder.path().join("first"), folder.path().join("second"));
    let tiny = tiny();
    let common = ["-m", path(&tiny), "--steps", "2", "--every", "4", "--pictures", "1", "--max-tokens", "8"];
    let out = run(&[&["compose", "Winter & snow", "-o", path(&first)], &common[..]].concat());
    assert!(out.status.success(), "{}", text(&out.stderr));
    assert!(text(&out.stdout).contains("[picture, 32 x 32]"));
    let markdown = std::fs::read_to_string(first.join("document.md")).unwrap();
    assert!(markdown.starts_with("# Winter & snow\n") && markdown.contains("![](picture-1.png)"), "{markdown}");
    let page = std::fs::read_to_string(first.join("document.html")).unwrap();
    assert!(page.contains("Winter &amp; snow") && page.matches("data:image/png;base64,").count() == 1);
    let given = first.join("document.md");
    let more = ["compose", "Winter & snow", "-o", path(&second), "--continue", path(&given), "--json"];
    let out = run(&[&more[..], &common[..]].concat());
    assert!(out.status.success(), "{}", text(&out.stderr));
    let report: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
    assert_eq!(report["pictures"].as_u64(), Some(2));
    let longer = std::fs::read_to_string(second.join("document.md")).unwrap();
    assert!(longer.contains("![](picture-2.png)"), "{longer}");
    let pixels = |file: &Path| dreamllm::image::load(file).unwrap();
    assert_eq!(pixels(&second.join("picture-1.png")).pixels, pixels(&first.join("picture-1.png")).pixels);
    assert!(parameters(&second.join("picture-2.png")).starts_with("Winter & snow\nSteps: 2, "));
}

#[test]
fn chats_from_a_pipe() {
    use std::io::Write;
    let folder = tempfile::tempdir().unwrap();
    let tiny = tiny();
    let image = tiny.join("reference/images/rgb_97x61.png");
    let mut chat = dreamllm(&["chat", "-m", path(&tiny), "--max-tokens", "4", "--steps", "2", "-q"]);
    chat.current_dir(folder.path()).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = chat.spawn().unwrap();
    let lines = format!(
        "/image {}\nWhat is this?\n/save talk\n/dream\n/save ./talk\n/image /no/such.png\n/fly\n/reset\nHello\n/quit\nnever read\n",
        path(&image)
    );
    child.stdin.take().unwrap().write_all(lines.as_bytes()).unwrap();
    let out = child.wait_with_output().unwrap();
    let (said, errors) = (text(&out.stdout), text(&out.stderr));
    assert!(out.status.success(), "{errors}");
    assert!(said.contains("dream-1.png") && said.contains("conversation.md"), "{said}");
    assert_eq!(errors.lines().filter(|line| line.starts_with("error: ")).count(), 2, "{errors}");
    let talk = std::fs::read_to_string(folder.path().join("talk/conversation.md")).unwrap();
    assert!(talk.contains("**User:** What is this?") && talk.contains("![](picture-2.png)"), "{talk}");
}

#[test]
fn a_run_can_be_recorded_and_profiled() {
    let folder = tempfile::tempdir().unwrap();
    let record = folder.path().join("dispatches.txt");
    let tiny = tiny();
    let ask = ["ask", "Hello", "-m", path(&tiny), "--max-tokens", "2", "--profile", "--record", path(&record)];
    let out = run(&ask);
    assert!(out.status.success(), "{}", text(&out.stderr));
    let recorded = std::fs::read_to_string(&record).unwrap();
    assert!(recorded.lines().all(|line| line.contains(" grid ") && line.contains(" bytes [")), "{recorded}");
    assert!(recorded.lines().any(|line| line.starts_with("matmul[")), "{recorded}");
    // Every dispatch that is recorded is timed, and the table counts all of them.
    let stderr = text(&out.stderr);
    let table = stderr.lines().skip_while(|line| !line.ends_with("kernel")).skip(1);
    let runs: usize = table.map(|line| line.split_whitespace().nth(2).unwrap().parse::<usize>().unwrap()).sum();
    assert_eq!(runs, recorded.lines().count(), "{stderr}");
}

#[test]
#[cfg(unix)]
fn an_interrupt_leaves_no_half_file() {
    let folder = tempfile::tempdir().unwrap();
    let picture = folder.path().join("a.png");
    let tiny = tiny();
    let arguments = ["dream", "A photo of a dog.", "-m", path(&tiny), "--steps", "900", "-o", path(&picture)];
    let mut child = dreamllm(&arguments).stderr(Stdio::piped()).spawn().unwrap();
    std::thread::sleep(std::time::Duration::from_secs(4));
    assert!(child.try_wait().unwrap().is_none(), "900 steps are done already");
    Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    let code = child.wait().unwrap().code();
    assert_eq!(code, Some(130));
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
#[cfg(unix)]
fn an_interrupted_document_is_kept() {
    use std::io::{BufRead, BufReader};
    let folder = tempfile::tempdir().unwrap();
    let made = folder.path().join("made");
    let tiny = tiny();
    let arguments = ["compose", "Winter", "-m", path(&tiny), "-o", path(&made), "--steps", "2", "--every", "4"];
    let mut command = dreamllm(&arguments);
    command.args(["--pictures", "1000"]).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // After the first picture; the second one is on its way.
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert!(lines.any(|line| line.contains("[picture, 32 x 32]")));
    Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(lines.last().unwrap().ends_with("document.html"));
    let out = child.wait_with_output().unwrap();
    let said = text(&out.stderr);
    assert_eq!(out.status.code(), Some(130), "{said}");
    assert!(said.contains("interrupted; the document up to here was written to"), "{said}");
    let markdown = std::fs::read_to_string(made.join("document.md")).unwrap();
    assert!(markdown.starts_with("# Winter\n") && markdown.contains("![](picture-1.png)"), "{markdown}");
    let pictures = markdown.matches("![]").count();
    assert!(made.join(format!("picture-{pictures}.png")).exists() && made.join("document.html").exists());
}

/// A reader that goes away, and a full disk behind standard output: the document is kept, and only the disk is an error.
#[test]
#[cfg(target_os = "linux")]
fn a_document_is_kept_without_standard_output() {
    let folder = tempfile::tempdir().unwrap();
    let tiny = tiny();
    let compose = |out: &Path, stdout: Stdio| {
        let arguments = ["compose", "Winter", "-m", path(&tiny), "-o", path(out), "--steps", "2", "--every", "4"];
        let mut command = dreamllm(&arguments);
        command.args(["--pictures", "1", "--max-tokens", "6", "-q"]).stdout(stdout).stderr(Stdio::piped());
        command.spawn().unwrap()
    };
    let unread = folder.path().join("unread");
    let mut child = compose(&unread, Stdio::piped());
    drop(child.stdout.take());
    let out = child.wait_with_output().unwrap();
    assert!(out.status.success() && out.stderr.is_empty(), "{}", text(&out.stderr));
    let document = std::fs::read_to_string(unread.join("document.md")).unwrap();
    assert!(document.contains("![](picture-1.png)") && unread.join("picture-1.png").is_file(), "{document}");

    let full = folder.path().join("full");
    let out = compose(&full, full_disk()).wait_with_output().unwrap();
    let said = text(&out.stderr);
    assert_eq!(out.status.code(), Some(1), "{said}");
    assert!(said.lines().count() == 1 && said.contains("standard output: No space left"), "{said}");
    assert!(said.contains(path(&full)) && full.join("document.md").is_file(), "{said}");
}

/// A file on a disk that is full.
#[cfg(target_os = "linux")]
fn full_disk() -> Stdio {
    std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap().into()
}

#[test]
#[cfg(target_os = "linux")]
fn a_full_disk_behind_standard_output_is_an_error_and_a_reader_that_went_away_is_none() {
    let folder = tempfile::tempdir().unwrap();
    let tiny = tiny();
    let lines: [&[&str]; 6] = [
        &["--help"],
        &["--version"],
        &["info", path(&tiny)],
        &["ask", "Hello", "-m", path(&tiny), "--max-tokens", "2", "-q"],
        &["dream", "x", "-m", path(&tiny), "--steps", "1", "-q"],
        &["data", "shapes", "--out", "data", "--count", "1", "--json", "-q"],
    ];
    for line in lines {
        let mut command = dreamllm(line);
        let out = command.current_dir(folder.path()).stdout(full_disk()).output().unwrap();
        let said = text(&out.stderr);
        assert_eq!(out.status.code(), Some(1), "{line:?}: {said}");
        assert!(said.lines().count() == 1 && said.starts_with("error: standard output: "), "{line:?}: {said}");
        let mut child = dreamllm(line).current_dir(folder.path()).stdout(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        assert_eq!(child.wait().unwrap().code(), Some(0), "{line:?}");
    }
    assert!(folder.path().join("dream.png").is_file());
}

#[test]
#[cfg(target_os = "linux")]
fn names_that_are_no_text_keep_their_bytes() {
    use std::ffi::OsString;
    use std::os::unix::ffi::{OsStrExt, OsStringExt};
    let folder = tempfile::tempdir().unwrap();
    let tiny = tiny();
    let name = |ending: &[u8]| OsString::from_vec([b"\xff", ending].concat());
    let lines: [(&[&str], &str, &[u8]); 5] = [
        (&["dream", "x", "-m", path(&tiny), "--steps", "1", "--batch", "2"], "-o", b".png"),
        (&["compose", "x", "-m", path(&tiny), "--steps", "1", "--max-tokens", "2"], "-o", b"document"),
        (&["data", "shapes", "--count", "1"], "--out", b"data"),
        (&["init", path(&tiny)], "-o", b"new"),
        (&["convert", path(&tiny)], "--", b"converted"),
    ];
    for (line, option, ending) in lines {
        let mut command = dreamllm(&[line, &["--json", "-q", option]].concat());
        let out = command.arg(name(ending)).current_dir(folder.path()).output().unwrap();
        assert!(out.status.success(), "{line:?}: {}", text(&out.stderr));
        let report: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
        assert!(report.to_string().contains('\u{fffd}'), "{report}");
    }
    let mut found: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    found.sort();
    let want = [&b"-1.png"[..], b"-2.png", b"converted", b"data", b"document", b"new"].map(name);
    assert_eq!(found, want, "{:?}", found.iter().map(|name| name.as_bytes()).collect::<Vec<_>>());
}

/// The drawing defaults, and the scene encoder that studies need.
#[test]
#[cfg(unix)]
fn a_converted_folder_has_what_lies_beside_the_weights() {
    let folder = tempfile::tempdir().unwrap();
    let [from, to] = ["from", "to"].map(|name| folder.path().join(name));
    std::fs::create_dir(&from).unwrap();
    for entry in std::fs::read_dir(tiny()).unwrap().map(Result::unwrap) {
        std::os::unix::fs::symlink(entry.path(), from.join(entry.file_name())).unwrap();
    }
    let beside = [("drawing_config.json", "{\"steps\":3}"), ("scene_encoder.safetensors", "weights")];
    beside.iter().for_each(|(name, text)| std::fs::write(from.join(name), text).unwrap());
    let out = run(&["convert", path(&from), path(&to), "--shard-size", "1MiB", "-q"]);
    assert!(out.status.success(), "{}", text(&out.stderr));
    assert!(beside.iter().all(|(name, text)| std::fs::read_to_string(to.join(name)).unwrap() == *text));
}

/// A document goes on in its own folder.
#[test]
fn a_document_goes_on_where_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let document = folder.path().join("document.md");
    std::fs::write(&document, "# Winter\n\nSnow.\n").unwrap();
    let tiny = tiny();
    let arguments = ["compose", "Winter", "-m", path(&tiny), "-o", path(folder.path()), "--continue", path(&document)];
    let out = dreamllm(&arguments).args(["--steps", "1", "--max-tokens", "2", "-q"]).output().unwrap();
    assert!(out.status.success(), "{}", text(&out.stderr));
    let longer = std::fs::read_to_string(&document).unwrap();
    assert!(longer.starts_with("# Winter\n\nSnow.\n") && longer.len() > 19, "{longer}");
}

/// Between two stages, and within a batch of pictures.
#[test]
#[cfg(unix)]
fn long_commands_end_soon_after_an_interrupt() {
    use std::io::{BufRead, BufReader};
    let interrupt = |child: &std::process::Child| {
        Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    };
    let tiny = tiny();
    let mut child = dreamllm(&["verify", path(&tiny), "-q"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert!(lines.any(|line| line.starts_with("tokenization")));
    interrupt(&child);
    assert!(lines.all(|line| !line.contains("stages passed")));
    assert_eq!(child.wait().unwrap().code(), Some(130));

    let eval = ["eval", "-m", path(&tiny), "--only", "one-object", "--count", "8", "--steps", "900"];
    let mut child = dreamllm(&eval).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut said = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
    assert!(said.any(|line| line.starts_with("weights: ")));
    std::thread::sleep(std::time::Duration::from_secs(3));
    let begun = std::time::Instant::now();
    interrupt(&child);
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert!(begun.elapsed() < std::time::Duration::from_secs(60), "{:?}", begun.elapsed());
}

#[test]
fn verify_reports_a_wrong_weight() {
    // A checkpoint whose recorded tensors do not belong to its weights must fail, with exit code 1.
    let folder = tempfile::tempdir().unwrap();
    let tiny = tiny();
    let copied = Command::new("cp").arg("-r").arg(&tiny).arg(folder.path().join("tiny")).status().unwrap();
    assert!(copied.success());
    let root = folder.path().join("tiny");
    for entry in std::fs::read_dir(root.join("reference")).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() && !path.file_name().unwrap().to_str().unwrap().starts_with("clip_vision") {
            std::fs::remove_file(path).unwrap();
        }
    }
    let verify = || run(&["verify", path(&root), "--json"]);
    let out = verify();
    assert_eq!(out.status.code(), Some(0), "{}", text(&out.stdout));
    // One bit of one weight: the exponent of an f32 somewhere in the vision tower.
    let file = root.join("clip_vision_embedding.bin");
    let mut bytes = std::fs::read(&file).unwrap();
    let middle = (bytes.len() / 2) & !3;
    bytes[middle + 3] ^= 0x08;
    std::fs::write(&file, bytes).unwrap();
    let out = verify();
    assert_eq!(out.status.code(), Some(1), "{}", text(&out.stdout));
    let report: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
    assert_eq!(report["passed"], false);
}

#[test]
fn doctor_examines_the_adapter() {
    let out = run(&["doctor", "--filter", "rope", "--json"]);
    assert_eq!(out.status.code(), Some(0), "{}", text(&out.stderr));
    let report: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
    assert_eq!(report["passed"], true);
    assert!(
        report["adapter"]["name"].is_string() && report["limits"]["max_binding"].as_u64() >= Some(4096),
        "{report}"
    );
    assert!(!report["adapters"].as_array().unwrap().is_empty());
    let ops = report["ops"].as_array().unwrap();
    assert_eq!((ops.len(), ops[0]["op"].as_str()), (1, Some("rope")));
    let errors = ["worst_value", "worst_gradient"].map(|error| ops[0][error].as_f64().unwrap());
    assert!(errors.iter().all(|e| *e > 0.0 && *e < 1e-4), "{report}");
    assert_eq!(report["choices"][0]["kernels"], serde_json::json!(["rope"]));
    // For people: a line for the op after the adapter's.
    let out = text(&run(&["doctor", "--filter", "rope"]).stdout);
    assert!(out.lines().any(|line| line.starts_with("rope ") && line.ends_with("pass")), "{out}");
}

#[test]
fn bench_reports_rates_and_ceilings() {
    let out = run(&["bench", "ops", "--filter", "layer_norm", "--seconds", "0.02", "--json"]);
    assert_eq!(out.status.code(), Some(0), "{}", text(&out.stderr));
    let report: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
    for ceiling in ["copy_gb_s", "fma_gflops"] {
        assert!(report["ceilings"][ceiling].as_f64().unwrap() > 0.01, "{report}");
    }
    let ops = report["ops"].as_array().unwrap();
    let passes: Vec<&str> = ops.iter().map(|op| op["pass"].as_str().unwrap()).collect();
    assert_eq!(passes, ["forward", "backward"]);
    for op in ops {
        assert!(op["milliseconds"].as_f64().unwrap() > 0.0 && op["gb_s"].as_f64().unwrap() > 0.0, "{op}");
        assert!(op["kernels"].as_object().unwrap().keys().any(|kernel| kernel.starts_with("layer_norm")), "{op}");
    }
}
