//! DreamLLM: one model that understands and creates images, on an in-house tensor engine with WGSL shaders.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

pub mod autograd;
#[cfg(feature = "cli")]
pub mod bench;
#[cfg(feature = "cli")]
pub mod cli;
#[cfg(feature = "cli")]
pub mod convert;
pub mod data;
#[cfg(feature = "cli")]
pub mod default_weights;
pub mod diffusion;
#[cfg(feature = "cli")]
pub mod doctor;
mod error;
pub mod eval;
pub mod gpu;
pub mod image;
#[cfg(feature = "cli")]
pub mod info;
pub mod interleaved;
pub mod models;
pub mod nn;
pub mod ops;
pub mod random;
#[cfg(feature = "cli")]
pub mod synergy;
pub mod tensor;
pub mod text;
pub mod train;
pub mod verify;
pub mod weights;

pub use error::{Error, Result};
pub use tensor::{DType, Shape, Tensor};

/// The README's example compiles.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
