//! What a study found: means over seeds, and joint learning against each half of it.

use super::budget::Budget;
use super::cell::Cell;
use super::statistics::{Estimate, estimate};
use super::study::Outcome;
use crate::data::Objective;
use crate::eval::{FRECHET, Report};
use crate::image::replace_file;
use crate::{Error, Result};
use serde::Serialize;
use std::fmt::Write;
use std::path::Path;

/// Something that is measured.
pub struct Metric {
    /// Its name.
    pub name: &'static str,
    /// Whether it is about drawing; the others are about answering.
    pub drawing: bool,
    /// Table and row of the report that it is the percentage of, several together; none for the Fréchet distance.
    pub rows: &'static [(&'static str, &'static str)],
}

const SEVERAL: [(&str, &str); 2] = [("questions over two pictures", "all"), ("questions over three pictures", "all")];
const EDITS: [(&str, &str); 2] =
    [("edits in context", "one object after it"), ("edits in context", "two objects after it")];

/// The columns of the report.
pub const METRICS: [Metric; 8] = [
    Metric { name: "single-image questions", drawing: false, rows: &[("questions about one picture", "all")] },
    Metric { name: "multi-image questions", drawing: false, rows: &SEVERAL },
    Metric { name: "prompts, one object", drawing: true, rows: &[("pictures from prompts", "one object")] },
    Metric { name: "prompts, two objects", drawing: true, rows: &[("pictures from prompts", "two objects")] },
    Metric { name: "Fréchet distance", drawing: true, rows: &[] },
    Metric { name: "in-context edits", drawing: true, rows: &EDITS },
    Metric { name: "subject identity", drawing: true, rows: &[("subjects", "identity")] },
    Metric { name: "compositions", drawing: true, rows: &[("compositions", "two pictures in one")] },
];

impl Metric {
    /// Whether less is better.
    pub fn is_distance(&self) -> bool {
        self.rows.is_empty()
    }

    /// Percent, or the distance; none where nothing of it was asked.
    fn value(&self, report: &Report) -> Option<f64> {
        if self.is_distance() {
            return report.figures.iter().find(|(name, _)| name == FRECHET).map(|(_, value)| *value);
        }
        let tallies = self.rows.iter().filter_map(|(table, row)| report.row(table, row));
        let (right, asked) = tallies.fold((0, 0), |(right, asked), tally| (right + tally.right, asked + tally.asked));
        (asked > 0).then(|| 100.0 * right as f64 / asked as f64)
    }
}

/// A row of the table.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row {
    /// Cell, or what it is compared with.
    pub name: String,
    /// Along [`METRICS`].
    pub values: Vec<Option<Estimate>>,
}

/// Joint learning minus one half of it, by metric and by whether there were documents.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Difference {
    /// The metric.
    pub metric: &'static str,
    /// Whether documents were among the records.
    pub interleaved: bool,
    /// Mean of joint learning.
    pub joint: f64,
    /// Mean of the half.
    pub alone: f64,
    /// Paired by seed; above zero where joint learning has more.
    pub difference: Estimate,
    /// Whether less is better.
    pub distance: bool,
}

/// All of it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Findings {
    /// What it cost.
    pub budget: Budget,
    /// Means.
    pub rows: Vec<Row>,
    /// Against joint learning.
    pub differences: Vec<Difference>,
    /// Raw numbers.
    pub outcomes: Vec<Outcome>,
}

/// The row of the baseline.
const TEXT_ONLY: &str = "creation only, given only the text";

impl Findings {
    /// From measured cells.
    pub fn new(budget: &Budget, outcomes: Vec<Outcome>) -> Findings {
        let mut rows = Vec::new();
        let row = |name: String, reports: Vec<&Report>| Row {
            name,
            values: METRICS
                .iter()
                .map(|metric| estimate(&reports.iter().filter_map(|report| metric.value(report)).collect::<Vec<_>>()))
                .collect(),
        };
        for cell in Cell::all() {
            let reports = outcomes.iter().filter(|outcome| outcome.cell == cell).map(|outcome| &outcome.report);
            rows.push(row(cell.title(), reports.collect()));
        }
        rows.push(row(TEXT_ONLY.into(), outcomes.iter().filter_map(|outcome| outcome.text_only.as_ref()).collect()));
        let differences = [false, true]
            .into_iter()
            .flat_map(|interleaved| METRICS.iter().map(move |metric| (metric, interleaved)))
            .filter_map(|(metric, interleaved)| difference(&outcomes, metric, interleaved))
            .collect();
        Findings { budget: budget.clone(), rows, differences, outcomes }
    }

    /// `report.md` and `report.json`.
    pub fn write(&self, folder: &Path) -> Result<()> {
        replace_file(folder.join("report.md"), self.to_markdown().as_bytes())?;
        let json = serde_json::to_vec_pretty(self).map_err(|e| Error::format("report.json", e))?;
        replace_file(folder.join("report.json"), &json)
    }

    /// The report.
    pub fn to_markdown(&self) -> String {
        let Budget { prepare, steps, batch, tasks, denoising } = self.budget;
        let seeds = self.outcomes.iter().map(|outcome| outcome.seed).collect::<std::collections::BTreeSet<_>>().len();
        let mut text = format!(
            "# Does creating help understanding?\n\n{seeds} seed{}, {} cells; each {steps} steps of {batch} records after \
             {prepare} of preparation, {tasks} tasks of each kind (five times as many questions about one picture), pictures \
             in {denoising} steps. Held-out compositions throughout. Percent right, means over seeds ± half of the 95 % interval \
             (Student's t over seeds, which differ in weights, order and noise, not in tasks; none for one seed); the Fréchet distance is better when small.\n\n",
            if seeds == 1 { "" } else { "s" },
            self.outcomes.len(),
        );
        let _ = self.table(&mut text); // writing to a String cannot fail
        text += "\n## Joint learning against each half\n\nPaired by seed: the same initial weights, the same records in the same order; of pairs of picture and caption joint learning reads half and draws half, each half of it all. Every interval is a 95 % one by itself: of many, some leave zero out by chance.\n\n";
        self.differences.iter().for_each(|difference| text += &format!("- {difference}\n"));
        if self.differences.is_empty() {
            text += "- No pair of cells is complete yet.\n";
        }
        text += "\n![losses of one seed](curves.svg)\n\nPictures and answers side by side: [index.html](index.html). Raw numbers: [report.json](report.json).\n";
        text
    }

    fn table(&self, text: &mut String) -> std::fmt::Result {
        writeln!(text, "| | {} |", METRICS.map(|metric| metric.name).join(" | "))?;
        writeln!(text, "|---|{}", "---:|".repeat(METRICS.len()))?;
        for row in &self.rows {
            let cells = row.values.iter().zip(&METRICS).map(|(value, metric)| match value {
                Some(value) => value.to_text(metric.is_distance()),
                None => "–".into(),
            });
            writeln!(text, "| {} | {} |", row.name, cells.collect::<Vec<_>>().join(" | "))?;
        }
        Ok(())
    }
}

fn difference(outcomes: &[Outcome], metric: &Metric, interleaved: bool) -> Option<Difference> {
    let half = if metric.drawing { Objective::Creation } else { Objective::Comprehension };
    let of = |objective, seed| {
        let cell = Cell { objective, interleaved };
        let outcome = outcomes.iter().find(|outcome| outcome.seed == seed && outcome.cell == cell)?;
        metric.value(&outcome.report)
    };
    let seeds: std::collections::BTreeSet<u64> = outcomes.iter().map(|outcome| outcome.seed).collect();
    let pairs: Vec<(f64, f64)> =
        seeds.into_iter().filter_map(|seed| Some((of(Objective::Joint, seed)?, of(half, seed)?))).collect();
    let mean = |part: fn(&(f64, f64)) -> f64| pairs.iter().map(part).sum::<f64>() / pairs.len() as f64;
    let difference = estimate(&pairs.iter().map(|(joint, alone)| joint - alone).collect::<Vec<_>>())?;
    let (joint, alone) = (mean(|pair| pair.0), mean(|pair| pair.1));
    Some(Difference { metric: metric.name, interleaved, joint, alone, difference, distance: metric.is_distance() })
}

impl Estimate {
    /// As a table shows it.
    pub(super) fn to_text(self, distance: bool) -> String {
        let digits = if distance { 3 } else { 1 };
        match self.spread {
            Some(spread) => format!("{:.digits$} ± {spread:.digits$}", self.mean),
            None => format!("{:.digits$}", self.mean),
        }
    }
}

impl std::fmt::Display for Difference {
    /// One sentence that says what was found, whatever it is.
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        let Difference { metric, interleaved, joint, alone, difference, distance } = self;
        let digits = if *distance { 3 } else { 1 };
        let documents = if *interleaved { "with documents" } else { "without documents" };
        write!(
            f,
            "**{metric}, {documents}**: joint {joint:.digits$}, alone {alone:.digits$}, difference {:+.digits$}",
            difference.mean
        )?;
        let better = (difference.mean > 0.0) != *distance;
        match (difference.spread, difference.differs_from_zero()) {
            (Some(spread), Some(true)) => {
                let (low, high) = (difference.mean - spread, difference.mean + spread);
                let verdict = if better { "joint learning is better" } else { "joint learning is worse" };
                write!(f, " ({low:+.digits$} to {high:+.digits$}): {verdict}.")
            }
            (Some(spread), _) => {
                let (low, high) = (difference.mean - spread, difference.mean + spread);
                write!(f, " ({low:+.digits$} to {high:+.digits$}): cannot be told from chance.")
            }
            (None, _) => write!(f, ": one seed, so nothing can be concluded."),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(objective: Objective, seed: u64, right: u64) -> Outcome {
        let mut report = Report::default();
        (0..10).for_each(|n| report.add("questions about one picture", "all", n < right));
        (0..10).for_each(|n| report.add("pictures from prompts", "one object", n < 2 * seed));
        report.figures.push(("Fréchet distance to real pictures".into(), 0.5 - 0.1 * seed as f64));
        let cell = Cell { objective, interleaved: false };
        Outcome { cell, seed, report, text_only: None, seconds: 1.0, adapter: "a".into() }
    }

    #[test]
    fn joint_learning_is_compared_seed_by_seed() {
        let outcomes = (0..3).flat_map(|seed| {
            let comprehension = [5, 6, 4][seed as usize];
            [
                outcome(Objective::Joint, seed, comprehension + 1),
                outcome(Objective::Comprehension, seed, comprehension),
                outcome(Objective::Creation, seed, 0),
            ]
        });
        let findings = Findings::new(&Budget::SMOKE, outcomes.collect());
        let single = &findings.differences[0];
        assert_eq!((single.metric, single.interleaved), ("single-image questions", false));
        // Always ten points more: the pairs agree, however much seeds differ.
        assert!((single.difference.mean - 10.0).abs() < 1e-9 && single.difference.spread.unwrap() < 1e-9);
        assert!(single.to_string().ends_with("joint learning is better."), "{single}");
        let drawn = findings.differences.iter().find(|d| d.metric == "prompts, one object").unwrap();
        assert!((drawn.difference.mean, drawn.joint) == (0.0, 20.0) && drawn.to_string().contains("chance"), "{drawn}");
        let text = findings.to_markdown();
        assert!(text.contains("| joint | 60.0 ± 24.8 | – | 20.0 ± 49.7 | – | 0.400 ± 0.248 | – | – | – |"), "{text}");
        assert!(text.contains("| comprehension only, interleaved | – |"), "{text}");
    }

    #[test]
    fn less_is_better_for_a_distance_and_one_seed_says_nothing() {
        let difference = |mean, spread, distance| Difference {
            metric: "m",
            interleaved: true,
            joint: 1.0,
            alone: 1.0,
            difference: Estimate { mean, spread, count: 2 },
            distance,
        };
        let says = |d: Difference, what: &str| assert!(d.to_string().contains(what), "{d}");
        says(difference(-0.2, Some(0.1), true), "better");
        says(difference(-2.0, Some(1.0), false), "worse");
        says(difference(-2.0, None, false), "one seed");
    }
}
