//! What is compared. Every case lies with all engines side by side, each in its own memory order.

mod attention;
mod conv;
mod matmul;
mod transformer;
mod unet;

use crate::Case;

pub fn all() -> Vec<Case> {
    [matmul::cases(), conv::cases(), attention::cases(), transformer::cases(), unet::cases()]
        .into_iter()
        .flatten()
        .collect()
}
