//! The pretraining tasks as a run takes them.

use super::batches::{Scenes, for_autoencoder, for_image_encoder, weights};
use super::normalise::{Normalised, moments};
use super::records::Records;
use super::{AutoencoderObjective, PatchHeads, PatchLabels, PretrainConfig, Pretraining, SceneEncoder, imitation};
use crate::data::shapes::{Demand, Split, World, slots};
use crate::diffusion::NoiseSchedule;
use crate::gpu::Gpu;
use crate::models::dreamllm::{DreamLlm, LoadOptions};
use crate::nn::{Parameters, WeightFormat, Weights};
use crate::ops::random::normal;
use crate::random::philox;
use crate::tensor::Tensor;
use crate::train::diffusion_loss::diffusion_loss;
use crate::train::run::{BatchLoss, FROZEN, Learned, Task, began_with};
use crate::train::{DiffusionOptions, Draws, Trained};
use crate::weights::{CheckpointFolder, OfficialWriter, WeightFile, WeightSet};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::path::Path;
use std::sync::Arc;

/// A model around the decoder with the world it learns from.
pub struct PretrainTask {
    pub(super) model: DreamLlm,
    parameters: Parameters,
    source: CheckpointFolder,
    pub(super) scene_encoder: SceneEncoder,
    pub(super) heads: PatchHeads,
    pub(super) config: PretrainConfig,
    schedule: NoiseSchedule,
    pub(super) records: Option<Records>,
    /// Samples taken so far.
    taken: u64,
}

/// What a loss is made of, by name.
type Parts = Vec<(&'static str, Option<Tensor>)>;

/// Where a run is.
#[derive(Serialize, Deserialize)]
struct State {
    samples: u64,
    /// Of the checkpoint that the run began with.
    fingerprint: String,
}

/// How the names of what only pretraining has begin.
const SCENE_ENCODER: &str = "scene_encoder.";
const PATCH_HEADS: &str = "patch_heads.";
/// The file that a model's folder has beside its weights.
pub(crate) const SCENE_ENCODER_FILE: &str = "scene_encoder.safetensors";
/// Pictures by which latents are brought to mean 0 and deviation 1.
const SCENES: usize = 512;
/// The fourth word of the counter that gives batches their seeds, see `DreamTask`.
const BATCH: u32 = 3;

impl PretrainTask {
    /// Loads the checkpoint and stands before the first sample.
    pub fn new(gpu: &Gpu, config: &PretrainConfig) -> Result<PretrainTask> {
        let source = CheckpointFolder::open(&config.model)?;
        let options = LoadOptions { vision: true, diffusion: true, ..Default::default() };
        let parameters = trained(config, source.clip_config.num_hidden_layers);
        let model = DreamLlm::load_with(&source, gpu, options, Some(&parameters), &|_| ())?;
        let mut extra = WeightSet::new();
        if let Some(path) = &config.scene_encoder {
            extra.add(Arc::new(WeightFile::open(path)?), |name| Some(name.to_string()));
        }
        let root = || Weights::root(&extra, gpu, WeightFormat::F32, &|_| ()).kept_in(Some(&parameters), "");
        let seed = Some(config.seed).filter(|_| config.scene_encoder.is_none());
        let width = model.diffusion()?.condition_width;
        let scene_encoder = SceneEncoder::load(&(root().initialised(seed) / "scene_encoder"), width)?;
        let encoder_width = source.clip_config.hidden_size;
        let heads = PatchHeads::load(&(root().initialised(Some(config.seed)) / "patch_heads"), encoder_width)?;
        let schedule = NoiseSchedule::new(&model.diffusion()?.scheduler)?;
        let records = Records::of(config, &source, &model, imitating(config))?;
        let (config, taken) = (config.clone(), 0);
        Ok(PretrainTask { model, parameters, source, scene_encoder, heads, config, schedule, records, taken })
    }

    /// Scenes of the same world that are never trained on.
    pub(super) fn heldout(&self, count: usize) -> Scenes {
        let world = World { split: Split::Heldout, ..self.config.world.clone() };
        Scenes::new(&world, 0, count, self.config.patterns, self.config.stories)
    }

    /// The model over other parameters.
    pub(super) fn model_with(&self, parameters: &Parameters) -> Result<DreamLlm> {
        let options = LoadOptions { vision: true, diffusion: true, ..Default::default() };
        DreamLlm::load_with(&self.source, &self.model.gpu, options, Some(parameters), &|_| ())
    }

    /// Width of the image encoder.
    pub(super) fn encoder_width(&self) -> usize {
        self.source.clip_config.hidden_size
    }

    fn seed(&self) -> u64 {
        let [seed, taken] = [self.config.seed, self.taken].map(|x| [x as u32, (x >> 32) as u32]);
        let [a, b, ..] = philox::philox([taken[0], taken[1], 0, BATCH], seed);
        u64::from(a) << 32 | u64::from(b)
    }

    fn loss(&self, scenes: &Scenes, seed: u64) -> Result<(Tensor, Parts)> {
        match self.config.pretrain {
            Pretraining::Autoencoder | Pretraining::Decoder => self.autoencoder(scenes, seed),
            Pretraining::Denoiser => self.denoiser(scenes, seed).map(|loss| (loss, Vec::new())),
            Pretraining::ImageEncoder => self.image_encoder(scenes).map(|loss| (loss, Vec::new())),
            Pretraining::Imitation => self.imitation(scenes, seed),
        }
    }

    fn autoencoder(&self, scenes: &Scenes, seed: u64) -> Result<(Tensor, Parts)> {
        let (gpu, diffusion, factors) = (&self.model.gpu, self.model.diffusion()?, self.config.autoencoder);
        let pictures = scenes.render();
        let pixels = for_autoencoder(gpu, &pictures, diffusion.resolution)?;
        let noise = normal(gpu, self.latents(pictures.len())?, seed, 0)?;
        let objective = AutoencoderObjective { absolute: factors.absolute, divergence: factors.divergence };
        let weights = weights(gpu, &pictures, factors.edges)?;
        let losses = objective.losses(&*diffusion.vae.get()?, &pixels, &weights, &noise)?;
        Ok((losses.sum, vec![("pixels", Some(losses.pixels)), ("divergence", Some(losses.divergence))]))
    }

    fn denoiser(&self, scenes: &Scenes, seed: u64) -> Result<Tensor> {
        let (gpu, diffusion) = (&self.model.gpu, self.model.diffusion()?);
        let pixels = for_autoencoder(gpu, &scenes.render(), diffusion.resolution)?;
        let count = scenes.scenes.len();
        let told = scenes.slots(&uniforms(seed, count), self.config.told, self.config.drop);
        let condition = self.scene_encoder.forward(gpu, &told)?;
        let options = DiffusionOptions { snr_gamma: self.config.snr_gamma, ..Default::default() };
        let drawn = Draws::seeded(gpu, seed, self.latents(count)?, self.schedule.timesteps(), &options)?;
        let draws = Draws { timesteps: spread(&drawn.timesteps, self.schedule.timesteps()), ..drawn };
        diffusion_loss(diffusion, &pixels, &condition, &draws, &self.schedule, &options)
    }

    fn image_encoder(&self, scenes: &Scenes) -> Result<Tensor> {
        let vision = self.model.vision()?;
        let pixels = for_image_encoder(&self.model.gpu, &scenes.render(), &vision.preprocess)?;
        self.heads.loss(vision, &pixels, &self.labels(scenes)?)
    }

    /// What the heads have to say of scenes.
    pub(super) fn labels(&self, scenes: &Scenes) -> Result<PatchLabels> {
        let (mut labels, patches) = (PatchLabels::default(), self.model.vision()?.patches);
        scenes.scenes.iter().for_each(|scene| labels.add(scene, patches.isqrt()));
        Ok(labels)
    }

    fn imitation(&self, scenes: &Scenes, seed: u64) -> Result<(Tensor, Parts)> {
        let said = |((text, demand), [a, _]): (&(String, Demand), &[f32; 2])| match *a < self.config.drop {
            true => (None, slots(None, &[])),
            false => (Some(text.clone()), slots(Some(demand), &[])),
        };
        let uniform = uniforms(seed, scenes.captions.len());
        let (texts, told): (Vec<_>, Vec<_>) = scenes.captions.iter().zip(&uniform).map(said).unzip();
        let texts: Vec<Option<&str>> = texts.iter().map(Option::as_deref).collect();
        let loss = imitation::loss(&self.model, &texts, &self.scene_encoder.forward(&self.model.gpu, &told)?)?;
        let Some(records) = &self.records else { return Ok((loss, vec![])) };
        let losses = records.losses(&self.model, &self.scene_encoder, self.taken / self.config.batch as u64)?;
        let (captions, pictures) = (loss.detach(), losses.imitation.as_ref().map(Tensor::detach));
        let imitated = losses.imitation.map_or(Ok(loss.clone()), |error| loss.add(&error))?;
        let sum = losses.language.add(&imitated.scale(records.config.imitation)?)?;
        let parts =
            [("captions", Some(captions)), ("pictures", pictures), ("language", Some(losses.language.detach()))];
        Ok((sum, parts.to_vec()))
    }

    /// Shape of the latents of some pictures.
    fn latents(&self, count: usize) -> Result<[usize; 4]> {
        let diffusion = self.model.diffusion()?;
        let side = diffusion.resolution / diffusion.downscale;
        Ok([count, side, side, diffusion.latent_channels])
    }
}

/// The parts that imitation teaches; captions alone have no picture to read.
fn imitating(config: &PretrainConfig) -> Trained {
    let words = Trained { decoder: true, condition_projector: true, dream_queries: true, ..Default::default() };
    Trained { visual_projector: config.records.is_some(), ..words }
}

/// As many timesteps as are given, evenly spread from the first of them on and around the end, so that every batch has every
/// amount of noise (Kingma et al. 2021, Variational Diffusion Models, appendix I).
fn spread(drawn: &[usize], timesteps: usize) -> Vec<usize> {
    let first = drawn.first().copied().unwrap_or_default();
    (0..drawn.len()).map(|i| (first + i * timesteps / drawn.len()) % timesteps).collect()
}

/// Two numbers for every sample; streams 0 to 5 of a seed are the diffusion loss's own.
fn uniforms(seed: u64, count: usize) -> Vec<[f32; 2]> {
    philox::uniforms(seed, 6, 2 * count).chunks_exact(2).map(|two| [two[0], two[1]]).collect()
}

/// Which weights a task learns. A scene encoder that is given stays: others imitate it already.
fn trained(config: &PretrainConfig, clip_layers: usize) -> Parameters {
    let (task, own_scene_encoder) = (config.pretrain, config.scene_encoder.is_none());
    let parts = match task {
        Pretraining::Autoencoder | Pretraining::Decoder => Trained { vae: true, ..Default::default() },
        Pretraining::Denoiser => Trained { unet: true, ..Default::default() },
        Pretraining::ImageEncoder => Trained { clip: true, clip_embeddings: true, ..Default::default() },
        Pretraining::Imitation => imitating(config),
    };
    Parameters::new(move |name| {
        let own = name.starts_with(SCENE_ENCODER) || name.starts_with(PATCH_HEADS);
        match task {
            Pretraining::Decoder => name.contains("vae.decoder.") || name.contains("vae.post_quant_conv."),
            _ if !own => parts.includes(name, clip_layers),
            Pretraining::Denoiser => own_scene_encoder && name.starts_with(SCENE_ENCODER),
            Pretraining::ImageEncoder => name.starts_with(PATCH_HEADS),
            Pretraining::Autoencoder | Pretraining::Imitation => false,
        }
    })
}

impl Task for PretrainTask {
    fn gpu(&self) -> &Gpu {
        &self.model.gpu
    }

    fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    fn batch(&mut self) -> Result<BatchLoss> {
        let PretrainConfig { ref world, batch, patterns, .. } = self.config;
        let patterns = if self.config.pretrain == Pretraining::Imitation { 0.0 } else { patterns };
        let scenes = Scenes::new(world, self.taken, batch, patterns, self.config.stories);
        let (loss, parts) = self.loss(&scenes, self.seed())?;
        self.taken += batch as u64;
        let samples = batch + self.records.as_ref().map_or(0, |records| records.config.batch);
        Ok(BatchLoss { loss, parts, samples: samples as u64, tokens: 0 })
    }

    fn state(&self) -> Result<Value> {
        let state = State { samples: self.taken, fingerprint: self.model.fingerprint.clone() };
        serde_json::to_value(state).map_err(|e| Error::format("training state", e))
    }

    fn restore(&mut self, state: &Value) -> Result<()> {
        let state: State = Deserialize::deserialize(state).map_err(|e| Error::format("training state", e))?;
        began_with(&self.source, &state.fingerprint)?;
        self.taken = state.samples;
        Ok(())
    }

    async fn save(&self, parameters: &Parameters, to: &Path, trained: &Path, shared: &Path) -> Result<()> {
        let shared = shared.join(FROZEN);
        let writer = OfficialWriter { source: &self.source, shared: &shared, written: Some(trained) };
        let learned = Learned::new(&self.parameters, parameters);
        match self.config.pretrain {
            Pretraining::Autoencoder => {
                let model = self.model_with(parameters)?;
                let pixels = for_autoencoder(&self.model.gpu, &self.heldout(SCENES).render(), self.config.world.side)?;
                let moments = moments(&*model.diffusion()?.vae.get()?, &pixels).await?;
                // What was written for the resumption are other values.
                let writer = OfficialWriter { written: None, ..writer };
                writer.write(to, &Normalised { trained: learned, parameters, moments }).await?;
            }
            _ => writer.write(to, &learned).await?,
        }
        if self.config.pretrain != Pretraining::Denoiser && self.config.scene_encoder.is_none() {
            return Ok(());
        }
        let own = parameters.all().into_iter().filter(|(name, _)| name.starts_with(SCENE_ENCODER));
        crate::train::run::save_tensors(&to.join(SCENE_ENCODER_FILE), own.collect()).await
    }

    async fn show(&self, parameters: &Parameters, to: &Path) -> Result<()> {
        super::examples::show(self, parameters, to).await
    }
}

#[cfg(test)]
mod tests {
    use super::spread;

    #[test]
    fn timesteps_of_a_batch_are_evenly_spread() {
        assert_eq!(spread(&[7, 3, 9, 1], 12), [7, 10, 1, 4]);
        assert_eq!(spread(&[999], 1000), [999]);
        let mut many = spread(&[731; 32], 1000);
        many.sort_unstable();
        assert!(many.windows(2).all(|two| (31..=32).contains(&(two[1] - two[0]))) && many[0] < 32);
    }
}
