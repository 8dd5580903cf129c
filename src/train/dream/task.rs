//! Samples, noise and losses of DreamLLM, batch by batch.

use super::TrainConfig;
use super::examples::{check, show};
use crate::data::{Loader, LoaderOptions, Position, SampleBuilder, Skipped, TrainingBatch, TrainingData};
use crate::gpu::Gpu;
use crate::models::dreamllm::{DreamLlm, LoadOptions, bytes_to_load};
use crate::nn::{Parameters, WeightFormat};
use crate::random::philox::philox;
use crate::tensor::Tensor;
use crate::train::run::{BatchLoss, FROZEN, Learned, Task, began_with};
use crate::train::{Draws, GradientSum, Inputs, LossWeights, Objective, Ranks};
use crate::weights::{CheckpointFolder, OfficialWriter, OpenOptions};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::path::Path;
use std::sync::Arc;

/// DreamLLM with its data.
pub struct DreamTask {
    model: DreamLlm,
    parameters: Parameters,
    objective: Objective,
    source: CheckpointFolder,
    data: Arc<TrainingData>,
    builder: Arc<SampleBuilder>,
    loader: Loader,
    loading: LoaderOptions,
    /// Samples taken so far.
    taken: u64,
    format: WeightFormat,
    config: TrainConfig,
    ranks: Arc<Ranks>,
}

/// Where a run is in its data.
#[derive(Serialize, Deserialize)]
struct State {
    position: Position,
    samples: u64,
    /// Of the checkpoint that the run began with.
    fingerprint: String,
}

/// The fourth word of the counter that gives noise its seeds; data has 1 there, the noise itself 0.
const NOISE: u32 = 2;

impl DreamTask {
    /// Opens the data, loads the checkpoint and stands before the first sample.
    pub fn new(
        gpu: &Gpu,
        config: &TrainConfig,
        format: WeightFormat,
        ranks: Arc<Ranks>,
        progress: &dyn Fn(u64, u64),
    ) -> Result<DreamTask> {
        let (clip_folder, diffusion_folder) = (config.clip_folder.clone(), config.diffusion_folder.clone());
        let open = OpenOptions { clip_folder, diffusion_folder, ..Default::default() };
        let source = CheckpointFolder::open_with(&config.model, &open)?;
        // What is wrong with the data, or with what is to be shown, is said before gigabytes are loaded.
        if config.samples.every > 0 && ranks.rank() == 0 {
            check(&source, &config.samples)?;
        }
        let data = Arc::new(TrainingData::open(&config.data)?);
        let builder = Arc::new(SampleBuilder::from_folder(&source, config.data.objective, config.data.max_length)?);
        if builder.random_flip && config.data.sources.iter().any(|source| source.shapes.is_some()) {
            let why = "mirrors pictures at random (random_flip), but pictures of shapes have a left and a right";
            return Err(Error::file(&config.model, why));
        }
        let plain = LoaderOptions::default();
        let workers = config.loader.workers.unwrap_or(plain.workers);
        let loading = LoaderOptions { workers, strict: config.loader.strict, ..plain };
        let loading = LoaderOptions { share: (ranks.rank() as u64, ranks.count() as u64), ..loading };
        let options = LoadOptions { format, vision: true, diffusion: true, ..Default::default() };
        let plugin = source.config.plugins.clip_vision_embedding.as_ref();
        let select = source.clip_config.hidden_state(plugin.map_or(-2, |clip| clip.select_layer));
        let select = select.map_err(|why| Error::file(source.root.join("config.json"), why))?;
        let parameters = config.trained.parameters(select).with_lora(config.lora.clone());
        let total = bytes_to_load(&source, options);
        let model = DreamLlm::load_with(&source, gpu, options, Some(&parameters), &|bytes| progress(bytes, total))?;
        let objective = objective(&model, config)?;
        let loader = Loader::start(&data, &builder, data.mixture.start(), loading)?;
        let (taken, config) = (0, config.clone());
        Ok(DreamTask {
            model,
            parameters,
            objective,
            source,
            data,
            builder,
            loader,
            loading,
            taken,
            format,
            config,
            ranks,
        })
    }

    /// The model that learns.
    pub fn model(&self) -> &DreamLlm {
        &self.model
    }

    /// What was left out of the data so far.
    pub fn skipped(&self) -> &Skipped {
        self.loader.skipped()
    }

    /// A seed for every picture to be drawn, which depends on its place among all samples of all processes.
    fn seed(&self, sample: u64, picture: usize) -> u64 {
        let sample = sample * self.ranks.count() as u64 + self.ranks.rank() as u64;
        let [low, high] = [self.config.seed, sample].map(|x| [x as u32, (x >> 32) as u32]);
        let [a, b, ..] = philox([high[0], high[1], picture as u32, NOISE], low);
        u64::from(a) << 32 | u64::from(b)
    }
}

/// The losses as the checkpoint's config says, where the run's does not say otherwise.
fn objective(model: &DreamLlm, config: &TrainConfig) -> Result<Objective> {
    let mut objective = Objective::new(model, config.trained)?;
    objective.checkpoints = config.activation_checkpoints;
    let LossWeights { language, diffusion, schedule } = objective.weights;
    let [words, pictures] = config.weights();
    let schedule = config.loss.schedule.unwrap_or(schedule);
    let (language, diffusion) = (words.unwrap_or(language), pictures.unwrap_or(diffusion));
    if language + diffusion <= 0.0 {
        return Err(Error::Input("the weights of both losses are 0".into()));
    }
    objective.weights = LossWeights { language, diffusion, schedule };
    let (loss, options) = (&config.loss, &mut objective.options);
    options.noise_offset = loss.noise_offset.unwrap_or(options.noise_offset);
    options.input_perturbation = loss.input_perturbation.unwrap_or(options.input_perturbation);
    options.snr_gamma = loss.snr_gamma.or(options.snr_gamma);
    options.drop_prob = loss.drop_prob.or(options.drop_prob);
    Ok(objective)
}

impl Task for DreamTask {
    fn gpu(&self) -> &Gpu {
        &self.model.gpu
    }

    fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    fn complete(&self, sum: &mut GradientSum) -> Result<()> {
        sum.add_zeros(&self.parameters)
    }

    fn batch(&mut self) -> Result<BatchLoss> {
        let samples = self.loader.next_samples(self.config.batch)?;
        let pictures = (self.taken..).zip(&samples).flat_map(|(at, s)| (0..s.dreams.len()).map(move |n| (at, n)));
        let seeds: Vec<u64> = pictures.map(|(sample, picture)| self.seed(sample, picture)).collect();
        let count = samples.len() as u64;
        self.taken += count;
        let batch = TrainingBatch::new(samples, &self.builder.special);
        let tokens = batch.rows.mask.iter().filter(|real| **real).count() as u64;
        let (gpu, diffusion) = (&self.model.gpu, self.model.diffusion()?);
        let side = diffusion.resolution / diffusion.downscale;
        let latent = [side, side, diffusion.latent_channels];
        let (timesteps, options) = (self.objective.schedule.timesteps(), &self.objective.options);
        let draws = Draws::for_pictures(gpu, &seeds, latent, timesteps, options)?;
        let inputs = Inputs::new(gpu, batch)?;
        let counts = [inputs.learned().1.len(), inputs.dreams.as_ref().map_or(0, |_| inputs.dream_places.len())];
        let (shares, all) = self.ranks.shares(counts);
        let losses = self.objective.shared_losses(&self.model, &inputs, draws.as_ref(), shares)?;
        let part = |loss: Tensor, n: usize| (all[n] > 0).then(|| loss.scale(shares[n])).transpose();
        let parts = vec![("language", part(losses.language, 0)?), ("diffusion", part(losses.diffusion, 1)?)];
        Ok(BatchLoss { loss: losses.sum, parts, samples: count, tokens })
    }

    fn state(&self) -> Result<Value> {
        let (position, fingerprint) = (self.loader.position().clone(), self.model.fingerprint.clone());
        let state = State { position, samples: self.taken, fingerprint };
        serde_json::to_value(state).map_err(|e| Error::format("training state", e))
    }

    fn restore(&mut self, state: &Value) -> Result<()> {
        let state: State = Deserialize::deserialize(state).map_err(|e| Error::format("training state", e))?;
        began_with(&self.source, &state.fingerprint)?;
        self.taken = state.samples;
        self.loader = Loader::start(&self.data, &self.builder, state.position, self.loading)?;
        Ok(())
    }

    async fn save(&self, parameters: &Parameters, to: &Path, trained: &Path, shared: &Path) -> Result<()> {
        let shared = shared.join(FROZEN);
        let writer = OfficialWriter { source: &self.source, shared: &shared, written: Some(trained) };
        writer.write(to, &Learned::new(&self.parameters, parameters)).await
    }

    async fn show(&self, parameters: &Parameters, to: &Path) -> Result<()> {
        let options = LoadOptions { format: self.format, vision: true, diffusion: true, ..Default::default() };
        let model = DreamLlm::load_with(&self.source, &self.model.gpu, options, Some(parameters), &|_| ())?;
        show(&model, &self.config.samples, to).await
    }
}
