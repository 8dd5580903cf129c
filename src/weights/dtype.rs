//! Element types as checkpoint files store them, and their conversion to `f32`.

use half::{bf16, f16};

/// Element type of a stored tensor. All of them are little-endian.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum StoredDType {
    /// 64-bit float.
    F64,
    /// 32-bit float.
    F32,
    /// IEEE half precision.
    F16,
    /// bfloat16: the upper half of an `f32`.
    BF16,
    /// 64-bit signed integer.
    I64,
    /// 32-bit signed integer.
    I32,
    /// 16-bit signed integer.
    I16,
    /// 8-bit signed integer.
    I8,
    /// 8-bit unsigned integer.
    U8,
    /// One byte, 0 or 1.
    Bool,
}

impl StoredDType {
    /// Bytes of one element.
    pub fn size(self) -> usize {
        match self {
            Self::F64 | Self::I64 => 8,
            Self::F32 | Self::I32 => 4,
            Self::F16 | Self::BF16 | Self::I16 => 2,
            Self::I8 | Self::U8 | Self::Bool => 1,
        }
    }

    /// The name in a safetensors header.
    pub(super) fn safetensors_name(self) -> &'static str {
        match self {
            Self::F64 => "F64",
            Self::F32 => "F32",
            Self::F16 => "F16",
            Self::BF16 => "BF16",
            Self::I64 => "I64",
            Self::I32 => "I32",
            Self::I16 => "I16",
            Self::I8 => "I8",
            Self::U8 => "U8",
            Self::Bool => "BOOL",
        }
    }

    /// Whether the elements are floating-point numbers, as weights are.
    pub fn is_float(self) -> bool {
        matches!(self, Self::F64 | Self::F32 | Self::F16 | Self::BF16)
    }

    /// Appends the elements in `bytes` (a whole number of them) to `out`.
    pub(super) fn append_f32(self, bytes: &[u8], out: &mut Vec<f32>) {
        match self {
            Self::F64 => append(bytes, out, |b| f64::from_le_bytes(b) as f32),
            Self::F32 => append(bytes, out, f32::from_le_bytes),
            Self::F16 => append(bytes, out, |b| f16::from_le_bytes(b).to_f32()),
            Self::BF16 => append(bytes, out, |b| bf16::from_le_bytes(b).to_f32()),
            Self::I64 => append(bytes, out, |b| i64::from_le_bytes(b) as f32),
            Self::I32 => append(bytes, out, |b| i32::from_le_bytes(b) as f32),
            Self::I16 => append(bytes, out, |b| f32::from(i16::from_le_bytes(b))),
            Self::I8 => append(bytes, out, |b| f32::from(i8::from_le_bytes(b))),
            Self::U8 => append(bytes, out, |[b]| f32::from(b)),
            Self::Bool => append(bytes, out, |[b]| f32::from(u8::from(b != 0))),
        }
    }
}

impl std::fmt::Display for StoredDType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Debug::fmt(self, f)
    }
}

fn append<const N: usize>(bytes: &[u8], out: &mut Vec<f32>, convert: impl Fn([u8; N]) -> f32) {
    let (elements, _) = bytes.as_chunks::<N>();
    out.extend(elements.iter().map(|&b| convert(b)));
}
