//! The buffer pool: size classes, last in first out, bounded.
//!
//! A freed buffer is reusable at once, because recorded work runs in order. Handing out the last one first makes a
//! repeated step get the same buffers in the same order, so its bind groups are found again.

use super::hash::FastMap;

#[derive(Default)]
pub(super) struct Pool {
    free: FastMap<u64, Vec<(u64, wgpu::Buffer)>>,
    free_bytes: u64,
    bound: u64,
    in_use: u64,
    peak: u64,
    next_id: u64,
}

/// Smallest class that holds `bytes`: four classes to a power of two, so at most a fifth is wasted.
pub(super) fn size_class(bytes: u64) -> u64 {
    let bytes = bytes.max(256);
    let step = (bytes.next_power_of_two() / 8).max(256);
    bytes.div_ceil(step) * step
}

/// The same on a device whose largest buffer is this; smaller than `bytes` if they do not fit.
pub(super) fn class_within(bytes: u64, max_buffer: u64) -> u64 {
    size_class(bytes).min(max_buffer & !255)
}

impl Pool {
    pub fn new(bound: u64) -> Self {
        Pool { bound, ..Default::default() }
    }

    pub fn take(&mut self, class: u64) -> Option<(u64, wgpu::Buffer)> {
        let found = self.free.get_mut(&class)?.pop()?;
        self.free_bytes -= class;
        self.grow(class);
        Some(found)
    }

    /// Counts a new buffer in and gives it a number that is never used again.
    pub fn adopt(&mut self, class: u64) -> u64 {
        self.grow(class);
        self.next_id += 1;
        self.next_id
    }

    /// Takes a buffer back; false if the pool is full and the buffer is gone.
    pub fn put(&mut self, class: u64, id: u64, raw: wgpu::Buffer) -> bool {
        self.in_use -= class;
        if self.free_bytes + class > self.bound {
            return false;
        }
        self.free_bytes += class;
        self.free.entry(class).or_default().push((id, raw));
        true
    }

    pub fn drain(&mut self) -> Vec<(u64, wgpu::Buffer)> {
        self.free_bytes = 0;
        self.free.drain().flat_map(|(_, buffers)| buffers).collect()
    }

    pub fn memory(&self) -> (u64, u64) {
        (self.in_use, self.free_bytes)
    }

    pub fn take_peak(&mut self) -> u64 {
        std::mem::replace(&mut self.peak, self.in_use)
    }

    fn grow(&mut self, class: u64) {
        self.in_use += class;
        self.peak = self.peak.max(self.in_use);
    }
}

#[cfg(test)]
mod tests {
    use super::{class_within, size_class};

    #[test]
    fn classes_hold_what_is_asked_and_waste_little() {
        for bytes in (1..5000).chain([1 << 20, (1 << 20) + 1, 3_333_333_333]) {
            let class = size_class(bytes);
            assert!(class >= bytes && class % 256 == 0, "{bytes} -> {class}");
            assert!(bytes < 2048 || class as f64 <= bytes as f64 * 1.25, "{bytes} -> {class}");
        }
    }

    #[test]
    fn the_largest_buffer_can_be_filled() {
        let most = (1 << 31) - 1;
        assert_eq!(class_within(1_920_000_000, most), (1 << 31) - 256);
        assert_eq!(class_within(1000, most), size_class(1000));
        assert!(class_within(1 << 31, most) < 1 << 31);
    }
}
