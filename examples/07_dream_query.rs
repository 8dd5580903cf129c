//! 7 of 7 · Dream queries: how words become what a UNet draws from.
//!
//! `cargo run --example 07_dream_query`

use dreamllm::gpu::{Gpu, GpuOptions};
use dreamllm::models::dreamllm::{DreamLlm, LoadOptions};
use dreamllm::models::llama::{Cache, Tokens};
use dreamllm::ops::random::normal;
use dreamllm::weights::CheckpointFolder;
use dreamllm::{Result, Tensor};

fn main() -> Result<()> {
    pollster::block_on(run())
}

/// Largest difference between two tensors.
async fn difference(a: &Tensor, b: &Tensor) -> Result<f32> {
    let (a, b) = (a.read_f32().await?, b.read_f32().await?);
    assert_eq!(a.len(), b.len());
    Ok(a.iter().zip(&b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max))
}

async fn run() -> Result<()> {
    let gpu = Gpu::new(&GpuOptions::from_env()?).await?;
    let folder = CheckpointFolder::open("tests/reference/tiny")?;
    let options = LoadOptions { diffusion: true, ..Default::default() };
    let model = DreamLlm::load(&folder, &gpu, options, &|_| ())?;
    let [queries, width] = model.dream_queries.dims("dream queries", "Q C")?;
    println!("{queries} dream queries of width {width}: vectors that were learned, words of no language");

    // The words are read first. Their keys and values stay in a cache, as when text is generated.
    let context = model.context("A photo of a dog.", &[])?;
    let mut cache = Cache::default();
    model.llama.forward(&context.embeds, &Tokens::default(), Some(&mut cache))?;
    let words = cache.len();

    // Then <dream_start>, the queries and <dream_end> are read like words that follow. Through attention each query
    // gathers what was said; the hidden states in their places are what the language model wants to see drawn.
    let hidden = model.dream(&mut cache, 1)?;
    hidden.expect_shape("example", "B Q C", [1, queries, width])?;
    assert_eq!(cache.len(), words + queries + 2);

    // A projector brings them to the width of the vectors that Stable Diffusion's own text encoder would have given.
    let diffusion = model.diffusion()?;
    let condition = diffusion.projector.forward(&hidden)?;
    condition.expect_shape("example", "B Q E", [1, queries, diffusion.condition_width])?;
    // That is all that `condition` does.
    assert_eq!(difference(&condition, &model.condition(&context)?).await?, 0.0);

    // The queries are the same for every prompt; what they found is not.
    let other = model.condition(&model.context("A photo of a cat.", &[])?)?;
    let apart = difference(&condition, &other).await?;
    println!("a dog and a cat are {apart:.3} apart");
    assert!(apart > 1e-4);

    // The words can be dreamed of again, and what was dreamed since is forgotten without reading them a second time.
    cache.truncate(words);
    assert!(difference(&hidden, &model.dream(&mut cache, 1)?).await? < 1e-5);

    // The UNet attends to the vectors at every resolution: the same noise is seen as another picture.
    let side = diffusion.resolution / diffusion.downscale;
    let noise = normal(&gpu, [1, side, side, diffusion.latent_channels], 42, 0)?;
    let timestep = Tensor::from_f32(&gpu, &[500.0], [1])?;
    let dog = diffusion.unet.forward(&noise, &timestep, &condition)?;
    let cat = diffusion.unet.forward(&noise, &timestep, &other)?;
    assert!(difference(&dog, &cat).await? > 0.0);
    assert_eq!(dog.shape(), noise.shape());
    // Nothing but these vectors passes from the language model to the image generator; they can be kept in a file
    // (`dreamllm dream --save-condition`), and gradients flow back through them in training.
    Ok(())
}
