//! Words after a context, one token at a time.

use super::dreamllm::{Context, DreamLlm};
use super::llama::{Cache, Tokens};
use crate::Result;
use crate::ops::layout::slice;
use crate::ops::select::argmax;
use crate::tensor::Tensor;

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

/// The most probable token each time, for every row of the context. `on_token` sees the token of every row as it comes, and
/// may stop by an error. Returns the ids after the context; `<eos>` is the last one of a row that ended.
pub async fn greedy(
    model: &DreamLlm,
    context: &Context,
    stop: Stop,
    mut on_token: impl FnMut(&[u32]) -> Result<()>,
) -> Result<Vec<Vec<u32>>> {
    let [rows, width, _] = context.embeds.dims("generate context", "B T C")?;
    let mut cache = Cache::default();
    let mut next_positions = vec![width as u32; rows];
    let mut tokens = context.tokens.clone();
    if let Some(real) = &tokens.real {
        let (positions, next) = positions_of(real, width);
        (tokens.positions, next_positions) = (Some(positions), next);
    }
    let mut hidden = model.llama.forward(&context.embeds, &tokens, Some(&mut cache))?;
    let mut written = vec![Vec::new(); rows];
    let mut ended = vec![false; rows];
    for _ in 0..stop.max_tokens {
        let ids = next_tokens(model, &hidden).await?;
        let ids: Vec<u32> = ids.iter().zip(&ended).map(|(&id, &ended)| if ended { stop.pad } else { id }).collect();
        on_token(&ids)?;
        for (row, &id) in ids.iter().enumerate() {
            written[row].push(id);
            ended[row] |= id == stop.eos;
        }
        if ended.iter().all(|ended| *ended) {
            break;
        }
        let embeds = model.llama.embed(&Tensor::from_u32(&model.gpu, &ids, [rows, 1])?)?;
        let tokens = Tokens { positions: Some(next_positions.clone()), real: None };
        hidden = model.llama.forward(&embeds, &tokens, Some(&mut cache))?;
        next_positions.iter_mut().for_each(|p| *p += 1);
    }
    Ok(written)
}

/// The most probable token after the last hidden state of every row.
async fn next_tokens(model: &DreamLlm, hidden: &Tensor) -> Result<Vec<u32>> {
    let [_, t, _] = hidden.dims("generate hidden", "B T C")?;
    let logits = model.llama.logits(&slice(hidden, 1, t - 1, 1)?)?;
    argmax(&logits)?.read_u32().await
}

/// Positions that count real tokens only (1 at padding, as transformers' `generate`), and the next one of every row.
pub(crate) fn positions_of(real: &[bool], width: usize) -> (Vec<u32>, Vec<u32>) {
    let mut positions = Vec::with_capacity(real.len());
    let mut next = Vec::new();
    for row in real.chunks(width.max(1)) {
        let mut count = 0;
        for &real in row {
            count += u32::from(real);
            positions.push(if real { count - 1 } else { 1 });
        }
        next.push(count);
    }
    (positions, next)
}
