//! Tensors of a checkpoint: parameters, their moments and averages, each in a file of its own, in official names and shapes.

use crate::nn::{Parameter, Parameters};
use crate::ops::fill::zeros;
use crate::tensor::Tensor;
use crate::train::{Ema, Optimiser, Slot};
use crate::weights::{SafetensorsWriter, TensorPlan, WeightFile};
use crate::{Error, Result};
use std::collections::BTreeMap;
use std::path::Path;

const MEAN: &str = "mean.";
const SQUARE: &str = "square.";

/// A tensor like a parameter, under a name of its own.
type Named = (String, Parameter, Tensor);

/// Everything that is trained.
pub(super) async fn save_parameters(path: &Path, parameters: &Parameters) -> Result<()> {
    save(path, parameters.trained().into_iter().map(|(name, p)| (name, p.clone(), p.tensor)).collect()).await
}

pub(super) fn restore_parameters(path: &Path, parameters: &Parameters) -> Result<()> {
    restore(path, parameters.trained().into_iter().map(|(name, p)| (name, p.clone(), p.tensor)).collect())
}

/// Both moments of every parameter that has any.
pub(super) async fn save_moments(path: &Path, parameters: &Parameters, optimiser: &Optimiser) -> Result<()> {
    save(path, moments(parameters, optimiser)).await
}

/// Moments of the parameters that took steps, and how many.
pub(super) fn restore_moments(
    path: &Path,
    parameters: &Parameters,
    steps: &BTreeMap<String, u32>,
    optimiser: &mut Optimiser,
) -> Result<()> {
    for (name, &steps) in steps {
        let parameter = parameters.get(name).ok_or_else(|| Error::file(path, format!("{name} is no longer there")))?;
        let moment = || zeros(parameter.tensor.gpu(), parameter.tensor.shape());
        optimiser.slots.insert(name.clone(), Slot { mean: moment()?, square: moment()?, steps });
    }
    restore(path, moments(parameters, optimiser))
}

fn moments(parameters: &Parameters, optimiser: &Optimiser) -> Vec<Named> {
    let known = optimiser.slots.iter().filter_map(|(name, slot)| Some((name, slot, parameters.get(name)?)));
    known
        .flat_map(|(name, slot, p)| {
            let named = |kind: &str, tensor: &Tensor| (format!("{kind}{name}"), p.clone(), tensor.clone());
            [named(MEAN, &slot.mean), named(SQUARE, &slot.square)]
        })
        .collect()
}

/// The averages.
pub(super) async fn save_ema(path: &Path, parameters: &Parameters, ema: &Ema) -> Result<()> {
    save(path, averages(parameters, ema)).await
}

pub(super) fn restore_ema(path: &Path, parameters: &Parameters, ema: &Ema) -> Result<()> {
    restore(path, averages(parameters, ema))
}

fn averages(parameters: &Parameters, ema: &Ema) -> Vec<Named> {
    let named = |(name, average): (&String, &Tensor)| Some((name.clone(), parameters.get(name)?, average.clone()));
    ema.averages.iter().filter_map(named).collect()
}

/// One tensor at a time comes to the host.
async fn save(path: &Path, tensors: Vec<Named>) -> Result<()> {
    let plan = tensors.iter().map(|(name, p, _)| TensorPlan::f32(name, p.stored.as_slice())).collect();
    let mut file = SafetensorsWriter::create(path, plan)?;
    for (name, parameter, tensor) in &tensors {
        file.write_f32(name, &parameter.official(tensor).await?)?;
    }
    file.finish()
}

fn restore(path: &Path, tensors: Vec<Named>) -> Result<()> {
    let file = WeightFile::open(path)?;
    if file.len() != tensors.len() {
        let why = format!("has {} tensors, but {} are to be restored", file.len(), tensors.len());
        return Err(Error::file(path, why));
    }
    for (name, parameter, tensor) in &tensors {
        let stored = file.get(name).ok_or_else(|| Error::file(path, format!("has no {name}")))?;
        if stored.shape() != parameter.stored.as_slice() {
            let why = format!("{name} is {:?}, but should be {}", stored.shape(), parameter.stored);
            return Err(Error::file(path, why));
        }
        parameter.restore(tensor, &stored.to_f32()?)?;
    }
    Ok(())
}
