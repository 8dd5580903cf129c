//! How much a study may cost.

use crate::data::shapes::{Split, World};
use crate::eval::Benchmark;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};

/// Steps and tasks of every cell.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Budget {
    /// Steps in which the decoder learns words, before the cells part; see `start`.
    pub prepare: u64,
    /// Steps of a cell.
    pub steps: u64,
    /// Records of a step.
    pub batch: usize,
    /// Tasks of each kind that a cell is measured by; there are five questions about one picture for each.
    pub tasks: u64,
    /// Denoising steps of a picture.
    pub denoising: usize,
}

impl Budget {
    /// Whether everything works: minutes on two cores. Nothing is learned.
    pub const SMOKE: Budget = Budget { prepare: 8, steps: 12, batch: 4, tasks: 4, denoising: 4 };
    /// Some fifteen hours for three seeds on two cores without a GPU.
    pub const LAPTOP: Budget = Budget { prepare: 600, steps: 2000, batch: 16, tasks: 100, denoising: 20 };
    /// As much as the default model's stages had and more.
    pub const FULL: Budget = Budget { prepare: 6000, steps: 10_000, batch: 32, tasks: 500, denoising: 20 };

    /// What a cell is asked: held-out compositions.
    pub fn benchmark(&self, side: usize) -> Benchmark {
        let n = self.tasks;
        let world = World { side, split: Split::Heldout, ..Benchmark::default().world };
        Benchmark {
            world,
            one_object: n,
            two_objects: n,
            questions: 5 * n,
            over_two: 5 * n / 2,
            over_three: 5 * n / 4,
            edits: n,
            subjects: n,
            compositions: n,
        }
    }
}

impl std::str::FromStr for Budget {
    type Err = Error;

    fn from_str(name: &str) -> Result<Budget> {
        match name {
            "smoke" => Ok(Budget::SMOKE),
            "laptop" => Ok(Budget::LAPTOP),
            "full" => Ok(Budget::FULL),
            _ => Err(Error::Input(format!("\"{name}\" is none of smoke, laptop, full"))),
        }
    }
}
