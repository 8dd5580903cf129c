//! Samples made on worker threads, ahead of the GPU.
//!
//! Worker `w` of `N` makes the draws `w`, `w + N`, `w + 2N`, … and puts them in a queue of its own; the consumer takes from the
//! queues in turn. So the order does not depend on the number of workers or on who is faster, no queue needs sorting, and
//! a full queue stops its worker: at most `N · ahead + N` samples are in memory.

use super::mixture::{Mixture, Position};
use super::sample::{Sample, SampleBuilder};
use super::skipped::{Problem, Skipped};
use super::training_data::TrainingData;
use crate::{Error, Result};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

/// How samples are loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LoaderOptions {
    /// Threads that read, decode and resize.
    pub workers: usize,
    /// Samples that each may be ahead.
    pub ahead: usize,
    /// Whether the first thing that cannot be used is an error.
    pub strict: bool,
    /// Which of how many processes this is: number r of N takes the draws r, r + N, r + 2N, … What cannot be used is replaced
    /// draw by draw, so the processes together take what a single one takes.
    pub share: (u64, u64),
}

impl Default for LoaderOptions {
    /// As many workers as processors, eight at most.
    fn default() -> Self {
        let workers = std::thread::available_parallelism().map_or(1, |n| n.get().min(8));
        LoaderOptions { workers, ahead: 4, strict: false, share: (0, 1) }
    }
}

/// An endless row of samples.
pub struct Loader {
    queues: Vec<Receiver<Made>>,
    workers: Vec<JoinHandle<()>>,
    mixture: Mixture,
    /// Draw at which the first worker began.
    first: u64,
    position: Position,
    skipped: Skipped,
    strict: bool,
    /// Processes that draw in turn.
    processes: u64,
    /// Records in a row that could not be used.
    failed: u64,
}

/// What a worker gives for one draw.
type Made = (Result<Sample, Problem>, Vec<Problem>);

impl Loader {
    /// Starts the workers at `position`, where the data must not have changed.
    pub fn start(
        data: &Arc<TrainingData>,
        builder: &Arc<SampleBuilder>,
        position: Position,
        options: LoaderOptions,
    ) -> Result<Loader> {
        data.mixture.check(&position)?;
        let mut skipped = Skipped::default();
        for problem in &data.problems {
            refuse(problem, options.strict)?;
            skipped.add(problem.clone());
        }
        let count = options.workers.max(1);
        let (mut queues, mut workers) = (Vec::new(), Vec::new());
        for n in 0..count {
            let (queue, made) = sync_channel(options.ahead);
            let (data, builder, position) = (data.clone(), builder.clone(), position.clone());
            let (process, processes) = options.share;
            let turns = [n as u64 * processes + process, count as u64 * processes];
            let work = move || work(&data, &builder, position, turns, &queue);
            let worker = std::thread::Builder::new().name(format!("data {n}")).spawn(work);
            workers.push(worker.map_err(|e| Error::Input(format!("cannot start a data worker: {e}")))?);
            queues.push(made);
        }
        let mixture = data.mixture.clone();
        let (first, strict) = (position.draws, options.strict);
        let processes = options.share.1.max(1);
        Ok(Loader { queues, workers, mixture, first, position, skipped, strict, processes, failed: 0 })
    }

    /// The next `count` samples that can be used, in the order of the draws. Waits for the workers.
    pub fn next_samples(&mut self, count: usize) -> Result<Vec<Sample>> {
        (0..count).map(|_| self.next_sample()).collect()
    }

    fn next_sample(&mut self) -> Result<Sample> {
        loop {
            let turn = (self.position.draws - self.first) / self.processes % self.queues.len() as u64;
            let (sample, dropped) =
                self.queues[turn as usize].recv().map_err(|_| Error::Input("a data worker has died".into()))?;
            for problem in dropped.into_iter().chain(sample.as_ref().err().cloned()) {
                refuse(&problem, self.strict)?;
                self.skipped.add(problem);
            }
            if let Ok(sample) = sample {
                self.failed = 0;
                (0..self.processes).for_each(|_| _ = self.mixture.next(&mut self.position));
                return Ok(sample);
            }
            self.failed += 1;
            if self.failed >= self.mixture.records().saturating_mul(2).clamp(100, 10_000) {
                let problem = self.skipped.problems().last().map_or_else(String::new, Problem::to_string);
                let why = format!("{} training records in a row cannot be used, the last one: {problem}", self.failed);
                return Err(Error::Input(why));
            }
        }
    }

    /// The place behind the samples that were taken: a loader started there continues with the same samples.
    pub fn position(&self) -> &Position {
        &self.position
    }

    /// What was left out so far.
    pub fn skipped(&self) -> &Skipped {
        &self.skipped
    }
}

fn refuse(problem: &Problem, strict: bool) -> Result<()> {
    if strict { Err(Error::Input(problem.to_string())) } else { Ok(()) }
}

/// Makes every `of`-th sample from the `first` on, until nobody wants them any more. A record that cannot be used is replaced by
/// the one behind it: so every draw gives a sample, and the others do not move, however many processes share them.
fn work(
    data: &TrainingData,
    builder: &SampleBuilder,
    mut position: Position,
    [first, of]: [u64; 2],
    queue: &SyncSender<Made>,
) {
    for turn in 0u64.. {
        let pick = data.mixture.next(&mut position);
        if turn % of != first {
            continue;
        }
        for attempt in 0.. {
            let made = data.sample(data.mixture.instead_of(pick, attempt), builder);
            let usable = made.0.is_ok();
            if queue.send(made).is_err() {
                return;
            }
            if usable {
                break;
            }
        }
    }
}

impl Drop for Loader {
    /// A worker ends at its next sample, once its queue is gone.
    fn drop(&mut self) {
        self.queues.clear();
        self.workers.drain(..).for_each(|worker| drop(worker.join()));
    }
}

#[cfg(test)]
mod tests;
