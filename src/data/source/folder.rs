//! A folder of pictures, each with its caption in a `.txt` file of the same name.

use super::picture::Picture;
use super::{Form, Source, files};
use crate::data::parse::Kind;
use crate::data::record::Record;
use crate::{Error, Result};
use std::path::{Path, PathBuf};

#[derive(Debug)]
pub(super) struct CaptionedFolder {
    pictures: Vec<PathBuf>,
}

/// Endings of pictures.
pub(super) const PICTURES: [&str; 6] = ["jpg", "png", "jpeg", "webp", "bmp", "gif"];

impl CaptionedFolder {
    pub fn open(folder: &Path, form: Form) -> Result<CaptionedFolder> {
        if form.kind != Kind::Pairs {
            return Err(Error::file(folder, "has neither tar shards nor a manifest such as metadata.jsonl"));
        }
        Ok(CaptionedFolder { pictures: files(folder, &PICTURES)? })
    }

    fn picture(&self, n: u64) -> Result<&PathBuf> {
        let picture = usize::try_from(n).ok().and_then(|n| self.pictures.get(n));
        picture.ok_or_else(|| Error::Input(format!("the folder has no picture {n}")))
    }
}

impl Source for CaptionedFolder {
    fn len(&self) -> u64 {
        self.pictures.len() as u64
    }

    fn place(&self, n: u64) -> String {
        self.picture(n).map_or_else(|_| format!("picture {n}"), |path| path.display().to_string())
    }

    fn record(&self, n: u64) -> Result<Record<Picture>> {
        let path = self.picture(n)?;
        let caption = path.with_extension("txt");
        let text = std::fs::read_to_string(&caption).map_err(|e| Error::file(&caption, e))?;
        match text.trim() {
            "" => Err(Error::file(&caption, "the caption is empty")),
            text => Ok(Record::Pair { picture: Picture::File(path.clone()), text: text.into() }),
        }
    }
}
