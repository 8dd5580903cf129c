//! Recording and submitting cost the host at most 5 µs per dispatch over 1,000 dispatches.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use common::{host_time, recording};
use dreamllm::gpu::DeviceClass;

/// Microseconds. In release builds the figure is a third of it (`benches/NOTES.md`). Debug builds, in which this usually runs,
/// get three times as much for unoptimised code; a bind group made anew for every dispatch would add 9.
const BOUND: f64 = if cfg!(debug_assertions) { 15.0 } else { 5.0 };

#[test]
fn a_dispatch_costs_the_host_little() {
    for line in host_time::measure(&recording(DeviceClass::Hardware), 20).unwrap() {
        let all = line.recording + line.submitting;
        println!("{:.2} + {:.2} µs: {}", line.recording, line.submitting, line.work);
        assert!(all < BOUND, "{}: {all:.1} µs of host time per dispatch, over {BOUND}", line.work);
    }
}
