//! The settings of a picture as other programs read them from its file: the `parameters` text of AUTOMATIC1111's web UI.
//!
//! ```text
//! A photo of a dog.
//! Negative prompt: blurry
//! Steps: 50, Sampler: DPM++ 2M Karras, CFG scale: 7.5, Seed: 42, Size: 512x512, Model hash: 0123456789, …
//! ```

use super::SamplerKind;
use super::pipeline::DrawOptions;
use super::source::Source;
use std::fmt::Write;

/// What a text tells besides the options.
#[derive(Debug, Clone, Copy)]
pub struct Provenance<'a> {
    /// The words that were drawn.
    pub prompt: &'a str,
    /// The words to keep away from.
    pub negative_prompt: &'a str,
    /// Name of the checkpoint.
    pub model: &'a str,
    /// Its fingerprint.
    pub fingerprint: &'a str,
    /// The device.
    pub adapter: &'a str,
}

/// The text of picture `index` of a batch.
pub fn parameters(options: &DrawOptions, source: Option<&Source>, from: Provenance, index: usize) -> String {
    let mut text = from.prompt.to_string();
    if !from.negative_prompt.is_empty() {
        let _ = write!(text, "\nNegative prompt: {}", from.negative_prompt); // writing to a String cannot fail
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
    use crate::diffusion::SamplerOptions;

    #[test]
    fn texts_are_those_that_other_programs_read() {
        let options = DrawOptions {
            sampler: SamplerKind::Euler,
            sampler_options: SamplerOptions { karras: true, ..SamplerOptions::default() },
            seed: 7,
            ..DrawOptions::default()
        };
        let from = Provenance {
            prompt: "a dog,\nrunning",
            negative_prompt: "",
            model: "tiny",
            fingerprint: "0123456789",
            adapter: "a, b",
        };
        let want = "a dog,\nrunning\nSteps: 50, Sampler: Euler Karras, CFG scale: 7.5, Seed: 9, Size: 512x512, Model hash: \
                    0123456789, Model: tiny, RNG: Philox, Adapter: \"a, b\", Version: dreamllm ";
        let text = parameters(&options, None, from, 2);
        assert_eq!(text.strip_suffix(env!("CARGO_PKG_VERSION")), Some(want));
    }

    #[test]
    fn values_that_would_be_cut_are_quoted() {
        assert_eq!(quoted("llvmpipe (LLVM 15, 256 bits)"), "\"llvmpipe (LLVM 15, 256 bits)\"");
        assert_eq!(quoted("a\nb"), "\"a\\nb\"");
        assert_eq!(quoted("Euler a"), "Euler a");
    }
}
