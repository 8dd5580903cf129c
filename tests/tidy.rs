//! What a reviewer would otherwise have to repeat: file lengths, layering, cases for every op, shapes in shaders.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use dreamllm::ops::FAMILIES;
use std::path::{Path, PathBuf};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// Files below `folder` with an ending.
fn files(folder: &str, ending: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![Path::new(ROOT).join(folder)];
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|e| e == ending) {
                found.push(path);
            }
        }
    }
    found.sort();
    assert!(!found.is_empty(), "no {ending} files in {folder}");
    found
}

fn name(path: &Path) -> String {
    path.strip_prefix(ROOT).unwrap().display().to_string()
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap()
}

#[test]
fn files_are_short() {
    let long: Vec<String> = [files("src", "rs"), files("shaders", "wgsl")]
        .concat()
        .iter()
        .map(|path| (name(path), read(path).lines().count()))
        .filter(|(_, lines)| *lines > 450)
        .map(|(name, lines)| format!("{name}: {lines}"))
        .collect();
    assert!(long.is_empty(), "over 450 lines: {long:?}");
}

#[test]
fn only_the_gpu_folder_names_wgpu() {
    let wrong: Vec<String> = files("src", "rs")
        .iter()
        .map(|path| (name(path), read(path)))
        .filter(|(name, text)| !name.starts_with("src/gpu/") && text.contains("wgpu::"))
        .map(|(name, _)| name)
        .collect();
    assert!(wrong.is_empty(), "{wrong:?}");
}

#[test]
fn ops_take_results_that_debug_builds_poison() {
    let wrong: Vec<String> = files("src/ops", "rs")
        .iter()
        .filter(|path| !path.ends_with("src/ops/fill.rs") && read(path).contains("uninit("))
        .map(|path| name(path))
        .collect();
    assert!(wrong.is_empty(), "{wrong:?}");
}

/// The command line may wait. Below it two files do, and only natively: the device is polled, and the data loader waits for its
/// workers.
#[test]
fn the_library_does_not_block() {
    let rim = ["src/main.rs", "src/cli/", "src/gpu/readback.rs", "src/data/loader.rs"];
    let blocking = ["block_on(", "thread::sleep", ".join()", "recv()", "recv_timeout(", "wait_indefinitely", ".wait()"];
    let wrong: Vec<String> = files("src", "rs")
        .iter()
        .map(|path| (name(path), read(path).split("#[cfg(test)]").next().unwrap().to_string()))
        .filter(|(name, text)| !rim.iter().any(|r| name.starts_with(r)) && blocking.iter().any(|b| text.contains(b)))
        .map(|(name, _)| name)
        .collect();
    assert!(wrong.is_empty(), "{wrong:?}");
}

#[test]
fn every_op_has_cases_and_variants() {
    // Files of `src/ops` that are no ops.
    let helpers = ["mod", "case", "epilogue", "expr", "span", "speed", "weight_format"];
    for path in files("src/ops", "rs") {
        let stem = path.file_stem().unwrap().to_str().unwrap();
        if path.parent().unwrap().ends_with("ops") && !helpers.contains(&stem) {
            let family = FAMILIES.iter().find(|family| family.name == stem);
            let family = family.unwrap_or_else(|| panic!("{stem} is not in `families!` of src/ops/mod.rs"));
            let (variants, cases) = ((family.variants)(), (family.cases)());
            assert!(!cases.is_empty(), "{stem} has no cases");
            // A family may be made of other families' kernels.
            assert!(!read(&path).contains("Kernel::new(") || !variants.is_empty(), "{stem} has no variants");
            assert!(cases.iter().all(|case| !case.operands.is_empty()), "{stem} has a case without operands");
        }
    }
}

#[test]
fn shaders_document_themselves() {
    for path in files("shaders", "wgsl") {
        let text = read(&path);
        assert!(text.starts_with("// "), "{} has no header", name(&path));
        for line in text.lines().filter(|line| line.contains("@binding(") && line.contains("var<storage")) {
            let comment = line.split("//").nth(1).unwrap_or("");
            assert!(comment.contains('['), "{}: a binding without its shape: {line}", name(&path));
        }
        let blocks = text.matches("//@if ").count();
        assert!(blocks <= 4, "{} has {blocks} conditional blocks", name(&path));
    }
}

#[test]
fn vague_file_names_are_not_used() {
    let vague = ["utils", "util", "helpers", "common", "manager", "misc"];
    for path in files("src", "rs") {
        let stem = path.file_stem().unwrap().to_str().unwrap().to_string();
        assert!(!vague.contains(&stem.as_str()), "{}", name(&path));
    }
}

#[test]
fn no_shader_is_left_out_of_validation() {
    let kernels: std::collections::HashSet<&str> = dreamllm::ops::variants().iter().map(|v| v.kernel.name).collect();
    for path in files("shaders", "wgsl") {
        let stem = path.file_stem().unwrap().to_str().unwrap();
        let is_library = path.parent().unwrap().ends_with("lib");
        assert!(is_library || kernels.contains(stem), "{} belongs to no variant", name(&path));
    }
}
