//! Progress bars, on standard error and only where a person looks.

use super::Output;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

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

/// Op cases, by number, with the op's name.
pub(super) fn cases(output: &Output, length: usize) -> ProgressBar {
    bar(output, length as u64, "checking {bar:30} {pos}/{len} {msg}")
}
