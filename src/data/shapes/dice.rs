//! Random choices of one record, in the order in which they are made.

use crate::random::philox::{philox, uniform};

/// A row of random numbers that depends on seed, index and stream alone, so that any record can be made without those before it.
#[derive(Debug, Clone)]
pub struct Dice {
    counter: [u32; 4],
    key: [u32; 2],
    words: [u32; 4],
    used: usize,
}

/// The fourth word of the counter: noise has 0 there, the order of training data 1.
const SHAPES: u32 = 2;

impl Dice {
    /// The numbers of the `index`-th record of a stream.
    pub fn new(seed: u64, stream: u32, index: u64) -> Self {
        let [low, high] = [index as u32, (index >> 32) as u32];
        // The lower 16 bits of the third word count the blocks: 262,144 numbers a record.
        let counter = [low, high, stream << 16, SHAPES];
        Dice { counter, key: [seed as u32, (seed >> 32) as u32], words: [0; 4], used: 4 }
    }

    fn word(&mut self) -> u32 {
        if self.used == self.words.len() {
            self.words = philox(self.counter, self.key);
            self.counter[2] = self.counter[2].wrapping_add(1);
            self.used = 0;
        }
        let word = self.words[self.used];
        self.used += 1;
        word
    }

    /// A whole number below `n`, which is at least 1.
    pub fn below(&mut self, n: usize) -> usize {
        ((u64::from(self.word()) * n as u64) >> 32) as usize
    }

    /// A whole number from `-reach` to `reach`.
    pub fn around(&mut self, reach: i32) -> i32 {
        self.below(2 * reach.unsigned_abs() as usize + 1) as i32 - reach
    }

    /// Whether something of this probability happens.
    pub fn chance(&mut self, probability: f32) -> bool {
        uniform(self.word()) < probability
    }

    /// One of `choices`, of which there is at least one.
    pub fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }

    /// An index, with probability in proportion to its weight; the first one if all weights are zero.
    pub fn weighted(&mut self, weights: &[f32]) -> usize {
        let mut rest = uniform(self.word()) * weights.iter().sum::<f32>();
        let mut last = 0;
        for (n, &weight) in weights.iter().enumerate().filter(|(_, weight)| **weight > 0.0) {
            last = n;
            if rest < weight {
                break;
            }
            rest -= weight;
        }
        last
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_fair_and_depend_on_seed_stream_and_index() {
        let mut dice = Dice::new(1, 0, 0);
        let mut cells = [0i32; 6];
        (0..6000).for_each(|_| cells[dice.below(6)] += 1);
        assert!(cells.iter().all(|count| (count - 1000).abs() < 150), "{cells:?}");
        let mut weighted = [0i32; 3];
        (0..6000).for_each(|_| weighted[dice.weighted(&[1.0, 0.0, 2.0])] += 1);
        assert!((weighted[0] - 2000).abs() < 200 && weighted[1] == 0, "{weighted:?}");
        let first = |mut dice: Dice| (0..8).map(|_| dice.below(1 << 20)).collect::<Vec<_>>();
        let same = first(Dice::new(1, 2, 3));
        assert_eq!(same, first(Dice::new(1, 2, 3)));
        for other in [Dice::new(2, 2, 3), Dice::new(1, 3, 3), Dice::new(1, 2, 4), Dice::new(1, 2, 3 + (1 << 32))] {
            assert_ne!(same, first(other));
        }
    }
}
