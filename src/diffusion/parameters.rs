//! The settings of a picture as other programs read them from its file: the `parameters` text of AUTOMATIC1111's web UI.
//!
//! ```text
//! A photo of a dog.
//! Negative prompt: blurry
//! Steps: 50, Sampler: DPM++ 2M Karras, CFG scale: 7.5, Seed: 42, Size: 512x512, Model hash: 0123456789, …
//! ```

use super::SamplerKind;
use super::condition::Condition;
use super::pipeline::DrawOptions;
use super::source::Source;
use std::fmt::Write;

/// What a text tells besides the options.
#[derive(Debug, Clone, Copy)]
pub struct Provenance<'a> {
    /// Name of the checkpoint.
    pub model: &'a str,
    /// Its fingerprint.
    pub fingerprint: &'a str,
    /// The device.
    pub adapter: &'a str,
}

/// The text of picture `index` of a batch.
pub fn parameters(
    condition: &Condition,
    options: &DrawOptions,
    source: Option<&Source>,
    from: Provenance,
    index: usize,
) -> String {
    let mut text = condition.prompt.clone();
    if !condition.negative_prompt.is_empty() {
        let _ = write!(text, "\nNegative prompt: {}", condition.negative_prompt); // writing to a String cannot fail
    }
    let mut settings = vec![
        ("Steps", options.steps.to_string()),
        ("Sampler", sampler_name(options)),
        ("CFG scale", options.cfg_scale.to_string()),
        ("Seed", options.seed_of(index).to_string()),
        ("Size", format!("{}x{}", options.width, options.height)),
        ("Model hash", from.fingerprint.to_string()),
        ("Model", from.model.to_string()),
    ];
    settings.extend(source.map(|source| ("Denoising strength", source.strength.to_string())));
    if options.guidance_rescale > 0.0 {
        settings.push(("Guidance rescale", options.guidance_rescale.to_string()));
    }
    if options.sampler_options.eta > 0.0 {
        settings.push(("Eta", options.sampler_options.eta.to_string()));
    }
    settings.push(("RNG", format!("{:?}", options.rng)));
    settings.push(("Adapter", from.adapter.to_string()));
    settings.push(("Version", format!("dreamllm {}", env!("CARGO_PKG_VERSION"))));
    let settings: Vec<String> = settings.iter().map(|(key, value)| format!("{key}: {}", quoted(value))).collect();
    text + "\n" + &settings.join(", ")
}

/// The name that other programs know.
fn sampler_name(options: &DrawOptions) -> String {
    let name = match options.sampler {
        SamplerKind::Ddpm => "DDPM",
        SamplerKind::Ddim => "DDIM",
        SamplerKind::Pndm => "PLMS",
        SamplerKind::DpmSolver => "DPM++ 2M",
        SamplerKind::Euler => "Euler",
        SamplerKind::EulerAncestral => "Euler a",
        SamplerKind::UniPc => "UniPC",
    };
    format!("{name}{}", if options.sampler_options.karras { " Karras" } else { "" })
}

/// In quotes if it would be taken for several settings.
fn quoted(value: &str) -> String {
    match value.contains([',', ':', '\n', '"']) {
        true => serde_json::Value::from(value).to_string(),
        false => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_that_would_be_cut_are_quoted() {
        assert_eq!(quoted("llvmpipe (LLVM 15, 256 bits)"), "\"llvmpipe (LLVM 15, 256 bits)\"");
        assert_eq!(quoted("a\nb"), "\"a\\nb\"");
        assert_eq!(quoted("Euler a"), "Euler a");
    }
}
