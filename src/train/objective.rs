//! The joint objective:   `loss = (w_lm · L_lm + w_vm · L_dm) / norm`
//!
//! L_lm is the mean cross-entropy of the next token over the labels that count, L_dm the [diffusion
//! loss](super::diffusion_loss) of the pictures to be drawn, whose conditions are the decoder's states at the dream queries.
//! DreamLLM (arXiv 2309.11499), section 3, as the official code computes it.

use super::by_length::by_length;
use super::diffusion_loss::diffusion_loss;
use super::{DiffusionOptions, Draws, Inputs, Trained};
use crate::diffusion::NoiseSchedule;
use crate::models::config::{DreamConfig, LossScaleSchedule};
use crate::models::dreamllm::{DreamLlm, put_blocks};
use crate::models::llama::Tokens;
use crate::ops::cross_entropy::cross_entropy;
use crate::ops::embedding::{gather_rows, put_rows};
use crate::ops::fill::zeros;
use crate::ops::layout::slice;
use crate::tensor::Tensor;
use crate::text::{Batch, PaddingSide};
use crate::{Error, Result};

/// w_lm, w_vm and what their sum is divided by.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LossWeights {
    /// Of the language loss.
    pub language: f64,
    /// Of the diffusion loss.
    pub diffusion: f64,
    /// The norm.
    pub schedule: LossScaleSchedule,
}

impl LossWeights {
    /// What `config.json` says.
    pub fn of(config: &DreamConfig) -> LossWeights {
        let (language, diffusion) = (config.loss_weight_lm, config.loss_weight_vm);
        LossWeights { language, diffusion, schedule: config.loss_scale_schedule }
    }

    /// Both weights with the norm divided out.
    fn normed(&self) -> [f32; 2] {
        let norm = match self.schedule {
            LossScaleSchedule::None => 1.0,
            LossScaleSchedule::L1Norm => self.language + self.diffusion,
            LossScaleSchedule::L2Norm => self.language.hypot(self.diffusion),
        };
        [self.language, self.diffusion].map(|weight| (weight / norm) as f32)
    }
}

/// What is minimised, for given parts of the model.
pub struct Objective {
    /// Weights of the two losses.
    pub weights: LossWeights,
    /// Options of the diffusion loss.
    pub options: DiffusionOptions,
    /// The noise schedule, and what the UNet predicts.
    pub schedule: NoiseSchedule,
    /// The parts that learn.
    pub trained: Trained,
    /// Whether decoder layers are computed twice to save memory.
    pub checkpoints: bool,
}

/// The losses of a batch, `[1]` each.
pub struct Losses {
    /// The weighted sum, on the tape.
    pub sum: Tensor,
    /// L_lm, or 0 where no label counts.
    pub language: Tensor,
    /// L_dm, or 0 without pictures to be drawn.
    pub diffusion: Tensor,
}

impl Objective {
    /// As the checkpoint's configs say, for the parts that learn.
    pub fn new(model: &DreamLlm, trained: Trained) -> Result<Objective> {
        let head = model.config.plugins.stable_diffusion_head.as_ref();
        Ok(Objective {
            weights: LossWeights::of(&model.config),
            options: head.map_or_else(DiffusionOptions::default, DiffusionOptions::from),
            schedule: NoiseSchedule::new(&model.diffusion()?.scheduler)?,
            trained,
            checkpoints: false,
        })
    }

    /// The losses of a batch; `draws` are needed where it has pictures to be drawn.
    pub fn losses(&self, model: &DreamLlm, inputs: &Inputs, draws: Option<&Draws>) -> Result<Losses> {
        self.shared_losses(model, inputs, draws, [1.0; 2])
    }

    /// The same for a part of a batch, whose mean losses for words and pictures are multiplied by `shares`: if they are its
    /// parts of all labels and pictures times the number of parts, the mean over the parts is the loss of the whole batch.
    pub fn shared_losses(
        &self,
        model: &DreamLlm,
        inputs: &Inputs,
        draws: Option<&Draws>,
        shares: [f32; 2],
    ) -> Result<Losses> {
        let dropped = draws.map_or(&[][..], |draws| &draws.dropped);
        let (language, conditions) = self.language_and_conditions(model, inputs, dropped)?;
        let diffusion = match (&inputs.dreams, conditions, draws) {
            (Some(pixels), Some(conditions), Some(draws)) => {
                diffusion_loss(model.diffusion()?, pixels, &conditions, draws, &self.schedule, &self.options)?
            }
            (None, ..) | (_, None, _) => zeros(&model.gpu, [1])?,
            (Some(_), _, None) => {
                return Err(Error::Input("training: pictures are to be drawn, but no noise was".into()));
            }
        };
        let [of_language, of_diffusion] = self.weights.normed();
        let [words, pictures] = shares;
        let sum = weighted(&language, of_language * words)?.add(&weighted(&diffusion, of_diffusion * pictures)?)?;
        Ok(Losses { sum, language: language.detach(), diffusion: diffusion.detach() })
    }

    /// L_lm, and what the UNet attends to for every picture to be drawn, `[N, Q, E]`, if there is one; `dropped` says which are drawn
    /// without.
    pub(super) fn language_and_conditions(
        &self,
        model: &DreamLlm,
        inputs: &Inputs,
        dropped: &[bool],
    ) -> Result<(Tensor, Option<Tensor>)> {
        let [queries, _] = model.dream_queries.dims("dream queries", "Q C")?;
        inputs.check(queries)?;
        let decode = |embeds: &Tensor, real| self.decode(model, embeds, real);
        let hidden = by_length(&self.embeds(model, inputs)?, &inputs.rows, decode)?;
        let language = language_loss(model, inputs, &hidden)?;
        let conditions = inputs.dreams.as_ref().map(|_| self.condition(model, inputs, &hidden, dropped));
        Ok((language, conditions.transpose()?))
    }

    /// Next-token scores of the whole batch, `[B, T, V]`. The loss computes only those that it needs.
    pub fn logits(&self, model: &DreamLlm, inputs: &Inputs) -> Result<Tensor> {
        let mask = &inputs.rows.mask;
        let real = mask.contains(&false).then(|| mask.clone());
        model.llama.logits(&self.decode(model, &self.embeds(model, inputs)?, real)?)
    }

    /// What the decoder reads, `[B, T, C]`: tokens, with pictures and queries in their places.
    fn embeds(&self, model: &DreamLlm, inputs: &Inputs) -> Result<Tensor> {
        let mut embeds = embed(model, &inputs.rows)?;
        if let Some(pixels) = &inputs.images {
            // A frozen projector passes no gradient on; the norm behind it is never frozen.
            let vision = model.vision()?;
            let features = vision.normed(&passing(vision.projected(pixels)?, self.trained.visual_projector))?;
            embeds = put_blocks(&embeds, &inputs.image_places, &features)?;
        }
        if inputs.dreams.is_some() {
            let [q, c] = model.dream_queries.dims("dream queries", "Q C")?;
            embeds = put_blocks(&embeds, &inputs.dream_places, &model.dream_queries.reshape([1, q, c])?)?;
        }
        Ok(embeds)
    }

    /// The decoder's states `[B, T, C]`; padding, which is not `real`, is not attended to.
    fn decode(&self, model: &DreamLlm, embeds: &Tensor, real: Option<Vec<bool>>) -> Result<Tensor> {
        let tokens = Tokens { positions: None, real };
        match self.checkpoints {
            true => model.llama.forward_checkpointed(embeds, &tokens),
            false => model.llama.forward(embeds, &tokens, None),
        }
    }

    /// What the UNet attends to for every picture to be drawn, `[N, Q, E]`.
    fn condition(&self, model: &DreamLlm, inputs: &Inputs, hidden: &Tensor, dropped: &[bool]) -> Result<Tensor> {
        let ([q, c], n) = (model.dream_queries.dims("dream queries", "Q C")?, inputs.dream_places.len());
        let [b, t, _] = hidden.dims("training hidden states", "B T C")?;
        let places: Vec<u32> = inputs.dream_places.iter().flat_map(|&at| (at..at + q).map(|at| at as u32)).collect();
        let places = Tensor::from_u32(&model.gpu, &places, [n * q])?;
        let mut states = gather_rows(&hidden.reshape([b * t, c])?, &places)?;
        if self.options.drop_prob.is_some() && dropped.contains(&true) {
            states = self.without_condition(model, &states, dropped)?;
        }
        let condition = model.diffusion()?.projector.forward(&states.reshape([n, q, c])?)?;
        Ok(passing(condition, self.trained.condition_projector))
    }

    /// States `[N · Q, C]` with those of dropped pictures replaced by the states of `<s> <dream_start>` patches
    /// `<dream_end> </s>`. The plain patch embeddings stand there, not the dream queries.
    fn without_condition(&self, model: &DreamLlm, states: &Tensor, dropped: &[bool]) -> Result<Tensor> {
        let ([q, c], s) = (model.dream_queries.dims("dream queries", "Q C")?, &model.special);
        let ids = [&[s.bos, s.dream_start][..], &vec![s.im_patch; q], &[s.dream_end, s.eos]].concat();
        let rows = Batch::new(&[ids], s.pad, PaddingSide::Right);
        let empty = slice(&self.decode(model, &embed(model, &rows)?, None)?, 1, 2, q)?.reshape([q, c])?;
        let row = |dropped: bool, row: usize| if dropped { row as u32 } else { u32::MAX };
        let source: Vec<u32> = dropped.iter().flat_map(|&dropped| (0..q).map(move |i| row(dropped, i))).collect();
        put_rows(states, &Tensor::from_u32(&model.gpu, &source, [source.len()])?, &empty)
    }
}

/// Token embeddings `[B, T, C]`. The padding token of the config, which PyTorch's table excludes from learning, gets no
/// gradient.
fn embed(model: &DreamLlm, rows: &Batch) -> Result<Tensor> {
    let ids = Tensor::from_u32(&model.gpu, &rows.ids, [rows.rows, rows.width])?;
    let embeds = model.llama.embed(&ids)?;
    let Some(padding) = model.config.pad_token_id.filter(|id| embeds.is_tracked() && rows.ids.contains(id)) else {
        return Ok(embeds);
    };
    let fixed = model.llama.embed(&Tensor::from_u32(&model.gpu, &[padding], [1, 1])?)?.detach();
    let places: Vec<usize> = (0..rows.ids.len()).filter(|&at| rows.ids[at] == padding).collect();
    put_blocks(&embeds, &places, &fixed)
}

/// Mean cross-entropy over the places that predict a label.
fn language_loss(model: &DreamLlm, inputs: &Inputs, hidden: &Tensor) -> Result<Tensor> {
    let [b, t, c] = hidden.dims("training hidden states", "B T C")?;
    let (places, labels) = inputs.learned();
    if labels.is_empty() {
        return zeros(&model.gpu, [1]);
    }
    // Only these rows pass the head: a vocabulary of 32,000 is the widest thing in the model.
    let n = labels.len();
    let states = gather_rows(&hidden.reshape([b * t, c])?, &Tensor::from_u32(&model.gpu, &places, [n])?)?;
    cross_entropy(&model.llama.logits(&states)?, &Tensor::from_u32(&model.gpu, &labels, [n])?)
}

/// The result of a projector, through which nothing learns if it is frozen.
fn passing(y: Tensor, trained: bool) -> Tensor {
    if trained { y } else { y.detach() }
}

/// A loss times its weight; one of no weight is left off the tape.
fn weighted(loss: &Tensor, weight: f32) -> Result<Tensor> {
    if weight == 0.0 { loss.detach().scale(weight) } else { loss.scale(weight) }
}
