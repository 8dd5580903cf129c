//! Training: the joint objective of words and pictures, and the steps that follow its gradient.
//!
//! Reading order: [`Trained`] (which parts learn), [`Inputs`] (a batch on the device), [`Draws`] (its random numbers),
//! [`Objective`] (the losses), [`GradientSum`] (gradients by parameter), [`RateSchedule`] and [`Optimiser`] (a step), and
//! [`Trainer`], which puts them together in memory. A [`run`] is the same on disk, for anything that learns; [`dream`] is DreamLLM's,
//! and [`pretraining`] that of the models around the decoder.

mod by_length;
mod diffusion_loss;
mod draws;
#[cfg(feature = "cli")]
pub mod dream;
mod ema;
mod gradient_sum;
#[cfg(feature = "cli")]
mod init;
mod inputs;
#[cfg(feature = "mpi")]
mod mpi;
mod objective;
mod optimiser;
#[cfg(feature = "cli")]
pub mod pretraining;
mod ranks;
mod rate;
#[cfg(feature = "cli")]
pub mod run;
mod trained;
mod trainer;

pub use diffusion_loss::DiffusionOptions;
pub use draws::Draws;
pub use ema::Ema;
pub use gradient_sum::GradientSum;
#[cfg(feature = "cli")]
pub use init::{init, init_from};
pub use inputs::Inputs;
pub use objective::{LossWeights, Losses, Objective};
pub use optimiser::{Optimiser, Slot};
pub use ranks::Ranks;
pub use rate::{Decay, RateSchedule};
pub use trained::Trained;
pub use trainer::{Step, Trainer};
