//! Timing: warm-up until nothing gets faster, then the engines in turn, so that a disturbance meets all of them.

use crate::Side;
use std::time::{Duration, Instant};

/// Seconds of one run.
#[derive(Clone, Copy)]
pub struct Sample {
    pub wall: f64,
    /// Of all threads of the process: the machine may be shared.
    pub processor: f64,
}

pub fn processor_seconds() -> f64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer is to a live timespec.
    unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &mut time) };
    time.tv_sec as f64 + time.tv_nsec as f64 * 1e-9
}

/// One run, with the whole result read back: burn's engine is lazy, and a part of the result is no proof of all work.
pub fn once(side: &mut Side) -> (Sample, Vec<Vec<f32>>) {
    let (wall, processor) = (Instant::now(), processor_seconds());
    let outcome = (side.run)();
    (Sample { wall: wall.elapsed().as_secs_f64(), processor: processor_seconds() - processor }, outcome)
}

const WARM_RUNS: usize = 5;
const MOST_WARM_RUNS: usize = 40;
/// A run that takes so long compiles or tunes kernels: say so, since a software driver may need minutes for it.
const SLOW: f64 = 5.0;

/// Runs until autotuning and compiling are over: three runs in a row within a fifth of the fastest. The last result.
pub fn warm_up(side: &mut Side) -> Vec<Vec<f32>> {
    let (mut fastest, mut steady) = (f64::INFINITY, 0);
    for run in 1.. {
        let (sample, outcome) = once(side);
        if sample.wall > SLOW {
            eprintln!(
                "{}: warm-up run {run} took {:.0} s ({:.0} s of processor)",
                side.engine, sample.wall, sample.processor
            );
        }
        fastest = fastest.min(sample.processor);
        steady = if sample.processor <= 1.2 * fastest { steady + 1 } else { 0 };
        if run >= WARM_RUNS && (steady >= 3 || run >= MOST_WARM_RUNS) {
            return outcome;
        }
    }
    unreachable!("the loop returns")
}

/// Rounds in which every engine runs once; as many as fit the time, at least `least`.
pub fn in_turn(sides: &mut [Side], least: usize, time: Duration) -> Vec<Vec<Sample>> {
    let mut samples = vec![Vec::new(); sides.len()];
    let start = Instant::now();
    for round in 0..200 {
        if round >= least && start.elapsed() > time {
            break;
        }
        for (side, samples) in sides.iter_mut().zip(&mut samples) {
            samples.push(once(side).0);
        }
    }
    samples
}

pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len() % 2 == 1 { values[middle] } else { (values[middle - 1] + values[middle]) / 2.0 }
}
