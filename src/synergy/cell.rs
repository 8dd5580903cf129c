//! One trained model of a study.

use super::budget::Budget;
use crate::Result;
use crate::data::Objective;
use crate::eval::Benchmark;
use crate::train::dream::TrainConfig;
use crate::{Error, data};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// What a model of the study learns, and from what.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Cell {
    /// What its losses are.
    pub objective: Objective,
    /// Whether documents are among its records.
    pub interleaved: bool,
}

/// What all cells have in common.
const CONFIG: &str = include_str!("../../configs/shapes/synergy.toml");

impl Cell {
    /// The six of a seed, in the order in which they are trained: the whole comparison without documents first.
    pub fn all() -> Vec<Cell> {
        let objectives = [Objective::Joint, Objective::Comprehension, Objective::Creation];
        let of = |interleaved| objectives.map(|objective| Cell { objective, interleaved });
        [of(false), of(true)].concat()
    }

    /// The name of its folder.
    pub fn name(self) -> String {
        let objective = match self.objective {
            Objective::Joint => "joint",
            Objective::Comprehension => "comprehension",
            Objective::Creation => "creation",
        };
        format!("{objective}{}", if self.interleaved { "-interleaved" } else { "" })
    }

    /// The name in tables.
    pub fn title(self) -> String {
        let objective = match self.objective {
            Objective::Joint => "joint",
            Objective::Comprehension => "comprehension only",
            Objective::Creation => "creation only",
        };
        format!("{objective}{}", if self.interleaved { ", interleaved" } else { "" })
    }

    /// Whether it learns to draw.
    pub fn draws(self) -> bool {
        self.objective != Objective::Comprehension
    }

    /// Whether it learns to answer.
    pub fn answers(self) -> bool {
        self.objective != Objective::Creation
    }

    /// The part of a benchmark that it has learned something for.
    pub fn benchmark(self, whole: &Benchmark) -> Benchmark {
        let mut part = whole.clone();
        if !self.draws() {
            [part.one_object, part.two_objects, part.edits, part.subjects, part.compositions] = [0; 5];
        }
        if !self.answers() {
            [part.questions, part.over_two, part.over_three] = [0; 3];
        }
        part
    }

    /// The config of its run.
    pub fn config(self, budget: &Budget, seed: u64, side: usize, model: &Path, out: &Path) -> Result<TrainConfig> {
        let mut config = TrainConfig::parse(CONFIG).map_err(|why| Error::format("configs/shapes/synergy.toml", why))?;
        (config.model, config.out) = (model.to_path_buf(), out.to_path_buf());
        (config.seed, config.steps, config.batch) = (seed, budget.steps, budget.batch);
        let data: &mut data::DataConfig = &mut config.data;
        (data.objective, data.interleaved, data.seed) = (self.objective, self.interleaved, seed);
        data.sources.iter_mut().filter_map(|source| source.shapes.as_mut()).for_each(|shapes| shapes.world.side = side);
        Ok(config)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_differ_in_the_objective_alone() {
        let config = |cell: Cell| cell.config(&Budget::SMOKE, 3, 32, Path::new("m"), Path::new("o")).unwrap();
        let cells = Cell::all();
        assert_eq!(cells.len(), 6);
        for cell in &cells {
            let mut same = config(*cell);
            assert_eq!((same.data.objective, same.data.interleaved), (cell.objective, cell.interleaved));
            (same.data.objective, same.data.interleaved) = (Objective::Joint, false);
            assert_eq!(same, config(cells[0]));
        }
        let names: std::collections::BTreeSet<String> = cells.iter().map(|cell| cell.name()).collect();
        assert_eq!(names.len(), 6);
    }
}
