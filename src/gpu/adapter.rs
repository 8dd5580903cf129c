//! Choice of the adapter, and what is asked of it.

use crate::{Error, Result};

/// How to open the device; the flags make a strong device behave like a weak one, so that those paths are tested.
#[derive(Debug, Clone, Default)]
pub struct GpuOptions {
    /// Part of the adapter's name, case-insensitive; without it the fastest kind wins.
    pub adapter: Option<String>,
    /// Bytes that one binding may span at most.
    pub max_binding: Option<u64>,
    /// Never use the `shader-f16` feature.
    pub no_f16: bool,
    /// Never use subgroup operations.
    pub no_subgroups: bool,
    /// Workgroups along the first dimension of a grid before it folds into the second; the adapter's limit by default.
    pub max_groups: Option<u32>,
    /// Bytes to which bindings align at least: 256 is the most that any device asks for.
    pub alignment: Option<u64>,
    /// Time every kernel with timestamps (one pass a dispatch: slower).
    pub profile: bool,
    /// Bytes of freed buffers kept for reuse (default 1 GiB).
    pub pool_bound: Option<u64>,
}

impl GpuOptions {
    /// Options from the environment: `DREAMLLM_ADAPTER`, `DREAMLLM_MAX_BINDING` (bytes), `DREAMLLM_NO_F16`, `DREAMLLM_NO_SUBGROUPS`,
    /// `DREAMLLM_MAX_GROUPS`.
    pub fn from_env() -> Result<Self> {
        let var = |name: &str| std::env::var(name).ok().filter(|v| !v.is_empty());
        let flag = |name: &str| var(name).is_some_and(|v| v != "0");
        let max_binding = match var("DREAMLLM_MAX_BINDING") {
            None => None,
            Some(text) => Some(crate::tensor::parse_bytes(&text)?),
        };
        Ok(GpuOptions {
            adapter: var("DREAMLLM_ADAPTER"),
            max_binding,
            no_f16: flag("DREAMLLM_NO_F16"),
            no_subgroups: flag("DREAMLLM_NO_SUBGROUPS"),
            max_groups: var("DREAMLLM_MAX_GROUPS").map(|text| parse_groups(&text)).transpose()?,
            ..Default::default()
        })
    }
}

fn parse_groups(text: &str) -> Result<u32> {
    text.parse().map_err(|_| Error::Input(format!("DREAMLLM_MAX_GROUPS: \"{text}\" is not a number of workgroups")))
}

/// What kind of device runs the shaders; kernels are chosen by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum DeviceClass {
    /// A driver that runs shaders on the CPU: registers are cheap, workgroup memory and barriers are not.
    Software,
    /// A GPU, discrete or integrated.
    Hardware,
}

/// The adapter in words, for `doctor`, logs and benchmark files.
#[derive(Debug, Clone, serde::Serialize)]
pub struct AdapterReport {
    /// Name given by the driver.
    pub name: String,
    /// Driver and its version.
    pub driver: String,
    /// Vulkan, Metal, DX12 or WebGPU.
    pub backend: String,
    /// Kind of device.
    pub class: DeviceClass,
    /// Whether kernels can be timed on the device.
    pub timestamps: bool,
}

impl AdapterReport {
    pub(super) fn of(adapter: &wgpu::Adapter) -> Self {
        let info = adapter.get_info();
        let timestamps = adapter.features().contains(wgpu::Features::TIMESTAMP_QUERY);
        let class = match info.device_type {
            wgpu::DeviceType::Cpu => DeviceClass::Software,
            _ => DeviceClass::Hardware,
        };
        let driver = format!("{} {}", info.driver, info.driver_info).trim().to_string();
        AdapterReport { name: info.name.clone(), driver, backend: format!("{:?}", info.backend), class, timestamps }
    }
}

const INSTALL: &str = "install a Vulkan driver (Debian and Ubuntu: apt-get install mesa-vulkan-drivers; it also runs without a GPU, in software)";

pub(super) fn instance() -> wgpu::Instance {
    let mut descriptor = wgpu::InstanceDescriptor::new_without_display_handle();
    descriptor.backends = wgpu::Backends::PRIMARY;
    wgpu::Instance::new(descriptor)
}

/// Every adapter of this machine.
pub async fn list_adapters() -> Vec<AdapterReport> {
    let found = instance().enumerate_adapters(wgpu::Backends::PRIMARY).await;
    found.iter().map(AdapterReport::of).collect()
}

/// The adapter that matches `wanted`, or else the best one: discrete before integrated before software.
pub(super) async fn choose(instance: &wgpu::Instance, wanted: Option<&str>) -> Result<wgpu::Adapter> {
    if cfg!(target_arch = "wasm32") {
        let options = wgpu::RequestAdapterOptions {
            power_preference: wgpu::PowerPreference::HighPerformance,
            ..Default::default()
        };
        return instance.request_adapter(&options).await.map_err(|e| Error::NoAdapter(e.to_string()));
    }
    let found = instance.enumerate_adapters(wgpu::Backends::PRIMARY).await;
    let names: Vec<String> = found.iter().map(|a| a.get_info().name).collect();
    let fits = |adapter: &wgpu::Adapter| {
        let info = adapter.get_info();
        let all = format!("{} {} {:?}", info.name, info.driver, info.backend).to_lowercase();
        wanted.is_none_or(|w| all.contains(&w.to_lowercase()))
    };
    found.into_iter().filter(fits).min_by_key(|a| rank(a.get_info().device_type)).ok_or_else(|| match wanted {
        Some(w) if !names.is_empty() => {
            Error::NoAdapter(format!("none matches \"{w}\"; there are: {}", names.join(", ")))
        }
        _ => Error::NoAdapter(format!("none found; {INSTALL}")),
    })
}

/// wgpu's backend that accepts everything and does nothing, with subgroups as devices of the class have them.
pub(super) async fn idle(class: DeviceClass) -> Result<wgpu::Adapter> {
    let mut descriptor = wgpu::InstanceDescriptor::new_without_display_handle();
    descriptor.backends = wgpu::Backends::NOOP;
    descriptor.backend_options.noop = wgpu::NoopBackendOptions {
        enable: true,
        limits: Some(wgpu::Limits::default()),
        subgroup_min_size: Some(if class == DeviceClass::Software { 8 } else { 32 }),
        ..Default::default()
    };
    let found = wgpu::Instance::new(descriptor).enumerate_adapters(wgpu::Backends::NOOP).await;
    let none = || Error::NoAdapter("the recording device is not in this build (it needs a native target)".into());
    found.into_iter().next().ok_or_else(none)
}

fn rank(kind: wgpu::DeviceType) -> u8 {
    match kind {
        wgpu::DeviceType::DiscreteGpu => 0,
        wgpu::DeviceType::IntegratedGpu => 1,
        wgpu::DeviceType::VirtualGpu => 2,
        wgpu::DeviceType::Other => 3,
        wgpu::DeviceType::Cpu => 4,
    }
}
