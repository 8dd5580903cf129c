//! All weights of a model by their official full names, and which of them are trained.
//!
//! A model that is loaded with a collection of parameters puts every weight into it, and takes those that are already there
//! instead of reading them. So a trained model has no setters: its structs hold variables whose memory the optimiser writes
//! in place, and [`Parameters::detached`] builds the same model a second time over the same memory, without a tape, to look
//! at what it has learned so far.

use super::Lora;
use crate::tensor::{Shape, Tensor};
use crate::{Error, Result};
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Weights by official name, such as `model.layers.0.self_attn.q_proj.weight` or `stable_diffusion_head.unet.conv_in.bias`.
pub struct Parameters {
    is_trained: Box<dyn Fn(&str) -> bool + Send + Sync>,
    lora: Option<Lora>,
    all: Mutex<BTreeMap<String, Parameter>>,
}

/// One weight on the device.
#[derive(Debug, Clone)]
pub struct Parameter {
    /// Its values; a variable if it is trained.
    pub tensor: Tensor,
    /// Its shape in a checkpoint. Filters are `[N, C, KY, KX]` there and `[N, KY, KX, C]` here.
    pub stored: Shape,
    /// Whether weight decay applies: not to biases, nor to the gains of layer and RMS norms. Those of group norms decay, as
    /// in the official trainer.
    pub decays: bool,
}

impl Parameters {
    /// An empty collection; what it is told of a name decides whether that weight will be trained.
    pub fn new(is_trained: impl Fn(&str) -> bool + Send + Sync + 'static) -> Parameters {
        Parameters { is_trained: Box::new(is_trained), lora: None, all: Mutex::default() }
    }

    /// The same with low-rank adapters, which are trained, at some linear layers.
    pub fn with_lora(self, lora: Option<Lora>) -> Parameters {
        Parameters { lora, ..self }
    }

    /// The adapters, if there are any.
    pub fn lora(&self) -> Option<&Lora> {
        self.lora.as_ref()
    }

    /// The same memory, nothing of it trained.
    pub fn detached(&self) -> Parameters {
        let detached = |(name, p): (&String, &Parameter)| {
            (name.clone(), Parameter { tensor: p.tensor.detach(), stored: p.stored, decays: p.decays })
        };
        let all = self.entries().iter().map(detached).collect();
        Parameters { is_trained: Box::new(|_| false), lora: self.lora.clone(), all: Mutex::new(all) }
    }

    /// The same, nothing of it trained, with other tensors in the place of some: an average instead of the newest values.
    pub fn replaced<'a>(&self, tensors: impl IntoIterator<Item = (&'a str, &'a Tensor)>) -> Parameters {
        let replaced = self.detached();
        for (name, tensor) in tensors {
            if let Some(parameter) = replaced.entries().get_mut(name) {
                parameter.tensor = tensor.detach();
            }
        }
        replaced
    }

    /// Whether a weight of this name is trained, present or not.
    pub fn is_trained(&self, name: &str) -> bool {
        (self.is_trained)(name) || self.lora.is_some() && super::lora::is_adapter(name)
    }

    /// The weight of this name.
    pub fn get(&self, name: &str) -> Option<Parameter> {
        self.entries().get(name).cloned()
    }

    /// All weights, sorted by name.
    pub fn all(&self) -> Vec<(String, Parameter)> {
        self.entries().iter().map(|(name, p)| (name.clone(), p.clone())).collect()
    }

    /// The weights that are trained, sorted by name.
    pub fn trained(&self) -> Vec<(String, Parameter)> {
        self.all().into_iter().filter(|(_, p)| p.tensor.is_tracked()).collect()
    }

    /// The tensor of this name, which is loaded and kept if it is not there yet.
    pub(super) fn get_or_load(
        &self,
        name: String,
        stored: Shape,
        decays: bool,
        load: impl FnOnce() -> Result<Tensor>,
    ) -> Result<Tensor> {
        if let Some(known) = self.get(&name) {
            return Ok(known.tensor);
        }
        let loaded = load()?;
        let tensor = if self.is_trained(&name) { loaded.variable() } else { loaded };
        self.entries().insert(name, Parameter { tensor: tensor.clone(), stored, decays });
        Ok(tensor)
    }

    /// Entries are whole at any time, so a lock that another thread poisoned is still good.
    fn entries(&self) -> MutexGuard<'_, BTreeMap<String, Parameter>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Parameter {
    /// Values of this weight, or of its gradient, in the order of a checkpoint. Waits for the device.
    pub async fn official(&self, values: &Tensor) -> Result<Vec<f32>> {
        let ours = values.read_f32().await?;
        let (&[n, c, ky, kx], 4) = (self.stored.as_slice(), self.tensor.shape().rank()) else { return Ok(ours) };
        let (pixels, filter) = (ky * kx, c * ky * kx);
        let at = |i: usize| i / filter * filter + i % pixels * c + i / pixels % c;
        Ok((0..n * filter).map(|i| ours[at(i)]).collect())
    }

    /// The other way: writes values in the order of a checkpoint into a tensor like this weight, in place.
    pub fn restore(&self, tensor: &Tensor, official: &[f32]) -> Result<()> {
        if official.len() != tensor.len() || tensor.shape() != self.tensor.shape() {
            return Err(Error::Input(format!(
                "{} values do not restore a weight {}",
                official.len(),
                self.tensor.shape()
            )));
        }
        let (&[_, c, ky, kx], 4) = (self.stored.as_slice(), tensor.shape().rank()) else {
            return tensor.upload(0, bytemuck::cast_slice(official));
        };
        let (pixels, filter) = (ky * kx, c * ky * kx);
        let at = |i: usize| i / filter * filter + i % c * pixels + i / c % pixels;
        let ours: Vec<f32> = (0..official.len()).map(|i| official[at(i)]).collect();
        tensor.upload(0, bytemuck::cast_slice(&ours))
    }
}
