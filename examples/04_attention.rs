//! 4 of 7 · Attention: every query takes a weighted mean of the values, and the weights tell how well its key fits.
//!
//! `cargo run --example 04_attention`

use dreamllm::autograd::gradients;
use dreamllm::gpu::{Gpu, GpuOptions};
use dreamllm::ops::attention::{Attention, attention, attention_plain};
use dreamllm::ops::random::normal;
use dreamllm::{Error, Result, Tensor};

/// Largest difference between two tensors.
async fn difference(a: &Tensor, b: &Tensor) -> Result<f32> {
    let (a, b) = (a.read_f32().await?, b.read_f32().await?);
    assert_eq!(a.len(), b.len());
    Ok(a.iter().zip(&b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max))
}

fn main() -> Result<()> {
    pollster::block_on(run())
}

async fn run() -> Result<()> {
    let gpu = Gpu::new(&GpuOptions::from_env()?).await?;
    // [B, T, H, D]: one row of 50 tokens, one head, 32 numbers a token.
    let shape = [1, 50, 1, 32];
    let [q, k, v] = [0, 1, 2].map(|stream| normal(&gpu, shape, 7, stream));
    let [q, k, v] = [q?.variable(), k?.variable(), v?.variable()];

    // The plain definition is a product, a softmax and a product, with the whole matrix of scores in memory. The kernel
    // walks over the keys in tiles and keeps a running maximum and sum instead. Both are the same function.
    let all = attention(&q, &k, &v, Attention::default())?;
    let plain = attention_plain(&q, &k, &v, Attention::default())?;
    let off = difference(&all, &plain).await?;
    println!("kernel and definition differ by {off:.1e}");
    assert!(off < 1e-5);

    // A decoder must not look ahead: token t sees the keys 0 … t. So the first token can only return its own value.
    let causal = Attention { causal: Some(0), ..Default::default() };
    let y = attention(&q, &k, &v, causal)?;
    let (seen, values) = (y.read_f32().await?, v.read_f32().await?);
    assert!(seen[..32].iter().zip(&values[..32]).all(|(y, v)| (y - v).abs() < 1e-6));
    // And the last one sees everything, mask or not.
    let unmasked = all.read_f32().await?;
    assert!(seen[49 * 32..].iter().zip(&unmasked[49 * 32..]).all(|(a, b)| (a - b).abs() < 1e-5));

    // A cache: the same queries one by one over the keys so far, with `causal` = the number of keys before the query.
    let (last, before) = (dreamllm::ops::layout::slice(&q.detach(), 1, 49, 1)?, Some(49));
    let alone = attention(&last, &k.detach(), &v.detach(), Attention { causal: before, ..Default::default() })?;
    assert!(alone.read_f32().await?.iter().zip(&seen[49 * 32..]).all(|(a, b)| (a - b).abs() < 1e-5));

    // Gradients: the kernel saved one maximum and one sum a row, and finds the weights again from them.
    let dy = normal(&gpu, shape, 7, 3)?;
    let fused = gradients(&y, &dy)?;
    let defined = gradients(&attention_plain(&q, &k, &v, causal)?, &dy)?;
    for (name, x) in [("q", &q), ("k", &k), ("v", &v)] {
        let (Some(a), Some(b)) = (fused.get(x), defined.get(x)) else { return Err(Error::NoBackward(name.into())) };
        let off = difference(a, b).await?;
        println!("d{name}: kernel and definition differ by {off:.1e}");
        assert!(off < 1e-4);
    }
    Ok(())
}
