//! 5 of 7 · A block: a checkpoint's files, and what the decoder's blocks do to a sentence.
//!
//! `cargo run --example 05_block`

use dreamllm::gpu::{Gpu, GpuOptions};
use dreamllm::models::dreamllm::{DreamLlm, LoadOptions};
use dreamllm::models::llama::Tokens;
use dreamllm::nn::probe;
use dreamllm::weights::CheckpointFolder;
use dreamllm::{Result, Tensor};

fn main() -> Result<()> {
    pollster::block_on(run())
}

/// Hidden states of a sentence before the first block, after each block, and after the last norm, `[1, T, C]` each.
fn hidden_states(model: &DreamLlm, ids: &[u32]) -> Result<Vec<(String, Tensor)>> {
    let embeds = model.llama.embed(&Tensor::from_u32(&model.gpu, ids, [1, ids.len()])?)?;
    // Modules show their results under a name; `watch` collects them. Nothing is kept where nobody watches.
    let (last, seen) = probe::watch(|| model.llama.forward(&embeds, &Tokens::default(), None));
    last.map(|_| seen)
}

async fn run() -> Result<()> {
    let gpu = Gpu::new(&GpuOptions::from_env()?).await?;
    // Opening reads configs and tables of tensors; a tensor's bytes are read when they are looked at.
    let folder = CheckpointFolder::open("tests/reference/tiny")?;
    let (width, layers) = (folder.config.hidden_size, folder.config.num_hidden_layers);
    println!("{} tensors of the decoder, {layers} blocks of width {width}", folder.language.len());
    let table = folder.language.require("model.embed_tokens.weight")?;
    assert_eq!(table.shape(), [folder.config.vocab_size, width]);

    // Without the image encoder and the image generator.
    let model = DreamLlm::load(&folder, &gpu, LoadOptions::default(), &|_| ())?;
    let ids = model.tokenizer.encode("A photo of a dog.");
    let seen = hidden_states(&model, &ids)?;
    let names: Vec<&str> = seen.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["hidden_states.0", "hidden_states.1", "hidden_states.2"]);

    // Before the first block a token is its row of the table.
    let mut row = Vec::new();
    table.read_f32(ids[1] as usize * width..(ids[1] as usize + 1) * width, &mut row)?;
    let start = seen[0].1.read_f32().await?;
    assert_eq!(start[width..2 * width], row[..]);

    // A block adds to the row what its attention and its MLP found (a residual), so the row changes step by step.
    let after = seen[1].1.read_f32().await?;
    let size = |values: &[f32]| values.iter().map(|x| x * x).sum::<f32>().sqrt();
    let added: Vec<f32> = after.iter().zip(&start).map(|(after, before)| after - before).collect();
    println!("length of a row: {:.3}, added by the first block: {:.3}", size(&start[..width]), size(&added[..width]));
    assert!(size(&added) > 0.0);

    // The last norm divides every row by its root mean square, then multiplies by a gain for each of its numbers.
    let (last, gain) = (seen[2].1.read_f32().await?, folder.language.require("model.norm.weight")?.to_f32()?);
    for row in last.chunks(width) {
        let square: f32 = row.iter().zip(&gain).map(|(x, gain)| (x / gain).powi(2)).sum();
        assert!((square / width as f32 - 1.0).abs() < 0.01);
    }

    // Attention only looks back: another last word leaves everything before it as it was, to the bit.
    let mut other = ids.clone();
    other[ids.len() - 1] = ids[1];
    let changed = hidden_states(&model, &other)?[2].1.read_f32().await?;
    let before = (ids.len() - 1) * width;
    assert!(changed[..before] == last[..before] && changed[before..] != last[before..]);
    Ok(())
}
