//! A batch as the objective reads it.

use crate::data::{TrainingBatch, stack};
use crate::gpu::Gpu;
use crate::image::FloatImage;
use crate::tensor::Tensor;
use crate::text::Batch;
use crate::{Error, Result};

/// Rows of ids with labels, and the pictures that belong to them.
pub struct Inputs {
    /// Ids and padding, `[B, T]`.
    pub rows: Batch,
    /// What is to be learned at each place, `[B, T]`, not shifted; [`IGNORED`](crate::ops::cross_entropy::IGNORED) where
    /// nothing is.
    pub labels: Vec<u32>,
    /// Pixels for the image encoder, `[N, Y, X, 3]`.
    pub images: Option<Tensor>,
    /// The place of each one's first patch in the flattened rows.
    pub image_places: Vec<usize>,
    /// Pixels to be drawn, `[N, Y, X, 3]` in [-1, 1].
    pub dreams: Option<Tensor>,
    /// The place of each one's first query in the flattened rows.
    pub dream_places: Vec<usize>,
}

impl Inputs {
    /// A batch of samples on the device.
    pub fn new(gpu: &Gpu, batch: TrainingBatch) -> Result<Inputs> {
        let upload = |pictures: &[FloatImage]| {
            stack(pictures)?.map(|(values, shape)| Tensor::from_f32(gpu, &values, shape)).transpose()
        };
        Ok(Inputs {
            images: upload(&batch.images)?,
            dreams: upload(&batch.dreams)?,
            rows: batch.rows,
            labels: batch.labels,
            image_places: batch.image_places,
            dream_places: batch.dream_places,
        })
    }

    /// The rows of the decoder's output that predict something, and what: `labels[t + 1]` is learned at place t of its row.
    pub(super) fn learned(&self) -> (Vec<u32>, Vec<u32>) {
        let last = |place: usize| (place + 1).is_multiple_of(self.rows.width);
        (0..self.labels.len())
            .filter(|&place| !last(place) && self.labels[place + 1] != crate::ops::cross_entropy::IGNORED)
            .map(|place| (place as u32, self.labels[place + 1]))
            .unzip()
    }

    pub(super) fn check(&self, queries: usize) -> Result<()> {
        let tokens = self.rows.rows * self.rows.width;
        if [self.rows.ids.len(), self.rows.mask.len(), self.labels.len()] != [tokens; 3] {
            let got = format!(
                "{} ids, {} flags of padding, {} labels",
                self.rows.ids.len(),
                self.rows.mask.len(),
                self.labels.len()
            );
            return Err(Error::Input(format!("a batch of {} x {} tokens has {got}", self.rows.rows, self.rows.width)));
        }
        let count = |pictures: &Option<Tensor>| {
            pictures.as_ref().map_or(0, |p| p.shape().as_slice().first().copied().unwrap_or(0))
        };
        for (kind, pictures, places) in
            [("image", count(&self.images), &self.image_places), ("dream", count(&self.dreams), &self.dream_places)]
        {
            // Without pixels the patches stay what they are, as in the official code.
            if pictures > 0 && pictures != places.len() {
                return Err(Error::Input(format!("a batch has {pictures} {kind}s for {} places", places.len())));
            }
        }
        let width = self.rows.width.max(1);
        let beyond = |place: &&usize| *place % width + queries > width;
        match self.dream_places.iter().find(beyond).filter(|_| self.dreams.is_some()) {
            None => Ok(()),
            Some(place) => Err(Error::Input(format!("the {queries} queries from place {place} on are not in one row"))),
        }
    }
}
