//! The block types of GGUF files: so many values share a scale, and perhaps an offset.
//!
//! | type | values | bytes | layout | value |
//! |---|---|---|---|---|
//! | Q8_0 | 32 | 34 | d f16, 32 signed bytes | d·q |
//! | Q4_0 | 32 | 18 | d f16, 16 bytes: low halves are values 0 … 15, high halves 16 … 31 | d·(q − 8) |
//! | Q4_1 | 32 | 20 | d, m f16, 16 bytes as above | d·q + m |
//! | Q5_0 | 32 | 22 | d f16, 32 fifth bits, 16 bytes as above | d·(q − 16) |
//! | Q5_1 | 32 | 24 | d, m f16, 32 fifth bits, 16 bytes | d·q + m |
//! | Q4_K | 256 | 144 | d, m f16, 12 bytes of eight 6-bit scales and offsets, 128 bytes | d·s·q − m·o |
//! | Q5_K | 256 | 176 | the same with 32 bytes of fifth bits before the last 128 | d·s·q − m·o |
//! | Q6_K | 256 | 210 | 128 bytes low halves, 64 bytes of upper two bits, 16 signed scales, d f16 | d·s·(q − 32) |
//!
//! Source: the format's description in ggml (`ggml-common.h`, `ggml-quants.c`). They are read, never written.

use half::f16;

/// A block type of GGUF files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(non_camel_case_types, missing_docs)] // the format's own names
pub enum GgmlType {
    Q8_0,
    Q4_0,
    Q4_1,
    Q5_0,
    Q5_1,
    Q4_K,
    Q5_K,
    Q6_K,
}

/// Values of the longest block.
const LONGEST: usize = 256;

impl GgmlType {
    /// Values and bytes of a block.
    pub(super) fn unit(self) -> (usize, usize) {
        match self {
            Self::Q8_0 => (32, 34),
            Self::Q4_0 => (32, 18),
            Self::Q4_1 => (32, 20),
            Self::Q5_0 => (32, 22),
            Self::Q5_1 => (32, 24),
            Self::Q4_K => (256, 144),
            Self::Q5_K => (256, 176),
            Self::Q6_K => (256, 210),
        }
    }

    /// Appends `count` values of the whole blocks in `bytes`, from value `first` on.
    pub(super) fn append_f32(self, bytes: &[u8], first: usize, count: usize, out: &mut Vec<f32>) {
        let (values, size) = self.unit();
        let mut decoded = [0f32; LONGEST];
        let (mut at, end) = (first, first + count);
        for (i, block) in bytes.chunks_exact(size).enumerate().skip(first / values) {
            let last = end.min((i + 1) * values);
            if at >= last {
                break;
            }
            self.decode(block, &mut decoded[..values]);
            out.extend_from_slice(&decoded[at - i * values..last - i * values]);
            at = last;
        }
    }

    fn decode(self, block: &[u8], out: &mut [f32]) {
        match self {
            Self::Q8_0 => {
                let d = half(block, 0);
                out.iter_mut().zip(&block[2..]).for_each(|(x, q)| *x = d * f32::from(*q as i8));
            }
            Self::Q4_0 => by_halves(out, &block[2..], None, |q| half(block, 0) * (q - 8.0)),
            Self::Q4_1 => by_halves(out, &block[4..], None, |q| half(block, 0) * q + half(block, 2)),
            Self::Q5_0 => by_halves(out, &block[6..], Some(&block[2..6]), |q| half(block, 0) * (q - 16.0)),
            Self::Q5_1 => by_halves(out, &block[8..], Some(&block[4..8]), |q| half(block, 0) * q + half(block, 2)),
            Self::Q4_K => with_offsets(out, block, None, &block[16..]),
            Self::Q5_K => with_offsets(out, block, Some(&block[16..48]), &block[48..]),
            Self::Q6_K => six_bits(out, block),
        }
    }
}

fn half(block: &[u8], at: usize) -> f32 {
    f16::from_le_bytes([block[at], block[at + 1]]).to_f32()
}

/// 32 values, the first 16 in the low halves; `fifth` holds their upper bits in order.
fn by_halves(out: &mut [f32], halves: &[u8], fifth: Option<&[u8]>, value: impl Fn(f32) -> f32) {
    for (i, x) in out.iter_mut().enumerate() {
        let low = halves[i % 16] >> (i / 16 * 4) & 15;
        let upper = fifth.map_or(0, |bits| bits[i / 8] >> (i % 8) & 1);
        *x = value(f32::from(low | upper << 4));
    }
}

/// Eight runs of 32 values, each with a 6-bit scale and a 6-bit offset; two runs share the bytes of their halves.
fn with_offsets(out: &mut [f32], block: &[u8], fifth: Option<&[u8]>, halves: &[u8]) {
    let (d, m, packed) = (half(block, 0), half(block, 2), &block[4..16]);
    for (run, out) in out.chunks_mut(32).enumerate() {
        let (scale, offset) = scale_and_offset(packed, run);
        let (scale, offset) = (d * f32::from(scale), m * f32::from(offset));
        for (i, x) in out.iter_mut().enumerate() {
            let low = halves[run / 2 * 32 + i] >> (run % 2 * 4) & 15;
            let upper = fifth.map_or(0, |bits| bits[i] >> run & 1);
            *x = scale * f32::from(low | upper << 4) - offset;
        }
    }
}

/// The 6-bit pair of a run: the first four lie in the low bits of bytes 0 … 7, the others in bytes 8 … 11 with their
/// upper two bits on top of those.
fn scale_and_offset(packed: &[u8], run: usize) -> (u8, u8) {
    match run {
        0..4 => (packed[run] & 63, packed[run + 4] & 63),
        _ => (packed[run + 4] & 15 | packed[run - 4] >> 6 << 4, packed[run + 4] >> 4 | packed[run] >> 6 << 4),
    }
}

/// Two halves of 128 values: four runs of 32 share 64 bytes of low bits and 32 of upper ones; 16 values share a scale.
fn six_bits(out: &mut [f32], block: &[u8]) {
    let (low, upper, scales, d) = (&block[..128], &block[128..192], &block[192..208], half(block, 208));
    for (e, x) in out.iter_mut().enumerate() {
        let (part, run, i) = (e / 128, e / 32 % 4, e % 32);
        let q = low[part * 64 + run % 2 * 32 + i] >> (run / 2 * 4) & 15 | (upper[part * 32 + i] >> (run * 2) & 3) << 4;
        *x = d * f32::from(scales[e / 16] as i8) * (f32::from(q) - 32.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(kind: GgmlType, block: &[u8]) -> Vec<f32> {
        let mut out = Vec::new();
        kind.append_f32(block, 0, kind.unit().0, &mut out);
        out
    }

    fn f16_bytes(x: f32) -> [u8; 2] {
        f16::from_f32(x).to_le_bytes()
    }

    #[test]
    fn blocks_of_32() {
        let halves: Vec<u8> = (0..16).map(|i| i | (15 - i) << 4).collect();
        let want = |f: fn(f32) -> f32| {
            (0..16).map(|i| i as f32).chain((0..16).map(|i| 15.0 - i as f32)).map(f).collect::<Vec<_>>()
        };
        let q4 = [&f16_bytes(0.5)[..], &halves].concat();
        assert_eq!(decoded(GgmlType::Q4_0, &q4), want(|q| 0.5 * (q - 8.0)));
        let q4_1 = [&f16_bytes(0.5)[..], &f16_bytes(-2.0), &halves].concat();
        assert_eq!(decoded(GgmlType::Q4_1, &q4_1), want(|q| 0.5 * q - 2.0));
        // Fifth bits of the first eight values.
        let q5 = [&f16_bytes(1.0)[..], &[0xff, 0, 0, 0], &halves].concat();
        let got = decoded(GgmlType::Q5_0, &q5);
        assert_eq!((got[7], got[8], got[16]), (7.0, -8.0, -1.0));
        let q5_1 = [&f16_bytes(1.0)[..], &f16_bytes(3.0), &[0, 0, 1, 0], &halves].concat();
        let got = decoded(GgmlType::Q5_1, &q5_1);
        assert_eq!((got[0], got[16], got[17]), (3.0, 34.0, 17.0));
        let q8: Vec<u8> = f16_bytes(0.25).into_iter().chain((0..32).map(|i| (i - 16i8) as u8)).collect();
        assert_eq!(decoded(GgmlType::Q8_0, &q8), (0..32).map(|i| 0.25 * (i as f32 - 16.0)).collect::<Vec<_>>());
    }

    #[test]
    fn parts_of_blocks() {
        let block: Vec<u8> = f16_bytes(1.0).into_iter().chain((0..32).map(|i| i as u8)).collect();
        let bytes = [block.clone(), block].concat();
        let mut out = Vec::new();
        GgmlType::Q8_0.append_f32(&bytes, 30, 5, &mut out);
        assert_eq!(out, [30.0, 31.0, 0.0, 1.0, 2.0]);
    }

    #[test]
    fn blocks_of_256() {
        // Scales 1 … 8 (with 33 as the sixth, whose upper bits lie apart), offsets twice those.
        let (scales, offsets) = ([1u8, 2, 3, 4, 5, 33, 7, 8], [2u8, 4, 6, 8, 10, 34, 14, 16]);
        let mut packed = [0u8; 12];
        for i in 0..4 {
            packed[i] = scales[i] | scales[i + 4] >> 4 << 6;
            packed[i + 4] = offsets[i] | offsets[i + 4] >> 4 << 6;
            packed[i + 8] = scales[i + 4] & 15 | offsets[i + 4] << 4;
        }
        let halves: Vec<u8> = (0..128u8).map(|i| (i % 16) | (((i + 3) % 16) << 4)).collect();
        let head = [&f16_bytes(0.5)[..], &f16_bytes(0.25), &packed].concat();
        let q4 = decoded(GgmlType::Q4_K, &[&head[..], &halves].concat());
        let q = |run: usize, i: usize| ((i + 32 * (run / 2) + 3 * (run % 2)) % 16) as f32;
        for (e, got) in q4.iter().enumerate() {
            let (run, i) = (e / 32, e % 32);
            assert_eq!(*got, 0.5 * f32::from(scales[run]) * q(run, i) - 0.25 * f32::from(offsets[run]), "{e}");
        }
        // The fifth bits of run 5 alone.
        let q5 = decoded(GgmlType::Q5_K, &[&head[..], &[1 << 5; 32], &halves].concat());
        for (e, got) in q5.iter().enumerate() {
            let more = if e / 32 == 5 { 0.5 * 33.0 * 16.0 } else { 0.0 };
            assert_eq!(*got, q4[e] + more, "{e}");
        }
        // Q6_K: value e of the first part is 0b110000 + a low half that counts.
        let scales: Vec<u8> = (0..16).map(|i| (i - 8i8) as u8).collect();
        let q6 = [&halves[..], &[0xffu8; 64], &scales, &f16_bytes(2.0)].concat();
        for (e, got) in decoded(GgmlType::Q6_K, &q6).iter().enumerate() {
            let (part, run, i) = (e / 128, e / 32 % 4, e % 32);
            let low = halves[part * 64 + run % 2 * 32 + i] >> (run / 2 * 4) & 15;
            assert_eq!(*got, 2.0 * (e as f32 / 16.0 - 8.0).floor() * (f32::from(low) + 48.0 - 32.0), "{e}");
        }
    }
}
