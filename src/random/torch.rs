//! PyTorch's CPU generator: MT19937 and the ways in which `torch.rand`, `randn` and `randint` use it.
//!
//! Sources: `at::mt19937` (ATen/core/MT19937RNGEngine.h), `CPUGeneratorImpl`, ATen/core/DistributionsHelper.h and
//! ATen/native/cpu/DistributionTemplates.h, as of torch 2.1. `rand` and `randint` give the same bits. So does `randn` but
//! for the last one or two: torch approximates log, sin and cos with AVX2 polynomials, here they are exact.

use std::f64::consts::TAU;

use crate::{Error, Result};

/// Words of MT19937's state.
const N: usize = 624;
/// Distance of the word that is mixed in.
const M: usize = 397;
/// From this many numbers on `randn` fills in blocks of so many.
const BLOCK: usize = 16;

/// `torch.Generator("cpu").manual_seed(seed)`. A clone continues with the same numbers.
#[derive(Debug, Clone)]
pub struct TorchRng {
    state: [u32; N],
    next: usize,
    /// The second number of the last Box–Muller pair; only small draws use it, and large ones leave it.
    next_normal: Option<f64>,
}

impl TorchRng {
    /// Seeds the generator. Like torch, it uses the lower 32 bits of the seed.
    pub fn new(seed: u64) -> Self {
        let mut state = [seed as u32; N];
        let mut word = seed as u32;
        for (i, slot) in (1u32..).zip(state.iter_mut().skip(1)) {
            word = (word ^ (word >> 30)).wrapping_mul(1_812_433_253).wrapping_add(i);
            *slot = word;
        }
        TorchRng { state, next: N, next_normal: None }
    }

    /// 32 random bits.
    fn word(&mut self) -> u32 {
        if self.next == N {
            self.twist();
        }
        let mut y = self.state[self.next];
        self.next += 1;
        y ^= y >> 11;
        y ^= (y << 7) & 0x9d2c_5680;
        y ^= (y << 15) & 0xefc6_0000;
        y ^ (y >> 18)
    }

    fn twist(&mut self) {
        for i in 0..N {
            let y = (self.state[i] & 0x8000_0000) | (self.state[(i + 1) % N] & 0x7fff_ffff);
            let odd = if y & 1 == 1 { 0x9908_b0df } else { 0 };
            self.state[i] = self.state[(i + M) % N] ^ (y >> 1) ^ odd;
        }
        self.next = 0;
    }

    /// 64 random bits, the first word above.
    fn double_word(&mut self) -> u64 {
        let high = u64::from(self.word());
        high << 32 | u64::from(self.word())
    }

    /// A uniform number in [0, 1) of 24 bits.
    fn uniform(&mut self) -> f32 {
        (self.word() & 0x00ff_ffff) as f32 / 16_777_216.0
    }

    /// A uniform number in [0, 1) of 53 bits.
    fn uniform_double(&mut self) -> f64 {
        (self.double_word() & ((1 << 53) - 1)) as f64 / (1u64 << 53) as f64
    }

    /// `torch.rand(n)`: uniform in [0, 1).
    pub fn rand(&mut self, n: usize) -> Vec<f32> {
        (0..n).map(|_| self.uniform()).collect()
    }

    /// `torch.randint(low, high, (n,))`: integers from `low` up to, but not including, `high`.
    pub fn randint(&mut self, low: i64, high: i64, n: usize) -> Result<Vec<i64>> {
        if low >= high {
            return Err(Error::Input(format!("randint: there is no integer from {low} up to {high}")));
        }
        let range = high.wrapping_sub(low) as u64;
        let draw = |rng: &mut Self| if range >> 32 == 0 { u64::from(rng.word()) } else { rng.double_word() };
        Ok((0..n).map(|_| low.wrapping_add((draw(self) % range) as i64)).collect())
    }

    /// `torch.randn(n)` in f32. As in torch, the numbers depend on the size: fewer than 16 are drawn one by one in double
    /// precision; from 16 on uniforms fill the whole and are transformed in blocks of 16, and where the size is not a
    /// multiple of 16 the last 16 are drawn again.
    pub fn randn(&mut self, n: usize) -> Vec<f32> {
        if n < BLOCK {
            return (0..n).map(|_| self.normal() as f32).collect();
        }
        let mut numbers = self.rand(n);
        numbers.chunks_exact_mut(BLOCK).for_each(normal_block);
        if !n.is_multiple_of(BLOCK) {
            let tail = &mut numbers[n - BLOCK..];
            tail.iter_mut().for_each(|x| *x = self.uniform());
            normal_block(tail);
        }
        numbers
    }

    /// One normal number (`at::normal_distribution<double>`); every second call gives the other one of a pair.
    fn normal(&mut self) -> f64 {
        if let Some(number) = self.next_normal.take() {
            return number;
        }
        let (u1, u2) = (self.uniform_double(), self.uniform_double());
        let r = (-2.0 * (-u2).ln_1p()).sqrt();
        let (sin, cos) = (TAU * u1).sin_cos();
        self.next_normal = Some(r * sin);
        r * cos
    }
}

/// 16 uniforms to 16 normals in place (`normal_fill_16`): numbers `j` and `j + 8` make a pair.
fn normal_block(block: &mut [f32]) {
    let (first, second) = block.split_at_mut(BLOCK / 2);
    for (a, b) in first.iter_mut().zip(second) {
        let radius = (-2.0 * f64::from(1.0 - *a).ln()).sqrt();
        // torch rounds the angle to f32 before it takes sine and cosine.
        let (sin, cos) = f64::from(std::f32::consts::TAU * *b).sin_cos();
        (*a, *b) = ((radius * cos) as f32, (radius * sin) as f32);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use safetensors::SafeTensors;

    const SEEDS: [u64; 5] = [0, 1, 42, 1_234_567, u32::MAX as u64];

    fn recorded<T>(check: impl Fn(&SafeTensors) -> T) -> T {
        let bytes = std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/reference/rng.safetensors")).unwrap();
        check(&SafeTensors::deserialize(&bytes).unwrap())
    }

    fn floats(file: &SafeTensors, name: &str) -> Vec<f32> {
        let data = file.tensor(name).unwrap().data().to_vec();
        data.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect()
    }

    fn assert_close(name: &str, got: &[f32], want: &[f32]) {
        assert_eq!(got.len(), want.len(), "{name}");
        let worst = got.iter().zip(want).map(|(g, w)| (g - w).abs()).fold(0.0, f32::max);
        assert!(worst <= 1e-6, "{name}: off by {worst}");
    }

    #[test]
    fn randn_of_every_size_is_torchs() {
        let checked = recorded(|file| {
            let names = file.names().into_iter().filter(|name| name.starts_with("randn."));
            names
                .map(|name| {
                    let (seed, _) = name.trim_start_matches("randn.seed").split_once('.').unwrap();
                    let want = floats(file, name);
                    assert_close(name, &TorchRng::new(seed.parse().unwrap()).randn(want.len()), &want);
                })
                .count()
        });
        assert_eq!(checked, 50);
    }

    #[test]
    fn chains_of_draws_are_torchs() {
        recorded(|file| {
            for seed in SEEDS {
                let mut rng = TorchRng::new(seed);
                for i in 0..6 {
                    let name = format!("chain.seed{seed}.{i}");
                    let want = floats(file, &name);
                    assert_close(&name, &rng.randn(want.len()), &want);
                }
            }
        });
    }

    #[test]
    fn rand_and_randint_are_torchs_bits() {
        recorded(|file| {
            for seed in SEEDS {
                assert_eq!(TorchRng::new(seed).rand(37), floats(file, &format!("rand.seed{seed}")));
                let tensor = file.tensor(&format!("randint.seed{seed}")).unwrap();
                let want = tensor.data().chunks_exact(8).map(|b| i64::from_le_bytes(b.try_into().unwrap()));
                assert_eq!(TorchRng::new(seed).randint(0, 1000, 64).unwrap(), want.collect::<Vec<_>>());
            }
        });
    }

    #[test]
    fn the_upper_half_of_a_seed_does_not_count() {
        assert_eq!(TorchRng::new(7 + (1 << 32)).rand(3), TorchRng::new(7).rand(3));
    }

    #[test]
    fn randint_takes_any_range() {
        let mut rng = TorchRng::new(0);
        assert!(rng.randint(i64::MIN, i64::MAX, 100).unwrap().iter().any(|&x| x < 0));
        assert!(rng.randint(-3, -1, 100).unwrap().iter().all(|&x| x == -3 || x == -2));
        assert!(rng.randint(5, 5, 1).is_err() && rng.randint(5, 4, 0).is_err());
        assert!(rng.randint(0, 1, 0).unwrap().is_empty() && rng.rand(0).is_empty() && rng.randn(0).is_empty());
    }
}
