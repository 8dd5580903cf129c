//! The recorder: dispatches are kept as data and submitted together, in one compute pass.

use super::bind_groups::BindGroups;
use super::buffer::Binding;
use super::device::{Gpu, Limits, lock};
use super::hash::FastSet;
use super::pipeline::Pipeline;
use super::profile::Profiler;
use crate::{Error, Result};
use std::sync::Arc;

/// Bytes of one uniform slot, which bounds the size of a kernel's parameters.
const SLOT: u64 = 256;
/// Dispatches of one submission at most.
const MAX_PENDING: usize = 512;

#[cfg(target_arch = "wasm32")]
type Outcome = std::pin::Pin<Box<dyn Future<Output = Option<wgpu::Error>>>>;
#[cfg(not(target_arch = "wasm32"))]
type Outcome = std::pin::Pin<Box<dyn Future<Output = Option<wgpu::Error>> + Send>>;

pub(super) struct Recorder {
    pending: Vec<Recorded>,
    work: f64,
    uniforms: Vec<u8>,
    uniform_buffer: wgpu::Buffer,
    uniform_group: Option<wgpu::BindGroup>,
    stride: u64,
    pub groups: BindGroups,
    pending_buffers: FastSet<u64>,
    /// Error scopes whose outcome the platform has not told yet.
    pub unsettled: Vec<(String, Outcome)>,
    /// Bytes uploaded since the last submission.
    pub staged: u64,
    log: Option<Vec<RecordedDispatch>>,
    pub profiler: Option<Profiler>,
}

pub(super) struct Recorded {
    pub pipeline: Arc<Pipeline>,
    group: wgpu::BindGroup,
    uniform: u32,
    grid: [u32; 3],
}

/// One recorded dispatch in words.
#[derive(Debug, Clone, PartialEq)]
pub struct RecordedDispatch {
    /// Kernel and knobs.
    pub kernel: String,
    /// Workgroups along x, y, z.
    pub grid: [u32; 3],
    /// Bytes of every binding.
    pub bindings: Vec<u64>,
    /// Estimated work.
    pub work: f64,
}

impl std::fmt::Display for RecordedDispatch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [x, y, _] = self.grid;
        write!(f, "{} grid {x}x{y} bytes {:?}", self.kernel, self.bindings)
    }
}

impl Recorder {
    pub fn new(device: &wgpu::Device, limits: &Limits) -> Self {
        let stride = SLOT.next_multiple_of(limits.uniform_alignment);
        let uniform_buffer = device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("params"),
            size: stride * MAX_PENDING as u64,
            usage: wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        });
        Recorder {
            pending: Vec::new(),
            work: 0.0,
            uniforms: Vec::new(),
            uniform_buffer,
            uniform_group: None,
            stride,
            groups: BindGroups::default(),
            pending_buffers: Default::default(),
            unsettled: Vec::new(),
            staged: 0,
            log: None,
            profiler: None,
        }
    }

    /// Whether work that is not submitted yet touches the buffer.
    pub fn uses(&self, buffer: u64) -> bool {
        self.pending_buffers.contains(&buffer)
    }
}

impl Gpu {
    pub(super) fn record(
        &self,
        pipeline: Arc<Pipeline>,
        bindings: &[Binding],
        params: &[u8],
        groups: u64,
        work: f64,
    ) -> Result<()> {
        self.check_bindings(&pipeline, bindings, params)?;
        let grid = self.fold(&pipeline.label, groups)?;
        let mut recorder = lock(&self.0.recorder);
        if let Some(log) = &mut recorder.log {
            let bindings = bindings.iter().map(|b| b.size).collect();
            log.push(RecordedDispatch { kernel: pipeline.label.clone(), grid, bindings, work });
        }
        let group = recorder.groups.get(&self.0.device, &pipeline.layout, bindings);
        let uniform = recorder.uniforms.len() as u32;
        let next = recorder.uniforms.len() + recorder.stride as usize;
        recorder.uniforms.extend_from_slice(params);
        recorder.uniforms.resize(next, 0);
        recorder.pending.push(Recorded { pipeline, group, uniform, grid });
        recorder.pending_buffers.extend(bindings.iter().map(|b| b.buffer.id()));
        recorder.work += work;
        // Under the same lock: another thread must not record into a ring that is full.
        if recorder.pending.len() >= MAX_PENDING || recorder.work >= self.work_budget() {
            self.submit(&mut recorder);
        }
        Ok(())
    }

    /// Operations of one submission at most: well under the two seconds after which drivers kill work.
    fn work_budget(&self) -> f64 {
        match self.class() {
            super::DeviceClass::Software => 2e9,
            super::DeviceClass::Hardware => 2e11,
        }
    }

    fn check_bindings(&self, pipeline: &Pipeline, bindings: &[Binding], params: &[u8]) -> Result<()> {
        let fail = |why: String| Err(Error::Shader { kernel: pipeline.label.clone(), why });
        let slots = &pipeline.layout.slots;
        if slots.len() != bindings.len() {
            return fail(format!("has {} bindings, but {} were given", slots.len(), bindings.len()));
        }
        if params.len() as u64 > SLOT {
            return fail(format!("has {} bytes of parameters, at most {SLOT} fit", params.len()));
        }
        for (i, (b, (_, write))) in bindings.iter().zip(slots).enumerate() {
            if b.size > self.0.limits.max_binding {
                return Err(Error::TooLarge {
                    what: format!("binding {i} of {}", pipeline.label),
                    need: format!("{} bytes", b.size),
                    limit: format!("{} bytes a binding", self.0.limits.max_binding),
                });
            }
            if b.offset % self.0.limits.storage_alignment != 0 || b.offset + b.size > b.buffer.bytes() {
                return fail(format!("binding {i} spans {}+{} of {} bytes", b.offset, b.size, b.buffer.bytes()));
            }
            let twice = |other: &Binding| other.buffer.id() == b.buffer.id();
            if *write && bindings.iter().filter(|other| twice(other)).count() > 1 {
                return fail(format!("writes binding {i}, whose buffer is bound twice"));
            }
        }
        Ok(())
    }

    fn fold(&self, label: &str, groups: u64) -> Result<[u32; 3]> {
        let (max, fold) = (u64::from(self.0.limits.max_groups), u64::from(self.0.limits.fold));
        let x = groups.min(fold);
        let y = groups.div_ceil(x);
        if y > max {
            return Err(Error::TooLarge {
                what: format!("kernel {label}"),
                need: format!("{groups} workgroups"),
                limit: format!("{fold} by {max}"),
            });
        }
        Ok([x as u32, y as u32, 1])
    }

    /// Submits everything recorded so far.
    pub fn flush(&self) {
        self.submit(&mut lock(&self.0.recorder));
    }

    fn submit(&self, recorder: &mut Recorder) {
        if recorder.pending.is_empty() {
            return;
        }
        self.0.queue.write_buffer(&recorder.uniform_buffer, 0, &recorder.uniforms);
        if recorder.uniform_group.is_none() {
            recorder.uniform_group = Some(self.uniform_group(&recorder.uniform_buffer));
        }
        let Some(uniform_group) = &recorder.uniform_group else { return };
        let mut encoder = self.0.device.create_command_encoder(&Default::default());
        match &mut recorder.profiler {
            None => {
                let mut pass = encoder.begin_compute_pass(&Default::default());
                let mut last = None;
                for dispatch in &recorder.pending {
                    dispatch.encode(&mut pass, uniform_group, last.replace(dispatch));
                }
            }
            Some(profiler) => {
                for (i, dispatch) in recorder.pending.iter().enumerate() {
                    let mut pass = encoder.begin_compute_pass(&profiler.pass(i as u32));
                    dispatch.encode(&mut pass, uniform_group, None);
                }
                profiler.resolve(&self.0.device, &mut encoder, &recorder.pending);
            }
        }
        self.0.queue.submit([encoder.finish()]);
        recorder.pending.clear();
        recorder.pending_buffers.clear();
        recorder.uniforms.clear();
        recorder.work = 0.0;
        recorder.staged = 0;
    }

    fn uniform_group(&self, buffer: &wgpu::Buffer) -> wgpu::BindGroup {
        let layout = &lock(&self.0.pipelines).uniform_layout;
        let size = std::num::NonZeroU64::new(SLOT);
        let resource = wgpu::BindingResource::Buffer(wgpu::BufferBinding { buffer, offset: 0, size });
        let entries = [wgpu::BindGroupEntry { binding: 0, resource }];
        self.0.device.create_bind_group(&wgpu::BindGroupDescriptor { label: None, layout, entries: &entries })
    }

    /// Number of bind groups kept for reuse.
    pub fn cached_bind_groups(&self) -> usize {
        lock(&self.0.recorder).groups.len()
    }

    /// Starts to keep a list of what is recorded.
    pub fn start_log(&self) {
        lock(&self.0.recorder).log = Some(Vec::new());
    }

    /// What was recorded since [`Gpu::start_log`].
    pub fn take_log(&self) -> Vec<RecordedDispatch> {
        lock(&self.0.recorder).log.take().unwrap_or_default()
    }
}

impl Recorded {
    /// `last` is the dispatch before it in the same pass, whose settings are still there.
    fn encode(&self, pass: &mut wgpu::ComputePass, uniform_group: &wgpu::BindGroup, last: Option<&Recorded>) {
        if last.is_none_or(|last| !Arc::ptr_eq(&last.pipeline, &self.pipeline)) {
            pass.set_pipeline(&self.pipeline.raw);
        }
        if last.is_none_or(|last| last.group != self.group) {
            pass.set_bind_group(0, &self.group, &[]);
        }
        pass.set_bind_group(1, uniform_group, &[self.uniform]);
        let [x, y, z] = self.grid;
        pass.dispatch_workgroups(x, y, z);
    }
}
