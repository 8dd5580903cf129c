//! Bind groups, kept for the next dispatch that binds the same memory: a new one costs the host 8 µs, a kept one 0.1.

use super::buffer::Binding;
use super::hash::FastMap;
use super::pipeline::StorageLayout;
use std::sync::Arc;

/// Kept at most; then those that the last half as many dispatches did not use go.
const MAX: usize = 16_384;

/// The layout's number, then buffer, offset and size of every binding.
type Key = Arc<[u64]>;

#[derive(Default)]
pub(super) struct BindGroups {
    kept: FastMap<Key, Kept>,
    /// The groups that go with a buffer.
    of_buffer: FastMap<u64, Vec<Key>>,
    /// Dispatches so far.
    clock: u64,
    /// The key of the dispatch at hand.
    key: Vec<u64>,
}

struct Kept {
    group: wgpu::BindGroup,
    used: u64,
}

impl BindGroups {
    /// The group that binds `bindings`, made if there is none.
    pub fn get(&mut self, device: &wgpu::Device, layout: &StorageLayout, bindings: &[Binding]) -> wgpu::BindGroup {
        self.clock += 1;
        self.key.clear();
        self.key.push(u64::from(layout.id));
        self.key.extend(bindings.iter().flat_map(|b| [b.buffer.id(), b.offset, b.size]));
        if let Some(kept) = self.kept.get_mut(self.key.as_slice()) {
            kept.used = self.clock;
            return kept.group.clone();
        }
        if self.kept.len() >= MAX {
            self.forget_unused();
        }
        let group = create(device, layout, bindings);
        let key: Key = self.key.as_slice().into();
        buffers(&key).for_each(|id| self.of_buffer.entry(id).or_default().push(key.clone()));
        self.kept.insert(key, Kept { group: group.clone(), used: self.clock });
        group
    }

    /// Drops the groups of a buffer that is gone.
    pub fn forget_buffer(&mut self, buffer: u64) {
        for key in self.of_buffer.remove(&buffer).unwrap_or_default() {
            self.kept.remove(&key);
            for other in buffers(&key) {
                if let Some(keys) = self.of_buffer.get_mut(&other) {
                    keys.retain(|k| !Arc::ptr_eq(k, &key));
                }
            }
        }
    }

    fn forget_unused(&mut self) {
        let since = self.clock - (MAX / 2) as u64;
        self.kept.retain(|_, kept| kept.used > since);
        self.of_buffer.retain(|_, keys| {
            keys.retain(|key| self.kept.contains_key(key));
            !keys.is_empty()
        });
    }

    /// Number of groups kept.
    pub fn len(&self) -> usize {
        self.kept.len()
    }
}

/// The different buffers of a key, or some of them twice.
fn buffers(key: &Key) -> impl Iterator<Item = u64> {
    key[1..].chunks_exact(3).map(|binding| binding[0])
}

fn create(device: &wgpu::Device, layout: &StorageLayout, bindings: &[Binding]) -> wgpu::BindGroup {
    let entries: Vec<_> = (layout.slots.iter().zip(bindings))
        .map(|(&(number, _), b)| wgpu::BindGroupEntry {
            binding: number,
            resource: wgpu::BindingResource::Buffer(wgpu::BufferBinding {
                buffer: b.buffer.raw(),
                offset: b.offset,
                size: std::num::NonZeroU64::new(b.size),
            }),
        })
        .collect();
    device.create_bind_group(&wgpu::BindGroupDescriptor { label: None, layout: &layout.raw, entries: &entries })
}

#[cfg(test)]
mod tests {
    use crate::gpu::{DeviceClass, Gpu, GpuOptions};
    use crate::ops::pointwise::scale;
    use crate::tensor::Tensor;

    #[test]
    fn nothing_is_left_of_buffers_that_are_gone() {
        let options = GpuOptions { pool_bound: Some(0), ..Default::default() };
        let gpu = pollster::block_on(Gpu::recording(DeviceClass::Hardware, &options)).unwrap();
        let x = Tensor::from_f32(&gpu, &[1.0; 64], [64]).unwrap();
        (0..100).for_each(|_| drop(scale(&x, 2.0).unwrap()));
        let recorder = crate::gpu::device::lock(&gpu.0.recorder);
        assert!(recorder.groups.kept.is_empty());
        // The buffer of x lives on, and its list must not remember the others.
        assert!(recorder.groups.of_buffer.values().all(Vec::is_empty));
    }
}
