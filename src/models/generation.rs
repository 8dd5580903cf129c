//! Words after a context, one token at a time: the most probable ones, or drawn ones.

use super::decoding::Decoding;
use super::dreamllm::{Context, DreamLlm};
use crate::Result;
use crate::ops::sample::Sampling;

/// When to stop.
#[derive(Debug, Clone, Copy)]
pub struct Stop {
    /// Tokens to write at most.
    pub max_tokens: usize,
    /// Token that ends a row.
    pub eos: u32,
    /// Token that fills the rows that ended before the others.
    pub pad: u32,
}

/// Always the most probable token.
pub const GREEDY: Sampling = Sampling { temperature: 0.0, top_k: 0, top_p: 1.0 };

/// A token each time for every row of the context, chosen as `how` says; the draws of a seed are the same each time.
/// `on_token` sees the token of every row as it comes and returns whether to go on. Returns the ids after the context;
/// `<eos>` is the last one of a row that ended.
pub async fn generate(
    model: &DreamLlm,
    context: &Context,
    how: Sampling,
    seed: u64,
    stop: Stop,
    mut on_token: impl FnMut(&[u32]) -> Result<bool>,
) -> Result<Vec<Vec<u32>>> {
    let mut decoding = Decoding::behind(model, context)?;
    let rows = context.embeds.shape().as_slice()[0];
    let mut written = vec![Vec::new(); rows];
    let mut ended = vec![false; rows];
    for step in 0..stop.max_tokens {
        let ids = decoding.choose(how, seed, step as u32).await?;
        let ids: Vec<u32> = ids.iter().zip(&ended).map(|(&id, &ended)| if ended { stop.pad } else { id }).collect();
        for (row, &id) in ids.iter().enumerate() {
            written[row].push(id);
            ended[row] |= id == stop.eos;
        }
        if !on_token(&ids)? || ended.iter().all(|ended| *ended) {
            break;
        }
        if step + 1 < stop.max_tokens {
            decoding.advance(&ids)?;
        }
    }
    Ok(written)
}
