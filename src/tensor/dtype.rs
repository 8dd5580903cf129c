//! Element types.

/// How an element is stored on the device. Arithmetic is f32 whatever the storage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DType {
    /// 32-bit float: activations, gradients, weights.
    F32,
    /// 16-bit float, two in a word: weights.
    F16,
    /// 32-bit unsigned integer: token ids, positions.
    U32,
    /// 8-bit steps of a scale that 32 neighbours share: weights, 8.5 bits each. Layout in [`super::quantised`].
    Q8,
    /// 4-bit steps of a scale that 32 neighbours share: weights, 4.5 bits each. Layout in [`super::quantised`].
    Q4,
}

/// Every device lets a binding start at a multiple of this many bytes.
const ALIGNMENT: u64 = 256;

impl DType {
    /// The smallest run of elements that has bytes of its own: (elements, bytes).
    pub const fn unit(self) -> (usize, u64) {
        match self {
            DType::F32 | DType::U32 => (1, 4),
            DType::F16 => (1, 2),
            DType::Q8 => (256, 272),
            DType::Q4 => (256, 144),
        }
    }

    /// Bytes of `count` elements from the start of a unit on; the last unit is stored whole.
    pub fn bytes(self, count: usize) -> u64 {
        let (elements, bytes) = self.unit();
        count.div_ceil(elements) as u64 * bytes
    }

    /// Elements that certainly fit into `bytes` bytes.
    pub fn elements(self, bytes: u64) -> usize {
        let (elements, unit) = self.unit();
        (bytes / unit) as usize * elements
    }

    /// Elements from one place where every device can start a binding to the next.
    pub fn aligned_elements(self) -> usize {
        let (elements, bytes) = self.unit();
        elements * (ALIGNMENT >> bytes.trailing_zeros()) as usize
    }

    /// Whether elements are stored in blocks that share a scale.
    pub fn is_quantised(self) -> bool {
        matches!(self, DType::Q8 | DType::Q4)
    }

    /// A row of a weight is a whole number of these: four neighbours are read at once, and a block is of one row.
    pub fn row_multiple(self) -> usize {
        match self {
            DType::F32 | DType::U32 => 1,
            DType::F16 => 4,
            DType::Q8 | DType::Q4 => super::quantised::BLOCK,
        }
    }
}

impl std::fmt::Display for DType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            DType::F32 => "f32",
            DType::F16 => "f16",
            DType::U32 => "u32",
            DType::Q8 => "q8",
            DType::Q4 => "q4",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [DType; 5] = [DType::F32, DType::F16, DType::U32, DType::Q8, DType::Q4];

    #[test]
    fn parts_start_where_a_binding_can() {
        for dtype in ALL {
            let (unit, _) = dtype.unit();
            let step = dtype.aligned_elements();
            assert!(step % unit == 0 && dtype.bytes(step) % ALIGNMENT == 0, "{dtype}");
        }
    }

    #[test]
    fn sizes_are_whole_units() {
        assert_eq!(ALL.map(|t| t.bytes(257)), [1028, 514, 1028, 544, 288]);
        assert_eq!(ALL.map(|t| t.elements(1028)), [257, 514, 257, 768, 1792]);
        assert_eq!(ALL.map(DType::aligned_elements), [64, 128, 64, 4096, 4096]);
    }
}
