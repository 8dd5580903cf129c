//! How far a run is, as one line.

use super::Line;
use crate::gpu::Gpu;
use std::fmt;
use std::time::{Duration, Instant};

/// A step that is done.
#[derive(Debug, Clone, PartialEq)]
pub struct Progress {
    /// What the log says of it.
    pub line: Line,
    /// Steps of the whole run.
    pub steps: u64,
    /// Over the last steps.
    pub samples_per_second: f64,
    /// Over the last steps.
    pub tokens_per_second: f64,
    /// Most bytes in use on the device at once during the step.
    pub memory: u64,
    /// How long the rest will take at this speed.
    pub left: Duration,
}

/// Speeds over the last steps: each step counts a tenth less than the one after it.
#[derive(Default)]
pub(super) struct Speed {
    steps: f64,
    samples: f64,
    tokens: f64,
    seconds: f64,
}

impl Speed {
    pub fn progress(&mut self, line: Line, steps: u64, gpu: &Gpu) -> Progress {
        let add = |sum: &mut f64, x: f64| *sum = 0.9 * *sum + x;
        add(&mut self.steps, 1.0);
        add(&mut self.samples, line.samples as f64);
        add(&mut self.tokens, line.tokens as f64);
        add(&mut self.seconds, line.seconds);
        let seconds = self.seconds.max(1e-9);
        let left = steps.saturating_sub(line.step) as f64 * seconds / self.steps;
        Progress {
            steps,
            samples_per_second: self.samples / seconds,
            tokens_per_second: self.tokens / seconds,
            memory: gpu.take_peak_memory(),
            left: Duration::from_secs_f64(left.min(1e9)),
            line,
        }
    }
}

/// Seconds since a moment, which is set to now.
pub(super) fn lap(since: &mut Instant) -> f64 {
    let now = Instant::now();
    now.duration_since(std::mem::replace(since, now)).as_secs_f64()
}

impl fmt::Display for Progress {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "step {}/{}", self.line.step, self.steps)?;
        for (name, loss) in &self.line.losses {
            match loss {
                Some(loss) => write!(f, "  {name} {loss:.4}")?,
                None => write!(f, "  {name} –")?,
            }
        }
        let gibibytes = self.memory as f64 / (1u64 << 30) as f64;
        write!(f, "  {:.3} samples/s  {:.0} tokens/s", self.samples_per_second, self.tokens_per_second)?;
        write!(f, "  {gibibytes:.2} GiB  {} left", length_of(self.left))
    }
}

/// How long something takes, in the two largest units.
pub fn length_of(time: Duration) -> String {
    let seconds = time.as_secs();
    let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
    match seconds {
        ..60 => format!("{seconds} s"),
        60..3600 => format!("{minutes} min {} s", seconds % 60),
        3600..172_800 => format!("{hours} h {minutes} min"),
        _ => format!("{} d {} h", hours / 24, hours % 24),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_short() {
        let texts = [59, 61, 7380, 200_000].map(|seconds| length_of(Duration::from_secs(seconds)));
        assert_eq!(texts, ["59 s", "1 min 1 s", "2 h 3 min", "2 d 7 h"]);
    }
}
