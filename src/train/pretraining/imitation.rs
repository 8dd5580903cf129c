//! What dream queries learn before they meet the denoiser: to say of a caption what the scene encoder says of its demand.
//!
//! `loss = mean (projector(decoder(<s> caption <dream_start> queries <dream_end> </s>)) − SceneEncoder(demand))²`
//!
//! This is stage I's alignment without the cost of the denoiser, which the stage itself then goes through. With records, the same
//! is learned of every picture of theirs, after the words and pictures before it, and with it their words:
//!
//! `loss += L_lm(records) + w · mean (condition of a record's picture − SceneEncoder(what is known of it))²`

use super::{RecordsConfig, SceneEncoder};
use crate::data::shapes::{Theme, World};
use crate::data::{Chance, SampleBuilder, TrainingBatch};
use crate::models::dreamllm::{DreamLlm, put_blocks};
use crate::models::llama::Tokens;
use crate::ops::embedding::gather_rows;
use crate::ops::mse::mse;
use crate::tensor::Tensor;
use crate::text::{Batch, PaddingSide};
use crate::train::{Inputs, Objective};
use crate::{Error, Result};

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

/// Records by number, as they are learned.
pub(super) struct Records<'a> {
    pub world: &'a World,
    pub config: &'a RecordsConfig,
    pub builder: &'a SampleBuilder,
}

/// The losses of records, `[1]`; none where no picture is to be drawn.
pub(super) struct RecordLosses {
    pub language: Tensor,
    pub imitation: Option<Tensor>,
}

impl Records<'_> {
    /// A step's records from number `first` on, all of one theme, so that rows are of like length; `uniform`, between 0 and 1,
    /// chooses it.
    pub fn losses(
        &self,
        model: &DreamLlm,
        teacher: &SceneEncoder,
        objective: &Objective,
        first: u64,
        uniform: f32,
    ) -> Result<RecordLosses> {
        let theme = self.theme(uniform)?;
        let (mut samples, mut told) = (Vec::new(), Vec::new());
        for index in first..first + self.config.batch as u64 {
            let record = self.world.told_record(theme, index);
            let sample = self.builder.build(&record.record, &Chance::new(self.world.seed, index))?;
            // Of a pair that is read nothing is drawn, and of a document only what fits.
            let drawn = sample.dreams.len();
            told.extend_from_slice(record.told.get(..drawn).ok_or_else(|| unknown(drawn, record.told.len()))?);
            samples.push(sample);
        }
        let inputs = Inputs::new(&model.gpu, TrainingBatch::new(samples, &self.builder.special))?;
        let (language, conditions) = objective.language_and_conditions(model, &inputs)?;
        let error = |conditions: Tensor| mse(&conditions, &teacher.forward(&model.gpu, &told)?, None);
        Ok(RecordLosses { language, imitation: conditions.map(error).transpose()? })
    }

    /// The theme whose part of the shares a number between 0 and 1 falls in.
    fn theme(&self, uniform: f32) -> Result<Theme> {
        let mut left = uniform * self.config.themes.values().sum::<f32>();
        let mut shares = self.config.themes.iter().filter(|(_, share)| **share > 0.0).peekable();
        while let Some((theme, share)) = shares.next() {
            left -= share;
            if left < 0.0 || shares.peek().is_none() {
                return Ok(*theme);
            }
        }
        Err(Error::Input("there are no themes of records".into()))
    }
}

fn unknown(drawn: usize, known: usize) -> Error {
    Error::Input(format!("a record draws {drawn} pictures, but what is to be seen is known of {known}"))
}
