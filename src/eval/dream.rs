//! DreamLLM as the benchmark's model.

use super::benchmark::Model;
use super::tasks::Request;
use crate::Result;
use crate::diffusion::noise::BatchNoise;
use crate::diffusion::pipeline::{DrawOptions, decode_pictures, sample};
use crate::image::RgbImage;
use crate::models::answer::{AnswerOptions, answer};
use crate::models::dreamllm::DreamLlm;
use crate::ops::layout::concat;
use crate::tensor::Tensor;

/// A model with the way it draws and answers.
pub struct Dreamer<'a> {
    /// The model, with its image encoder and its image generator.
    pub model: &'a DreamLlm,
    /// How pictures are drawn; `batch` of them at a time.
    pub drawing: DrawOptions,
    /// How questions are answered.
    pub answering: AnswerOptions,
    /// Called between prompts, denoising steps and tokens; an error ends the work there.
    pub on_step: &'a dyn Fn() -> Result<()>,
}

impl Dreamer<'_> {
    /// Condition vectors of requests, `[N, Q, E]`. Prompts differ in length, so the decoder reads one after the other.
    fn conditions(&self, requests: &[&Request]) -> Result<Tensor> {
        let condition = |request: &&Request| {
            (self.on_step)()?;
            self.model.condition(&self.model.context(&request.text, &request.images)?)
        };
        let all = requests.iter().map(condition).collect::<Result<Vec<_>>>()?;
        concat(&all.iter().collect::<Vec<_>>(), 0)
    }
}

impl Model for Dreamer<'_> {
    async fn draw(&mut self, requests: &[&Request]) -> Result<Vec<RgbImage>> {
        let (diffusion, rows) = (self.model.diffusion()?, requests.len());
        let condition = self.conditions(requests)?;
        let empty = self.model.condition(&self.model.context("", &[])?)?;
        let nothing = concat(&vec![&empty; rows], 0)?;
        let options = DrawOptions { batch: rows, ..self.drawing.clone() };
        let mut noise = BatchNoise::new(options.rng, options.seed, rows);
        // The next batch draws other noise.
        self.drawing.seed += rows as u64;
        let on_step = async |_: crate::diffusion::pipeline::Step<'_>| (self.on_step)();
        let latents = sample(diffusion, &condition, Some(&nothing), &options, None, &mut noise, on_step).await?;
        decode_pictures(diffusion, &latents, options.tiling).await
    }

    async fn answer(&mut self, requests: &[&Request]) -> Result<Vec<String>> {
        let mut answers = Vec::new();
        for request in requests {
            let answer =
                answer(self.model, &request.text, &request.images, &self.answering, |_: &str| (self.on_step)()).await?;
            answers.push(answer.text.trim().to_string());
        }
        Ok(answers)
    }

    fn batch(&self) -> usize {
        self.drawing.batch
    }
}
