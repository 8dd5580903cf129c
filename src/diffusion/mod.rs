//! Noise schedules and samplers: how a latent is turned into noise, and the UNet's predictions into a latent.
//!
//! [`NoiseSchedule`] is the forward process that training and sampling share. A [`Sampler`] walks it backwards; one file
//! per sampler, each with its paper's formula. [`guide`] is classifier-free guidance.
//!
//! Notation of all files, that of DPM-Solver: x_t = α_t·x_0 + σ_t·ε with α_t² + σ_t² = 1, α_t² = ᾱ_t of DDPM,
//! λ_t = ln(α_t/σ_t). The Euler samplers work on x_t/α_t, whose noise level is σ_t/α_t.

mod combination;
pub mod condition;
mod ddim;
mod ddpm;
mod dpm_solver;
mod euler;
mod euler_ancestral;
mod guidance;
pub mod noise;
pub mod parameters;
pub mod pipeline;
mod pndm;
mod prediction;
mod sampler;
mod schedule;
mod sigmas;
pub mod source;
mod spacing;
mod unipc;

pub use guidance::guide;
pub use prediction::Estimate;
pub use sampler::{Sampler, SamplerKind, SamplerOptions};
pub use schedule::NoiseSchedule;
