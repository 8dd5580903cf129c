//! What was left out of the training data, and why.

use std::collections::HashSet;
use std::fmt;

/// Something that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Problem {
    /// The file, and the line, item or sample in it.
    pub place: String,
    /// What is wrong.
    pub reason: String,
    /// Whether the whole record is left out, or only a picture of it.
    pub whole: bool,
}

/// Summary of what was left out. A record that comes again in a later epoch is not counted again.
#[derive(Debug, Clone, Default)]
pub struct Skipped {
    named: Vec<Problem>,
    seen: HashSet<Problem>,
    records: u64,
    pictures: u64,
}

/// More problems than this are counted, but not named.
const NAMED: usize = 1000;

impl Skipped {
    /// Takes note of a problem.
    pub fn add(&mut self, problem: Problem) {
        if !self.seen.insert(problem.clone()) {
            return;
        }
        *(if problem.whole { &mut self.records } else { &mut self.pictures }) += 1;
        if self.named.len() < NAMED {
            self.named.push(problem);
        }
    }

    /// Records, files and parts of files left out.
    pub fn records(&self) -> u64 {
        self.records
    }

    /// Pictures left out of documents.
    pub fn pictures(&self) -> u64 {
        self.pictures
    }

    /// The problems, in the order in which they came.
    pub fn problems(&self) -> &[Problem] {
        &self.named
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let what = if self.whole { "" } else { "a picture is left out: " };
        write!(f, "{}: {what}{}", self.place, self.reason)
    }
}

impl fmt::Display for Skipped {
    /// Counts, then a line for each problem, twenty at most.
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{} records and {} pictures of documents were skipped", self.records, self.pictures)?;
        self.named.iter().take(20).try_for_each(|problem| write!(f, "\n  {problem}"))?;
        match self.records + self.pictures {
            total if total > 20 => write!(f, "\n  … and {} more", total - 20),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_summary_counts_once_and_names() {
        let mut skipped = Skipped::default();
        let problem =
            |n: u64, whole| Problem { place: format!("a.jsonl, line {n}"), reason: "is broken".into(), whole };
        (0..30).chain(0..30).for_each(|n| skipped.add(problem(n, n != 3)));
        assert_eq!((skipped.records(), skipped.pictures()), (29, 1));
        let text = skipped.to_string();
        assert!(
            text.starts_with("29 records and 1 pictures of documents were skipped\n  a.jsonl, line 0: is broken\n")
        );
        assert!(text.contains("line 3: a picture is left out: is broken") && text.ends_with("… and 10 more"), "{text}");
    }
}
