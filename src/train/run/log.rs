//! The log of a run: a line of JSON a step, and nothing beyond the checkpoint that a resumption begins at.

use crate::image::replace_file;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

/// What is kept of a step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Line {
    /// Steps taken, this one included.
    pub step: u64,
    /// The weighted sum that is minimised, before the step.
    pub loss: f32,
    /// The losses it is made of, by name; none where no sample of the step has to do with one.
    pub losses: BTreeMap<String, Option<f32>>,
    /// Norm of the gradients before clipping.
    pub norm: f32,
    /// Learning rate.
    pub rate: f64,
    /// Samples of the step.
    pub samples: u64,
    /// Their tokens.
    pub tokens: u64,
    /// How long the step took.
    pub seconds: f64,
}

/// The file.
pub struct Log {
    path: PathBuf,
    file: File,
}

impl Log {
    /// Opens the log behind a step. Later lines, and one that was not written whole, are cut off.
    pub fn open(path: &Path, step: u64) -> Result<Log> {
        let kept: String = match path.exists() {
            true => read(path)?.iter().filter(|line| line.step <= step).map(json).collect::<Result<_>>()?,
            false => String::new(),
        };
        replace_file(path, kept.as_bytes())?;
        let file = OpenOptions::new().append(true).open(path).map_err(|e| Error::file(path, e))?;
        Ok(Log { path: path.to_path_buf(), file })
    }

    /// Adds a line.
    pub fn add(&mut self, line: &Line) -> Result<()> {
        self.file.write_all(json(line)?.as_bytes()).map_err(|e| Error::file(&self.path, e))
    }

    /// Has everything written to the disk, before a checkpoint relies on it.
    pub fn sync(&self) -> Result<()> {
        self.file.sync_all().map_err(|e| Error::file(&self.path, e))
    }
}

fn json(line: &Line) -> Result<String> {
    serde_json::to_string(line).map(|json| json + "\n").map_err(|e| Error::format("log", e))
}

/// The lines of a log, up to the first one that is not whole.
pub fn read(path: &Path) -> Result<Vec<Line>> {
    let text = std::fs::read(path).map_err(|e| Error::file(path, e))?;
    let lines = text.split_inclusive(|&byte| byte == b'\n').filter(|line| line.ends_with(b"\n"));
    Ok(lines.map_while(|line| serde_json::from_slice(line).ok()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_goes_on_behind_a_step() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log.jsonl");
        let line = |step, loss| Line {
            step,
            loss,
            losses: [("language".to_string(), Some(loss)), ("diffusion".to_string(), None)].into(),
            norm: 1.5,
            rate: 2e-5,
            samples: 2,
            tokens: 9,
            seconds: 0.25,
        };
        let mut log = Log::open(&path, 0).unwrap();
        (1..=4).for_each(|step| log.add(&line(step, 0.1 * step as f32)).unwrap());
        log.file.write_all(b"{\"step\":5,\"lo").unwrap();
        assert_eq!(read(&path).unwrap().len(), 4);
        let mut log = Log::open(&path, 2).unwrap();
        log.add(&line(3, 7.0)).unwrap();
        assert_eq!(read(&path).unwrap(), [line(1, 0.1), line(2, 0.2), line(3, 7.0)]);
        assert_eq!(std::fs::read_to_string(&path).unwrap().lines().count(), 3);
    }
}
