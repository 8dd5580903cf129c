//! Records of the world of shapes, made when they are asked for.

use super::Source;
use super::picture::Picture;
use crate::data::parse::Kind;
use crate::data::record::Record;
use crate::data::shapes::{Theme, World};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};

/// A source of generated records.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ShapesConfig {
    /// What the pictures are like.
    pub world: World,
    /// What the records are made of, all of the source's kind; none for every theme of it. Themes take turns.
    pub themes: Vec<Theme>,
    /// Records of an epoch.
    pub records: u64,
}

impl Default for ShapesConfig {
    fn default() -> Self {
        ShapesConfig { world: World::default(), themes: Vec::new(), records: 100_000 }
    }
}

#[derive(Debug)]
pub(super) struct Shapes {
    world: World,
    themes: Vec<Theme>,
    records: u64,
}

impl Shapes {
    pub fn open(config: &ShapesConfig, kind: Kind) -> Result<Shapes> {
        config.world.check()?;
        if let Some(theme) = config.themes.iter().find(|theme| theme.kind() != kind) {
            let (name, kinds) = (theme.name(), (theme.kind(), kind));
            return Err(Error::Input(format!(
                "the theme {name} of shapes is of kind {:?}, not {:?}",
                kinds.0, kinds.1
            )));
        }
        if config.records == 0 {
            return Err(Error::Input("a source of shapes has no records".into()));
        }
        let mut themes = config.themes.clone();
        if themes.is_empty() {
            themes = Theme::ALL.iter().copied().filter(|theme| theme.kind() == kind).collect();
        }
        Ok(Shapes { world: config.world.clone(), themes, records: config.records })
    }

    /// The theme of record `n` and its index in it.
    fn of(&self, n: u64) -> (Theme, u64) {
        let count = self.themes.len() as u64;
        (self.themes[(n % count) as usize], n / count)
    }
}

impl Source for Shapes {
    fn len(&self) -> u64 {
        self.records
    }

    fn place(&self, n: u64) -> String {
        let (theme, index) = self.of(n);
        format!("shapes, {} {index}", theme.name())
    }

    fn record(&self, n: u64) -> Result<Record<Picture>> {
        if n >= self.records {
            return Err(Error::Input(format!("shapes have no record {n}")));
        }
        let (theme, index) = self.of(n);
        Ok(self.world.record(theme, index).try_map(|picture| Ok(Picture::Made(picture)))?.0)
    }
}
