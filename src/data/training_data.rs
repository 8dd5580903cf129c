//! The training data of a run: its sources, mixed.

use super::mixture::{Mixture, Pick, Share};
use super::parse::Kind;
use super::sample::{Objective, Sample, SampleBuilder};
use super::skipped::Problem;
use super::source::{self, Form, ShapesConfig, Source};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// The data part of a training configuration.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataConfig {
    /// What to train on.
    pub sources: Vec<SourceConfig>,
    /// What pairs and documents are for.
    #[serde(default)]
    pub objective: Objective,
    /// Whether sources of documents take part.
    #[serde(default = "on")]
    pub interleaved: bool,
    /// Seed of the order and of all choices.
    #[serde(default)]
    pub seed: u64,
    /// Most tokens of a sample.
    #[serde(default = "max_length")]
    pub max_length: usize,
}

/// One source.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SourceConfig {
    /// A `.jsonl` or `.json` file, a `.tar` shard, or a folder: of shards, with a `metadata.jsonl`, or of pictures with captions.
    #[serde(default)]
    pub path: PathBuf,
    /// Instead of a path: records of the world of shapes, generated.
    #[serde(default)]
    pub shapes: Option<ShapesConfig>,
    /// What the records are.
    #[serde(default)]
    pub kind: Kind,
    /// Folder of the pictures that a JSON file names; without it they lie beside the file.
    #[serde(default)]
    pub pictures: Option<PathBuf>,
    /// Key of a pair's caption.
    #[serde(default)]
    pub text_key: Option<String>,
    /// Part of the mixture, relative to the other sources; without it the number of records.
    #[serde(default)]
    pub weight: Option<f64>,
}

impl SourceConfig {
    /// Indexes it.
    pub(super) fn open(&self, problems: &mut Vec<Problem>) -> Result<Box<dyn Source>> {
        let form = Form { kind: self.kind, pictures: self.pictures.as_deref(), text_key: self.text_key.as_deref() };
        match &self.shapes {
            Some(_) if !self.path.as_os_str().is_empty() => {
                Err(Error::file(&self.path, "a training source has either a path or shapes"))
            }
            Some(shapes) => source::shapes(shapes, self.kind),
            None if self.path.as_os_str().is_empty() => {
                Err(Error::Input("a training source has neither a path nor shapes".into()))
            }
            None => source::open(&self.path, form, problems),
        }
    }
}

fn on() -> bool {
    true
}

fn max_length() -> usize {
    2048
}

/// Opened sources and the order in which they are drawn from.
#[derive(Debug)]
pub struct TrainingData {
    sources: Vec<Box<dyn Source>>,
    /// Which record comes when.
    pub mixture: Mixture,
    /// Parts of the sources that cannot be read at all.
    pub problems: Vec<Problem>,
}

impl TrainingData {
    /// Opens and indexes every source. An empty one, or one that is not there, is an error.
    pub fn open(config: &DataConfig) -> Result<Self> {
        let (mut sources, mut shares, mut problems) = (Vec::new(), Vec::new(), Vec::new());
        for source in config.sources.iter().filter(|s| config.interleaved || s.kind != Kind::Documents) {
            let opened = source.open(&mut problems)?;
            shares.push(Share { records: opened.len(), weight: source.weight });
            sources.push(opened);
        }
        if sources.is_empty() && !config.sources.is_empty() {
            return Err(Error::Input("all training data is interleaved documents, but interleaved is off".into()));
        }
        Ok(TrainingData { sources, mixture: Mixture::new(config.seed, &shares)?, problems })
    }

    /// The sample of a draw: reads the record and its pictures and builds it. Or why it cannot be used; pictures that were
    /// left out of a document are named beside it.
    pub fn sample(&self, pick: Pick, builder: &SampleBuilder) -> (Result<Sample, Problem>, Vec<Problem>) {
        let problem = |error: &Error, whole| Problem { place: self.place(pick), reason: error.to_string(), whole };
        let loaded = self.source(pick).and_then(|source| source.record(pick.record));
        match loaded.and_then(|record| record.try_map(|picture| picture.load())) {
            Err(error) => (Err(problem(&error, true)), Vec::new()),
            Ok((record, dropped)) => {
                let sample = builder.build(&record, &self.mixture.chance(pick.draw));
                let sample = sample.and_then(|sample| builder.check(&sample).map(|()| sample));
                let dropped = dropped.iter().map(|error| problem(error, false)).collect();
                (sample.map_err(|error| problem(&error, true)), dropped)
            }
        }
    }

    fn source(&self, pick: Pick) -> Result<&dyn Source> {
        let source = self.sources.get(pick.source).map(Box::as_ref);
        source.ok_or_else(|| Error::Input(format!("there is no training source {}", pick.source)))
    }

    fn place(&self, pick: Pick) -> String {
        self.source(pick).map_or_else(|e| e.to_string(), |source| source.place(pick.record))
    }
}
