//! Training samples and batches against those of the official dataset class and collator.

use super::golden::Golden;
use super::{Bench, StageReport};
use crate::data::{Chance, Kind, Objective, Record, Sample, SampleBuilder, TrainingBatch, parse, stack};
use crate::image::FloatImage;
use crate::ops::cross_entropy::IGNORED;
use crate::{Error, Result};
use serde_json::Value;
use std::collections::BTreeMap;

/// How far prepared pixels may be off: the last place in f32.
const PIXELS: f64 = 1e-6;

pub(super) fn train_data(bench: &Bench) -> Result<Vec<StageReport>> {
    let golden = bench.golden("train_data")?;
    let mut check = bench.check("train_data", PIXELS);
    for (name, sample) in samples(bench, &golden)? {
        check.equal(&format!("{name} ids"), &sample.ids, &golden.ids(&format!("{name}.input_ids"))?);
        check.equal(&format!("{name} labels"), &sample.labels, &labels(&golden, &format!("{name}.labels"))?);
        // A row alone is all real.
        check.equal(
            &format!("{name} mask"),
            &vec![1; sample.ids.len()],
            &golden.ids(&format!("{name}.attention_mask"))?,
        );
        for (kind, pictures) in [("images", &sample.images), ("images_dm", &sample.dreams)] {
            // Of large checkpoints only the shape of pictures is recorded.
            let shape: Option<Vec<usize>> = serde_json::from_value(golden.json["samples"][&name][kind].clone()).ok();
            match shape.filter(|_| !golden.has(&format!("{name}.{kind}"))) {
                Some(shape) => check.equal(&format!("{name}.{kind} shape"), &channels_first(pictures)?, &shape),
                None => pixels(&mut check, &golden, &format!("{name}.{kind}"), pictures)?,
            }
        }
    }
    Ok(vec![check.finish()])
}

pub(super) fn train_batches(bench: &Bench) -> Result<Vec<StageReport>> {
    let golden = bench.golden("train_batches")?;
    let mut check = bench.check("train_batches", PIXELS);
    let samples = samples(bench, &bench.golden("train_data")?)?;
    let special = &bench.model.special;
    for (name, members) in golden.json["batches"].as_object().into_iter().flatten() {
        let members = super::text::texts(members).into_iter().map(|member| {
            let unknown = || Error::format("train_batches.json", format!("{member} is not recorded"));
            samples.get(&member).cloned().ok_or_else(unknown)
        });
        let batch = TrainingBatch::new(members.collect::<Result<_>>()?, special);
        let shape = golden.get(&format!("{name}.input_ids"))?.shape;
        check.equal(&format!("{name} shape"), &vec![batch.rows.rows, batch.rows.width], &shape);
        check.equal(&format!("{name} ids"), &batch.rows.ids, &golden.ids(&format!("{name}.input_ids"))?);
        check.equal(&format!("{name} labels"), &batch.labels, &labels(&golden, &format!("{name}.labels"))?);
        let mask: Vec<u32> = batch.rows.mask.iter().map(|real| u32::from(*real)).collect();
        check.equal(&format!("{name} mask"), &mask, &golden.ids(&format!("{name}.attention_mask"))?);
        pixels(&mut check, &golden, &format!("{name}.images"), &batch.images)?;
        pixels(&mut check, &golden, &format!("{name}.images_dm"), &batch.dreams)?;
    }
    Ok(vec![check.finish()])
}

/// Recorded labels; −100 is what does not count.
fn labels(golden: &Golden, name: &str) -> Result<Vec<u32>> {
    let label = |&label: &f32| if label == -100.0 { IGNORED } else { label as u32 };
    Ok(golden.get(name)?.data.iter().map(label).collect())
}

/// The shape of pictures as PyTorch has them, `[N, 3, Y, X]`.
fn channels_first(pictures: &[FloatImage]) -> Result<Vec<usize>> {
    Ok(stack(pictures)?.map_or_else(Vec::new, |(_, [n, y, x, c])| vec![n, c, y, x]))
}

/// Compares pictures; what is not recorded must be none.
fn pixels(check: &mut super::check::Check, golden: &Golden, name: &str, pictures: &[FloatImage]) -> Result<()> {
    let recorded = golden.has(name).then(|| golden.get(name)).transpose()?;
    let want = recorded.as_ref().map(|recorded| recorded.channels_last());
    let (values, shape) = stack(pictures)?.map_or_else(Default::default, |(values, shape)| (values, shape.to_vec()));
    check.equal(&format!("{name} shape"), &shape, &want.as_ref().map(|w| w.shape.clone()).unwrap_or_default());
    if let Some(want) = want {
        check.floats_within(name, &values, &want.data, PIXELS);
    }
    Ok(())
}

/// Every recorded sample, built anew.
fn samples(bench: &Bench, golden: &Golden) -> Result<BTreeMap<String, Sample>> {
    let recorded = golden.json["samples"].as_object().into_iter().flatten();
    recorded.map(|(name, _)| Ok((name.clone(), sample(bench, golden, name)?))).collect()
}

fn sample(bench: &Bench, golden: &Golden, name: &str) -> Result<Sample> {
    let limit = golden.json["limits"][name].as_u64();
    let full = limit.map_or(name, |_| name.split("_truncated").next().unwrap_or(name));
    let objective = match full.rsplit('_').next() {
        Some("comprehension") => Objective::Comprehension,
        Some("creation") => Objective::Creation,
        _ => Objective::Joint,
    };
    let positions = bench.folder.config.max_position_embeddings;
    let mut builder = SampleBuilder::from_folder(bench.folder, objective, positions)?;
    builder.random_flip = false;
    // Recorded limits are below what training accepts.
    builder.max_length = limit.map_or(positions, |limit| limit as usize);
    let (record, _) = record(bench, full)?.try_map(|picture| bench.image(&picture))?;
    builder.build(&record, &Chance::new(0, 0))
}

/// The record that a sample was made of, from the files in `data/`.
fn record(bench: &Bench, name: &str) -> Result<Record<String>> {
    let json = |file: &str| -> Result<Value> {
        let path = bench.reference.join("data").join(file);
        let bytes = std::fs::read(&path).map_err(|e| Error::file(&path, e))?;
        serde_json::from_slice(&bytes).map_err(|e| Error::file(&path, e))
    };
    match name {
        "pair_comprehension" => parse(Kind::Pairs, &json("pairs.json")?[0], None),
        "pair_creation" => parse(Kind::Pairs, &json("pairs.json")?[1], None),
        "image_image_pair" => {
            let pairs = json("pairs.json")?;
            let picture = |n: usize| pairs[n]["image"].as_str().unwrap_or_default().to_string();
            Ok(Record::PicturePair { source: picture(0), target: picture(1) })
        }
        _ if name.starts_with("instruct_") => parse(Kind::Documents, &json("instruct_interleaved.json")?, None),
        _ if name.starts_with("interleaved_") => parse(Kind::Documents, &json("interleaved.json")?, None),
        _ => {
            let conversations = json("conversations.json")?;
            let found = super::text::list(&conversations).iter().find(|c| c["id"] == name);
            let unknown = || Error::format("train_data.json", format!("no record is known for {name}"));
            parse(Kind::Conversations, found.ok_or_else(unknown)?, None)
        }
    }
}
