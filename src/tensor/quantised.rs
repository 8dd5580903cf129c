//! Quantised blocks: 32 consecutive values of the flattened tensor share a scale.
//!
//!   x = scale · q,        q8: q = −127 … 127, 8.5 bits a value,        q4: q = −8 … 7, 4.5 bits a value
//!
//! Eight blocks form a unit of 256 values, so that units are a whole number of 16-byte quads and a kernel may read them by
//! words or by quads, and so that a binding can start every 4,096 values (16 units) on any device:
//!
//! | bytes of a unit | q8 (272) | q4 (144) |
//! | --- | --- | --- |
//! | 0 … 15 | the scales of the 8 blocks in order, each as f16 of 256 · scale | the same |
//! | 16 … | 256 values, a signed byte each | 32 words of 8 values, each q + 8: the low halves of a word's bytes are its first four values, the high halves its last four |
//!
//! Words are little-endian. Element e lies in unit e / 256, its block is e / 32 % 8. A tensor's last unit is stored whole.
//!
//! Scales are stored 256-fold because those of real weights lie around the end of f16's normal range (6e-5), below which
//! it loses bits and some drivers read zero. The range is 2.4e-7 to 255.
//!
//! Errors, with m the largest magnitude of a block (below 32,000 for q8, 2,000 for q4): at most m/253 in q8, at most m/4.4
//! in q4. Of normally distributed values, relative to their root mean square: 0.0054 in q8 and 0.082 in q4 (measured by the
//! test below; q4 with the largest value always at −8, as in GGML's q4_0: 0.086).

use super::DType;
use half::f16;

/// Values that share a scale.
pub const BLOCK: usize = 32;
/// Blocks of a unit.
const BLOCKS: usize = 8;
/// What scales are multiplied by before they become f16.
const STORED: f32 = 256.0;

/// Units of either quantised type; what is missing of the last one is zero.
pub(crate) fn quantise(values: &[f32], dtype: DType) -> Vec<u8> {
    let mut out = Vec::with_capacity(dtype.bytes(values.len()) as usize);
    let (lowest, highest) = range(dtype);
    for unit in values.chunks(BLOCK * BLOCKS) {
        let mut scales = [f16::ZERO; BLOCKS];
        let mut steps = [0i8; BLOCK * BLOCKS];
        for (i, block) in unit.chunks(BLOCK).enumerate() {
            scales[i] = scale_of(block, dtype);
            let inverse = inverse(scales[i]);
            for (step, x) in steps[i * BLOCK..].iter_mut().zip(block) {
                *step = nearest(x * inverse).clamp(lowest, highest) as i8;
            }
        }
        out.extend(scales.iter().flat_map(|scale| scale.to_le_bytes()));
        match dtype {
            DType::Q8 => out.extend(steps.iter().map(|q| *q as u8)),
            _ => steps.chunks_exact(8).for_each(|word| {
                out.extend((0..4).map(|i| (word[i] + 8) as u8 | ((word[i + 4] + 8) as u8) << 4));
            }),
        }
    }
    out
}

/// The first `count` values of blocks.
pub(crate) fn dequantise(bytes: &[u8], dtype: DType, count: usize) -> Vec<f32> {
    let (elements, size) = dtype.unit();
    let mut values = Vec::with_capacity(count.next_multiple_of(elements));
    for unit in bytes.chunks_exact(size as usize) {
        values.extend((0..elements).map(|e| value(unit, dtype, e)));
    }
    values.truncate(count);
    values
}

/// Value `e` of a whole unit.
pub(crate) fn value(unit: &[u8], dtype: DType, e: usize) -> f32 {
    let (scales, steps) = unit.split_at(2 * BLOCKS);
    let scale = decoded(f16::from_le_bytes([scales[e / BLOCK * 2], scales[e / BLOCK * 2 + 1]]));
    scale * f32::from(step(steps, dtype, e))
}

/// Values close to the given ones that are stored without an error, for tests: the largest of a block lies on the last step.
pub(crate) fn representable(values: &[f32], dtype: DType) -> Vec<f32> {
    let (lowest, highest) = range(dtype);
    let block = |block: &[f32]| -> Vec<f32> {
        let scale = stored(largest(block) / lowest);
        let inverse = inverse(scale);
        block.iter().map(|x| nearest(x * inverse).clamp(lowest, highest) * decoded(scale)).collect()
    };
    values.chunks(BLOCK).flat_map(block).collect()
}

/// q of value `e` of a unit.
fn step(steps: &[u8], dtype: DType, e: usize) -> i8 {
    match dtype {
        DType::Q8 => steps[e] as i8,
        _ => (steps[e / 8 * 4 + e % 4] >> (e / 4 % 2 * 4) & 15) as i8 - 8,
    }
}

/// The scale that is stored for a block: NaN if a value is not finite, so that it is seen and not cut to something finite.
fn scale_of(block: &[f32], dtype: DType) -> f16 {
    if block.iter().any(|x| !x.is_finite()) {
        return f16::NAN;
    }
    match dtype {
        DType::Q8 => rounded_up(largest(block).abs() / 127.0),
        _ => closest_scale(block, largest(block)),
    }
}

/// The value of the largest magnitude, with its sign: in q4 the lower end of the range is one step longer.
fn largest(block: &[f32]) -> f32 {
    block.iter().fold(0.0, |m, x| if x.abs() > m.abs() { *x } else { m })
}

/// Smallest and largest q.
fn range(dtype: DType) -> (f32, f32) {
    if dtype == DType::Q8 { (-127.0, 127.0) } else { (-8.0, 7.0) }
}

/// The next f16 that is not below: nothing is cut.
fn rounded_up(scale: f32) -> f16 {
    let nearest = stored(scale);
    let up = if decoded(nearest) < scale { f16::from_bits(nearest.to_bits() + 1) } else { nearest };
    if up.is_finite() { up } else { f16::MAX }
}

/// Which step the largest value becomes. Moving it off the end spreads the other values better over the steps, or cuts
/// the largest one a little. Error and time a value (one core): only −8 0.0859, 4.6 ns; these 0.0822, 9 ns; sixty of them
/// with a least-squares fit each 0.0808, 516 ns.
const LARGEST_AT: [f32; 5] = [-8.0, -7.5, -7.0, -8.5, -9.0];

/// The scale with the least squared error among those that bring the largest value close to an end of the range.
fn closest_scale(block: &[f32], largest: f32) -> f16 {
    let error = |scale: f16| -> f32 {
        let (scale, inverse) = (decoded(scale), inverse(scale));
        block.iter().map(|x| (nearest(x * inverse).clamp(-8.0, 7.0) * scale - x).powi(2)).sum()
    };
    let mut best = (f32::INFINITY, stored(largest / LARGEST_AT[0]));
    for at in LARGEST_AT {
        let scale = stored(largest / at);
        let error = error(scale);
        if error < best.0 {
            best = (error, scale);
        }
    }
    best.1
}

fn stored(scale: f32) -> f16 {
    f16::from_f32((scale * STORED).clamp(f16::MIN.to_f32(), f16::MAX.to_f32()))
}

fn decoded(scale: f16) -> f32 {
    scale.to_f32() / STORED
}

/// 1 / scale, or zero where the whole block is.
fn inverse(scale: f16) -> f32 {
    if scale == f16::ZERO { 0.0 } else { 1.0 / decoded(scale) }
}

/// The nearest whole number of a moderate value. Adding and taking away 1.5 · 2²³ rounds, and compiles to vectors on every
/// processor, which `round` does not.
fn nearest(x: f32) -> f32 {
    const ROUNDING: f32 = 12_582_912.0;
    (x + ROUNDING) - ROUNDING
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Seeded normal values.
    fn normal(count: usize) -> Vec<f32> {
        let uniform = |i: usize| {
            let bits = (i as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
            let bits = (bits ^ (bits >> 29)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            ((bits ^ (bits >> 32)) >> 11) as f64 / (1u64 << 53) as f64
        };
        let pair = |i: usize| {
            (-2.0 * uniform(2 * i).max(1e-300).ln()).sqrt() * (std::f64::consts::TAU * uniform(2 * i + 1)).cos()
        };
        (0..count).map(|i| pair(i) as f32).collect()
    }

    fn round_trip(values: &[f32], dtype: DType) -> Vec<f32> {
        let bytes = quantise(values, dtype);
        assert_eq!(bytes.len() as u64, dtype.bytes(values.len()));
        dequantise(&bytes, dtype, values.len())
    }

    #[test]
    fn errors_stay_within_a_step() {
        for (dtype, parts) in [(DType::Q8, 253.0), (DType::Q4, 4.4)] {
            for size in [1e-4, 3e-3, 1.0, 200.0] {
                // No whole unit, and no whole block at the end.
                let values: Vec<f32> = normal(5 * 256 + 70).iter().map(|x| x * size).collect();
                let got = round_trip(&values, dtype);
                for (got, values) in got.chunks(BLOCK).zip(values.chunks(BLOCK)) {
                    let largest = values.iter().fold(0f32, |m, x| m.max(x.abs()));
                    let worst = got.iter().zip(values).fold(0f32, |m, (g, x)| m.max((g - x).abs()));
                    assert!(worst <= largest / parts, "{dtype}: {worst} of {largest}");
                }
            }
        }
    }

    #[test]
    fn errors_of_normal_values() {
        let values = normal(1 << 16);
        for (dtype, bound) in [(DType::Q8, 0.0055), (DType::Q4, 0.083)] {
            let squares = |f: &dyn Fn(usize) -> f32| (0..values.len()).map(|i| f64::from(f(i)).powi(2)).sum::<f64>();
            let got = round_trip(&values, dtype);
            let error = (squares(&|i| got[i] - values[i]) / squares(&|i| values[i])).sqrt();
            println!("{dtype}: {error:.5}");
            assert!(error < bound, "{dtype}: {error:.5}");
        }
    }

    #[test]
    fn blocks_survive_another_round() {
        for dtype in [DType::Q8, DType::Q4] {
            let once = round_trip(&representable(&normal(1000), dtype), dtype);
            assert_eq!(once, representable(&normal(1000), dtype), "{dtype}");
        }
    }

    #[test]
    fn pieces_of_whole_units_join() {
        let values = normal(256 * 3 + 40);
        for dtype in [DType::Q8, DType::Q4] {
            let pieces = [&values[..512], &values[512..]].map(|piece| quantise(piece, dtype));
            assert_eq!(pieces.concat(), quantise(&values, dtype));
        }
    }

    #[test]
    fn odd_blocks() {
        for dtype in [DType::Q8, DType::Q4] {
            assert_eq!(round_trip(&[0.0; 40], dtype), [0.0; 40]);
            let tiny = round_trip(&[1e-30; 32], dtype);
            assert!(tiny.iter().all(|x| x.abs() <= 1e-9), "{tiny:?}");
            let mut broken = [1.0f32; 64];
            broken[3] = f32::NAN;
            let got = round_trip(&broken, dtype);
            assert!(
                got[..32].iter().all(|x| x.is_nan()) && got[32..].iter().all(|x| (x - 1.0).abs() < 0.07),
                "{got:?}"
            );
            let huge = round_trip(&[3e38; 32], dtype);
            assert!(huge.iter().all(|x| *x > 1000.0 && x.is_finite()), "{huge:?}");
        }
    }

    #[test]
    fn the_layout_is_the_documented_one() {
        // Block 1 holds 0, 1 … 31 steps of 1/64 (q8), or −8 … 7 twice (q4).
        let mut values = vec![0.0; 64];
        (0..32).for_each(|i| values[32 + i] = if i == 31 { -127.0 } else { i as f32 } / 64.0);
        let bytes = quantise(&values, DType::Q8);
        assert_eq!((bytes.len(), f16::from_le_bytes([bytes[2], bytes[3]]).to_f32()), (272, 4.0));
        assert_eq!(
            bytes[16 + 32..16 + 64].iter().map(|q| *q as i8).take(31).collect::<Vec<_>>(),
            (0..31).collect::<Vec<_>>()
        );
        (0..32).for_each(|i| values[32 + i] = (i % 16) as f32 - 8.0);
        let bytes = quantise(&values, DType::Q4);
        assert_eq!((bytes.len(), f16::from_le_bytes([bytes[2], bytes[3]]).to_f32()), (144, 256.0));
        assert_eq!(bytes[32..40], [0x40, 0x51, 0x62, 0x73, 0xc8, 0xd9, 0xea, 0xfb]);
    }
}
