//! Pictures on the host: decoding, Pillow-exact resizing, what CLIP and the VAE are shown, and writing PNG.
//!
//! Everything here gives the bytes that the official Python pipeline (Pillow, torchvision, transformers) gives; models
//! trained on those are sensitive to the resampling. Values for models are channels-last, `[Y, X, 3]`.

mod base64;
mod clip;
mod diffusion;
mod jpeg;
mod load;
mod resize;
mod rgb;
mod terminal;
mod write;

pub(crate) use base64::base64;
pub use clip::{clip_pixels, clip_resize_and_crop};
pub use diffusion::{cover, diffusion_pixels, diffusion_resize_and_crop, to_rgb};
pub use load::{decode, load};
pub use resize::{Window, resize, resize_window};
pub use rgb::{FloatImage, RgbImage};
pub use terminal::{Terminal, to_terminal};
pub use write::{check_writable, encode_png, replace_file, write_png};

#[cfg(test)]
mod tests;
