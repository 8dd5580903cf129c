//! A random order of any number of records that takes no memory.

use super::chance::{Chance, Purpose};
use crate::random::philox::philox;

/// A permutation of `0..len`: a Feistel network over the smallest even number of bits that holds `len`, walked on until the
/// number is below `len` (Black and Rogaway 2002, "Ciphers with arbitrary finite domains"). The network is a bijection
/// whatever its round function is, here Philox.
#[derive(Debug, Clone, Copy)]
pub(super) struct Order {
    key: [u32; 2],
    half: u32,
    len: u64,
}

const ROUNDS: u32 = 6;

impl Order {
    /// The order of a source's records in one epoch.
    pub fn new(seed: u64, source: u32, epoch: u64, len: u64) -> Self {
        let [a, b, ..] = Chance::new(seed, epoch).words(Purpose::Order, 0);
        let [a, b, ..] = philox([a, b, source, 0], [seed as u32, (seed >> 32) as u32]);
        let bits = u64::BITS - len.saturating_sub(1).leading_zeros();
        Order { key: [a, b], half: bits.div_ceil(2).max(1), len }
    }

    /// The `n`-th record, for `n` below `len`.
    pub fn at(&self, n: u64) -> u64 {
        let mut x = self.network(n);
        // At most four times as many numbers as records, so this ends after a few steps on average.
        while x >= self.len.max(n + 1) {
            x = self.network(x);
        }
        x
    }

    fn network(&self, x: u64) -> u64 {
        let mask = (1u64 << self.half) - 1;
        let (mut left, mut right) = (x >> self.half, x & mask);
        for round in 0..ROUNDS {
            let [mixed, ..] = philox([right as u32, round, 0, 0], self.key);
            (left, right) = (right, left ^ (u64::from(mixed) & mask));
        }
        left << self.half | right
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_record_comes_once() {
        for len in [1, 2, 3, 4, 5, 7, 16, 17, 1000, 4097] {
            let order = Order::new(1, 0, 0, len);
            let mut seen: Vec<u64> = (0..len).map(|n| order.at(n)).collect();
            seen.sort_unstable();
            assert!(seen.into_iter().eq(0..len), "{len}");
        }
    }

    #[test]
    fn orders_are_random() {
        // Every place of the first record, over many epochs: 16 cells of 1000, standard deviation 31.
        let mut cells = [0i64; 16];
        (0..16_000).for_each(|epoch| cells[Order::new(3, 0, epoch, 16).at(0) as usize] += 1);
        assert!(cells.iter().all(|count| (count - 1000).abs() < 150), "{cells:?}");
        // Neighbours do not stay neighbours.
        let order = Order::new(3, 0, 0, 10_000);
        let close = (1..10_000).filter(|&n| order.at(n).abs_diff(order.at(n - 1)) < 10).count();
        assert!(close < 60, "{close}");
        let fixed = |a: Order, b: Order| (0..1000).filter(|&n| a.at(n) == b.at(n)).count();
        let at = |seed, source, epoch| Order::new(seed, source, epoch, 1000);
        for other in [at(4, 0, 0), at(3, 1, 0), at(3, 0, 1)] {
            assert!(fixed(at(3, 0, 0), other) < 12);
        }
    }

    #[test]
    fn huge_sets_need_no_memory() {
        let order = Order::new(1, 0, 0, u64::from(u32::MAX) + 17);
        let seen: std::collections::HashSet<u64> = (0..1000).map(|n| order.at(n)).collect();
        assert_eq!(seen.len(), 1000);
    }
}
