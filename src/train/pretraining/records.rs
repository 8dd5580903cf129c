//! What imitation learns from records beside captions: their words, and of every picture in them what the words and pictures before it
//! say of it.
//!
//! `loss = L_lm(records) + w · (error of captions + mean (condition of a record's picture − SceneEncoder(what is known of it))²)`

use super::agreement::{Agreement, Values};
use super::{PretrainConfig, RecordsConfig, SceneEncoder};
use crate::data::shapes::{Dice, Slots, Split, Theme, ToldRecord, World};
use crate::data::{self, Chance, Sample, SampleBuilder, TrainingBatch};
use crate::models::dreamllm::DreamLlm;
use crate::ops::mse::mse;
use crate::tensor::Tensor;
use crate::train::{Inputs, Objective, Trained};
use crate::weights::CheckpointFolder;
use crate::{Error, Result};
use serde_json::Value;
use std::collections::BTreeMap;
use std::ops::Range;

/// The records of a run, by the number of the step.
pub(super) struct Records {
    pub config: RecordsConfig,
    world: World,
    seed: u64,
    builder: SampleBuilder,
    objective: Objective,
}

/// The losses of a step's records, `[1]`; no imitation where no picture is to be drawn.
pub(super) struct RecordLosses {
    pub language: Tensor,
    pub imitation: Option<Tensor>,
}

/// The stream of random numbers that chooses a step's theme and length; records have others.
const CHOICES: u32 = 2;
/// Records are sorted by length into so many batches, of which a step learns one: rows are padded to the longest of a batch.
const LENGTHS: usize = 4;
/// Records of each theme by which a model is looked at.
const LOOKED_AT: u64 = 96;

impl Records {
    /// Those of a run that has some; `trained` are the parts that learn.
    pub fn of(
        config: &PretrainConfig,
        source: &CheckpointFolder,
        model: &DreamLlm,
        trained: Trained,
    ) -> Result<Option<Records>> {
        let Some(records) = &config.records else { return Ok(None) };
        let builder = SampleBuilder::from_folder(source, data::Objective::Joint, records.max_length)?;
        let objective = Objective::new(model, trained)?;
        let (world, config, seed) = (config.world.clone(), records.clone(), config.seed);
        Ok(Some(Records { config, world, seed, builder, objective }))
    }

    /// How well a model says what is to be seen in pictures of each theme, from records that are never trained on.
    pub async fn scores(&self, model: &DreamLlm, teacher: &SceneEncoder) -> Result<BTreeMap<&'static str, Value>> {
        let values = Values::of(teacher, &model.gpu).await?;
        let world = World { split: Split::Heldout, ..self.world.clone() };
        let mut scores = BTreeMap::new();
        for theme in self.config.themes.keys() {
            let mut agreement = Agreement::default();
            let records = self.taken(&world, *theme, 0..LOOKED_AT)?;
            for records in records.chunks(self.config.batch) {
                let (samples, told) = batch(records)?;
                if told.is_empty() {
                    continue;
                }
                let inputs = Inputs::new(&model.gpu, TrainingBatch::new(samples, &self.builder.special))?;
                let (_, conditions) = self.objective.language_and_conditions(model, &inputs, &[])?;
                if let Some(conditions) = conditions {
                    agreement.add(&values, &conditions, &told).await?;
                }
            }
            scores.extend(agreement.scores().map(|of_theme| (theme.name(), of_theme)));
        }
        Ok(scores)
    }

    /// The losses of a step.
    pub fn losses(&self, model: &DreamLlm, teacher: &SceneEncoder, step: u64) -> Result<RecordLosses> {
        let (samples, told) = self.samples(step)?;
        let inputs = Inputs::new(&model.gpu, TrainingBatch::new(samples, &self.builder.special))?;
        let (language, conditions) = self.objective.language_and_conditions(model, &inputs, &[])?;
        let error = |conditions: Tensor| mse(&conditions, &teacher.forward(&model.gpu, &told)?, None);
        Ok(RecordLosses { language, imitation: conditions.map(error).transpose()? })
    }

    /// The samples of a step, of one theme and of like length, and what is known of the pictures that they draw.
    fn samples(&self, step: u64) -> Result<(Vec<Sample>, Vec<Slots>)> {
        let (themes, shares): (Vec<Theme>, Vec<f32>) = self.config.themes.iter().unzip();
        let mut dice = Dice::new(self.seed, CHOICES, step);
        let theme = themes[dice.weighted(&shares)];
        let range = (self.config.batch * LENGTHS) as u64;
        let records = self.taken(&self.world, theme, step * range..(step + 1) * range)?;
        let first = dice.below(LENGTHS) * self.config.batch;
        batch(&records[first..first + self.config.batch])
    }

    /// Records of a world by number, the shortest first, and what is known of the pictures in each.
    fn taken(&self, world: &World, theme: Theme, numbers: Range<u64>) -> Result<Vec<(Sample, Vec<Slots>)>> {
        let told = |index| {
            let ToldRecord { record, told } = world.told_record(theme, index);
            let sample = self.builder.build(&record, &Chance::new(world.seed, index))?;
            Ok((sample, told))
        };
        let mut records = numbers.map(told).collect::<Result<Vec<_>>>()?;
        records.sort_by_key(|(sample, _)| sample.ids.len());
        Ok(records)
    }
}

/// Samples and what is known of the pictures that they draw: of a pair that is read nothing is drawn, and of a document only what fits.
fn batch(records: &[(Sample, Vec<Slots>)]) -> Result<(Vec<Sample>, Vec<Slots>)> {
    let (mut samples, mut told) = (Vec::new(), Vec::new());
    for (sample, known) in records {
        let drawn = sample.dreams.len();
        told.extend_from_slice(known.get(..drawn).ok_or_else(|| unknown(drawn, known.len()))?);
        samples.push(sample.clone());
    }
    Ok((samples, told))
}

fn unknown(drawn: usize, known: usize) -> Error {
    Error::Input(format!("a record draws {drawn} pictures, but what is to be seen is known of {known}"))
}
