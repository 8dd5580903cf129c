//! What a run has learned, as the writer of checkpoints asks for it: trained weights, and those that an adapter changes.

use crate::nn::Parameters;
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
}

impl Values for Learned<'_> {
    fn has(&self, name: &str) -> bool {
        self.trained.contains(name) || self.parameters.adapter(name).is_some()
    }

    /// An adapter is added to the weight as it is stored, not as the device keeps it.
    async fn values(&self, name: &str, old: StoredTensor<'_>) -> Result<Vec<f32>> {
        if let Some(adapter) = self.parameters.adapter(name) {
            let (mut values, delta) = (old.to_f32()?, adapter.delta()?.read_f32().await?);
            values.iter_mut().zip(delta).for_each(|(value, more)| *value += more);
            return Ok(values);
        }
        let parameter = self.parameters.get(name).ok_or_else(|| Error::MissingTensor(name.to_string()))?;
        parameter.official(&parameter.tensor).await
    }
}
