//! The parts of DreamLLM, each a short file that reads like the paper's figure, and their configurations.

pub mod answer;
pub mod beams;
mod by_turns;
pub mod clip;
pub mod config;
pub mod decoding;
pub mod dreamllm;
pub mod generation;
pub mod llama;
pub mod preflight;
pub use by_turns::OnPart;

mod resnet;
mod rotary;
pub mod survey;
mod transformer;
pub mod unet;
pub mod vae;
pub mod vae_tiles;
