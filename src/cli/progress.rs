//! Progress bars, on standard error and only where a person looks.

use super::Output;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::time::{Duration, Instant};

fn bar(output: &Output, length: u64, template: &str) -> ProgressBar {
    let target = if output.quiet { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() };
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::with_draw_target(Some(length), target).with_style(style)
}

/// Loading, by bytes.
pub(super) fn bytes(output: &Output, length: u64) -> ProgressBar {
    bar(output, length, "loading  {bar:30} {bytes}/{total_bytes} {bytes_per_sec}")
}

/// Converting, by elements.
pub(super) fn elements(output: &Output, length: u64) -> ProgressBar {
    bar(output, length, "converting {bar:30} {percent}% {eta} left")
}

/// Denoising, by steps.
pub(super) fn steps(output: &Output, length: usize) -> ProgressBar {
    bar(output, length as u64, "dreaming {bar:30} {pos}/{len} {per_sec} {eta} left")
}

/// Tasks of a benchmark, by number.
pub(super) fn tasks(output: &Output) -> ProgressBar {
    bar(output, 0, "asking   {bar:30} {pos}/{len} {eta} left")
}

/// Op cases, by number, with the op's name.
pub(super) fn cases(output: &Output, length: usize) -> ProgressBar {
    bar(output, length as u64, "checking {bar:30} {pos}/{len} {msg}")
}

/// A line that is written over, or, where nobody looks, a new one every few seconds.
pub(super) struct Lines {
    bar: ProgressBar,
    plain: bool,
    last: Option<Instant>,
    latest: String,
}

impl Lines {
    pub fn new(output: &Output, length: u64) -> Lines {
        let bar = bar(output, length, "{bar:20} {msg}");
        Lines { plain: bar.is_hidden() && !output.quiet, bar, last: None, latest: String::new() }
    }

    pub fn show(&mut self, position: u64, line: &str) {
        self.bar.set_position(position);
        self.bar.set_message(line.to_string());
        self.latest = line.to_string();
        if self.plain && self.last.is_none_or(|last| last.elapsed() > Duration::from_secs(5)) {
            note!("{line}");
            self.last = Some(Instant::now());
            self.latest.clear();
        }
    }

    /// Leaves the last line.
    pub fn finish(&self) {
        self.bar.finish();
        if self.plain && !self.latest.is_empty() {
            note!("{}", self.latest);
        }
    }
}

/// A step of a picture is done. The bar goes with the last one, and comes back with the next picture's first.
pub(super) fn step(bar: &ProgressBar, done: usize, count: usize) {
    if bar.is_finished() {
        bar.reset();
    }
    bar.set_length(count as u64);
    bar.set_position(done as u64);
    if done >= count {
        bar.finish_and_clear();
    }
}
