//! Layers: weights with a forward pass. Their fields are named after checkpoint keys.

mod conv;
mod initial;
mod linear;
pub(crate) mod lora;
mod norm;
mod parameters;
mod place;
pub mod probe;
mod projector;
mod weights;

pub use conv::Conv2d;
pub use initial::initial;
pub use linear::Linear;
pub use lora::{Adapter, Lora};
pub use norm::{GroupNorm, LayerNorm, RmsNorm};
pub use parameters::{Parameter, Parameters};
pub use place::{LoadPart, Place, Seat};
pub use projector::Projector;
pub use weights::{Wanted, WeightFormat, Weights};
