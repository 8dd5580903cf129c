//! Which record comes when: several sources mixed, each in a random order of its own, resumable at any place.

use super::chance::{Chance, Purpose};
use super::order::Order;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};

/// How much of a mixture a source is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Share {
    /// Its records.
    pub records: u64,
    /// Its part of the mixture, relative to the other sources; none for its number of records, as if all sources were one.
    pub weight: Option<f64>,
}

/// Endless draws from several sources. Every draw chooses a source by weight; a source gives its records in a random order,
/// each once, then all again in another order.
#[derive(Debug, Clone)]
pub struct Mixture {
    seed: u64,
    records: Vec<u64>,
    /// Upper ends of the sources' parts of 0…1.
    ends: Vec<f64>,
}

/// A place in the data: all that a resumption needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// Draws so far, skipped records included.
    pub draws: u64,
    /// Of these, the draws from each source.
    pub taken: Vec<u64>,
    /// Records of each source, so that data that has changed is noticed.
    pub records: Vec<u64>,
}

/// What one draw gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pick {
    /// Number of the draw.
    pub draw: u64,
    /// Its source.
    pub source: usize,
    /// The record of the source.
    pub record: u64,
}

impl Mixture {
    /// A mixture of at least one source. None may be empty, and weights are positive.
    pub fn new(seed: u64, shares: &[Share]) -> Result<Self> {
        if shares.is_empty() {
            return Err(Error::Input("there is no training data".into()));
        }
        let weight = |share: &Share| share.weight.unwrap_or(share.records as f64);
        for (n, share) in shares.iter().enumerate() {
            let weight = weight(share);
            if share.records == 0 || !(weight.is_finite() && weight > 0.0) {
                let why = format!("training source {} has {} records and weight {weight}", n + 1, share.records);
                return Err(Error::Input(why));
            }
        }
        let total: f64 = shares.iter().map(weight).sum();
        let mut sum = 0.0;
        let mut end = |share| {
            sum += weight(share);
            sum / total
        };
        let ends = shares.iter().map(&mut end).collect();
        Ok(Mixture { seed, records: shares.iter().map(|share| share.records).collect(), ends })
    }

    /// Where training begins.
    pub fn start(&self) -> Position {
        Position { draws: 0, taken: vec![0; self.records.len()], records: self.records.clone() }
    }

    /// Records of all sources.
    pub fn records(&self) -> u64 {
        self.records.iter().fold(0, |sum, &n| sum.saturating_add(n))
    }

    /// The random choices of a draw.
    pub fn chance(&self, draw: u64) -> Chance {
        Chance::new(self.seed, draw)
    }

    /// An error unless a position can be continued from with this mixture.
    pub fn check(&self, position: &Position) -> Result<()> {
        if position.records != self.records {
            let (then, now) = (&position.records, &self.records);
            let why = format!("the training data has changed: sources had {then:?} records, now {now:?}");
            return Err(Error::Input(why));
        }
        let sum = position.taken.iter().try_fold(0u64, |sum, &n| sum.checked_add(n));
        if position.taken.len() != self.records.len() || sum != Some(position.draws) {
            return Err(Error::Input("the position in the training data is damaged".into()));
        }
        Ok(())
    }

    /// The draw at `position`, which [`check`](Self::check) has seen; it moves on by one.
    pub fn next(&self, position: &mut Position) -> Pick {
        let draw = position.draws;
        let [high, low, ..] = self.chance(draw).words(Purpose::Source, 0);
        let at = ((u64::from(high) << 32 | u64::from(low)) >> 11) as f64 / (1u64 << 53) as f64;
        let source = self.ends.iter().position(|&end| at < end).unwrap_or(self.ends.len() - 1);
        let (records, mut taken) = (self.records[source], 0);
        position.draws += 1;
        if let Some(count) = position.taken.get_mut(source) {
            taken = *count;
            *count += 1;
        }
        let order = Order::new(self.seed, source as u32, taken / records, records);
        Pick { draw, source, record: order.at(taken % records) }
    }

    /// What takes the place of a record that cannot be used, at the `attempt`-th attempt: the records behind it of the same
    /// source, then, if none of them can be used, those of the next source.
    pub fn instead_of(&self, pick: Pick, attempt: u64) -> Pick {
        let (mut left, mut source) = (attempt % self.records().max(1), pick.source);
        loop {
            let records = self.records.get(source).copied().unwrap_or(1);
            if left < records {
                return Pick { source, record: (pick.record % records + left) % records, ..pick };
            }
            left -= records;
            source = (source + 1) % self.records.len().max(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mixture(shares: &[(u64, Option<f64>)]) -> Result<Mixture> {
        let shares: Vec<Share> = shares.iter().map(|&(records, weight)| Share { records, weight }).collect();
        Mixture::new(5, &shares)
    }

    #[test]
    fn a_position_is_all_that_a_resumption_needs() {
        let mixture = mixture(&[(7, None), (3, Some(20.0))]).unwrap();
        let mut position = mixture.start();
        let all: Vec<Pick> = (0..200).map(|_| mixture.next(&mut position)).collect();
        for from in [0, 1, 57, 199] {
            let mut early = mixture.start();
            (0..from).for_each(|_| _ = mixture.next(&mut early));
            let saved = serde_json::to_string(&early).unwrap();
            let mut again: Position = serde_json::from_str(&saved).unwrap();
            mixture.check(&again).unwrap();
            assert!(all[from..].iter().all(|&pick| pick == mixture.next(&mut again)));
        }
    }

    #[test]
    fn each_epoch_has_every_record_once_in_an_order_of_its_own() {
        let mixture = mixture(&[(50, None)]).unwrap();
        let mut position = mixture.start();
        let epoch = |position: &mut Position| (0..50).map(|_| mixture.next(position).record).collect::<Vec<_>>();
        let (first, second) = (epoch(&mut position), epoch(&mut position));
        assert_ne!(first, second);
        for mut records in [first, second] {
            records.sort_unstable();
            assert!(records.into_iter().eq(0..50));
        }
    }

    #[test]
    fn every_record_can_take_the_place_of_another() {
        let mixture = mixture(&[(4, None), (3, Some(20.0))]).unwrap();
        let pick = Pick { draw: 9, source: 0, record: 2 };
        let all: Vec<_> = (0..7).map(|n| mixture.instead_of(pick, n)).map(|p| (p.source, p.record)).collect();
        assert_eq!(all, [(0, 2), (0, 3), (0, 0), (0, 1), (1, 2), (1, 0), (1, 1)]);
        assert_eq!(mixture.instead_of(pick, 7), pick);
    }

    #[test]
    fn weights_are_shares() {
        let count = |shares: &[(u64, Option<f64>)]| {
            let mixture = mixture(shares).unwrap();
            let mut position = mixture.start();
            (0..10_000).for_each(|_| _ = mixture.next(&mut position));
            position.taken
        };
        assert!(count(&[(1000, None), (3000, None)])[0].abs_diff(2500) < 200);
        assert!(count(&[(1, Some(9.0)), (3000, Some(1.0))])[0].abs_diff(9000) < 150);
    }

    #[test]
    fn bad_mixtures_and_positions_are_refused() {
        assert!(mixture(&[]).is_err());
        let error = |shares: &[_]| mixture(shares).unwrap_err().to_string();
        assert!(error(&[(5, None), (0, None)]).contains("source 2 has 0 records"));
        assert!([0.0, -1.0, f64::NAN, f64::INFINITY].iter().all(|&w| mixture(&[(5, Some(w))]).is_err()));
        let mixture = mixture(&[(5, None)]).unwrap();
        let position = |draws, taken: &[u64], records: &[u64]| Position {
            draws,
            taken: taken.to_vec(),
            records: records.to_vec(),
        };
        assert!(mixture.check(&position(3, &[3], &[5])).is_ok());
        let error = mixture.check(&position(3, &[3], &[6])).unwrap_err().to_string();
        assert!(error.contains("[6]") && error.contains("[5]"), "{error}");
        assert!(mixture.check(&position(4, &[3], &[5])).is_err());
        assert!(mixture.check(&position(3, &[], &[5])).is_err());
    }
}
