//! What a run has learned, as the writer of checkpoints asks for it: trained weights, and those that an adapter changes.

use crate::nn::lora::factors;
use crate::nn::{Adapter, Parameters};
use crate::weights::{StoredTensor, Values};
use crate::{Error, Result};
use std::collections::BTreeSet;

/// Parameters with the names of what is trained among them.
pub(in crate::train) struct Learned<'a> {
    parameters: &'a Parameters,
    trained: BTreeSet<String>,
}

impl<'a> Learned<'a> {
    /// `parameters` may be averages, of which nothing is a variable.
    pub fn new(training: &Parameters, parameters: &'a Parameters) -> Learned<'a> {
        Learned { parameters, trained: training.trained().into_iter().map(|(name, _)| name).collect() }
    }

    /// The adapter beside a weight.
    fn adapter(&self, name: &str) -> Option<Adapter> {
        let scale = self.parameters.lora()?.scale();
        let [a, b] = factors(name)?.map(|factor| self.parameters.get(&factor));
        Some(Adapter { a: a?.tensor, b: b?.tensor, scale })
    }
}

impl Values for Learned<'_> {
    fn has(&self, name: &str) -> bool {
        self.trained.contains(name) || self.adapter(name).is_some()
    }

    /// An adapter is added to the weight as it is stored, not as the device keeps it.
    async fn values(&self, name: &str, old: StoredTensor<'_>) -> Result<Vec<f32>> {
        if let Some(adapter) = self.adapter(name) {
            let (mut values, delta) = (old.to_f32()?, adapter.delta()?.read_f32().await?);
            values.iter_mut().zip(delta).for_each(|(value, more)| *value += more);
            return Ok(values);
        }
        let parameter = self.parameters.get(name).ok_or_else(|| Error::MissingTensor(name.to_string()))?;
        parameter.official(&parameter.tensor).await
    }
}
