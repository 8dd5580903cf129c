//! How good a model is, in the world of shapes, whatever the model: it is only asked to draw and to answer.
//!
//! [`Model`] is what is measured, [`Benchmark`] what it is asked (held-out compositions, by seed), [`Report`] how often it was
//! right, with 95 % intervals. [`frechet_distance`] compares generated pictures with real ones by [`features`].

mod benchmark;
mod dream;
mod features;
mod frechet;
mod recorded;
mod report;
mod tasks;
mod text_only;

pub use benchmark::{Benchmark, FRECHET, Model};
pub use dream::Dreamer;
pub use features::{FEATURES, features};
pub use frechet::{Statistics, frechet_distance};
pub use recorded::Recorded;
pub use report::{Report, Row, Table, wilson};
pub use tasks::{AnswerTask, DrawTask, Goal, Request};
pub use text_only::TextOnly;
