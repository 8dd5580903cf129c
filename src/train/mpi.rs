//! The exchange on MPI. The only file that names the `mpi` crate.

use crate::{Error, Result};
use mpi::collective::SystemOperation;
use mpi::environment::Universe;
use mpi::topology::SimpleCommunicator;
use mpi::traits::{Communicator, CommunicatorCollectives, Root};
use std::mem::ManuallyDrop;

/// All processes of `mpirun`.
pub(super) struct World {
    world: SimpleCommunicator,
    /// Ends MPI when it is dropped, which waits for the others: a process that failed must not do that.
    universe: ManuallyDrop<Universe>,
}

/// Values that are exchanged at a time: MPI counts them in 32 bits.
const PIECE: usize = 1 << 26;

impl World {
    /// None where there is only one.
    pub fn started() -> Result<Option<World>> {
        let universe = mpi::initialize().ok_or_else(|| Error::Input("MPI was started already".into()))?;
        let world = universe.world();
        Ok((world.size() > 1).then(|| World { world, universe: ManuallyDrop::new(universe) }))
    }

    pub fn rank(&self) -> usize {
        usize::try_from(self.world.rank()).unwrap_or(0)
    }

    pub fn count(&self) -> usize {
        usize::try_from(self.world.size()).unwrap_or(1)
    }

    pub fn sum(&self, numbers: &mut [f64]) {
        let own = numbers.to_vec();
        self.world.all_reduce_into(&own[..], numbers, SystemOperation::sum());
    }

    pub fn mean(&self, values: &mut [f32]) {
        let count = self.count() as f32;
        for piece in values.chunks_mut(PIECE) {
            let own = piece.to_vec();
            self.world.all_reduce_into(&own[..], piece, SystemOperation::sum());
            piece.iter_mut().for_each(|value| *value /= count);
        }
    }

    pub fn gather(&self, text: &str) -> Vec<String> {
        let mut lengths = vec![0.0; self.count()];
        lengths[self.rank()] = text.len() as f64;
        self.sum(&mut lengths);
        let receive = |(rank, length): (usize, f64)| {
            let mut bytes = vec![0u8; length as usize];
            if rank == self.rank() {
                bytes.copy_from_slice(text.as_bytes());
            }
            self.world.process_at_rank(rank as i32).broadcast_into(&mut bytes[..]);
            String::from_utf8_lossy(&bytes).into_owned()
        };
        lengths.into_iter().enumerate().map(receive).collect()
    }

    pub fn leave(self) {
        drop(ManuallyDrop::into_inner(self.universe));
    }
}
