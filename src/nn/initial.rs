//! Values of weights before training. A weight that no file has is drawn from a seed and its own name, so a part that is
//! added or left out changes no other one.
//!
//! | weight | values |
//! |---|---|
//! | bias | 0 |
//! | gain of a norm (a vector called `weight`) | 1 |
//! | table of positions | normal, σ = 0.5: as large as the patches that it is added to |
//! | table of tokens, class token, dream queries | normal, σ = 0.5: as large as what a layer adds. LLaMA's `initializer_range` of 0.02 is for all of its matrices; beside those below, words of that size are lost in the sum after the first layer |
//! | the UNet's last convolution | 0: training begins by predicting the mean |
//! | every other matrix or filter | uniform in ±1/√fan_in, as PyTorch's `nn.Linear` and `nn.Conv2d` draw them |

use crate::random::philox;

/// Values in PyTorch's order for a weight of the given full name and stored shape.
pub fn initial(seed: u64, name: &str, shape: &[usize]) -> Vec<f32> {
    let n = shape.iter().product();
    let seed = seed ^ hash(name);
    let normal = |deviation: f32| philox::normals(seed, 0, n).into_iter().map(|x| deviation * x).collect();
    let last = name.rsplit('.').next().unwrap_or(name);
    match last {
        "bias" => vec![0.0; n],
        "class_embedding" | "dream_queries" => normal(0.5),
        _ if name.ends_with("position_embedding.weight") || name.ends_with("embed_tokens.weight") => normal(0.5),
        _ if name.ends_with("unet.conv_out.weight") => vec![0.0; n],
        _ if shape.len() < 2 => vec![1.0; n],
        _ => {
            let fan_in: usize = shape[1..].iter().product();
            let bound = 1.0 / (fan_in.max(1) as f32).sqrt();
            philox::uniforms(seed, 0, n).into_iter().map(|u| (2.0 * u - 1.0) * bound).collect()
        }
    }
}

/// FNV-1a, 64 bits (Fowler, Noll, Vo): the same on every machine and in every version.
fn hash(name: &str) -> u64 {
    name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_decide_the_distribution() {
        let deviation = |x: &[f32]| (x.iter().map(|x| x * x).sum::<f32>() / x.len() as f32).sqrt();
        assert_eq!(initial(1, "unet.conv_in.bias", &[3]), [0.0; 3]);
        assert_eq!(initial(1, "model.norm.weight", &[2]), [1.0; 2]);
        assert_eq!(initial(1, "stable_diffusion_head.unet.conv_out.weight", &[1, 1, 1, 1]), [0.0]);
        assert_ne!(initial(1, "stable_diffusion_head.vae.decoder.conv_out.weight", &[1, 1, 1, 1]), [0.0]);
        for table in ["model.embed_tokens.weight", "x.position_embedding.weight"] {
            assert!((deviation(&initial(1, table, &[100, 50])) - 0.5).abs() < 0.02);
        }
        let matrix = initial(1, "model.layers.0.mlp.up_proj.weight", &[64, 100]);
        assert!(matrix.iter().all(|x| x.abs() <= 0.1) && (deviation(&matrix) - 0.1 / 3f32.sqrt()).abs() < 0.003);
    }

    #[test]
    fn seed_and_name_decide_the_values() {
        let values = |seed, name| initial(seed, name, &[4, 4]);
        assert_eq!(values(7, "a.weight"), values(7, "a.weight"));
        assert_ne!(values(7, "a.weight"), values(8, "a.weight"));
        assert_ne!(values(7, "a.weight"), values(7, "b.weight"));
    }
}
