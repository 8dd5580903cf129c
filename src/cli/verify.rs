//! `dreamllm verify`: the recorded stages of a checkpoint, recomputed.

use super::{Output, check_interrupt, device};
use crate::Result;
use crate::verify::{Measure, StageReport, Verdict, verify_against};
use clap::Args;
use std::path::PathBuf;

const EXAMPLES: &str = "\
Examples:
  dreamllm verify tests/reference/tiny
  dreamllm verify tests/reference/tiny --weights f16

The exit code is 1 if a stage failed.";

#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct VerifyArguments {
    /// A checkpoint's folder with `reference/` in it.
    checkpoint: PathBuf,
    /// The recordings, if they are elsewhere: those of the checkpoint that this one was converted from.
    #[arg(long, value_name = "FOLDER")]
    reference: Option<PathBuf>,
}

impl VerifyArguments {
    /// Whether nothing failed.
    pub async fn run(&self, device: &device::DeviceArguments, output: &Output) -> Result<bool> {
        let reference = self.reference.clone().unwrap_or_else(|| self.checkpoint.join("reference"));
        let gpu = device.open(output).await?;
        if !output.json {
            say!("{:<38} {:>8}  {:>9}  {:>7}  verdict", "stage", "compared", "worst", "bound");
        }
        let show = |report: &StageReport| {
            check_interrupt()?;
            if !output.json {
                print(report);
            }
            Ok(())
        };
        let reports = verify_against(&self.checkpoint, &reference, &gpu, device.format(), show).await?;
        check_interrupt()?;
        let passed = reports.iter().all(|report| report.verdict != Verdict::Failed);
        if output.json {
            let report = gpu.report();
            let adapter =
                serde_json::json!({ "name": report.name, "driver": report.driver, "backend": report.backend });
            say!("{}", serde_json::json!({ "adapter": adapter, "passed": passed, "stages": reports }));
        } else {
            let count = |verdict| reports.iter().filter(|report| report.verdict == verdict).count();
            let (ok, bad, open) = (count(Verdict::Passed), count(Verdict::Failed), count(Verdict::NotImplemented));
            if reports.iter().any(|report| report.measure == Measure::RootMeanSquare) {
                say!("errors of tensors are root mean squares, relative to that of the tensor");
            }
            say!("{ok} stages passed, {bad} failed, {open} not implemented");
        }
        device.close(&gpu).await?;
        Ok(passed)
    }
}

fn print(report: &StageReport) {
    let verdict = match report.verdict {
        Verdict::Passed => "passed",
        Verdict::Failed => "FAILED",
        Verdict::NotImplemented => "not implemented",
    };
    let StageReport { stage, compared, worst, bound, .. } = report;
    let at = if report.worst_at.is_empty() { String::new() } else { format!("  ({})", report.worst_at) };
    say!("{stage:<38} {compared:>8}  {worst:>9.1e}  {bound:>7.0e}  {verdict}{at}");
    for note in report.notes.iter().take(20) {
        say!("    {note}");
    }
    if report.notes.len() > 20 {
        say!("    … and {} more", report.notes.len() - 20);
    }
}
