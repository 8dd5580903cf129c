//! Every shader variant that Rust can ask for is valid WGSL for naga, and for Dawn's tint where it is installed. No GPU needed.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use naga::valid::{Capabilities, ValidationFlags, Validator};
use std::process::Command;

/// What every WebGPU device has: 16 KiB of workgroup memory, 256 invocations in a workgroup.
fn check_limits(module: &naga::Module, label: &str) {
    let shared = module.global_variables.iter().filter(|(_, v)| v.space == naga::AddressSpace::WorkGroup);
    let bytes: u32 = shared.map(|(_, v)| module.types[v.ty].inner.size(module.to_ctx()).next_multiple_of(16)).sum();
    assert!(bytes <= 16 << 10, "{label} has {bytes} bytes of workgroup memory");
    for entry in &module.entry_points {
        let lanes: u32 = entry.workgroup_size.iter().product();
        assert!(lanes <= 256, "{label} has workgroups of {lanes}");
    }
}

fn naga_check(text: &str) -> Result<naga::Module, String> {
    let module = naga::front::wgsl::parse_str(text).map_err(|e| e.emit_to_string(text))?;
    // What every browser has: f16 only as a storage format (unpack2x16float). Subgroups are for native adapters that have them.
    let mut capabilities = Capabilities::SHADER_FLOAT16_IN_FLOAT32;
    capabilities.set(Capabilities::SUBGROUP, text.contains("subgroup"));
    let mut validator = Validator::new(ValidationFlags::all(), capabilities);
    validator.validate(&module).map_err(|e| e.emit_to_string(text))?;
    Ok(module)
}

#[test]
fn every_variant_is_valid() {
    let variants = dreamllm::ops::variants();
    assert!(variants.len() > 100, "{} variants", variants.len());
    let folder = tempfile::tempdir().unwrap();
    let has_tint = Command::new("tint").arg("--version").output().is_ok_and(|o| o.status.success())
        || Command::new("tint").arg("--help").output().is_ok();
    let mut seen = std::collections::HashSet::new();
    for variant in variants {
        let text = variant.text().unwrap();
        if !seen.insert(text.clone()) {
            continue;
        }
        match naga_check(&text) {
            Err(why) => panic!("naga rejects {}:\n{why}\n{text}", variant.label()),
            Ok(module) => check_limits(&module, &variant.label()),
        }
        if has_tint {
            let file = folder.path().join("shader.wgsl");
            // Tint wants to be told of subgroups, which naga 30 in turn rejects.
            let enable = if text.contains("subgroup") { "enable subgroups;\n" } else { "" };
            std::fs::write(&file, format!("{enable}{text}")).unwrap();
            let out = Command::new("tint").arg("--format").arg("wgsl").arg(&file).output().unwrap();
            assert!(
                out.status.success(),
                "tint rejects {}:\n{}\n{text}",
                variant.label(),
                String::from_utf8_lossy(&out.stderr)
            );
        }
    }
    println!("{} texts, tint: {has_tint}", seen.len());
}
