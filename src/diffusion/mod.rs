//! Noise schedules and samplers.

pub mod noise;
pub mod pipeline;
