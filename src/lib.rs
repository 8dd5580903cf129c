//! DreamLLM: one model that understands and creates images, on an in-house tensor engine with WGSL shaders.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod error;
pub mod image;
pub mod models;
pub mod random;
pub mod text;
pub mod weights;

pub use error::{Error, Result};
