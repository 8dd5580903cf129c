//! Shares of right answers, with 95 % intervals.

use crate::data::shapes::Tally;
use serde::{Deserialize, Serialize};
use std::fmt;

/// What a benchmark found.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Tables, in the order in which they were begun.
    pub tables: Vec<Table>,
    /// Figures that are no shares, such as the Fréchet distance.
    pub figures: Vec<(String, f64)>,
}

/// Shares of one kind.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Table {
    /// What was measured.
    pub name: String,
    /// Its rows, in the order in which they were begun.
    pub rows: Vec<Row>,
}

/// One share.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// Of what.
    pub name: String,
    /// Right and asked.
    #[serde(flatten)]
    pub tally: Tally,
}

impl Report {
    /// Counts an answer.
    pub fn add(&mut self, table: &str, row: &str, right: bool) {
        self.tally(table, row, Tally { right: u64::from(right), asked: 1 });
    }

    /// Counts several answers; none begins no row.
    pub fn tally(&mut self, table: &str, row: &str, more: Tally) {
        if more.asked == 0 {
            return;
        }
        let at = self.tables.iter().position(|known| known.name == table).unwrap_or_else(|| {
            self.tables.push(Table { name: table.into(), rows: Vec::new() });
            self.tables.len() - 1
        });
        let rows = &mut self.tables[at].rows;
        let at = rows.iter().position(|known| known.name == row).unwrap_or_else(|| {
            rows.push(Row { name: row.into(), tally: Tally::default() });
            rows.len() - 1
        });
        rows[at].tally.right += more.right;
        rows[at].tally.asked += more.asked;
    }

    /// How many were right of how many, if any was asked.
    pub fn row(&self, table: &str, row: &str) -> Option<Tally> {
        let table = self.tables.iter().find(|known| known.name == table)?;
        table.rows.iter().find(|known| known.name == row).map(|row| row.tally)
    }

    /// A share, if it was asked.
    pub fn share(&self, table: &str, row: &str) -> Option<f64> {
        self.row(table, row).map(|tally| tally.right as f64 / tally.asked as f64)
    }
}

/// Wilson's interval of a share at 95 %: `(p + z²/2n ± z √(p(1−p)/n + z²/4n²)) / (1 + z²/n)` with z = 1.96. Unlike the normal
/// interval it stays within 0 and 1, and is not empty at 0 and at 1.
pub fn wilson(tally: Tally) -> (f64, f64) {
    if tally.asked == 0 {
        return (0.0, 1.0);
    }
    let (z, n) = (1.959_963_984_540_054_f64, tally.asked as f64);
    let p = tally.right as f64 / n;
    let (middle, scale) = (p + z * z / (2.0 * n), 1.0 + z * z / n);
    let spread = z * (p * (1.0 - p) / n + z * z / (4.0 * n * n)).sqrt();
    (((middle - spread) / scale).max(0.0), ((middle + spread) / scale).min(1.0))
}

impl fmt::Display for Report {
    /// Markdown: a table for each, shares in percent.
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        for Table { name, rows } in &self.tables {
            writeln!(f, "| {name} | right | of | % | 95 % |\n| --- | ---: | ---: | ---: | --- |")?;
            for Row { name, tally } in rows {
                let (low, high) = wilson(*tally);
                let [share, low, high] = [tally.right as f64 / tally.asked as f64, low, high].map(|part| 100.0 * part);
                writeln!(f, "| {name} | {} | {} | {share:.1} | {low:.1} to {high:.1} |", tally.right, tally.asked)?;
            }
            writeln!(f)?;
        }
        self.figures.iter().try_for_each(|(name, value)| writeln!(f, "{name}: {value:.4}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_are_wilsons() {
        // Worked out by hand for 8 of 10, and the ends.
        let (low, high) = wilson(Tally { right: 8, asked: 10 });
        assert!((low - 0.4902).abs() < 1e-4 && (high - 0.9433).abs() < 1e-4, "{low} {high}");
        let (low, high) = wilson(Tally { right: 0, asked: 20 });
        assert!(low == 0.0 && (high - 0.1611).abs() < 1e-4, "{high}");
        let (low, high) = wilson(Tally { right: 20, asked: 20 });
        assert!(high == 1.0 && (low - 0.8389).abs() < 1e-4, "{low}");
        assert_eq!(wilson(Tally::default()), (0.0, 1.0));
    }

    #[test]
    fn rows_keep_their_order_and_print() {
        let mut report = Report::default();
        report.add("questions", "color", true);
        report.add("questions", "color", false);
        report.add("questions", "all", true);
        report.tally("questions", "never", Tally::default());
        report.figures.push(("Fréchet distance".into(), 0.5));
        assert_eq!(report.share("questions", "color"), Some(0.5));
        assert_eq!(report.share("questions", "never"), None);
        let text = report.to_string();
        assert!(text.contains("| color | 1 | 2 | 50.0 | 9.5 to 90.5 |\n| all | 1 | 1 | 100.0 |"), "{text}");
        assert!(text.ends_with("Fréchet distance: 0.5000\n"));
        assert_eq!(serde_json::to_value(&report).unwrap()["tables"][0]["rows"][0]["right"], 1);
    }
}
