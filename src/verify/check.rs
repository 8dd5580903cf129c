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

/// How far a tensor is from its recording.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Measure {
    /// Largest error, relative to the tensor's largest magnitude.
    Largest,
    /// Root mean square of the errors, relative to that of the tensor: for formats whose rounding is noise on every
    /// element. The worst of many elements says little then; two unrelated tensors are 1.4 apart.
    RootMeanSquare,
}

impl Measure {
    fn of(self, got: &[f32], want: &[f32]) -> f64 {
        let largest = |m: f64, x: f64| if x.is_nan() { f64::INFINITY } else { m.max(x) };
        let fold = |values: &mut dyn Iterator<Item = f64>| match self {
            Measure::Largest => values.map(f64::abs).fold(0.0, largest),
            Measure::RootMeanSquare => values.map(|x| x * x).sum::<f64>().sqrt(),
        };
        let off = fold(&mut got.iter().zip(want).map(|(g, w)| f64::from(*g) - f64::from(*w)));
        // NaN is further off than anything.
        let off = if off.is_nan() { f64::INFINITY } else { off };
        off / fold(&mut want.iter().map(|x| f64::from(*x))).max(1e-12)
    }
}

/// What one recorded stage gave.
#[derive(Debug, Clone, Serialize)]
pub struct StageReport {
    /// Name of the recorded file.
    pub stage: String,
    /// Tensors, texts and lists of ids compared.
    pub compared: usize,
    /// Largest error of any tensor.
    pub worst: f64,
    /// Where it was.
    pub worst_at: String,
    /// Largest error allowed.
    pub bound: f64,
    /// How errors of floats are measured.
    pub measure: Measure,
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
        let measure = Measure::Largest;
        let (verdict, notes) = (Verdict::Passed, vec![]);
        StageReport { stage, compared: 0, worst: 0.0, worst_at, bound: 0.0, measure, verdict, notes }
    }
}

/// Collects the comparisons of a stage.
pub(super) struct Check {
    report: StageReport,
}

impl Check {
    pub fn new(stage: &str, bound: f64, measure: Measure) -> Check {
        Check { report: StageReport { bound, measure, ..StageReport::empty(stage) } }
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

    /// Compares numbers, within the stage's bound and by its measure.
    pub fn floats(&mut self, name: &str, got: &[f32], want: &[f32]) {
        self.compare(name, got, want, self.report.bound, self.report.measure);
    }

    /// Compares numbers in which weights have no part, within a bound of their own.
    pub fn floats_within(&mut self, name: &str, got: &[f32], want: &[f32], bound: f64) {
        self.compare(name, got, want, bound, Measure::Largest);
    }

    fn compare(&mut self, name: &str, got: &[f32], want: &[f32], bound: f64, measure: Measure) {
        self.report.compared += 1;
        if got.len() != want.len() {
            return self.fail(format!("{name} has {} elements, recorded {}", got.len(), want.len()));
        }
        self.off_by(name, measure.of(got, want), bound);
    }

    /// Compares one number with a recorded one, relative to its size.
    pub fn number(&mut self, name: &str, got: f64, want: f64, bound: f64) {
        let off = (got - want).abs() / want.abs().max(1e-12);
        self.error(name, if got == want { 0.0 } else { off }, bound);
    }

    /// Compares by an error that was computed elsewhere.
    pub fn error(&mut self, name: &str, error: f64, bound: f64) {
        self.report.compared += 1;
        self.off_by(name, if error.is_nan() { f64::INFINITY } else { error }, bound);
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

    /// Compares choices with the scores that would make them, `[choice][candidate]`. How far they score below the best
    /// candidates, relative to the largest score and as a root mean square over the choices, has the stage's bound.
    pub fn choices(&mut self, name: &str, scores: &[f32], chosen: &[u32]) {
        self.report.compared += 1;
        let candidates = scores.len() / chosen.len().max(1);
        let scale = scores.iter().fold(1e-12, |m, x| f64::from(x.abs()).max(m));
        let short = |(scores, &id): (&[f32], &u32)| {
            let best = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            scores.get(id as usize).map_or(f64::INFINITY, |score| f64::from(best - score) / scale)
        };
        let squares: f64 = scores.chunks(candidates.max(1)).zip(chosen).map(short).map(|x| x * x).sum();
        let off = (squares / chosen.len().max(1) as f64).sqrt();
        self.off_by(name, if off.is_nan() { f64::INFINITY } else { off }, self.report.bound);
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
