//! Which training timesteps the sampling steps visit.
//!
//! "Common diffusion noise schedules and sample steps are flawed" (Lin et al. 2023, arXiv 2305.08891), table 2, with the
//! roundings of diffusers, which are part of the result: NumPy rounds halves to even.

use crate::models::config::{SchedulerConfig, TimestepSpacing};
use crate::{Error, Result};

/// `steps` timesteps in falling order, not yet rounded where they are fractions.
///
/// With T training timesteps, for i = 0 … steps − 1:
/// linspace i·(T−1)/(steps−1), leading i·⌊T/steps⌋ + offset, trailing round(T − i·T/steps) − 1 (already falling).
pub(super) fn evenly(config: &SchedulerConfig, spacing: TimestepSpacing, steps: usize) -> Result<Vec<f64>> {
    let train = config.num_train_timesteps;
    let mut timesteps: Vec<f64> = match spacing {
        TimestepSpacing::Linspace => linspace((train - 1) as f64, steps),
        TimestepSpacing::Leading => leading(config, steps, steps)?,
        TimestepSpacing::Trailing => return Ok(trailing(train, steps)),
    };
    timesteps.reverse();
    Ok(timesteps)
}

/// The spacing of the multistep solvers, which treat the end of the way (noise of the lowest training level) as one more
/// point: `steps + 1` points for linspace and leading, without the last one.
pub(super) fn evenly_before_end(config: &SchedulerConfig, spacing: TimestepSpacing, steps: usize) -> Result<Vec<f64>> {
    let train = config.num_train_timesteps;
    let mut timesteps: Vec<f64> = match spacing {
        TimestepSpacing::Linspace => linspace((train - 1) as f64, steps + 1),
        TimestepSpacing::Leading => leading(config, steps, steps + 1)?,
        TimestepSpacing::Trailing => return Ok(trailing(train, steps)),
    };
    timesteps.reverse();
    timesteps.truncate(steps);
    Ok(timesteps)
}

/// Rounds halves to even, as NumPy does.
pub(super) fn rounded(mut timesteps: Vec<f64>) -> Vec<f64> {
    timesteps.iter_mut().for_each(|t| *t = t.round_ties_even());
    timesteps
}

/// `numpy.linspace(0, last, count)`.
pub(super) fn linspace(last: f64, count: usize) -> Vec<f64> {
    let width = last / (count.max(2) - 1) as f64;
    let point = |i: usize| if i > 0 && i + 1 == count { last } else { i as f64 * width };
    (0..count).map(point).collect()
}

/// `count` points for `steps` steps.
fn leading(config: &SchedulerConfig, steps: usize, count: usize) -> Result<Vec<f64>> {
    let (train, offset) = (config.num_train_timesteps, config.steps_offset);
    let width = train / count;
    if width > 0 && (count - 1) * width + offset < train {
        return Ok((0..count).map(|i| (i * width + offset) as f64).collect());
    }
    Err(Error::Input(format!(
        "{steps} sampling steps with leading timesteps and steps_offset {offset} do not fit into {train} training timesteps"
    )))
}

/// `numpy.arange(train, 0, -train / steps)`, rounded, less one. NumPy adds multiples of the rounded difference of the first two
/// points, which moves some halves off the half.
fn trailing(train: usize, steps: usize) -> Vec<f64> {
    let train = train as f64;
    let width = (train - train / steps as f64) - train;
    (0..steps).map(|i| (train + i as f64 * width).round_ties_even() - 1.0).collect()
}

#[cfg(test)]
mod tests {
    use super::trailing;

    /// Places whose exact value is a half, as NumPy rounds them: 936 and 686, where the halves would go to 937 and 687.
    #[test]
    fn trailing_timesteps_are_those_of_numpy() {
        let steps = trailing(1000, 48);
        assert_eq!([steps[0], steps[3], steps[15], steps[47]], [999.0, 936.0, 686.0, 20.0]);
        assert_eq!(trailing(1000, 4), [999.0, 749.0, 499.0, 249.0]);
    }
}
