//! Samples side by side.

use super::sample::Sample;
use crate::image::FloatImage;
use crate::ops::cross_entropy::IGNORED;
use crate::text::{Batch, PaddingSide, SpecialTokens};
use crate::{Error, Result};

/// Samples as one rectangle, filled up on the right: ids with `[PAD]`, labels with [`IGNORED`].
#[derive(Debug, Clone, PartialEq)]
pub struct TrainingBatch {
    /// Ids and mask, `[B, T]`.
    pub rows: Batch,
    /// Labels `[B, T]`, not shifted.
    pub labels: Vec<u32>,
    /// Pictures for the image encoder, in the order of the samples.
    pub images: Vec<FloatImage>,
    /// Where the patches of each go: the place of the first one in the flattened rows.
    pub image_places: Vec<usize>,
    /// Pictures to be drawn, in the order of the samples.
    pub dreams: Vec<FloatImage>,
    /// Where the queries of each go: the place of the first one in the flattened rows.
    pub dream_places: Vec<usize>,
}

impl TrainingBatch {
    /// Puts samples side by side.
    pub fn new(samples: Vec<Sample>, special: &SpecialTokens) -> Self {
        let ids: Vec<&[u32]> = samples.iter().map(|sample| sample.ids.as_slice()).collect();
        let rows = Batch::new(&ids, special.pad, PaddingSide::Right);
        let after = |start| (1..).zip(&rows.ids).filter(|(_, id)| **id == start).map(|(at, _)| at).collect();
        let (image_places, dream_places) = (after(special.im_start), after(special.dream_start));
        let mut batch =
            TrainingBatch { rows, labels: vec![], images: vec![], image_places, dreams: vec![], dream_places };
        for (row, sample) in (1..).zip(samples) {
            batch.labels.extend(sample.labels);
            batch.labels.resize(row * batch.rows.width, IGNORED);
            batch.images.extend(sample.images);
            batch.dreams.extend(sample.dreams);
        }
        batch
    }

    /// Places that are learned from.
    pub fn learned(&self) -> usize {
        self.labels.iter().filter(|label| **label != IGNORED).count()
    }
}

/// Pictures of one size as one block of values, `[N, Y, X, 3]`, with its shape; none without pictures.
pub fn stack(pictures: &[FloatImage]) -> Result<Option<(Vec<f32>, [usize; 4])>> {
    let Some(first) = pictures.first() else { return Ok(None) };
    if let Some(other) = pictures.iter().find(|p| (p.width, p.height) != (first.width, first.height)) {
        let size = |p: &FloatImage| format!("{} {} 3", p.height, p.width);
        return Err(Error::Shape {
            op: "batch".into(),
            operand: "picture".into(),
            want: size(first),
            got: size(other),
        });
    }
    let values = pictures.iter().flat_map(|picture| picture.values.iter().copied()).collect();
    Ok(Some((values, [pictures.len(), first.height, first.width, 3])))
}

#[cfg(test)]
mod tests {
    use super::super::sample::tests::builder;
    use super::*;
    use crate::data::{Chance, Objective, Record};
    use crate::image::RgbImage;

    #[test]
    fn rows_are_filled_up_on_the_right_and_pictures_know_their_places() {
        let builder = builder(Objective::Joint, 128);
        let picture = RgbImage::new(2, 2, vec![9; 12]).unwrap();
        let pictures = Record::PicturePair { source: picture.clone(), target: picture };
        let long = builder.build(&pictures, &Chance::new(0, 0)).unwrap();
        let short = Sample { ids: vec![1, 2], labels: vec![IGNORED, 2], ..Sample::default() };
        let batch = TrainingBatch::new(vec![short, long.clone()], &builder.special);
        assert_eq!((batch.rows.rows, batch.rows.width), (2, 30));
        assert_eq!(batch.rows.ids[..4], [1, 2, builder.special.pad, builder.special.pad]);
        assert_eq!(batch.labels[..4], [IGNORED, 2, IGNORED, IGNORED]);
        assert_eq!((batch.labels.len(), batch.learned()), (60, 1));
        // `<s> <im_start> patches <im_end> <dream_start> queries …` in the second row.
        assert_eq!((batch.image_places, batch.dream_places), (vec![32], vec![50]));
        assert_eq!(stack(&batch.images).unwrap().unwrap().1, [1, 32, 32, 3]);
        assert_eq!((batch.images, batch.dreams), (long.images, long.dreams));
        assert!(stack(&[]).unwrap().is_none());
        let other = FloatImage::new(1, 1, vec![0.0; 3]).unwrap();
        assert!(stack(&[other, FloatImage::new(1, 2, vec![0.0; 6]).unwrap()]).is_err());
        assert_eq!(TrainingBatch::new(vec![], &builder.special).rows.rows, 0);
    }
}
