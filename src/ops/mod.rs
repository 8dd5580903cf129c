//! Operations on tensors: one file a family, with formula, forward, backward and the variants of its shader.

pub mod case;
pub mod embedding;
pub mod expr;
pub mod fill;
pub mod layout;
pub mod math;
pub mod matmul;
pub mod pointwise;
pub mod random;
pub mod reduce;
pub mod select;
pub mod timestep;

use crate::gpu::Variant;

/// Every shader variant that the ops can ask for, for validation without a GPU.
pub fn variants() -> Vec<Variant> {
    [
        embedding::variants(),
        fill::variants(),
        layout::variants(),
        math::variants(),
        matmul::variants(),
        pointwise::variants(),
        random::variants(),
        reduce::variants(),
        select::variants(),
        timestep::variants(),
    ]
    .concat()
}

/// Every op case.
pub fn cases() -> Vec<case::OpCase> {
    let tables = [
        embedding::cases(),
        fill::cases(),
        layout::cases(),
        math::cases(),
        matmul::cases(),
        pointwise::cases(),
        random::cases(),
        reduce::cases(),
        select::cases(),
        timestep::cases(),
    ];
    tables.into_iter().flatten().collect()
}
