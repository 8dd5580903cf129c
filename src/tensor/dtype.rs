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
}

impl DType {
    /// Bytes of `count` elements.
    pub fn bytes(self, count: usize) -> u64 {
        match self {
            DType::F32 | DType::U32 => 4 * count as u64,
            DType::F16 => 2 * count as u64,
        }
    }
}

impl std::fmt::Display for DType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            DType::F32 => "f32",
            DType::F16 => "f16",
            DType::U32 => "u32",
        })
    }
}
