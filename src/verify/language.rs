//! The decoder, its generations and the dream embeddings against their recordings.

use super::check::Check;
use super::golden::{Golden, Recorded};
use super::text::{ids, list, texts};
use super::{Bench, StageReport};
use crate::models::beams::{BeamOptions, beam_search};
use crate::models::decoding::positions_of;
use crate::models::dreamllm::Context;
use crate::models::generation::{GREEDY, Stop, generate as write};
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
    let want = golden.get(&format!("{run}.logits"))?;
    check.tensor(&format!("{run}.logits"), &llama.logits(&last(&hidden, &want)?)?, &want).await?;
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

/// The hidden states of as many tokens as are recorded: of large checkpoints only the last ones are.
fn last(hidden: &Tensor, want: &Recorded) -> Result<Tensor> {
    let [_, t, _] = hidden.dims("llama hidden", "B T C")?;
    let recorded = want.shape.get(1).copied().unwrap_or(t).min(t);
    slice(hidden, 1, t - recorded, recorded)
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
    let cases = list(&golden.json["cases"]);
    let is_beams = |case: &&Value| case["kwargs"]["num_beams"].as_u64().unwrap_or(1) > 1;
    let mut check = bench.check("generate (greedy)", bench.bounds.choice.unwrap_or(0.0));
    for case in cases.iter().filter(|case| !is_beams(case)) {
        greedy(bench, &mut check, &Generation::new(bench, case)?).await?;
    }
    let mut reports = vec![check.finish()];
    if cases.iter().any(|case| is_beams(&case)) {
        let mut check = bench.check("generate (beams)", bench.bounds.choice.unwrap_or(bench.bounds.forward));
        for case in cases.iter().filter(is_beams) {
            beams(bench, &mut check, &Generation::new(bench, case)?).await?;
        }
        reports.push(check.finish());
    }
    Ok(reports)
}

/// One recorded call of `generate`.
struct Generation<'a> {
    case: &'a Value,
    name: &'a str,
    batch: Batch,
    features: Option<Tensor>,
    stop: Stop,
    want: Vec<Vec<u32>>,
}

impl<'a> Generation<'a> {
    fn new(bench: &Bench<'_>, case: &'a Value) -> Result<Self> {
        let rows: Vec<Vec<u32>> = list(&case["input_ids"]).iter().map(ids).collect();
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
        let config = &bench.model.config;
        let eos = case["kwargs"]["eos_token_id"].as_u64().map_or(config.eos_token_id, |id| id as u32);
        Ok(Generation {
            case,
            name: case["name"].as_str().unwrap_or("unnamed"),
            batch: Batch { width: flat.len() / rows.len().max(1), rows: rows.len(), ids: flat, mask },
            features,
            stop: Stop {
                max_tokens: case["kwargs"]["max_new_tokens"].as_u64().unwrap_or(20) as usize,
                eos,
                pad: config.pad_token_id.unwrap_or(eos),
            },
            want: list(&case["output_ids"]).iter().map(ids).collect(),
        })
    }

    /// The context; the ids of a single prompt are compared on the way.
    fn context(&self, bench: &Bench<'_>, check: &mut Check) -> Result<Context> {
        if let ([prompt], 1) = (texts(&self.case["prompts"]).as_slice(), self.batch.rows) {
            let ids = bench.model.tokenizer.encode(prompt);
            check.equal(&format!("{}: ids of the prompt", self.name), &ids, &self.batch.ids);
        }
        bench.model.embed(&self.batch, &bench.places(&self.batch.ids), self.features.as_ref())
    }

    /// Compares what was written with the recording.
    fn compare(&self, bench: &Bench<'_>, check: &mut Check, written: &[Vec<u32>]) -> Result<()> {
        check.equal(&format!("{}: ids", self.name), written, self.want.as_slice());
        let said = written.iter().map(|ids| bench.model.tokenizer.decode_text(ids)).collect::<Result<Vec<_>>>()?;
        check.equal(&format!("{}: text", self.name), &said, &texts(&self.case["output_text_skip_special"]));
        Ok(())
    }

    /// How many ids are as recorded, where weights need not give the same.
    fn note(&self, check: &mut Check, written: &[Vec<u32>]) {
        let same = written.iter().flatten().zip(self.want.iter().flatten()).filter(|(a, b)| a == b).count();
        let all = self.want.iter().flatten().count();
        check.note(format!("{}: {same} of {all} ids as recorded; these weights need not give the same", self.name));
    }
}

async fn greedy(bench: &Bench<'_>, check: &mut Check, case: &Generation<'_>) -> Result<()> {
    let context = case.context(bench, check)?;
    let written = write(bench.model, &context, GREEDY, 0, case.stop, |_| Ok(true)).await?;
    if bench.bounds.choice.is_none() {
        return case.compare(bench, check, &written);
    }
    case.note(check, &written);
    recorded_choices(bench, check, case).await
}

async fn beams(bench: &Bench<'_>, check: &mut Check, case: &Generation<'_>) -> Result<()> {
    let kwargs = &case.case["kwargs"];
    let count = |key: &str| kwargs[key].as_u64().unwrap_or(1) as usize;
    let options = BeamOptions {
        length_penalty: kwargs["length_penalty"].as_f64().unwrap_or(1.0),
        early_stopping: kwargs["early_stopping"].as_bool().unwrap_or(false),
        returned: count("num_return_sequences"),
        ..BeamOptions::new(count("num_beams"))
    };
    let context = case.context(bench, check)?;
    let found: Vec<_> =
        beam_search(bench.model, &context, options, case.stop, |_| Ok(())).await?.into_iter().flatten().collect();
    let width = case.want.iter().map(Vec::len).max().unwrap_or(0);
    let padded = |ids: &[u32]| [ids, &vec![case.stop.pad; width.saturating_sub(ids.len())]].concat();
    let written: Vec<Vec<u32>> = found.iter().map(|hypothesis| padded(&hypothesis.ids)).collect();
    if bench.bounds.choice.is_some() {
        // Which of many close sentences wins is up to rounding; that the search itself is exact shows with f32 weights.
        case.note(check, &written);
        check.equal(&format!("{}: number of sentences", case.name), &written.len(), &case.want.len());
        return Ok(());
    }
    case.compare(bench, check, &written)?;
    // Recorded with six decimals.
    let recorded: Vec<f64> = list(&case.case["sequences_scores"]).iter().filter_map(Value::as_f64).collect();
    let rounded = |(found, recorded): (f64, &f64)| if (found - recorded).abs() <= 0.5e-6 { *recorded } else { found };
    let scores: Vec<f64> = found.iter().map(|hypothesis| hypothesis.score).zip(&recorded).map(rounded).collect();
    let floats = |scores: &[f64]| scores.iter().map(|score| *score as f32).collect::<Vec<_>>();
    check.floats(&format!("{}: scores", case.name), &floats(&scores), &floats(&recorded));
    Ok(())
}

/// Reads the recorded words behind their prompt: each must be what the scores at its place would choose, within the bound.
async fn recorded_choices(bench: &Bench<'_>, check: &mut Check, case: &Generation<'_>) -> Result<()> {
    let Generation { name, batch: prompt, features, stop, want: words, .. } = case;
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
    let mut context = bench.model.embed(&batch, &places, features.as_ref())?;
    context.tokens.positions = context.tokens.real.as_ref().map(|real| positions_of(real, width).0);
    let llama = &bench.model.llama;
    let hidden = llama.forward(&context.embeds, &context.tokens, None)?;
    let scores = llama.logits(&slice(&hidden, 1, old - 1, count)?)?.read_f32().await?;
    let of_row = scores.len() / words.len().max(1);
    for (row, (scores, words)) in scores.chunks(of_row.max(1)).zip(words).enumerate() {
        // Behind the end of a row only padding follows.
        let end = words.iter().position(|id| *id == stop.eos).map_or(count, |at| at + 1);
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
