//! A number that a config gives once for all resolution levels, or once for each.

use serde::Deserialize;

/// One value for all levels, or a list with one for each.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(untagged)]
pub enum PerLevel<T> {
    /// The same on every level.
    All(T),
    /// One for each level, highest resolution first.
    Each(Vec<T>),
}

impl<T: Copy> PerLevel<T> {
    /// The value of a level.
    pub fn at(&self, level: usize) -> Option<T> {
        match self {
            PerLevel::All(value) => Some(*value),
            PerLevel::Each(values) => values.get(level).copied(),
        }
    }

    /// The values of all `levels`; an error if the list has another length.
    pub(super) fn expand(&self, name: &str, levels: usize) -> Result<Vec<T>, String> {
        match self {
            PerLevel::All(value) => Ok(vec![*value; levels]),
            PerLevel::Each(values) if values.len() == levels => Ok(values.clone()),
            PerLevel::Each(values) => Err(format!("{name} has {} entries for {levels} levels", values.len())),
        }
    }
}
