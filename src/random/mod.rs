//! Random numbers that are the same everywhere.
//!
//! [`TorchRng`] draws what PyTorch's CPU generator draws, so that a seed gives the official pipeline's noise. [`philox`]
//! is the counter-based generator that the GPU uses, on the host: the oracle for its shader, and a source of numbers
//! that depend only on seed and place, never on the order of drawing.

pub mod philox;
mod torch;

pub use torch::TorchRng;
