//! The parts of DreamLLM and their configurations.

pub mod config;
