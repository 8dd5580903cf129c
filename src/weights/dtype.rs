//! Element types as checkpoint files store them, and their conversion to `f32`.

pub use super::ggml::GgmlType;
use crate::tensor::{DType, quantised};
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
    /// Blocks of 8-bit steps as they lie on the device, [`crate::tensor::quantised`].
    Q8,
    /// Blocks of 4-bit steps as they lie on the device.
    Q4,
    /// A block type of GGUF files.
    Ggml(GgmlType),
}

impl StoredDType {
    /// The smallest run of elements that has bytes of its own: (elements, bytes).
    pub fn unit(self) -> (usize, usize) {
        match self {
            Self::F64 | Self::I64 => (1, 8),
            Self::F32 | Self::I32 => (1, 4),
            Self::F16 | Self::BF16 | Self::I16 => (1, 2),
            Self::I8 | Self::U8 | Self::Bool => (1, 1),
            Self::Q8 => (256, 272),
            Self::Q4 => (256, 144),
            Self::Ggml(kind) => kind.unit(),
        }
    }

    /// Bytes of `count` elements, the last unit whole; none on overflow.
    pub fn bytes(self, count: usize) -> Option<usize> {
        let (elements, bytes) = self.unit();
        count.div_ceil(elements).checked_mul(bytes)
    }

    /// The type of the same blocks on the device.
    pub fn blocks(self) -> Option<DType> {
        match self {
            Self::Q8 => Some(DType::Q8),
            Self::Q4 => Some(DType::Q4),
            _ => None,
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
            Self::Q8 | Self::Q4 | Self::Ggml(_) => "U8",
        }
    }

    /// Whether the elements stand for floating-point numbers, as weights do.
    pub fn is_float(self) -> bool {
        !matches!(self, Self::I64 | Self::I32 | Self::I16 | Self::I8 | Self::U8 | Self::Bool)
    }

    /// Appends `count` elements of the whole units in `bytes` to `out`, from element `first` on.
    pub(super) fn append_f32(self, bytes: &[u8], first: usize, count: usize, out: &mut Vec<f32>) {
        let (_, unit) = self.unit();
        let blocks = |out: &mut Vec<f32>, dtype| {
            let value = |e: usize| quantised::value(&bytes[e / 256 * unit..][..unit], dtype, e % 256);
            out.extend((first..first + count).map(value));
        };
        match self {
            Self::Q8 => blocks(out, DType::Q8),
            Self::Q4 => blocks(out, DType::Q4),
            Self::Ggml(kind) => kind.append_f32(bytes, first, count, out),
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
        match self {
            Self::Ggml(kind) => write!(f, "{kind:?}"),
            other => std::fmt::Debug::fmt(other, f),
        }
    }
}

fn append<const N: usize>(bytes: &[u8], out: &mut Vec<f32>, convert: impl Fn([u8; N]) -> f32) {
    let (elements, _) = bytes.as_chunks::<N>();
    out.extend(elements.iter().map(|&b| convert(b)));
}
