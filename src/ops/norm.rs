//! Normalisation over the channels of a token, or over groups of channels of an image:
//!
//!   y = (x − mean) · inverse · gain + bias,     inverse = (mean of (x − mean)² + eps)^−½
//!
//! with statistics over c (layer norm), over c with mean = 0 and no bias (RMS norm), or over the pixels and the channels
//! of a group (group norm). The mean is taken first and the deviations from it second.
//!
//! Gradient, with  n = (x − mean) · inverse  and  g = dy · gain,  means over the same elements as the statistics:
//!   dx = inverse · (g − mean(g) − n · mean(g · n))     (RMS norm: without mean(g)),
//!   dgain = Σ dy · n,    dbias = Σ dy     over everything but c.

mod cases;
mod chunks;
mod group;
mod rows;

pub use cases::{cases, group_norm_case, row_cases};
pub use group::{group_norm, group_norm_plain};
pub use rows::{layer_norm, layer_norm_plain, rms_norm, rms_norm_plain};

use crate::Result;
use crate::gpu::Variant;
use crate::tensor::{DType, Tensor};

/// Every variant.
pub fn variants() -> Vec<Variant> {
    [chunks::variants(), group::variants(), rows::variants()].concat()
}

/// How many channels a kernel takes at once, so that they are of one group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Width {
    One,
    Two,
    Four,
}

impl Width {
    const ALL: [Width; 3] = [Width::One, Width::Two, Width::Four];

    fn of(channels: usize) -> Width {
        match channels {
            c if c.is_multiple_of(4) => Width::Four,
            c if c.is_multiple_of(2) => Width::Two,
            _ => Width::One,
        }
    }

    fn elements(self) -> usize {
        match self {
            Width::One => 1,
            Width::Two => 2,
            Width::Four => 4,
        }
    }

    fn set(self, variant: Variant) -> Variant {
        let v = ["f32", "vec2<f32>", "vec4<f32>"][self as usize];
        variant.alias("V", v).set("WIDTH", self.elements() as u32)
    }

    /// Sets the hook that sums the elements of a V.
    fn total(self, variant: Variant) -> Variant {
        variant.hook(Some(["v", "v.x + v.y", "v.x + v.y + v.z + v.w"][self as usize]))
    }
}

/// Gain and bias are f32, one a channel.
fn expect_channels(x: &Tensor, operand: &str, c: usize) -> Result<()> {
    x.expect_dtype(operand, DType::F32)?;
    x.expect_shape(operand, "C", [c])
}
