//! DreamLLM: one model that understands and creates images, on an in-house tensor engine with WGSL shaders.
//!
//! From the model down to the device, every layer using only those below it (ARCHITECTURE.md tells the whole story):
//!
//! - [`models`] the language model, CLIP, the UNet, the VAE, and [`models::dreamllm`], which joins them; [`interleaved`] documents and
//!   conversations that draw; [`diffusion`] noise schedules, samplers, the pipeline; [`text`] and [`image`] tokenizer, chat format,
//!   decoding and resizing of pictures.
//! - [`train`] objective, optimiser, runs on disk; [`data`] training data and a world of shapes that can be checked; [`eval`] how good a
//!   model is in it.
//! - [`weights`] files of checkpoints; [`nn`] layers that load themselves from them; [`verify`] recorded PyTorch tensors.
//! - [`ops`] operations with their shaders, gradients and cases; [`autograd`] the tape; [`tensor`] shapes and types; [`gpu`] buffers,
//!   kernels and submission, the only module that knows wgpu; [`random`] Philox and PyTorch's generator.
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
