//! What dream queries learn before they meet the denoiser: to say of a caption what the scene encoder says of its demand.
//!
//! `loss = mean (projector(decoder(<s> caption <dream_start> queries <dream_end> </s>)) − SceneEncoder(demand))²`
//!
//! This is stage I's alignment without the cost of the denoiser, which the stage itself then goes through.

use crate::Result;
use crate::models::dreamllm::{DreamLlm, put_blocks};
use crate::models::llama::Tokens;
use crate::ops::embedding::gather_rows;
use crate::ops::mse::mse;
use crate::tensor::Tensor;
use crate::text::{Batch, PaddingSide};

/// Condition vectors of texts, `[N, Q, E]`, on the tape. A missing text is the empty prompt.
pub(super) fn conditions(model: &DreamLlm, texts: &[Option<&str>]) -> Result<Tensor> {
    let ([q, c], s) = (model.dream_queries.dims("dream queries", "Q C")?, &model.special);
    let mut places = Vec::new();
    let mut rows = Vec::new();
    for text in texts {
        let mut row = text.map_or_else(|| vec![s.bos], |text| model.tokenizer.encode(text));
        row.push(s.dream_start);
        places.push(row.len());
        row.extend(vec![s.im_patch; q]);
        row.extend([s.dream_end, s.eos]);
        rows.push(row);
    }
    let rows = Batch::new(&rows, s.pad, PaddingSide::Right);
    (0..).zip(&mut places).for_each(|(n, place)| *place += n * rows.width);
    let ids = Tensor::from_u32(&model.gpu, &rows.ids, [rows.rows, rows.width])?;
    let embeds = put_blocks(&model.llama.embed(&ids)?, &places, &model.dream_queries.reshape([1, q, c])?)?;
    let real = rows.mask.iter().any(|real| !real).then(|| rows.mask.clone());
    let hidden = model.llama.forward(&embeds, &Tokens { positions: None, real }, None)?;
    let wanted: Vec<u32> = places.iter().flat_map(|&place| (place..place + q).map(|at| at as u32)).collect();
    let wanted = Tensor::from_u32(&model.gpu, &wanted, [wanted.len()])?;
    let states = gather_rows(&hidden.reshape([rows.rows * rows.width, c])?, &wanted)?;
    model.diffusion()?.projector.forward(&states.reshape([texts.len(), q, c])?)
}

/// `[1]`
pub(super) fn loss(model: &DreamLlm, texts: &[Option<&str>], wanted: &Tensor) -> Result<Tensor> {
    mse(&conditions(model, texts)?, wanted, None)
}
