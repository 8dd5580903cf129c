//! Operations on tensors: one file a family, with formula, forward, backward and the variants of its shader.

pub mod attention;
pub mod case;
pub mod expr;
pub mod fill;
pub mod matmul;
pub mod pointwise;
pub mod reduce;

use crate::gpu::Variant;

/// Every shader variant that the ops can ask for, for validation without a GPU.
pub fn variants() -> Vec<Variant> {
    [attention::variants(), fill::variants(), matmul::variants(), pointwise::variants(), reduce::variants()].concat()
}

/// Every op case.
pub fn cases() -> Vec<case::OpCase> {
    let tables = [attention::cases(), fill::cases(), matmul::cases(), pointwise::cases(), reduce::cases()];
    tables.into_iter().flatten().collect()
}
