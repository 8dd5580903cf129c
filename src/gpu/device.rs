//! The device handle: limits, features, faults.

use super::adapter::{self, AdapterReport, DeviceClass, GpuOptions};
use super::pipeline::Pipelines;
use super::pool::Pool;
use super::recorder::Recorder;
use crate::{Error, Result};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A GPU device and everything that belongs to it. Cloning is cheap.
#[derive(Clone)]
pub struct Gpu(pub(super) Arc<Inner>);

/// What the device allows; everything that is bound or dispatched is checked against it.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Bytes of one storage binding.
    pub max_binding: u64,
    /// Bytes of one buffer.
    pub max_buffer: u64,
    /// Storage bindings of one kernel.
    pub max_storage_bindings: u32,
    /// Bytes to which the start of a storage binding must be aligned.
    pub storage_alignment: u64,
    /// Bytes to which a dynamic uniform offset must be aligned.
    pub uniform_alignment: u64,
    /// Workgroups along one dimension of a grid.
    pub max_groups: u32,
    /// Workgroups along the first dimension of a grid before it folds into the second, at most `max_groups`.
    pub fold: u32,
    /// Invocations of one workgroup.
    pub max_invocations: u32,
    /// Bytes of workgroup memory.
    pub max_workgroup_memory: u32,
}

pub(super) struct Inner {
    pub device: wgpu::Device,
    pub queue: wgpu::Queue,
    pub limits: Limits,
    pub report: AdapterReport,
    /// Fewest lanes of a subgroup, 0 without them.
    pub subgroup_size: u32,
    pub shader_f16: bool,
    pub profile: bool,
    // Locked in this order when more than one is needed: recorder, pipelines, pool.
    pub recorder: Mutex<Recorder>,
    pub pipelines: Arc<Mutex<Pipelines>>,
    pub pool: Mutex<Pool>,
    fault: Arc<Mutex<Option<Error>>>,
}

/// A lock whose holder cannot have left anything half done that matters.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Gpu {
    /// Opens the adapter that `options` ask for, with all the limits it has.
    pub async fn new(options: &GpuOptions) -> Result<Gpu> {
        let adapter = adapter::choose(&adapter::instance(), options.adapter.as_deref()).await?;
        let report = AdapterReport::of(&adapter);
        Gpu::open(&adapter, report, options).await
    }

    /// A device that records and computes nothing: what ops record on it is what they record on a real one of this
    /// class, with the limits that every browser promises. It needs no driver. Reading gives zeros or what was uploaded.
    pub async fn recording(class: DeviceClass, options: &GpuOptions) -> Result<Gpu> {
        let adapter = adapter::idle(class).await?;
        let report = AdapterReport { class, ..AdapterReport::of(&adapter) };
        Gpu::open(&adapter, report, options).await
    }

    async fn open(adapter: &wgpu::Adapter, report: AdapterReport, options: &GpuOptions) -> Result<Gpu> {
        let features = wanted_features(adapter, options);
        let mut limits = adapter.limits();
        // One binding below 2 GiB keeps every element index within 32 bits and within what Vulkan and DX12 allow.
        let most = limits.max_storage_buffer_binding_size.min((1 << 31) - 256);
        limits.max_storage_buffer_binding_size = most;
        let descriptor = wgpu::DeviceDescriptor {
            label: Some("dreamllm"),
            required_features: features,
            required_limits: limits.clone(),
            memory_hints: wgpu::MemoryHints::MemoryUsage,
            ..Default::default()
        };
        let (device, queue) = adapter
            .request_device(&descriptor)
            .await
            .map_err(|e| Error::NoAdapter(format!("{} refuses a device: {e}", report.name)))?;
        let fault = watch_faults(&device);
        let limits = Limits::of(&limits).weakened(options)?;
        let inner = Inner {
            report,
            subgroup_size: match features.contains(wgpu::Features::SUBGROUP) {
                true => adapter.get_info().subgroup_min_size,
                false => 0,
            },
            shader_f16: features.contains(wgpu::Features::SHADER_F16),
            profile: features.contains(wgpu::Features::TIMESTAMP_QUERY),
            recorder: Mutex::new(Recorder::new(&device, &limits)),
            pipelines: Arc::new(Mutex::new(Pipelines::new(&device))),
            pool: Mutex::new(Pool::new(options.pool_bound.unwrap_or(1 << 30))),
            device,
            queue,
            limits,
            fault,
        };
        if options.profile && !inner.profile {
            return Err(Error::Input(format!("{} has no timestamps to profile with", inner.report.name)));
        }
        Ok(Gpu(Arc::new(inner)))
    }

    /// The same device as `options` would make it behave. It shares the compiled pipelines, so that tests can look at
    /// one device from many sides; its memory and its recordings are its own. Adapter and profile are not looked at.
    pub fn emulate(&self, options: &GpuOptions) -> Result<Gpu> {
        let Inner { device, queue, report, fault, pipelines, .. } = &*self.0;
        let limits = self.0.limits.weakened(options)?;
        Ok(Gpu(Arc::new(Inner {
            report: report.clone(),
            subgroup_size: if options.no_subgroups { 0 } else { self.0.subgroup_size },
            shader_f16: self.0.shader_f16 && !options.no_f16,
            profile: false,
            recorder: Mutex::new(Recorder::new(device, &limits)),
            pipelines: pipelines.clone(),
            pool: Mutex::new(Pool::new(options.pool_bound.unwrap_or(1 << 30))),
            device: device.clone(),
            queue: queue.clone(),
            limits,
            fault: fault.clone(),
        })))
    }

    /// What the device allows.
    pub fn limits(&self) -> &Limits {
        &self.0.limits
    }

    /// The adapter in words.
    pub fn report(&self) -> &AdapterReport {
        &self.0.report
    }

    /// What kind of device this is.
    pub fn class(&self) -> DeviceClass {
        self.0.report.class
    }

    /// Whether recorded work runs; not on a device of [`Gpu::recording`].
    pub fn computes(&self) -> bool {
        self.0.report.backend != "Noop"
    }

    /// Whether kernels may use subgroup operations.
    pub fn has_subgroups(&self) -> bool {
        self.0.subgroup_size > 0
    }

    /// Lanes that every subgroup has at least, 0 where kernels may not use subgroup operations.
    pub fn subgroup_size(&self) -> u32 {
        self.0.subgroup_size
    }

    /// Whether kernels may compute in f16.
    pub fn has_shader_f16(&self) -> bool {
        self.0.shader_f16
    }

    /// The first error that the driver reported outside a call, such as a lost device.
    pub(super) fn check_fault(&self) -> Result<()> {
        match lock(&self.0.fault).as_ref() {
            Some(error) => Err(error.clone()),
            None => Ok(()),
        }
    }

    pub(super) fn set_fault(&self, error: Error) {
        lock(&self.0.fault).get_or_insert(error);
    }
}

fn wanted_features(adapter: &wgpu::Adapter, options: &GpuOptions) -> wgpu::Features {
    let mut wanted = wgpu::Features::empty();
    if !options.no_f16 {
        wanted |= wgpu::Features::SHADER_F16;
    }
    if !options.no_subgroups && !cfg!(target_arch = "wasm32") {
        wanted |= wgpu::Features::SUBGROUP;
    }
    if options.profile {
        wanted |= wgpu::Features::TIMESTAMP_QUERY;
    }
    wanted & adapter.features()
}

fn watch_faults(device: &wgpu::Device) -> Arc<Mutex<Option<Error>>> {
    let fault = Arc::new(Mutex::new(None));
    let slot = fault.clone();
    device.on_uncaptured_error(Arc::new(move |error: wgpu::Error| {
        lock(&slot).get_or_insert(to_error("running recorded work", error));
    }));
    let slot = fault.clone();
    device.set_device_lost_callback(move |reason, message| {
        if !matches!(reason, wgpu::DeviceLostReason::Destroyed) {
            let why =
                format!("the device was lost ({message}); a kernel that ran too long or a driver crash does that");
            lock(&slot).get_or_insert(Error::Gpu { what: "device".into(), why });
        }
    });
    fault
}

pub(super) fn to_error(what: &str, error: wgpu::Error) -> Error {
    match error {
        wgpu::Error::OutOfMemory { .. } => Error::OutOfMemory(what.to_string()),
        other => Error::Gpu { what: what.to_string(), why: other.to_string().replace('\n', " ") },
    }
}

impl Limits {
    fn of(l: &wgpu::Limits) -> Self {
        Limits {
            max_binding: l.max_storage_buffer_binding_size,
            max_buffer: l.max_buffer_size,
            max_storage_bindings: l.max_storage_buffers_per_shader_stage,
            storage_alignment: u64::from(l.min_storage_buffer_offset_alignment),
            uniform_alignment: u64::from(l.min_uniform_buffer_offset_alignment),
            max_groups: l.max_compute_workgroups_per_dimension,
            fold: l.max_compute_workgroups_per_dimension,
            max_invocations: l.max_compute_invocations_per_workgroup,
            max_workgroup_memory: l.max_compute_workgroup_storage_size,
        }
    }

    /// The limits of a weaker device.
    fn weakened(self, options: &GpuOptions) -> Result<Self> {
        let max_binding = options.max_binding.unwrap_or(u64::MAX).min(self.max_binding) & !255;
        if max_binding < (1 << 12) {
            return Err(Error::Input("--max-binding must be at least 4KiB".into()));
        }
        let fold = options.max_groups.unwrap_or(self.fold).clamp(1, self.max_groups);
        let storage_alignment = self.storage_alignment.max(options.alignment.unwrap_or(1));
        Ok(Limits { max_binding, fold, storage_alignment, ..self })
    }
}
