//! The decoder, its generations and the dream embeddings against their recordings.

use super::check::Check;
use super::golden::{Golden, Recorded};
use super::text::{ids, list, texts};
use super::{Bench, StageReport};
use crate::models::dreamllm::Context;
use crate::models::generation::{Stop, greedy, positions_of};
use crate::models::llama::{Cache, Tokens};
use crate::nn::probe;
use crate::ops::layout::{concat, permute, slice};
use crate::tensor::Tensor;
use crate::text::Batch;
use crate::{Error, Result};
use serde_json::Value;

impl Bench<'_> {
    /// The places of the patches of every image block in flattened ids: behind each `<im_start>`.
    fn places(&self, ids: &[u32]) -> Vec<usize> {
        let start = self.model.special.im_start;
        ids.iter().enumerate().filter(|(_, id)| **id == start).map(|(at, _)| at + 1).collect()
    }

    /// Recorded ids, with recorded pictures in their places. The official code fills only as many places as it was given
    /// pictures.
    fn recorded_context(
        &self,
        ids: &[u32],
        mask: Option<Vec<u32>>,
        rows: usize,
        images: Option<&Recorded>,
    ) -> Result<Context> {
        let mask = mask.map_or(vec![true; ids.len()], |mask| mask.iter().map(|real| *real != 0).collect());
        let batch = Batch { ids: ids.to_vec(), mask, rows, width: ids.len() / rows.max(1) };
        let pixels = images.map(|r| r.channels_last().to_tensor(&self.model.gpu)).transpose()?;
        let features = pixels.map(|pixels| self.model.vision()?.encode(&pixels)).transpose()?;
        let mut places = self.places(ids);
        places.truncate(features.as_ref().map_or(0, |f| f.shape().as_slice()[0]));
        self.model.embed(&batch, &places, features.as_ref())
    }
}

pub(super) async fn llama(bench: &Bench<'_>) -> Result<Vec<StageReport>> {
    let golden = bench.golden("llama")?;
    let mut check = bench.check("llama", bench.bounds.forward);
    for run in golden.prefixes(".logits") {
        // Runs of the batch share its ids and mask.
        let source = if golden.has(&format!("{run}.input_ids")) { run.clone() } else { "batch".to_string() };
        let input = golden.get(&format!("{source}.input_ids"))?;
        let ids = golden.ids(&format!("{source}.input_ids"))?;
        let mask = format!("{source}.attention_mask");
        let mask = golden.has(&mask).then(|| golden.ids(&mask)).transpose()?;
        let pixels = format!("{run}.pixel_values");
        let pixels = golden.has(&pixels).then(|| golden.get(&pixels)).transpose()?;
        let mut context = bench.recorded_context(&ids, mask, input.shape[0], pixels.as_ref())?;
        let positions = format!("{run}.position_ids");
        if golden.has(&positions) {
            context.tokens.positions = Some(golden.ids(&positions)?);
        }
        forward(bench, &mut check, &golden, &run, &context).await?;
        if golden.has(&format!("{run}.incremental_logits")) {
            incremental(bench, &mut check, &golden, &run, &context).await?;
        }
    }
    Ok(vec![check.finish()])
}

async fn forward(bench: &Bench<'_>, check: &mut Check, golden: &Golden, run: &str, context: &Context) -> Result<()> {
    let mut cache = Cache::default();
    let llama = &bench.model.llama;
    let (hidden, seen) = probe::watch(|| llama.forward(&context.embeds, &context.tokens, Some(&mut cache)));
    let hidden = hidden?;
    for (name, x) in seen {
        let name = format!("{run}.{name}");
        if golden.has(&name) {
            check.tensor(&name, &x, &golden.get(&name)?).await?;
        }
    }
    check.tensor(&format!("{run}.logits"), &llama.logits(&hidden)?, &golden.get(&format!("{run}.logits"))?).await?;
    for (part, key) in [(0, "key"), (1, "value")] {
        for layer in 0.. {
            let Some((keys, values)) = cache.layer(layer) else { break };
            let name = format!("{run}.{key}.{layer}");
            if golden.has(&name) {
                let stored = slice(if part == 0 { keys } else { values }, 1, 0, cache.len())?;
                check.tensor(&name, &permute(&stored, &[0, 2, 1, 3])?, &golden.get(&name)?).await?;
            }
        }
    }
    // Without a cache, as in training, the same must come out.
    let alone = llama.forward(&context.embeds, &context.tokens, None)?;
    let (alone, want) = (alone.read_f32().await?, hidden.read_f32().await?);
    check.floats_within(&format!("{run} without a cache"), &alone, &want, 1e-4);
    Ok(())
}

/// The first half at once, then one token at a time.
async fn incremental(
    bench: &Bench<'_>,
    check: &mut Check,
    golden: &Golden,
    run: &str,
    context: &Context,
) -> Result<()> {
    let mut cache = Cache::default();
    let llama = &bench.model.llama;
    let [_, width, _] = context.embeds.dims("llama embeddings", "B T C")?;
    let mut parts = Vec::new();
    let mut start = 0;
    while start < width {
        let count = if start == 0 { (width / 2).max(1) } else { 1 };
        let embeds = slice(&context.embeds, 1, start, count)?;
        parts.push(llama.logits(&llama.forward(&embeds, &Tokens::default(), Some(&mut cache))?)?);
        start += count;
    }
    let name = format!("{run}.incremental_logits");
    let logits = concat(&parts.iter().collect::<Vec<&Tensor>>(), 1)?;
    check.tensor(&name, &logits, &golden.get(&name)?).await
}

pub(super) async fn generate(bench: &Bench<'_>) -> Result<Vec<StageReport>> {
    let golden = bench.golden("generate")?;
    let mut check = bench.check("generate (greedy)", bench.bounds.choice.unwrap_or(0.0));
    let mut beams = 0;
    for case in list(&golden.json["cases"]) {
        if case["kwargs"]["num_beams"].as_u64().unwrap_or(1) > 1 {
            beams += 1;
            continue;
        }
        generation(bench, &mut check, case).await?;
    }
    let mut reports = vec![check.finish()];
    if beams > 0 {
        let why = format!("{beams} recorded beam searches");
        reports.push(StageReport::not_implemented("generate (beams)", &why));
    }
    Ok(reports)
}

async fn generation(bench: &Bench<'_>, check: &mut Check, case: &Value) -> Result<()> {
    let name = case["name"].as_str().unwrap_or("unnamed");
    let rows: Vec<Vec<u32>> = list(&case["input_ids"]).iter().map(ids).collect();
    let prompts = texts(&case["prompts"]);
    if let ([prompt], [row]) = (prompts.as_slice(), rows.as_slice()) {
        check.equal(&format!("{name}: ids of the prompt"), &bench.model.tokenizer.encode(prompt), row);
    }
    let pictures: Vec<_> = texts(&case["images"]).iter().map(|image| bench.image(image)).collect::<Result<_>>()?;
    let features = match pictures.as_slice() {
        [] => None,
        pictures => Some(bench.model.vision()?.read(&bench.model.gpu, pictures)?),
    };
    let flat: Vec<u32> = rows.concat();
    let mask: Vec<bool> = match &case["attention_mask"] {
        Value::Null => vec![true; flat.len()],
        mask => list(mask).iter().flat_map(ids).map(|real| real != 0).collect(),
    };
    let batch = Batch { width: flat.len() / rows.len().max(1), rows: rows.len(), ids: flat, mask };
    let want: Vec<Vec<u32>> = list(&case["output_ids"]).iter().map(ids).collect();
    let context = bench.model.embed(&batch, &bench.places(&batch.ids), features.as_ref())?;
    let config = &bench.model.config;
    let number = |key: &str| case["kwargs"][key].as_u64();
    let eos = number("eos_token_id").map_or(config.eos_token_id, |id| id as u32);
    let stop = Stop {
        max_tokens: number("max_new_tokens").unwrap_or(20) as usize,
        eos,
        pad: config.pad_token_id.unwrap_or(eos),
    };
    let written = greedy(bench.model, &context, stop, |_| Ok(())).await?;
    if bench.bounds.choice.is_some() {
        let pairs = || written.iter().flatten().zip(want.iter().flatten());
        let same = pairs().filter(|(a, b)| a == b).count();
        let all = want.iter().flatten().count();
        check.note(format!("{name}: {same} of {all} ids as recorded; these weights need not give the same"));
        return recorded_choices(bench, check, name, &batch, features.as_ref(), &want, eos).await;
    }
    check.equal(&format!("{name}: ids"), &written, &want);
    let said = written.iter().map(|ids| bench.model.tokenizer.decode_text(ids)).collect::<Result<Vec<_>>>()?;
    check.equal(&format!("{name}: text"), &said, &texts(&case["output_text_skip_special"]));
    Ok(())
}

/// Reads the recorded words behind their prompt: each must be what the scores at its place would choose, within the bound.
async fn recorded_choices(
    bench: &Bench<'_>,
    check: &mut Check,
    name: &str,
    prompt: &Batch,
    features: Option<&Tensor>,
    words: &[Vec<u32>],
    eos: u32,
) -> Result<()> {
    let count = words.first().map_or(0, Vec::len);
    let (old, width) = (prompt.width, prompt.width + count);
    let rows = || prompt.ids.chunks(old).zip(prompt.mask.chunks(old)).zip(words);
    let batch = Batch {
        ids: rows().flat_map(|((ids, _), words)| [ids, words].concat()).collect(),
        mask: rows().flat_map(|((_, mask), _)| [mask, &vec![true; count]].concat()).collect(),
        rows: prompt.rows,
        width,
    };
    let places: Vec<usize> = bench.places(&prompt.ids).iter().map(|at| at / old * width + at % old).collect();
    let mut context = bench.model.embed(&batch, &places, features)?;
    context.tokens.positions = context.tokens.real.as_ref().map(|real| positions_of(real, width).0);
    let llama = &bench.model.llama;
    let hidden = llama.forward(&context.embeds, &context.tokens, None)?;
    let scores = llama.logits(&slice(&hidden, 1, old - 1, count)?)?.read_f32().await?;
    let of_row = scores.len() / words.len().max(1);
    for (row, (scores, words)) in scores.chunks(of_row.max(1)).zip(words).enumerate() {
        // Behind the end of a row only padding follows.
        let end = words.iter().position(|id| *id == eos).map_or(count, |at| at + 1);
        let scores = &scores[..of_row / count.max(1) * end];
        check.choices(&format!("{name}: recorded choices of row {row}"), scores, &words[..end]);
    }
    Ok(())
}

pub(super) async fn dream(bench: &Bench<'_>) -> Result<Vec<StageReport>> {
    let golden = bench.golden("dream")?;
    let model = bench.model;
    let mut check = bench.check("dream", bench.bounds.forward);
    if golden.has("dream_queries_with_special") {
        let name = "dream_queries_with_special";
        check.tensor(name, &model.dream_embeddings(1)?, &golden.get(name)?).await?;
    }
    for run in golden.prefixes(".prompt_embeds") {
        let input = golden.get(&format!("{run}.input_ids"))?;
        let ids = golden.ids(&format!("{run}.input_ids"))?;
        let mask = golden.ids(&format!("{run}.text_attention_mask"))?;
        let images = format!("{run}.images");
        let images = golden.has(&images).then(|| golden.get(&images)).transpose()?;
        let context = bench.recorded_context(&ids, Some(mask), input.shape[0], images.as_ref())?;
        let mut cache = Cache::default();
        model.llama.forward(&context.embeds, &context.tokens, Some(&mut cache))?;
        let embeds = model.dream(&mut cache, input.shape[0])?;
        check.tensor(&format!("{run}.prompt_embeds"), &embeds, &golden.get(&format!("{run}.prompt_embeds"))?).await?;
        let condition = model.condition(&context)?;
        check.tensor(&format!("{run}.cond"), &condition, &golden.get(&format!("{run}.cond"))?).await?;
    }
    Ok(vec![check.finish()])
}

/// Rows of prompts as the official pipeline batches them: padded on the right.
pub(super) fn prompt_context(bench: &Bench, prompt: &Value) -> Result<Context> {
    let model = bench.model;
    if let Some(text) = prompt["text"].as_str() {
        let pictures: Vec<_> =
            texts(&prompt["images"]).iter().map(|image| bench.image(image)).collect::<Result<_>>()?;
        return model.context(text, &pictures);
    }
    let rows: Vec<Vec<u32>> = texts(prompt).iter().map(|text| model.tokenizer.encode(text)).collect();
    if rows.is_empty() {
        return Err(Error::format("pipeline.json", "a case without a prompt"));
    }
    let batch = Batch::new(&rows, model.special.pad, crate::text::PaddingSide::Right);
    model.embed(&batch, &[], None)
}
