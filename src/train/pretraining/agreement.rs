//! What condition vectors say, attribute by attribute: the measure of imitation that no denoiser blurs.

use super::SceneEncoder;
use crate::Result;
use crate::data::shapes::{SLOT_VALUES, SLOTS, Slots, Tally, slot_attribute};
use crate::gpu::Gpu;
use crate::tensor::Tensor;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// The scene encoder's vector of each value.
pub(super) struct Values(Vec<Vec<f32>>);

/// How many pictures' vectors say everything that is told of them, and how often each attribute is the one that is told.
#[derive(Debug, Default)]
pub(super) struct Agreement {
    whole: Tally,
    attributes: BTreeMap<&'static str, Tally>,
}

impl Values {
    pub async fn of(encoder: &SceneEncoder, gpu: &Gpu) -> Result<Values> {
        let alone: Vec<Slots> = (0..SLOT_VALUES.div_ceil(SLOTS))
            .map(|row| std::array::from_fn(|slot| vec![((row * SLOTS + slot).min(SLOT_VALUES - 1), 1.0)]))
            .collect();
        let vectors = encoder.forward(gpu, &alone)?;
        let values = vectors.read_f32().await?;
        let width = vectors.shape().as_slice()[2];
        Ok(Values(values.chunks_exact(width).take(SLOT_VALUES).map(<[f32]>::to_vec).collect()))
    }

    /// Whether `value` is the nearest of its attribute's values to what a vector says, if the rest of the slot is as told.
    fn nearest(&self, vector: &[f32], told: &[(usize, f32)], value: usize, values: std::ops::Range<usize>) -> bool {
        let mut left = vector.to_vec();
        for (other, weight) in told.iter().filter(|(other, _)| *other != value) {
            left.iter_mut().zip(&self.0[*other]).for_each(|(left, part)| *left -= weight * part);
        }
        let distance = |n: usize| left.iter().zip(&self.0[n]).map(|(a, b)| (a - b).powi(2)).sum::<f32>();
        values.min_by(|&a, &b| distance(a).total_cmp(&distance(b))) == Some(value)
    }
}

impl Agreement {
    /// Counts pictures with their conditions `[N, 8, E]`. A colour that is a mixture of four is left to its quarters.
    pub async fn add(&mut self, values: &Values, conditions: &Tensor, told: &[Slots]) -> Result<()> {
        let read = conditions.read_f32().await?;
        let width = conditions.shape().as_slice()[2];
        for (picture, slots) in read.chunks_exact(SLOTS * width).zip(told) {
            let mut whole = true;
            for (vector, slot) in picture.chunks_exact(width).zip(slots) {
                for &(value, _) in slot.iter().filter(|(_, weight)| *weight == 1.0) {
                    let Some((name, all)) = slot_attribute(value) else { continue };
                    let right = values.nearest(vector, slot, value, all);
                    self.attributes.entry(name).or_default().add(right);
                    whole &= right;
                }
            }
            self.whole.add(whole);
        }
        Ok(())
    }

    /// In shares; none where nothing was drawn.
    pub fn scores(&self) -> Option<Value> {
        let share = |tally: &Tally| tally.right as f64 / tally.asked.max(1) as f64;
        let attributes: BTreeMap<_, _> = self.attributes.iter().map(|(name, tally)| (name, share(tally))).collect();
        let scores = json!({ "pictures": self.whole.asked, "all": share(&self.whole), "attributes": attributes });
        (self.whole.asked > 0).then_some(scores)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Values whose vectors stand at right angles.
    fn values() -> Values {
        Values((0..SLOT_VALUES).map(|n| (0..SLOT_VALUES).map(|i| f32::from(u8::from(i == n))).collect()).collect())
    }

    #[test]
    fn a_wrong_attribute_is_seen_and_the_others_are_not_blamed() {
        let (red, circle) = (SLOTS + 3 + 4 + 7, SLOTS + 3 + 4);
        assert_eq!(slot_attribute(red).unwrap().0, "color");
        assert_eq!(slot_attribute(circle).unwrap().0, "shape");
        let told = vec![(1, 1.0), (red, 1.0), (circle, 1.0)];
        let vector =
            |said: [usize; 3]| (0..SLOT_VALUES).map(|i| f32::from(u8::from(said.contains(&i)))).collect::<Vec<f32>>();
        let right =
            |said, value: usize| values().nearest(&vector(said), &told, value, slot_attribute(value).unwrap().1);
        assert!(right([1, red, circle], red) && right([1, red, circle], circle));
        assert!(!right([1, red + 1, circle], red) && right([1, red + 1, circle], circle));
    }
}
