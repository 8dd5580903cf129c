//! Checkpoint files on the host: safetensors, `torch.save` and GGUF, single or sharded, read and written without a GPU.
//!
//! From the outside in: [`CheckpointFolder`] is a DreamLLM checkpoint as a user has it on disk. It gives four
//! [`WeightSet`]s (language, clip, dream, diffusion) with the names the models use, each over one or more
//! [`WeightFile`]s. A set hands out [`StoredTensor`]s, which convert any range of elements to `f32` straight from the
//! mapped file, so that loading needs one bounded piece of host memory at a time.
//!
//! [`SafetensorsWriter`] and [`OfficialWriter`] go the other way: a trained model as a folder that every command loads.
//!
//! Files are untrusted: every offset is checked when the file is opened, and a pickle's code is never run.

mod bytes;
mod dtype;
mod encode;
mod file;
mod fingerprint;
mod folder;
mod ggml;
mod gguf;
mod official;
mod pickle;
mod pickle_value;
mod safetensors_file;
mod safetensors_writer;
mod set;
mod shards;
#[cfg(feature = "cli")]
mod staging;
mod stored;
mod torch_bin;
#[cfg(feature = "cli")]
mod torch_writer;

pub mod rename;

pub use dtype::{GgmlType, StoredDType};
pub use encode::{Encoding, Piece};
pub(crate) use encode::{channels_last, encoded};
pub use file::WeightFile;
pub use folder::{CheckpointFolder, FOLDER_VERSION, MANIFEST, OpenOptions, TokenizerFiles};
pub use official::{OfficialWriter, Values, write_new};
#[cfg(feature = "cli")]
pub(crate) use safetensors_file::{BLOCKS_KEY, Blocks};
pub use safetensors_writer::{SafetensorsWriter, TensorHeader};
pub use set::{Rename, WeightSet};
#[cfg(feature = "cli")]
pub(crate) use shards::last_part;
#[cfg(feature = "cli")]
pub(crate) use staging::Staging;
pub use stored::{Order, StoredTensor};
#[cfg(feature = "cli")]
pub use torch_writer::TorchWriter;
