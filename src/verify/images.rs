//! Image preparation and the image encoder against their recordings.

use super::golden::Recorded;
use super::{Bench, StageReport};
use crate::Result;
use crate::image::{RgbImage, clip_pixels, clip_resize_and_crop, diffusion_pixels, load};
use crate::nn::probe;
use crate::ops::layout::slice;

impl Bench<'_> {
    /// A picture of the recording.
    pub fn image(&self, name: &str) -> Result<RgbImage> {
        load(self.reference.join("images").join(name))
    }
}

pub(super) fn preprocess(bench: &Bench) -> Result<Vec<StageReport>> {
    let golden = bench.golden("preprocess")?;
    let config = &bench.folder.clip_preprocess;
    let resolution = bench.model.diffusion()?.resolution;
    let mut check = bench.check("preprocess", 1e-6);
    for name in golden.prefixes(".decoded_rgb_u8") {
        let image = bench.image(&name)?;
        // A JPEG decoder may round differently from libjpeg by one level, and then so may what follows.
        let levels = u8::from([".jpg", ".jpeg"].iter().any(|kind| name.to_lowercase().ends_with(kind)));
        check.bytes(
            &format!("{name} decoded"),
            &image.pixels,
            &golden.bytes(&format!("{name}.decoded_rgb_u8"))?,
            levels,
        );
        let resized = clip_resize_and_crop(&image, config)?;
        let want = golden.get(&format!("{name}.clip_resized_cropped_u8"))?.channels_last();
        let want: Vec<u8> = want.data.iter().map(|&b| b as u8).collect();
        check.bytes(&format!("{name} resized"), &resized.pixels, &want, levels);
        let bound = if levels == 0 { 1e-6 } else { 2e-2 };
        let clip = golden.get(&format!("{name}.clip_pixel_values"))?;
        check.floats_within(&format!("{name} for CLIP"), &clip_pixels(&image, config)?.to_chw(), &clip.data, bound);
        let sd = golden.get(&format!("{name}.sd_pixel_values"))?;
        let pixels = diffusion_pixels(&image, resolution)?.to_chw();
        check.floats_within(&format!("{name} for the VAE"), &pixels, &sd.data, bound);
    }
    Ok(vec![check.finish()])
}

pub(super) async fn clip_vision(bench: &Bench<'_>) -> Result<Vec<StageReport>> {
    let golden = bench.golden("clip_vision")?;
    let vision = bench.model.vision()?;
    let gpu = &bench.model.gpu;
    let mut check = bench.check("clip_vision", bench.bounds.forward);
    let pixels = golden.get("pixel_values")?.channels_last().to_tensor(gpu)?;
    let (pooled, seen) = probe::watch(|| vision.clip.pooled(&pixels));
    for (name, x) in &seen {
        if golden.has(name) {
            check.tensor(name, x, &golden.get(name)?).await?;
        }
    }
    if let Some((_, last)) = seen.last().filter(|_| golden.has("last_hidden_state")) {
        check.tensor("last_hidden_state", last, &golden.get("last_hidden_state")?).await?;
    }
    if golden.has("pooler_output") {
        check.tensor("pooler_output", &pooled?, &golden.get("pooler_output")?).await?;
    }
    check.tensor("image_embeds", &vision.encode(&pixels)?, &golden.get("image_embeds")?).await?;
    // The official order is that of the pictures: one alone must give what it gives in the batch.
    let first = slice(&pixels, 0, 0, 1)?;
    let want = golden.get("image_embeds")?;
    let want = Recorded { shape: [&[1], &want.shape[1..]].concat(), data: want.part(0).data };
    check.tensor("image_embeds of the first alone", &vision.encode(&first)?, &want).await?;
    Ok(vec![check.finish()])
}
