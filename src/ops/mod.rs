//! Operations on tensors: one file a family, with formula, forward, backward and the variants of its shader.

pub mod attention;
pub mod cache;
pub mod case;
pub mod expr;
pub mod fill;
pub mod matmul;
pub mod pointwise;
pub mod reduce;
pub mod rope;
pub mod softmax;

use crate::gpu::Variant;

/// Every shader variant that the ops can ask for, for validation without a GPU.
pub fn variants() -> Vec<Variant> {
    [
        attention::variants(),
        cache::variants(),
        fill::variants(),
        matmul::variants(),
        pointwise::variants(),
        reduce::variants(),
        rope::variants(),
        softmax::variants(),
    ]
    .concat()
}

/// Every op case.
pub fn cases() -> Vec<case::OpCase> {
    let tables = [
        attention::cases(),
        cache::cases(),
        fill::cases(),
        matmul::cases(),
        pointwise::cases(),
        reduce::cases(),
        rope::cases(),
        softmax::cases(),
    ];
    tables.into_iter().flatten().collect()
}
