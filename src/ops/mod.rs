//! Operations on tensors: one file a family, with formula, forward, backward and the variants of its shader.

pub mod adamw;
pub mod attention;
pub mod cache;
pub mod case;
pub mod ceiling;
pub mod conv2d;
pub mod cross_entropy;
pub mod embedding;
pub mod expr;
pub mod fill;
pub mod global_norm;
pub mod layout;
pub mod math;
pub mod matmul;
pub mod mse;
pub mod norm;
pub mod pointwise;
pub mod random;
pub mod reduce;
pub mod resample;
pub mod rope;
pub mod sample;
pub mod select;
pub mod softmax;
mod span;
mod speed;
pub mod timestep;

pub use speed::large_cases;

use crate::gpu::Variant;

/// Every shader variant that the ops can ask for, for validation without a GPU.
pub fn variants() -> Vec<Variant> {
    [
        adamw::variants(),
        attention::variants(),
        cache::variants(),
        ceiling::variants(),
        conv2d::variants(),
        cross_entropy::variants(),
        embedding::variants(),
        fill::variants(),
        global_norm::variants(),
        layout::variants(),
        math::variants(),
        matmul::variants(),
        mse::variants(),
        norm::variants(),
        pointwise::variants(),
        random::variants(),
        reduce::variants(),
        resample::variants(),
        rope::variants(),
        sample::variants(),
        select::variants(),
        softmax::variants(),
        timestep::variants(),
    ]
    .concat()
}

/// Every op case.
pub fn cases() -> Vec<case::OpCase> {
    let tables = [
        adamw::cases(),
        attention::cases(),
        cache::cases(),
        ceiling::cases(),
        conv2d::cases(),
        cross_entropy::cases(),
        embedding::cases(),
        fill::cases(),
        global_norm::cases(),
        layout::cases(),
        math::cases(),
        matmul::cases(),
        mse::cases(),
        norm::cases(),
        pointwise::cases(),
        random::cases(),
        reduce::cases(),
        resample::cases(),
        rope::cases(),
        sample::cases(),
        select::cases(),
        softmax::cases(),
        timestep::cases(),
    ];
    tables.into_iter().flatten().collect()
}
