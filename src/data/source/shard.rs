//! WebDataset: tar files in which the files of one record follow each other and share their name up to the first dot.
//!
//! Shards are indexed when they are opened (headers only) and then read at any place, so that one shuffle goes over all of them.

use super::folder::PICTURES;
use super::picture::{Part, Picture};
use super::{Form, Source};
use crate::data::parse::{Kind, caption, parse};
use crate::data::record::Record;
use crate::data::skipped::Problem;
use crate::models::config::standard_json;
use crate::{Error, Result};
use serde_json::Value;
use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::sync::Arc;

#[derive(Debug)]
pub(super) struct Shards {
    kind: Kind,
    text_key: Option<String>,
    groups: Vec<Group>,
}

/// The files of one record.
#[derive(Debug)]
struct Group {
    /// What their names share.
    key: String,
    /// Each under what stands behind the first dot of its name, in small letters.
    files: Vec<(String, Part)>,
}

impl Shards {
    pub fn open(paths: &[PathBuf], form: Form, problems: &mut Vec<Problem>) -> Result<Shards> {
        let mut groups = Vec::new();
        for path in paths {
            let first = groups.len();
            if let Err(error) = index(path, &mut groups, first) {
                let whole = groups.len() - first;
                let reason = format!("the shard is used up to its record {whole} only: {error}");
                problems.push(Problem { place: path.display().to_string(), reason, whole: true });
            }
        }
        Ok(Shards { kind: form.kind, text_key: form.text_key.map(str::to_string), groups })
    }

    fn group(&self, n: u64) -> Result<&Group> {
        let group = usize::try_from(n).ok().and_then(|n| self.groups.get(n));
        group.ok_or_else(|| Error::Input(format!("the shards have no record {n}")))
    }
}

/// Adds the groups of a shard; those from `first` on are its own.
fn index(path: &Path, groups: &mut Vec<Group>, first: usize) -> std::io::Result<()> {
    let shared: Arc<Path> = path.into();
    let file = File::open(path)?;
    let end = file.metadata()?.len();
    let mut archive = tar::Archive::new(BufReader::new(file));
    for entry in archive.entries_with_seek()? {
        let entry = entry?;
        if !entry.header().entry_type().is_file() {
            continue;
        }
        let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let Some((key, ending)) = split(&name) else { continue };
        let (start, len) = (entry.raw_file_position(), entry.size());
        if start.checked_add(len).is_none_or(|stop| stop > end) {
            return Err(std::io::Error::new(std::io::ErrorKind::UnexpectedEof, format!("ends within {name}")));
        }
        let part = Part { file: shared.clone(), name: name.clone(), start, len };
        match groups.get_mut(first..).and_then(<[Group]>::last_mut).filter(|group| group.key == key) {
            Some(group) => group.files.push((ending, part)),
            None => groups.push(Group { key: key.into(), files: vec![(ending, part)] }),
        }
    }
    Ok(())
}

/// A name as key and ending, cut at the first dot behind the last slash.
fn split(name: &str) -> Option<(&str, String)> {
    let file = name.rfind('/').map_or(0, |slash| slash + 1);
    let dot = file + name[file..].find('.').filter(|dot| *dot > 0)?;
    Some((&name[..dot], name[dot + 1..].to_ascii_lowercase()))
}

impl Source for Shards {
    fn len(&self) -> u64 {
        self.groups.len() as u64
    }

    fn place(&self, n: u64) -> String {
        let first = self.group(n).ok().and_then(|group| group.files.first().map(|(_, part)| (group, part)));
        first.map_or_else(|| format!("record {n}"), |(group, part)| format!("{}, {}", part.file.display(), group.key))
    }

    fn record(&self, n: u64) -> Result<Record<Picture>> {
        let group = self.group(n)?;
        if self.kind == Kind::Pairs {
            let picture = PICTURES.iter().find_map(|ending| group.file(ending));
            let picture = picture.ok_or_else(|| Error::Input("has no picture".into()))?;
            let text = group.caption(self.text_key.as_deref())?;
            return Ok(Record::Pair { picture: Picture::Part(picture.clone()), text });
        }
        let record = parse(self.kind, &group.json()?, None)?;
        Ok(record.try_map(|name| Ok(group.picture(&name)))?.0)
    }
}

impl Group {
    fn file(&self, ending: &str) -> Option<&Part> {
        self.files.iter().find(|(have, _)| have == ending).map(|(_, part)| part)
    }

    fn json(&self) -> Result<Value> {
        let part = self.file("json").ok_or_else(|| Error::Input("has no .json file".into()))?;
        serde_json::from_slice(&standard_json(&part.read()?)).map_err(|e| Error::format(part.place(), e))
    }

    /// The caption: the `.txt` file, unless a key of the `.json` file is asked for or there is no other.
    fn caption(&self, text_key: Option<&str>) -> Result<String> {
        let Some(part) = self.file("txt").filter(|_| text_key.is_none()) else {
            return caption(&self.json()?, text_key);
        };
        match String::from_utf8(part.read()?) {
            Ok(text) if text.is_empty() => Err(Error::Input("the caption is empty".into())),
            Ok(text) => Ok(text),
            Err(error) => Err(Error::format(part.place(), error)),
        }
    }

    /// A picture by the name that the JSON has for it: `a.png` is `<key>.a.png` in the shard, or was stored in another format.
    fn picture(&self, name: &str) -> Picture {
        let lower = name.to_ascii_lowercase();
        let stem = lower.split('.').next().unwrap_or_default();
        let other = || PICTURES.iter().find_map(|ending| self.file(&format!("{stem}.{ending}")));
        self.file(&lower).or_else(other).cloned().map_or_else(|| Picture::Absent(name.into()), Picture::Part)
    }
}
