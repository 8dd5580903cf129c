//! The formats in which a shader loads weights: every one is a library file with the same function `w4`.

use crate::tensor::DType;

/// Weight formats beside f32.
pub(crate) const COMPRESSED: [DType; 3] = [DType::F16, DType::Q8, DType::Q4];

/// The library file that loads weights of a type; rows are always whole quads but in f32.
pub(crate) fn weight_format(dtype: DType, quads: bool) -> &'static str {
    match (dtype, quads) {
        (DType::F16, _) => "lib/weight_f16.wgsl",
        (DType::Q8, _) => "lib/weight_q8.wgsl",
        (DType::Q4, _) => "lib/weight_q4.wgsl",
        (_, true) => "lib/weight_f32.wgsl",
        (_, false) => "lib/weight_f32_any.wgsl",
    }
}
