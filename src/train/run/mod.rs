//! A training run: steps with a log, checkpoints and a resumption that continues with the same bits.
//!
//! What is trained is a [`Task`]: it gives losses of batches, its own state, and a way to save and to show the model. The
//! rest is the same for every kind of training: accumulation, AdamW, an average of the parameters, the [folder](RunFolder) with
//! its [log](Line) and checkpoints. A checkpoint holds the parameters, both moments, the average, the number of steps and
//! the task's state (where it is in its data); random numbers depend on seed and place alone, so nothing else is needed.

mod config;
mod folder;
mod learned;
mod log;
mod plot;
mod progress;
mod saved;

pub(super) use config::parse_toml;
pub use config::{OptimiserConfig, SaveConfig};
pub(super) use folder::FROZEN;
pub use folder::RunFolder;
pub(super) use learned::Learned;
pub use log::{Line, Log, read as read_log};
pub use plot::{Curve, plot, plot_curves};
pub use progress::{Progress, length_of};
pub use saved::save_tensors;

use super::{Ema, GradientSum, Optimiser, Ranks, RateSchedule};
use crate::gpu::Gpu;
use crate::nn::Parameters;
use crate::ops::adamw::AdamW;
use crate::ops::layout::concat;
use crate::tensor::Tensor;
use crate::weights::CheckpointFolder;
use crate::{Error, Result};
use progress::{Speed, lap};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use std::future::Future;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

/// Something that learns.
pub trait Task {
    /// The device.
    fn gpu(&self) -> &Gpu;

    /// Its weights; those that are variables are trained.
    fn parameters(&self) -> &Parameters;

    /// The losses of the next batch.
    fn batch(&mut self) -> Result<BatchLoss>;

    /// Completes the gradients of a step, before they are averaged and clipped.
    fn complete(&self, _: &mut GradientSum) -> Result<()> {
        Ok(())
    }

    /// All that a resumption needs besides the parameters.
    fn state(&self) -> Result<Value>;

    /// Goes back to a state.
    fn restore(&mut self, state: &Value) -> Result<()>;

    /// Writes the model with these parameters into a new folder. `trained` is a file that has everything trained in official
    /// names, which can be linked; `shared` is a folder for what all checkpoints have in common.
    fn save(
        &self,
        parameters: &Parameters,
        to: &Path,
        trained: &Path,
        shared: &Path,
    ) -> impl Future<Output = Result<()>>;

    /// Writes examples of what the model can do with these parameters into a new folder.
    fn show(&self, parameters: &Parameters, to: &Path) -> impl Future<Output = Result<()>>;
}

/// An error unless a checkpoint is the one, by its fingerprint, that a resumed run began with.
pub fn began_with(checkpoint: &CheckpointFolder, fingerprint: &str) -> Result<()> {
    let now = checkpoint.fingerprint();
    match now == fingerprint {
        true => Ok(()),
        false => {
            Err(Error::file(&checkpoint.root, format!("is checkpoint {now}, but the run began with {fingerprint}")))
        }
    }
}

/// Losses of a batch, `[1]` each.
pub struct BatchLoss {
    /// What is minimised, on the tape.
    pub loss: Tensor,
    /// What it is made of, by name; none where the batch has nothing of the kind.
    pub parts: Vec<(&'static str, Option<Tensor>)>,
    /// Samples of the batch.
    pub samples: u64,
    /// Their tokens.
    pub tokens: u64,
}

/// How a run goes.
#[derive(Debug, Clone)]
pub struct RunOptions {
    /// Batches whose gradients are averaged for a step.
    pub accumulate: usize,
    /// The optimiser's constants.
    pub adamw: AdamW,
    /// The longest gradient.
    pub max_norm: Option<f32>,
    /// Learning rates, and the number of steps.
    pub rates: RateSchedule,
    /// Decay of the average of the parameters, if there is to be one.
    pub ema: Option<f64>,
    /// Steps from checkpoint to checkpoint.
    pub save_every: u64,
    /// Checkpoints that are kept.
    pub keep: usize,
    /// Steps from one look at the model to the next; never if 0.
    pub show_every: u64,
    /// What must be the same when the run is resumed.
    pub settings: Value,
}

/// A run between two steps.
pub struct Run<T> {
    /// What learns.
    pub task: T,
    options: RunOptions,
    folder: RunFolder,
    optimiser: Optimiser,
    ema: Option<Ema>,
    /// Steps taken.
    step: u64,
    /// The step of the newest checkpoint.
    saved: Option<u64>,
    /// Where this process writes it.
    log: Option<Log>,
    speed: Speed,
    ranks: Arc<Ranks>,
}

/// `state.json` of a checkpoint.
#[derive(Serialize, Deserialize)]
struct State {
    /// Of this file.
    version: u32,
    step: u64,
    /// Steps of every parameter that took any.
    moments: BTreeMap<String, u32>,
    /// The task's state in every process.
    tasks: Vec<Value>,
    settings: Value,
}

const VERSION: u32 = 1;
const PARAMETERS: &str = "parameters.safetensors";
const MOMENTS: &str = "optimiser.safetensors";
const EMA: &str = "ema.safetensors";
const STATE: &str = "state.json";

impl<T: Task> Run<T> {
    /// Begins a run, or continues it from the newest checkpoint in its folder. Of several processes all call this, and the
    /// first has claimed the folder.
    pub fn begin(task: T, options: RunOptions, folder: RunFolder, ranks: Arc<Ranks>) -> Result<Run<T>> {
        if task.parameters().trained().is_empty() {
            return Err(Error::Input("nothing is trained: no part of the model is switched on".into()));
        }
        let ema = options.ema.map(|decay| Ema::new(decay, task.parameters())).transpose()?;
        let newest = folder.newest()?;
        let step = newest.as_ref().map_or(0, |(step, _)| *step);
        let mut run = Run {
            optimiser: Optimiser::new(options.adamw, options.max_norm),
            log: None,
            saved: newest.as_ref().map(|(step, _)| *step),
            speed: Speed::default(),
            task,
            options,
            folder,
            ema,
            step,
            ranks,
        };
        if let Some((step, path)) = newest {
            run.restore(step, &path)?;
        }
        // The log is cut back to the checkpoint only when it is known that the run goes on from there.
        if run.ranks.rank() == 0 {
            run.log = Some(Log::open(&run.folder.path(folder::LOG), step)?);
        }
        Ok(run)
    }

    /// Steps taken so far.
    pub fn step(&self) -> u64 {
        self.step
    }

    /// Steps until the end, or until `on_step` says false: then a checkpoint is written first. Whether the end was reached.
    pub async fn train(&mut self, mut on_step: impl FnMut(&Progress) -> bool) -> Result<bool> {
        let mut since = Instant::now();
        while self.step < self.options.rates.total {
            let line = self.one_step(&mut since).await?;
            self.log.as_mut().map_or(Ok(()), |log| log.add(&line))?;
            let on = on_step(&self.speed.progress(line, self.options.rates.total, self.task.gpu()));
            let on = self.all(on);
            if due(self.step, self.options.save_every) || !on {
                self.save().await?;
            }
            if due(self.step, self.options.show_every) {
                self.show_or_save().await?;
            }
            if !on {
                return Ok(false);
            }
            // Looking and saving are not part of a step.
            if due(self.step, self.options.show_every) || due(self.step, self.options.save_every) {
                lap(&mut since);
            }
        }
        self.finish().await?;
        Ok(true)
    }

    /// Whether every process says so.
    fn all(&self, on: bool) -> bool {
        let mut stops = [f64::from(!on)];
        self.ranks.sum(&mut stops);
        stops[0] == 0.0
    }

    async fn one_step(&mut self, since: &mut Instant) -> Result<Line> {
        let mut sum = GradientSum::default();
        let mut batches = Vec::new();
        for _ in 0..self.options.accumulate.max(1) {
            let batch = self.task.batch()?;
            sum.add_loss(&batch.loss, self.task.parameters(), 1.0 / self.options.accumulate.max(1) as f32)?;
            batches.push(BatchLoss { loss: batch.loss.detach(), ..batch });
        }
        self.task.complete(&mut sum)?;
        self.ranks.average(&mut sum, self.task.parameters()).await?;
        let rate = self.options.rates.rate(self.step);
        let norm = self.optimiser.step(self.task.gpu(), self.task.parameters(), &sum, rate)?;
        drop(sum);
        if let Some(ema) = &self.ema {
            ema.step(self.task.parameters(), self.step)?;
        }
        self.step += 1;
        self.line(&batches, &norm, rate, since).await
    }

    /// Reads the losses, which waits for the step.
    async fn line(&self, batches: &[BatchLoss], norm: &Tensor, rate: f64, since: &mut Instant) -> Result<Line> {
        let mut tensors = vec![norm];
        for batch in batches {
            tensors.push(&batch.loss);
            tensors.extend(batch.parts.iter().filter_map(|(_, part)| part.as_ref()));
        }
        // The norm is that of the averaged gradients, the same everywhere.
        let values = self.means(&concat(&tensors, 0)?.read_f32().await?);
        let mut values = values.into_iter();
        let mut next = || values.next().unwrap_or(f32::NAN);
        let norm = next();
        let (mut loss, mut parts) = (0.0, BTreeMap::<String, Vec<f32>>::new());
        for batch in batches {
            loss += next() / batches.len() as f32;
            for (name, part) in &batch.parts {
                parts.entry(name.to_string()).or_default().extend(part.is_some().then(&mut next));
            }
        }
        if !loss.is_finite() || !norm.is_finite() {
            let last = self
                .saved
                .map_or("there is no checkpoint".to_string(), |step| format!("the last checkpoint is of step {step}"));
            let why = format!("step {}: the loss is {loss}, the norm of its gradient {norm}; {last}", self.step);
            return Err(Error::Input(why));
        }
        let mean = |values: Vec<f32>| (!values.is_empty()).then(|| values.iter().sum::<f32>() / values.len() as f32);
        let count = |f: fn(&BatchLoss) -> u64| batches.iter().map(f).sum::<u64>() as f64;
        let mut counts = [count(|batch| batch.samples), count(|batch| batch.tokens)];
        self.ranks.sum(&mut counts);
        Ok(Line {
            step: self.step,
            loss,
            losses: parts.into_iter().map(|(name, values)| (name, mean(values))).collect(),
            norm,
            rate,
            samples: counts[0] as u64,
            tokens: counts[1] as u64,
            seconds: lap(since),
        })
    }

    /// Means over all processes; the values themselves where there is one.
    fn means(&self, values: &[f32]) -> Vec<f32> {
        let count = self.ranks.count() as f64;
        let mut sums: Vec<f64> = values.iter().map(|x| f64::from(*x)).collect();
        self.ranks.sum(&mut sums);
        sums.into_iter().map(|sum| (sum / count) as f32).collect()
    }

    /// The parameters that are worth looking at: the averages, if there are any.
    fn best(&self) -> Parameters {
        let parameters = self.task.parameters();
        self.ema.as_ref().map_or_else(|| parameters.detached(), |ema| ema.parameters(parameters))
    }

    async fn show(&self) -> Result<()> {
        if self.ranks.rank() > 0 {
            return Ok(());
        }
        let name = format!("samples/{}", RunFolder::step_name(self.step));
        let best = self.best();
        self.folder.publish(&name, async |to: &Path| self.task.show(&best, to).await).await?;
        self.plot()
    }

    /// A look that fails ends the run, and costs no step: a checkpoint is written first. Of several processes only one looks, so
    /// there it cannot.
    async fn show_or_save(&mut self) -> Result<()> {
        let shown = self.show().await;
        if shown.is_err() && self.ranks.count() == 1 {
            self.save().await?;
        }
        shown
    }

    fn plot(&self) -> Result<()> {
        plot(&read_log(&self.folder.path(folder::LOG))?, &self.folder.path("curves.svg"))
    }

    /// Writes a checkpoint and removes the oldest.
    async fn save(&mut self) -> Result<()> {
        if self.saved == Some(self.step) {
            return Ok(());
        }
        self.log.as_ref().map_or(Ok(()), Log::sync)?;
        let own = serde_json::to_string(&self.task.state()?).map_err(|e| Error::format(STATE, e))?;
        let tasks = self.ranks.gather(own);
        let tasks = tasks.iter().map(|state| serde_json::from_str(state)).collect::<Result<_, _>>();
        let tasks = tasks.map_err(|e| Error::format(STATE, e))?;
        self.saved = Some(self.step);
        if self.ranks.rank() > 0 {
            return Ok(());
        }
        let steps = self.optimiser.slots.iter().map(|(name, slot)| (name.clone(), slot.steps)).collect();
        let settings = self.options.settings.clone();
        let state = State { version: VERSION, step: self.step, moments: steps, tasks, settings };
        let json = serde_json::to_vec_pretty(&state).map_err(|e| Error::format(STATE, e))?;
        let write = async |to: &Path| {
            let parameters = self.task.parameters();
            saved::save_parameters(&to.join(PARAMETERS), parameters).await?;
            saved::save_moments(&to.join(MOMENTS), parameters, &self.optimiser).await?;
            if let Some(ema) = &self.ema {
                saved::save_ema(&to.join(EMA), parameters, ema).await?;
            }
            self.save_model(&parameters.detached(), &to.join("model"), &to.join(PARAMETERS)).await?;
            crate::image::replace_file(to.join(STATE), &json)
        };
        self.folder.publish(&RunFolder::step_name(self.step), write).await?;
        self.folder.prune(self.options.keep)?;
        self.plot()
    }

    async fn save_model(&self, parameters: &Parameters, to: &Path, trained: &Path) -> Result<()> {
        let shared = self.folder.path(folder::SHARED);
        std::fs::create_dir_all(&shared).map_err(|e| Error::file(&shared, e))?;
        self.task.save(parameters, to, trained, &shared).await
    }

    fn restore(&mut self, step: u64, path: &Path) -> Result<()> {
        let file = path.join(STATE);
        let json = std::fs::read(&file).map_err(|e| Error::file(&file, e))?;
        let state: State = serde_json::from_slice(&json).map_err(|e| Error::file(&file, e))?;
        if state.version != VERSION || state.step != step {
            return Err(Error::file(&file, format!("is of version {} and step {}", state.version, state.step)));
        }
        if let Some(key) = difference("", &state.settings, &self.options.settings) {
            let why = format!("the run began with another {key}; resume it with the old one, or begin a new run");
            return Err(Error::file(path, why));
        }
        let parameters = self.task.parameters();
        saved::restore_parameters(&path.join(PARAMETERS), parameters)?;
        saved::restore_moments(&path.join(MOMENTS), parameters, &state.moments, &mut self.optimiser)?;
        if let Some(ema) = &self.ema {
            saved::restore_ema(&path.join(EMA), parameters, ema)?;
        }
        self.task.restore(self.ranks.own(&state.tasks)?)
    }

    /// The last checkpoint, and the trained model under a name of its own.
    async fn finish(&mut self) -> Result<()> {
        self.save().await?;
        if self.ranks.rank() > 0 {
            return Ok(());
        }
        let trained = self.folder.path(&RunFolder::step_name(self.step)).join(PARAMETERS);
        let parameters = self.task.parameters().detached();
        self.publish_model("final", &parameters, &trained).await?;
        match &self.ema {
            // The averages are in no file that could be linked.
            Some(ema) => self.publish_model("final-ema", &ema.parameters(&parameters), Path::new("")).await,
            None => Ok(()),
        }
    }

    async fn publish_model(&self, name: &str, parameters: &Parameters, trained: &Path) -> Result<()> {
        self.folder.publish(name, async |to: &Path| self.save_model(parameters, to, trained).await).await
    }
}

/// Whether something is done after this step.
fn due(step: u64, every: u64) -> bool {
    every > 0 && step.is_multiple_of(every)
}

/// The first key whose values differ.
fn difference(path: &str, old: &Value, new: &Value) -> Option<String> {
    let (Value::Object(a), Value::Object(b)) = (old, new) else {
        return (old != new).then(|| format!("{path} ({old} instead of {new})"));
    };
    let keys: std::collections::BTreeSet<&String> = a.keys().chain(b.keys()).collect();
    let inner = |key: &String| if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
    let value = |map: &serde_json::Map<String, Value>, key| map.get(key).cloned().unwrap_or_default();
    keys.into_iter().find_map(|key| difference(&inner(key), &value(a, key), &value(b, key)))
}
