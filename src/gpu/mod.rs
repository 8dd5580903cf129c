//! The GPU: device, memory, recording of work, kernels, readback. The only folder that names wgpu.
//!
//! It knows bytes and grids, not shapes. [`Gpu`] is a cheap handle; [`Buffer`]s come from its pool; a [`Kernel`] is a
//! WGSL file that [`Variant`] specialises and runs. Running only records; work is submitted on a flush.

mod adapter;
mod bind_groups;
mod buffer;
mod device;
mod hash;
mod kernel;
mod pipeline;
mod pool;
mod profile;
mod readback;
mod recorder;
pub mod specialise;

pub use wgpu::{WasmNotSend, WasmNotSendSync};

pub use adapter::{AdapterReport, DeviceClass, GpuOptions, list_adapters};
pub use buffer::{Binding, Buffer, allocated};
pub use device::{Gpu, Limits};
pub use kernel::{Kernel, Variant};
pub use profile::{KernelTime, summarise};
pub use recorder::RecordedDispatch;
