//! Compute pipelines, compiled once for each variant.

use super::device::{Gpu, lock};
use super::hash::FastMap;
use super::kernel::Variant;
use super::specialise;
use crate::{Error, Result};
use std::collections::HashMap;
use std::sync::Arc;

/// A compiled variant.
pub(super) struct Pipeline {
    pub label: String,
    pub raw: wgpu::ComputePipeline,
    pub layout: Arc<StorageLayout>,
}

/// The layout of bind group 0, shared by all pipelines with the same bindings.
pub(super) struct StorageLayout {
    pub id: u32,
    pub raw: wgpu::BindGroupLayout,
    /// (binding number, written to), in order.
    pub slots: Vec<(u32, bool)>,
}

pub(super) struct Pipelines {
    compiled: FastMap<Variant, Arc<Pipeline>>,
    layouts: HashMap<Vec<(u32, bool)>, Arc<StorageLayout>>,
    pub uniform_layout: wgpu::BindGroupLayout,
}

impl Pipelines {
    pub fn new(device: &wgpu::Device) -> Self {
        let entry = entry(0, wgpu::BufferBindingType::Uniform, true);
        let uniform_layout = device
            .create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor { label: Some("params"), entries: &[entry] });
        Pipelines { compiled: FastMap::default(), layouts: HashMap::new(), uniform_layout }
    }

    fn layout(&mut self, device: &wgpu::Device, slots: Vec<(u32, bool)>) -> Arc<StorageLayout> {
        if let Some(layout) = self.layouts.get(&slots) {
            return layout.clone();
        }
        let entries: Vec<_> = slots
            .iter()
            .map(|&(n, write)| entry(n, wgpu::BufferBindingType::Storage { read_only: !write }, false))
            .collect();
        let raw = device
            .create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor { label: Some("storage"), entries: &entries });
        let layout = Arc::new(StorageLayout { id: self.layouts.len() as u32, raw, slots: slots.clone() });
        self.layouts.insert(slots, layout.clone());
        layout
    }
}

fn entry(binding: u32, ty: wgpu::BufferBindingType, dynamic: bool) -> wgpu::BindGroupLayoutEntry {
    wgpu::BindGroupLayoutEntry {
        binding,
        visibility: wgpu::ShaderStages::COMPUTE,
        ty: wgpu::BindingType::Buffer { ty, has_dynamic_offset: dynamic, min_binding_size: None },
        count: None,
    }
}

impl Gpu {
    /// The pipeline of a variant, compiled on first use.
    pub(super) fn pipeline(&self, variant: &Variant) -> Result<Arc<Pipeline>> {
        let mut pipelines = lock(&self.0.pipelines);
        if let Some(found) = pipelines.compiled.get(variant) {
            return Ok(found.clone());
        }
        let text = variant.text()?;
        let slots = specialise::bindings(&text);
        if slots.len() > self.0.limits.max_storage_bindings as usize {
            return Err(Error::TooLarge {
                what: format!("kernel {}", variant.kernel.name),
                need: format!("{} bindings", slots.len()),
                limit: format!("{} of this adapter", self.0.limits.max_storage_bindings),
            });
        }
        let layout = pipelines.layout(&self.0.device, slots);
        let raw = self.compile(variant, &text, &layout, &pipelines.uniform_layout)?;
        let pipeline = Arc::new(Pipeline { label: variant.label(), raw, layout });
        pipelines.compiled.insert(variant.clone(), pipeline.clone());
        Ok(pipeline)
    }

    fn compile(
        &self,
        variant: &Variant,
        text: &str,
        layout: &StorageLayout,
        uniforms: &wgpu::BindGroupLayout,
    ) -> Result<wgpu::ComputePipeline> {
        let device = &self.0.device;
        let scope = device.push_error_scope(wgpu::ErrorFilter::Validation);
        let source = wgpu::ShaderModuleDescriptor {
            label: Some(variant.kernel.name),
            source: wgpu::ShaderSource::Wgsl(text.into()),
        };
        // Kernels check their own bounds, and the tests run all of them with the driver's checks on (DREAMLLM_CHECKED=1).
        let checks = match cfg!(target_arch = "wasm32") || std::env::var_os("DREAMLLM_CHECKED").is_some() {
            true => wgpu::ShaderRuntimeChecks::checked(),
            false => wgpu::ShaderRuntimeChecks::unchecked(),
        };
        // SAFETY: every index in our shaders is bounded by the parameters, which the ops derive from checked shapes.
        let module = unsafe { device.create_shader_module_trusted(source, checks) };
        let pipeline_layout = device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
            label: None,
            bind_group_layouts: &[Some(&layout.raw), Some(uniforms)],
            immediate_size: 0,
        });
        let raw = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label: Some(variant.kernel.name),
            layout: Some(&pipeline_layout),
            module: &module,
            entry_point: Some(variant.kernel.name),
            compilation_options: Default::default(),
            cache: None,
        });
        self.settle("compiling", scope).map_err(|e| Error::Shader { kernel: variant.label(), why: e.to_string() })?;
        Ok(raw)
    }

    /// Every variant compiled so far.
    pub fn compiled_variants(&self) -> Vec<Variant> {
        lock(&self.0.pipelines).compiled.keys().cloned().collect()
    }
}
