//! A model with a memory of what it drew and said.

use super::benchmark::Model;
use super::tasks::Request;
use crate::Result;
use crate::image::RgbImage;

/// Passes everything on, and keeps the results in the order of the benchmark's tasks.
pub struct Recorded<M> {
    /// What draws and answers.
    pub model: M,
    /// Its pictures.
    pub drawn: Vec<RgbImage>,
    /// Its answers.
    pub answers: Vec<String>,
}

impl<M> Recorded<M> {
    /// Nothing was drawn or said yet.
    pub fn new(model: M) -> Recorded<M> {
        Recorded { model, drawn: Vec::new(), answers: Vec::new() }
    }
}

impl<M: Model> Model for Recorded<M> {
    async fn draw(&mut self, requests: &[&Request]) -> Result<Vec<RgbImage>> {
        let drawn = self.model.draw(requests).await?;
        self.drawn.extend(drawn.iter().cloned());
        Ok(drawn)
    }

    async fn answer(&mut self, requests: &[&Request]) -> Result<Vec<String>> {
        let answers = self.model.answer(requests).await?;
        self.answers.extend(answers.iter().cloned());
        Ok(answers)
    }

    fn batch(&self) -> usize {
        self.model.batch()
    }
}
