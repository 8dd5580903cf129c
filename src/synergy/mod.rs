//! The paper's question, as one command: does creating help understanding, and the other way round?
//!
//! A [`Study`] trains one [`Cell`] after another — creation only, comprehension only and both together, each with and without
//! interleaved documents, for several seeds — from the same weights on the same records in the same order, differing in the
//! objective alone (which also says whether a pair is read or drawn: joint learning does either with half of them, as officially), and puts the benchmark of [`crate::eval`] to each. [`Findings`] are means over the seeds with 95 % intervals
//! and paired differences; `page` shows pictures and answers side by side.
//!
//! Reading order: [`Budget`], [`Cell`], `start` (the weights that all cells of a seed begin with), `study`, `findings`, `page`.

mod budget;
mod cell;
mod findings;
mod page;
mod start;
mod statistics;
mod study;

pub use budget::Budget;
pub use cell::Cell;
pub use findings::{Findings, METRICS, Metric};
pub use statistics::{Estimate, estimate};
pub use study::{Event, Outcome, Study};
