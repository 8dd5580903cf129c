//! Philox4x32-10 (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3"; github DEShawResearch/random123).
//!
//! Element `e` of stream `s` under a 64-bit seed is number `e % 4` of the block `e / 4`:
//! `counter = [block low, block high, s, 0]`, `key = [seed low, seed high]`. Four uniforms or four normals come from one
//! block, the normals as two Box–Muller pairs `(x0, x1)` and `(x2, x3)`.

use std::f64::consts::TAU;

/// 2⁻²⁴: the step of a uniform number.
const STEP: f64 = 1.0 / 16_777_216.0;

/// Ten rounds of Philox4x32.
pub fn philox(mut counter: [u32; 4], mut key: [u32; 2]) -> [u32; 4] {
    for _ in 0..10 {
        let [c0, c1, c2, c3] = counter;
        let (high0, low0) = wide_product(0xd251_1f53, c0);
        let (high1, low1) = wide_product(0xcd9e_8d57, c2);
        counter = [high1 ^ c1 ^ key[0], low1, high0 ^ c3 ^ key[1], low0];
        key = [key[0].wrapping_add(0x9e37_79b9), key[1].wrapping_add(0xbb67_ae85)];
    }
    counter
}

/// High and low half of the 64-bit product.
fn wide_product(a: u32, b: u32) -> (u32, u32) {
    let product = u64::from(a) * u64::from(b);
    ((product >> 32) as u32, product as u32)
}

/// A uniform number in [0, 1) from the upper 24 bits, exact in f32.
pub fn uniform(x: u32) -> f32 {
    (x >> 8) as f32 * STEP as f32
}

/// Two normal numbers (Box–Muller): `u1 = ((a >> 8) + 1)·2⁻²⁴`, never 0; `u2 = (b >> 8)·2⁻²⁴`;
/// `r = sqrt(−2 ln u1)`; `(r cos 2πu2, r sin 2πu2)`. Computed in f64, rounded once.
pub fn normal_pair(a: u32, b: u32) -> (f32, f32) {
    let u1 = f64::from((a >> 8) + 1) * STEP;
    let u2 = f64::from(b >> 8) * STEP;
    let r = (-2.0 * u1.ln()).sqrt();
    let (sin, cos) = (TAU * u2).sin_cos();
    ((r * cos) as f32, (r * sin) as f32)
}

/// The raw numbers of one block of a stream.
fn block(seed: u64, stream: u32, block: u64) -> [u32; 4] {
    philox([block as u32, (block >> 32) as u32, stream, 0], [seed as u32, (seed >> 32) as u32])
}

/// The first `n` uniform numbers of a stream.
pub fn uniforms(seed: u64, stream: u32, n: usize) -> Vec<f32> {
    (0u64..).flat_map(|i| block(seed, stream, i).map(uniform)).take(n).collect()
}

/// The first `n` normal numbers of a stream.
pub fn normals(seed: u64, stream: u32, n: usize) -> Vec<f32> {
    let four = |[a, b, c, d]: [u32; 4]| {
        let ((x0, x1), (x2, x3)) = (normal_pair(a, b), normal_pair(c, d));
        [x0, x1, x2, x3]
    };
    (0u64..).flat_map(|i| four(block(seed, stream, i))).take(n).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `kat_vectors` of Random123, philox4x32 with 10 rounds.
    #[test]
    fn published_known_answers() {
        let pi = [0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344];
        let cases = [
            ([0; 4], [0; 2], [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]),
            ([u32::MAX; 4], [u32::MAX; 2], [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]),
            (pi, [0xa409_3822, 0x299f_31d0], [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1]),
        ];
        for (counter, key, want) in cases {
            assert_eq!(philox(counter, key), want);
        }
    }

    #[test]
    fn the_ends_of_the_ranges() {
        assert_eq!((uniform(0), uniform(255), uniform(256)), (0.0, 0.0, 1.0 / 16_777_216.0));
        assert_eq!(uniform(u32::MAX), 1.0 - 1.0 / 16_777_216.0);
        assert_eq!(normal_pair(u32::MAX, 0), (0.0, 0.0));
        let (largest, zero) = normal_pair(0, 0);
        assert!((largest - (48.0 * std::f32::consts::LN_2).sqrt()).abs() < 1e-6 && zero == 0.0);
    }

    #[test]
    fn streams_follow_the_documented_layout() {
        let seed = 0x0123_4567_89ab_cdef;
        let raw = philox([1, 0, 7, 0], [0x89ab_cdef, 0x0123_4567]);
        assert_eq!(uniforms(seed, 7, 7)[4..], raw.map(uniform)[..3]);
        assert_eq!(normals(seed, 7, 8)[6..], [normal_pair(raw[2], raw[3]).0, normal_pair(raw[2], raw[3]).1]);
        assert_ne!(uniforms(seed, 7, 4), uniforms(seed, 8, 4));
    }

    #[test]
    fn moments_are_those_of_the_distributions() {
        let n = 200_000;
        let moment = |x: &[f32], p: i32| x.iter().map(|&x| f64::from(x).powi(p)).sum::<f64>() / n as f64;
        let x = normals(42, 0, n);
        let want = [(1, 0.0, 0.01), (2, 1.0, 0.02), (3, 0.0, 0.05), (4, 3.0, 0.1)];
        assert!(want.iter().all(|&(p, m, tolerance)| (moment(&x, p) - m).abs() < tolerance));
        let u = uniforms(42, 1, n);
        assert!((1..5).all(|p| (moment(&u, p) - 1.0 / f64::from(p + 1)).abs() < 0.005));
    }
}
