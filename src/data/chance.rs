//! The random choices of one sample.

use crate::random::philox::{philox, uniform};

/// Random numbers that depend on the seed, the draw and what they are for, never on the order of asking: a sample is the same
/// on any worker, and after a resumption.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chance {
    seed: u64,
    draw: u64,
}

/// What a number is for: the third word of the counter.
#[derive(Debug, Clone, Copy)]
pub(super) enum Purpose {
    /// Whether a pair is for creation.
    Direction = 0,
    /// Which source a draw comes from.
    Source = 1,
    /// The order of a source's records.
    Order = 2,
    /// Whether a picture is mirrored: this one and those after it, one for each picture of a sample.
    Mirror = 16,
}

/// The fourth word of the counter; noise has 0 there, so that training data never shares numbers with it.
const DATA: u32 = 1;

impl Chance {
    /// The choices of the `draw`-th sample under a seed.
    pub fn new(seed: u64, draw: u64) -> Self {
        Chance { seed, draw }
    }

    /// Whether a pair of the joint objective is for creation: half and half.
    pub fn creation(&self) -> bool {
        uniform(self.words(Purpose::Direction, 0)[0]) < 0.5
    }

    /// Whether the `n`-th picture of the sample to be drawn is mirrored: half and half.
    pub fn mirrored(&self, n: usize) -> bool {
        uniform(self.words(Purpose::Mirror, n as u32)[0]) < 0.5
    }

    pub(super) fn words(&self, purpose: Purpose, n: u32) -> [u32; 4] {
        let [draw, seed] = [self.draw, self.seed].map(|x| [x as u32, (x >> 32) as u32]);
        philox([draw[0], draw[1], (purpose as u32).wrapping_add(n), DATA], seed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn choices_are_fair_and_independent() {
        let n = 10_000;
        let count = |f: &dyn Fn(Chance) -> bool| (0..n).filter(|&draw| f(Chance::new(7, draw))).count() as i64;
        let fair = |count: i64| (count - 5000).abs() < 200;
        assert!(fair(count(&|c| c.creation())));
        assert!(fair(count(&|c| c.mirrored(0))));
        assert!(fair(count(&|c| c.creation() == c.mirrored(0))));
        assert!(fair(count(&|c| c.mirrored(0) == c.mirrored(1))));
        assert!(fair(count(&|c| c.creation() == Chance::new(8, c.draw).creation())));
    }
}
