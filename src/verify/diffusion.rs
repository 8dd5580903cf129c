//! The denoiser and the autoencoder against their recordings, block by block.

use super::check::Check;
use super::golden::Golden;
use super::{Bench, StageReport};
use crate::Result;
use crate::nn::probe;
use crate::ops::pointwise::exp;
use crate::tensor::Tensor;

/// Compares every recorded `run.<module>` with what the module showed; a recorded module that was not seen is a failure.
async fn modules(
    check: &mut Check,
    golden: &Golden,
    run: &str,
    root: &str,
    seen: &[(String, Tensor)],
    known: &[&str],
) -> Result<()> {
    for name in golden.names() {
        let Some(module) = name.strip_prefix(run).and_then(|rest| rest.strip_prefix('.')) else { continue };
        if known.contains(&module) {
            continue;
        }
        let paths = [format!("{root}{module}"), format!("vae.{module}")];
        match seen.iter().find(|(path, _)| paths.contains(path)) {
            Some((_, x)) => check.tensor(&name, x, &golden.get(&name)?.as_ours()).await?,
            None => check.fail(format!("{name} is recorded, but no module of that name shows its result")),
        }
    }
    Ok(())
}

pub(super) async fn unet(bench: &Bench<'_>) -> Result<Vec<StageReport>> {
    let golden = bench.golden("unet")?;
    let gpu = &bench.model.gpu;
    let mut check = bench.check("unet", bench.bounds.forward);
    for run in golden.prefixes(".output") {
        let get = |part: &str| golden.get(&format!("{run}.{part}"));
        let sample = get("sample")?.channels_last();
        let rows = sample.shape[0];
        let t = get("timestep")?.data;
        let t: Vec<f32> = (0..rows).map(|row| t[row % t.len()]).collect();
        let (x, t) = (sample.to_tensor(gpu)?, Tensor::from_f32(gpu, &t, [rows])?);
        let condition = get("encoder_hidden_states")?.to_tensor(gpu)?;
        let unet = &bench.model.diffusion()?.unet;
        let (output, seen) = probe::watch(|| unet.forward(&x, &t, &condition));
        let output = output?;
        check.tensor(&format!("{run}.output"), &output, &get("output")?.as_ours()).await?;
        let known = ["output", "sample", "timestep", "encoder_hidden_states"];
        modules(&mut check, &golden, &run, "unet.", &seen, &known).await?;
        // Unwatched, fused kernels run instead.
        let fused = unet.forward(&x, &t, &condition)?;
        check.tensor(&format!("{run}.output unwatched"), &fused, &get("output")?.as_ours()).await?;
    }
    Ok(vec![check.finish()])
}

pub(super) async fn vae(bench: &Bench<'_>) -> Result<Vec<StageReport>> {
    let golden = bench.golden("vae")?;
    let gpu = &bench.model.gpu;
    let vae = &bench.model.diffusion()?.vae;
    let mut check = bench.check("vae", bench.bounds.forward);
    let image = golden.get("encode.image")?.channels_last().to_tensor(gpu)?;
    let (posterior, seen) = probe::watch(|| vae.encode(&image));
    let posterior = posterior?;
    let noise = golden.get("encode.noise")?.channels_last().to_tensor(gpu)?;
    let deviation = exp(&posterior.logvar.scale(0.5)?)?;
    let sample = posterior.sample(&noise)?;
    let parts = [("mean", &posterior.mean), ("logvar", &posterior.logvar), ("std", &deviation), ("sample", &sample)];
    for (part, x) in parts {
        let name = format!("encode.{part}");
        check.tensor(&name, x, &golden.get(&name)?.as_ours()).await?;
    }
    let known = ["image", "noise", "mean", "logvar", "std", "sample"];
    modules(&mut check, &golden, "encode", "vae.encoder.", &seen, &known).await?;
    let latents = golden.get("decode.latents")?.channels_last().to_tensor(gpu)?;
    let (pixels, seen) = probe::watch(|| vae.decode(&latents));
    check.tensor("decode.image", &pixels?, &golden.get("decode.image")?.as_ours()).await?;
    modules(&mut check, &golden, "decode", "vae.decoder.", &seen, &["image", "latents"]).await?;
    check.tensor("decode.image unwatched", &vae.decode(&latents)?, &golden.get("decode.image")?.as_ours()).await?;
    Ok(vec![check.finish()])
}
