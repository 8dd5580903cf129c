//! Training data: from files on disk to batches of ids, labels and pixels.
//!
//! Reading order: [`Record`] (what a dataset holds), [`parse`] (its JSON forms), [`SampleBuilder`] (a record as the official
//! dataset class turns it into ids and labels), [`TrainingBatch`] (samples side by side), [`Mixture`] (which record comes
//! when). Natively also [`TrainingData`] (files, folders and tar shards) and [`Loader`] (worker threads ahead of the GPU).
//!
//! A position in the data is a small value ([`Position`]): from it on, the same seed gives the same samples, whatever the
//! number of workers.

mod batch;
mod chance;
#[cfg(feature = "cli")]
mod loader;
mod mixture;
mod order;
mod parse;
mod record;
mod sample;
pub mod shapes;
#[cfg(feature = "cli")]
mod skipped;
#[cfg(feature = "cli")]
mod source;
#[cfg(feature = "cli")]
mod training_data;

pub use batch::{TrainingBatch, stack};
pub use chance::Chance;
#[cfg(feature = "cli")]
pub use loader::{Loader, LoaderOptions};
pub use mixture::{Mixture, Pick, Position, Share};
pub use parse::{Kind, parse};
pub use record::{Document, Record, Turn};
pub use sample::{Objective, Sample, SampleBuilder};
#[cfg(feature = "cli")]
pub use skipped::{Problem, Skipped};
#[cfg(feature = "cli")]
pub use training_data::{DataConfig, SourceConfig, TrainingData};
