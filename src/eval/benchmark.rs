//! A fixed set of tasks, put to a model.

use super::features::features;
use super::frechet::{Statistics, frechet_distance};
use super::report::Report;
use super::tasks::{AnswerTask, DrawTask, Request};
use crate::data::shapes::{Split, World};
use crate::image::RgbImage;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::future::Future;

/// Name of the figure.
pub const FRECHET: &str = "Fréchet distance to real pictures";

/// What is measured. Requests come in batches of at most [`batch`](Model::batch), and one result is expected for each.
pub trait Model {
    /// Draws a picture for each request, of 32 or 64 pixels a side.
    fn draw(&mut self, requests: &[&Request]) -> impl Future<Output = Result<Vec<RgbImage>>>;

    /// Answers each question.
    fn answer(&mut self, requests: &[&Request]) -> impl Future<Output = Result<Vec<String>>>;

    /// Most requests at a time.
    fn batch(&self) -> usize {
        1
    }
}

/// How many tasks of each kind. The same seed gives the same tasks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Benchmark {
    /// Where the scenes come from; held-out compositions by default.
    pub world: World,
    /// Prompts about one object.
    pub one_object: u64,
    /// Prompts about two objects.
    pub two_objects: u64,
    /// Questions about one picture.
    pub questions: u64,
    /// Questions over two pictures.
    pub over_two: u64,
    /// Questions over three pictures.
    pub over_three: u64,
    /// Edits.
    pub edits: u64,
    /// Next pictures of stories.
    pub subjects: u64,
    /// Compositions.
    pub compositions: u64,
}

impl Default for Benchmark {
    fn default() -> Self {
        let world = World { split: Split::Heldout, seed: 20_230_920, ..World::default() };
        Benchmark {
            world,
            one_object: 200,
            two_objects: 200,
            questions: 1000,
            over_two: 500,
            over_three: 250,
            edits: 200,
            subjects: 200,
            compositions: 200,
        }
    }
}

impl Benchmark {
    /// The pictures to be drawn.
    pub fn drawings(&self) -> Vec<DrawTask> {
        let world = &self.world;
        let mut tasks: Vec<DrawTask> = (0..self.one_object).map(|n| DrawTask::prompt(world, 1, n)).collect();
        tasks.extend((0..self.two_objects).map(|n| DrawTask::prompt(world, 2, n)));
        tasks.extend((0..self.edits).map(|n| DrawTask::edit(world, n)));
        tasks.extend((0..self.subjects).map(|n| DrawTask::subject(world, n)));
        tasks.extend((0..self.compositions).map(|n| DrawTask::composition(world, n)));
        tasks
    }

    /// The questions to be answered.
    pub fn questions(&self) -> Vec<AnswerTask> {
        let world = &self.world;
        let mut tasks: Vec<AnswerTask> = (0..self.questions).map(|n| AnswerTask::single(world, n)).collect();
        tasks.extend((0..self.over_two).map(|n| AnswerTask::several(world, 2, n)));
        tasks.extend((0..self.over_three).map(|n| AnswerTask::several(world, 3, n)));
        tasks
    }

    /// Puts all tasks to a model. `seen` is called with the tasks done and all tasks, and may end the work by an error.
    pub async fn run(
        &self,
        model: &mut impl Model,
        mut seen: impl FnMut(usize, usize) -> Result<()>,
    ) -> Result<Report> {
        self.world.check()?;
        let (drawings, questions) = (self.drawings(), self.questions());
        let total = drawings.len() + questions.len();
        let (mut report, mut done) = (Report::default(), 0);
        let (mut drawn, mut real) = (Vec::new(), Vec::new());
        let batch = model.batch().max(1);
        for tasks in drawings.chunks(batch) {
            let requests: Vec<&Request> = tasks.iter().map(|task| &task.request).collect();
            let pictures = model.draw(&requests).await?;
            expect(pictures.len(), requests.len())?;
            for (task, picture) in tasks.iter().zip(&pictures) {
                task.count(picture, &mut report)?;
                if task.request.images.is_empty() {
                    drawn.push(features(picture)?);
                    real.push(features(&task.real)?);
                }
            }
            done += tasks.len();
            seen(done, total)?;
        }
        for tasks in questions.chunks(batch) {
            let requests: Vec<&Request> = tasks.iter().map(|task| &task.request).collect();
            let answers = model.answer(&requests).await?;
            expect(answers.len(), requests.len())?;
            tasks.iter().zip(&answers).for_each(|(task, answer)| _ = task.count(answer, &mut report));
            done += tasks.len();
            seen(done, total)?;
        }
        self.distances(&drawn, &real, &mut report)?;
        Ok(report)
    }

    /// The Fréchet distance of pictures from prompts to as many real ones of other scenes, and what real ones have among themselves.
    fn distances(&self, drawn: &[Vec<f64>], real: &[Vec<f64>], report: &mut Report) -> Result<()> {
        if drawn.len() < 2 {
            return Ok(());
        }
        let others = Benchmark { world: World { seed: self.world.seed ^ 1, ..self.world.clone() }, ..self.clone() };
        let prompts = Benchmark { edits: 0, subjects: 0, compositions: 0, ..others };
        let others: Vec<_> = prompts.drawings().iter().map(|task| features(&task.real)).collect::<Result<_>>()?;
        let [drawn, real, others] = [drawn, real, &others].map(Statistics::of);
        let others = others?;
        report.figures.push((FRECHET.into(), frechet_distance(&drawn?, &others)?));
        report.figures.push(("of real pictures to other real ones".into(), frechet_distance(&real?, &others)?));
        Ok(())
    }
}

fn expect(got: usize, want: usize) -> Result<()> {
    match got == want {
        true => Ok(()),
        false => Err(Error::Input(format!("a model gave {got} results for {want} requests"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    fn small() -> Benchmark {
        Benchmark {
            one_object: 20,
            two_objects: 20,
            questions: 60,
            over_two: 30,
            over_three: 10,
            edits: 20,
            subjects: 20,
            compositions: 20,
            ..Benchmark::default()
        }
    }

    /// Knows everything; or draws one grey and says one word.
    struct Pupil {
        drawings: HashMap<String, Vec<DrawTask>>,
        questions: Vec<AnswerTask>,
        knows: bool,
    }

    impl Pupil {
        fn new(benchmark: &Benchmark, knows: bool) -> Pupil {
            let mut drawings: HashMap<String, Vec<DrawTask>> = HashMap::new();
            benchmark
                .drawings()
                .into_iter()
                .for_each(|task| drawings.entry(task.request.text.clone()).or_default().push(task));
            Pupil { drawings, questions: benchmark.questions(), knows }
        }
    }

    impl Model for Pupil {
        async fn draw(&mut self, requests: &[&Request]) -> Result<Vec<RgbImage>> {
            let draw = |request: &&Request| {
                let known = self.drawings[&request.text].iter().find(|task| task.request == **request).unwrap();
                let grey = RgbImage::new(32, 32, vec![90; 3072]).unwrap();
                if self.knows { known.real.clone() } else { grey }
            };
            Ok(requests.iter().map(draw).collect())
        }

        async fn answer(&mut self, requests: &[&Request]) -> Result<Vec<String>> {
            let answer = |request: &&Request| {
                let known = self.questions.iter().find(|task| task.request == **request).unwrap();
                if self.knows { format!(" {}.", known.answer.to_uppercase()) } else { "cucumber".into() }
            };
            Ok(requests.iter().map(answer).collect())
        }

        fn batch(&self) -> usize {
            8
        }
    }

    #[test]
    fn who_knows_everything_is_always_right_and_who_knows_nothing_never() {
        let benchmark = small();
        for knows in [true, false] {
            let mut last = (0, 0);
            let seen = |done, total| {
                last = (done, total);
                Ok(())
            };
            let report = pollster::block_on(benchmark.run(&mut Pupil::new(&benchmark, knows), seen)).unwrap();
            assert_eq!(last, (200, 200));
            for table in report.tables.iter().filter(|table| !table.name.starts_with("attributes")) {
                for row in &table.rows {
                    let want = if knows { row.tally.asked } else { 0 };
                    assert_eq!(row.tally.right, want, "{} / {}", table.name, row.name);
                }
            }
            let names: Vec<&str> = report.tables.iter().map(|table| table.name.as_str()).collect();
            for name in ["edits in context", "subjects", "compositions", "questions over three pictures"] {
                assert!(names.contains(&name), "{names:?}");
            }
            let [drawn, real] = [0, 1].map(|n| report.figures[n].1);
            assert!(if knows { drawn == real } else { drawn > 2.0 * real }, "{drawn} {real}");
        }
    }

    #[test]
    fn tasks_are_the_same_for_a_seed_and_held_out() {
        let (a, b) = (small(), small());
        assert_eq!((a.drawings(), a.questions()), (b.drawings(), b.questions()));
        let other = Benchmark { world: World { seed: 5, ..a.world.clone() }, ..a.clone() };
        assert_ne!(a.questions(), other.questions());
        assert_eq!(a.world.split, Split::Heldout);
    }

    #[test]
    fn a_model_that_gives_too_little_is_an_error() {
        struct Mute;
        impl Model for Mute {
            async fn draw(&mut self, _: &[&Request]) -> Result<Vec<RgbImage>> {
                Ok(vec![])
            }
            async fn answer(&mut self, _: &[&Request]) -> Result<Vec<String>> {
                Ok(vec![])
            }
        }
        let error = pollster::block_on(small().run(&mut Mute, |_, _| Ok(()))).unwrap_err().to_string();
        assert!(error.contains("0 results for 1"), "{error}");
    }
}
