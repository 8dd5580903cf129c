//! From the names in files to the names the model uses.
//!
//! | part | its names |
//! |---|---|
//! | language | `model.embed_tokens.weight`, `model.layers.0.…`, `model.norm.weight`, `lm_head.weight` |
//! | clip | `clip_vision_model.vision_model.…`, `projector.projector.…`, `post_layernorm.…` |
//! | dream | `dream_queries` |
//! | diffusion | `unet.…`, `vae.…`, `projector.projector.weight` |

/// How the image encoder's tensors begin in a checkpoint that holds everything in one file.
pub const CLIP_IN_ALL: &str = "model.clip_vision_embedding.";
/// How the dream queries begin there.
pub const DREAM_IN_ALL: &str = "model.dream_embedding.";
/// How the image generator's tensors begin there.
pub const DIFFUSION_IN_ALL: &str = "stable_diffusion_head.";

/// Decoder files: plugin tensors and the rotary tables (rebuilt from the config) are dropped.
pub fn language(name: &str) -> Option<String> {
    let plugin = [CLIP_IN_ALL, DREAM_IN_ALL, DIFFUSION_IN_ALL].iter().any(|prefix| name.starts_with(prefix));
    (!plugin && !name.ends_with(".rotary_emb.inv_freq")).then(|| name.to_string())
}

/// `clip_vision_embedding.bin`.
pub fn clip_plugin(name: &str) -> Option<String> {
    (!is_position_ids(name)).then(|| name.to_string())
}

/// The CLIP plugin's tensors in an all-in-one checkpoint.
pub fn clip_in_all(name: &str) -> Option<String> {
    clip_plugin(name.strip_prefix(CLIP_IN_ALL)?)
}

/// A CLIP folder: only the vision tower; the text tower and the contrastive heads are dropped.
pub fn clip_folder(name: &str) -> Option<String> {
    (name.starts_with("vision_model.") && !is_position_ids(name)).then(|| format!("clip_vision_model.{name}"))
}

/// `dream_embedding.bin`.
pub fn dream_plugin(name: &str) -> Option<String> {
    Some(name.to_string())
}

/// The dream queries in an all-in-one checkpoint.
pub fn dream_in_all(name: &str) -> Option<String> {
    name.strip_prefix(DREAM_IN_ALL).map(str::to_string)
}

/// `stable_diffusion_head.bin`.
pub fn diffusion_plugin(name: &str) -> Option<String> {
    match name.strip_prefix("vae.") {
        Some(inner) => vae_folder(inner),
        None => Some(name.to_string()),
    }
}

/// The Stable Diffusion plugin's tensors in an all-in-one checkpoint.
pub fn diffusion_in_all(name: &str) -> Option<String> {
    diffusion_plugin(name.strip_prefix(DIFFUSION_IN_ALL)?)
}

/// The `unet` folder of a Stable Diffusion folder.
pub fn unet_folder(name: &str) -> Option<String> {
    Some(format!("unet.{name}"))
}

/// The `vae` folder of a Stable Diffusion folder. Those published for SD 1.x and 2.x name the attention's matrices
/// `query`, `key`, `value`, `proj_attn`.
pub fn vae_folder(name: &str) -> Option<String> {
    const OLD: [(&str, &str); 4] =
        [(".query.", ".to_q."), (".key.", ".to_k."), (".value.", ".to_v."), (".proj_attn.", ".to_out.0.")];
    let old = OLD.iter().find(|(old, _)| name.contains(".attentions.") && name.contains(old));
    Some(match old {
        Some((old, new)) => format!("vae.{}", name.replacen(old, new, 1)),
        None => format!("vae.{name}"),
    })
}

/// The integer buffer 0, 1, 2, … that old versions of transformers stored.
fn is_position_ids(name: &str) -> bool {
    name.ends_with(".position_ids")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_out_as_the_model_uses_them() {
        let cases: &[(super::super::Rename, &str, Option<&str>)] = &[
            (language, "model.layers.0.self_attn.q_proj.weight", Some("model.layers.0.self_attn.q_proj.weight")),
            (language, "model.layers.0.self_attn.rotary_emb.inv_freq", None),
            (language, "stable_diffusion_head.projector.projector.weight", None),
            (language, "model.dream_embedding.dream_queries", None),
            (clip_folder, "text_model.final_layer_norm.weight", None),
            (clip_folder, "logit_scale", None),
            (clip_folder, "vision_model.embeddings.position_ids", None),
            (clip_folder, "vision_model.pre_layrnorm.bias", Some("clip_vision_model.vision_model.pre_layrnorm.bias")),
            (clip_in_all, "model.clip_vision_embedding.projector.projector.bias", Some("projector.projector.bias")),
            (clip_in_all, "model.norm.weight", None),
            (dream_in_all, "model.dream_embedding.dream_queries", Some("dream_queries")),
            (unet_folder, "conv_in.bias", Some("unet.conv_in.bias")),
            (
                vae_folder,
                "encoder.mid_block.attentions.0.query.bias",
                Some("vae.encoder.mid_block.attentions.0.to_q.bias"),
            ),
            (diffusion_in_all, "stable_diffusion_head.unet.conv_in.bias", Some("unet.conv_in.bias")),
            (
                diffusion_plugin,
                "vae.decoder.mid_block.attentions.0.proj_attn.weight",
                Some("vae.decoder.mid_block.attentions.0.to_out.0.weight"),
            ),
        ];
        for (rename, name, want) in cases {
            assert_eq!(rename(name).as_deref(), *want, "{name}");
        }
    }
}
