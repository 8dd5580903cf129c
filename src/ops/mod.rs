//! Operations on tensors: one file a family, with formula, forward, backward and the variants of its shader.

pub mod case;
pub mod conv2d;
pub mod expr;
pub mod fill;
pub mod matmul;
pub mod norm;
pub mod pointwise;
pub mod reduce;
pub mod resample;
mod span;

use crate::gpu::Variant;

/// Every shader variant that the ops can ask for, for validation without a GPU.
pub fn variants() -> Vec<Variant> {
    [
        conv2d::variants(),
        fill::variants(),
        matmul::variants(),
        norm::variants(),
        pointwise::variants(),
        reduce::variants(),
        resample::variants(),
    ]
    .concat()
}

/// Every op case.
pub fn cases() -> Vec<case::OpCase> {
    let tables = [
        conv2d::cases(),
        fill::cases(),
        matmul::cases(),
        norm::cases(),
        pointwise::cases(),
        reduce::cases(),
        resample::cases(),
    ];
    tables.into_iter().flatten().collect()
}
