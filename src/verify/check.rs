//! Comparing with a recording, and the report of a stage.

use super::golden::Recorded;
use crate::tensor::Tensor;
use crate::{Error, Result};
use serde::Serialize;

/// How a stage ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Everything within its bound.
    Passed,
    /// Something is not.
    Failed,
    /// The recording exists, the code does not.
    NotImplemented,
}

/// What one recorded stage gave.
#[derive(Debug, Clone, Serialize)]
pub struct StageReport {
    /// Name of the recorded file.
    pub stage: String,
    /// Tensors, texts and lists of ids compared.
    pub compared: usize,
    /// Largest error, relative to its tensor's largest magnitude.
    pub worst: f64,
    /// Where it was.
    pub worst_at: String,
    /// Largest error allowed.
    pub bound: f64,
    /// How it ended.
    pub verdict: Verdict,
    /// What failed, what is missing, or what is good to know.
    pub notes: Vec<String>,
}

impl StageReport {
    /// A stage that could not run.
    pub fn broken(stage: &str, error: &Error) -> StageReport {
        StageReport { verdict: Verdict::Failed, notes: vec![error.to_string()], ..StageReport::empty(stage) }
    }

    /// A stage whose code does not exist.
    pub fn not_implemented(stage: &str, why: &str) -> StageReport {
        StageReport { verdict: Verdict::NotImplemented, notes: vec![why.to_string()], ..StageReport::empty(stage) }
    }

    fn empty(stage: &str) -> StageReport {
        let (stage, worst_at) = (stage.to_string(), String::new());
        StageReport { stage, compared: 0, worst: 0.0, worst_at, bound: 0.0, verdict: Verdict::Passed, notes: vec![] }
    }
}

/// Collects the comparisons of a stage.
pub(super) struct Check {
    report: StageReport,
}

impl Check {
    pub fn new(stage: &str, bound: f64) -> Check {
        Check { report: StageReport { bound, ..StageReport::empty(stage) } }
    }

    /// Compares a tensor, within the stage's bound.
    pub async fn tensor(&mut self, name: &str, got: &Tensor, want: &Recorded) -> Result<()> {
        let values = got.read_f32().await?;
        if got.shape().as_slice() != want.shape {
            self.fail(format!("{name} has shape {}, recorded {:?}", got.shape(), want.shape));
            return Ok(());
        }
        self.floats(name, &values, &want.data);
        Ok(())
    }

    /// Compares numbers, within the stage's bound.
    pub fn floats(&mut self, name: &str, got: &[f32], want: &[f32]) {
        let bound = self.report.bound;
        self.floats_within(name, got, want, bound);
    }

    /// Compares numbers within a bound of their own.
    pub fn floats_within(&mut self, name: &str, got: &[f32], want: &[f32], bound: f64) {
        self.report.compared += 1;
        if got.len() != want.len() {
            return self.fail(format!("{name} has {} elements, recorded {}", got.len(), want.len()));
        }
        let scale = want.iter().fold(0f64, |m, x| m.max(f64::from(x.abs()))).max(1e-12);
        let off = |(g, w): (&f32, &f32)| (f64::from(*g) - f64::from(*w)).abs() / scale;
        // NaN is further off than anything.
        let worst = got.iter().zip(want).map(off).fold(0f64, |m, e| if e.is_nan() { f64::INFINITY } else { m.max(e) });
        self.off_by(name, worst, bound);
    }

    /// Takes note of an error that was computed elsewhere.
    fn off_by(&mut self, name: &str, error: f64, bound: f64) {
        if error >= self.report.worst {
            self.report.worst = error;
            self.report.worst_at = name.to_string();
        }
        if error > bound {
            self.fail(format!("{name} is off by {error:.1e}, bound {bound:.0e}"));
        }
    }

    /// Compares choices with the scores that would make them, `[choice][candidate]`: a choice may score below the best
    /// candidate by the stage's bound of the largest score.
    pub fn choices(&mut self, name: &str, scores: &[f32], chosen: &[u32]) {
        self.report.compared += 1;
        let candidates = scores.len() / chosen.len().max(1);
        let scale = scores.iter().fold(1e-12, |m, x| f64::from(x.abs()).max(m));
        let short = |(scores, &id): (&[f32], &u32)| {
            let best = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            scores.get(id as usize).map_or(f64::INFINITY, |score| f64::from(best - score) / scale)
        };
        let worst = scores.chunks(candidates.max(1)).zip(chosen).map(short);
        let worst = worst.fold(0f64, |m, e| if e.is_nan() { f64::INFINITY } else { m.max(e) });
        self.off_by(name, worst, self.report.bound);
    }

    /// Adds something that is good to know, whatever the verdict.
    pub fn note(&mut self, text: String) {
        self.report.notes.push(text);
    }

    /// Compares bytes; `levels` may lie between them.
    pub fn bytes(&mut self, name: &str, got: &[u8], want: &[u8], levels: u8) {
        self.report.compared += 1;
        if got.len() != want.len() {
            return self.fail(format!("{name} has {} bytes, recorded {}", got.len(), want.len()));
        }
        let worst = got.iter().zip(want).map(|(g, w)| g.abs_diff(*w)).max().unwrap_or(0);
        if worst > levels {
            self.fail(format!("{name} is off by {worst} levels, bound {levels}"));
        }
    }

    /// Compares things that must be equal.
    pub fn equal<T: PartialEq + std::fmt::Debug + ?Sized>(&mut self, name: &str, got: &T, want: &T) {
        self.report.compared += 1;
        if got != want {
            let mut text = format!("{name} is {got:?}, recorded {want:?}");
            if let Some((end, _)) = text.char_indices().nth(300) {
                text.truncate(end);
                text.push('…');
            }
            self.fail(text);
        }
    }

    pub fn fail(&mut self, why: String) {
        self.report.verdict = Verdict::Failed;
        self.report.notes.push(why);
    }

    /// The report; a stage that compared nothing has not passed.
    pub fn finish(mut self) -> StageReport {
        if self.report.compared == 0 {
            self.fail("nothing was compared".into());
        }
        self.report
    }
}
