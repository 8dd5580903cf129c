//! Time per kernel, from timestamps around every dispatch.

use super::device::{Gpu, lock};
use super::recorder::Recorded;
use crate::{Error, Result};

/// Time that one kernel variant took in all.
#[derive(Debug, Clone)]
pub struct KernelTime {
    /// Kernel and knobs.
    pub kernel: String,
    /// Number of dispatches.
    pub runs: usize,
    /// Nanoseconds on the device, summed.
    pub nanoseconds: f64,
}

pub(super) struct Profiler {
    queries: wgpu::QuerySet,
    period: f32,
    /// Labels and the staging buffer of every submission so far.
    submissions: Vec<(Vec<String>, wgpu::Buffer)>,
}

const QUERIES: u32 = 1024;

impl Profiler {
    fn new(device: &wgpu::Device, queue: &wgpu::Queue) -> Self {
        let queries = device.create_query_set(&wgpu::QuerySetDescriptor {
            label: None,
            ty: wgpu::QueryType::Timestamp,
            count: QUERIES,
        });
        Profiler { queries, period: queue.get_timestamp_period(), submissions: Vec::new() }
    }

    pub fn pass(&self, dispatch: u32) -> wgpu::ComputePassDescriptor<'_> {
        let timestamp_writes = Some(wgpu::ComputePassTimestampWrites {
            query_set: &self.queries,
            beginning_of_pass_write_index: Some(2 * dispatch),
            end_of_pass_write_index: Some(2 * dispatch + 1),
        });
        wgpu::ComputePassDescriptor { label: None, timestamp_writes }
    }

    pub fn resolve(&mut self, device: &wgpu::Device, encoder: &mut wgpu::CommandEncoder, pending: &[Recorded]) {
        let count = 2 * pending.len() as u32;
        let size = u64::from(count) * 8;
        let buffer = |usage| {
            device.create_buffer(&wgpu::BufferDescriptor { label: None, size, usage, mapped_at_creation: false })
        };
        let resolved = buffer(wgpu::BufferUsages::QUERY_RESOLVE | wgpu::BufferUsages::COPY_SRC);
        let staging = buffer(wgpu::BufferUsages::COPY_DST | wgpu::BufferUsages::MAP_READ);
        encoder.resolve_query_set(&self.queries, 0..count, &resolved, 0);
        encoder.copy_buffer_to_buffer(&resolved, 0, &staging, 0, size);
        let labels = pending.iter().map(|d| d.pipeline.label.clone()).collect();
        self.submissions.push((labels, staging));
    }
}

impl Gpu {
    /// Starts to time kernels; the device must have been opened with `profile`.
    pub fn start_profile(&self) -> Result<()> {
        if !self.0.profile {
            return Err(Error::Input("the device was opened without profiling".into()));
        }
        self.flush();
        lock(&self.0.recorder).profiler = Some(Profiler::new(&self.0.device, &self.0.queue));
        Ok(())
    }

    /// Stops timing: every dispatch since [`Gpu::start_profile`] in order, with its nanoseconds.
    pub async fn take_profile(&self) -> Result<Vec<(String, f64)>> {
        self.flush();
        let Some(profiler) = lock(&self.0.recorder).profiler.take() else { return Ok(Vec::new()) };
        let mut times = Vec::new();
        for (labels, staging) in profiler.submissions {
            let bytes = self.map(&staging).await?;
            let ticks: Vec<u64> = bytemuck::pod_collect_to_vec(&bytes);
            let spans = ticks.chunks_exact(2).map(|t| t[1].saturating_sub(t[0]) as f64 * f64::from(profiler.period));
            times.extend(labels.into_iter().zip(spans));
        }
        Ok(times)
    }
}

/// Sums a profile by kernel, most expensive first.
pub fn summarise(times: &[(String, f64)]) -> Vec<KernelTime> {
    let mut sums: Vec<KernelTime> = Vec::new();
    for (kernel, nanoseconds) in times {
        match sums.iter_mut().find(|sum| sum.kernel == *kernel) {
            Some(sum) => {
                sum.runs += 1;
                sum.nanoseconds += nanoseconds;
            }
            None => sums.push(KernelTime { kernel: kernel.clone(), runs: 1, nanoseconds: *nanoseconds }),
        }
    }
    sums.sort_by(|a, b| b.nanoseconds.total_cmp(&a.nanoseconds));
    sums
}
