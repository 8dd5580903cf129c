//! Processes that train together: each has its share of the data, and all take the mean of their gradients.
//!
//! With the feature `mpi` they are those that `mpirun -n N dreamllm train …` starts, on one machine or several; every other
//! program is a single one. All of them do the same things in the same order: whatever is exchanged here is exchanged by all.

use super::GradientSum;
use crate::Result;
use crate::nn::Parameters;
use crate::tensor::Tensor;

/// This process among those that train together.
pub struct Ranks {
    #[cfg(feature = "mpi")]
    world: Option<super::mpi::World>,
}

impl Ranks {
    /// A single process.
    pub fn alone() -> Ranks {
        Ranks {
            #[cfg(feature = "mpi")]
            world: None,
        }
    }

    /// The processes that were started together: one, unless this is built with the feature `mpi` and started by `mpirun`.
    pub fn started() -> Result<Ranks> {
        Ok(Ranks {
            #[cfg(feature = "mpi")]
            world: super::mpi::World::started()?,
        })
    }

    /// The number of this process, counted from 0. Number 0 writes the files.
    pub fn rank(&self) -> usize {
        #[cfg(feature = "mpi")]
        if let Some(world) = &self.world {
            return world.rank();
        }
        0
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        #[cfg(feature = "mpi")]
        if let Some(world) = &self.world {
            return world.count();
        }
        1
    }

    /// Adds numbers up over all processes, place by place.
    pub fn sum(&self, numbers: &mut [f64]) {
        #[cfg(feature = "mpi")]
        if let Some(world) = &self.world {
            world.sum(numbers);
        }
        let _ = numbers;
    }

    /// What part of a batch's means this process contributes: its counts over all counts, times the number of processes, so
    /// that the mean over the processes is the mean over everything. And the counts of all.
    pub fn shares<const N: usize>(&self, counts: [usize; N]) -> ([f32; N], [u64; N]) {
        let mut all = counts.map(|count| count as f64);
        self.sum(&mut all);
        let mut shares = [1.0; N];
        for (share, (own, all)) in shares.iter_mut().zip(counts.iter().zip(&all)).filter(|(_, (_, all))| **all > 0.0) {
            *share = (*own as f64 * self.count() as f64 / all) as f32;
        }
        (shares, all.map(|count| count as u64))
    }

    /// A text of every process, in their order.
    pub fn gather(&self, text: String) -> Vec<String> {
        #[cfg(feature = "mpi")]
        if let Some(world) = &self.world {
            return world.gather(&text);
        }
        vec![text]
    }

    /// Makes gradients their mean over all processes. One that is missing here, but not everywhere, counts as zero.
    pub async fn average(&self, sum: &mut GradientSum, parameters: &Parameters) -> Result<()> {
        if self.count() == 1 {
            return Ok(());
        }
        let trained = parameters.trained();
        let mut present: Vec<f64> = trained.iter().map(|(name, _)| f64::from(sum.get(name).is_some())).collect();
        self.sum(&mut present);
        for ((name, parameter), present) in trained.iter().zip(present) {
            if present == 0.0 {
                continue;
            }
            let mut values = match sum.get(name) {
                Some(gradient) => gradient.read_f32().await?,
                None => vec![0.0; parameter.tensor.len()],
            };
            self.mean(&mut values);
            sum.set(name, Tensor::from_f32(parameter.tensor.gpu(), &values, parameter.tensor.shape())?);
        }
        Ok(())
    }

    fn mean(&self, values: &mut [f32]) {
        #[cfg(feature = "mpi")]
        if let Some(world) = &self.world {
            world.mean(values);
        }
        let _ = values;
    }

    /// Waits for the others.
    pub fn meet(&self) {
        self.sum(&mut [0.0]);
    }

    /// Says good-bye. A process that ends without this has failed, and `mpirun` ends the others.
    pub fn leave(self) {
        #[cfg(feature = "mpi")]
        if let Some(world) = self.world {
            world.leave();
        }
    }

    /// An error unless a resumed run has as many processes as it had.
    #[cfg(feature = "cli")]
    pub(super) fn own<'a, T>(&self, of_all: &'a [T]) -> Result<&'a T> {
        let (then, now) = (of_all.len(), self.count());
        let own = of_all.get(self.rank()).filter(|_| then == now);
        own.ok_or_else(|| crate::Error::Input(format!("the run had {then} processes, now there are {now}")))
    }
}
