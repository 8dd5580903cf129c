//! Operations on tensors: one file a family, with formula, forward, backward and the variants of its shader.
//!
//! All ops have the same errors: [`Shape`](crate::Error::Shape) and [`DType`](crate::Error::DType) name the op, the operand and the axis
//! letters that do not fit; [`TooLarge`](crate::Error::TooLarge) says that something exceeds what the device can bind and cannot be cut;
//! [`OutOfMemory`](crate::Error::OutOfMemory); [`NoBackward`](crate::Error::NoBackward) where an input has a gradient and the op has none.
//! An op without elements gives a result without elements.

pub mod adamw;
pub mod attention;
pub mod cache;
pub mod case;
pub mod ceiling;
pub mod conv2d;
pub mod cross_entropy;
pub mod embedding;
pub mod epilogue;
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
mod weight_format;

pub use speed::large_cases;

use crate::gpu::Variant;

/// A family of ops, with what its shaders can become and what it is tested at.
pub struct Family {
    /// The name of its file.
    pub name: &'static str,
    /// Every shader variant that it can ask for.
    pub variants: fn() -> Vec<Variant>,
    /// Its cases.
    pub cases: fn() -> Vec<case::OpCase>,
}

macro_rules! families {
    ($($name:ident),* $(,)?) => {
        /// All of them.
        pub const FAMILIES: &[Family] =
            &[$(Family { name: stringify!($name), variants: $name::variants, cases: $name::cases }),*];
    };
}

families!(
    adamw,
    attention,
    cache,
    ceiling,
    conv2d,
    cross_entropy,
    embedding,
    fill,
    global_norm,
    layout,
    math,
    matmul,
    mse,
    norm,
    pointwise,
    random,
    reduce,
    resample,
    rope,
    sample,
    select,
    softmax,
    timestep,
);

/// Every shader variant that the ops can ask for, for validation without a GPU.
pub fn variants() -> Vec<Variant> {
    FAMILIES.iter().flat_map(|family| (family.variants)()).collect()
}

/// Every op case.
pub fn cases() -> Vec<case::OpCase> {
    FAMILIES.iter().flat_map(|family| (family.cases)()).collect()
}
