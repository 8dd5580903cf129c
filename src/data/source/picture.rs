//! A picture that has not been read yet.

use crate::image::{self, RgbImage};
use crate::{Error, Result};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Where a picture lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::data) enum Picture {
    /// A file of its own.
    File(PathBuf),
    /// A file in a tar shard.
    Part(Part),
    /// In memory: it was generated.
    Made(RgbImage),
    /// Nowhere: its shard has no file of this name.
    Absent(String),
}

/// A stretch of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::data) struct Part {
    pub file: Arc<Path>,
    pub name: String,
    pub start: u64,
    pub len: u64,
}

impl Picture {
    /// Reads and decodes it.
    pub fn load(&self) -> Result<RgbImage> {
        match self {
            Picture::File(path) => image::load(path),
            Picture::Made(picture) => Ok(picture.clone()),
            Picture::Part(part) => image::decode(&part.place(), &part.read()?),
            Picture::Absent(name) => Err(Error::Input(format!("picture {name} is not in the shard"))),
        }
    }
}

impl Part {
    /// How errors name it.
    pub fn place(&self) -> String {
        format!("{}, {}", self.file.display(), self.name)
    }

    /// Its bytes.
    pub fn read(&self) -> Result<Vec<u8>> {
        let error = |e| Error::format(self.place(), e);
        let mut file = File::open(&self.file).map_err(error)?;
        file.seek(SeekFrom::Start(self.start)).map_err(error)?;
        // Not allocated in advance: the length is only what an index says.
        let mut bytes = Vec::new();
        file.take(self.len).read_to_end(&mut bytes).map_err(error)?;
        match bytes.len() as u64 == self.len {
            true => Ok(bytes),
            false => Err(Error::format(self.place(), "the file is shorter than when it was indexed")),
        }
    }
}
