//! The weights of one part of the model, gathered from several files under the names the model uses.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::file::WeightFile;
use super::stored::StoredTensor;
use crate::{Error, Result};

/// Turns a file's name for a tensor into the model's, or drops the tensor.
pub type Rename = fn(&str) -> Option<String>;

/// Named tensors of an ordered list of files. **The file added first wins** where several have a tensor of one name.
/// Which names were asked for is remembered, so that a load can report weights that nothing read.
#[derive(Default)]
pub struct WeightSet {
    files: Vec<Arc<WeightFile>>,
    /// Name → which file, which tensor of it.
    places: BTreeMap<String, (usize, usize)>,
    read: Mutex<BTreeSet<String>>,
}

impl WeightSet {
    /// A set without tensors.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds the tensors of `file` whose renamed names are not there yet.
    pub fn add(&mut self, file: Arc<WeightFile>, rename: Rename) {
        let index = self.files.len();
        for (tensor, name) in file.names().enumerate() {
            if let Some(name) = rename(name) {
                self.places.entry(name).or_insert((index, tensor));
            }
        }
        self.files.push(file);
    }

    /// Forgets the tensors whose names begin with `prefix`.
    pub fn remove(&mut self, prefix: &str) {
        self.places.retain(|name, _| !name.starts_with(prefix));
    }

    /// The tensor of this name. It then counts as read.
    pub fn get(&self, name: &str) -> Option<StoredTensor<'_>> {
        let (name, &(file, tensor)) = self.places.get_key_value(name)?;
        self.marks().insert(name.clone());
        self.files.get(file)?.tensor(tensor, name)
    }

    /// The tensor of this name, or an error that names it.
    pub fn require(&self, name: &str) -> Result<StoredTensor<'_>> {
        self.get(name).ok_or_else(|| Error::MissingTensor(name.to_string()))
    }

    /// Whether there is a tensor of this name. Does not count as reading it.
    pub fn contains(&self, name: &str) -> bool {
        self.places.contains_key(name)
    }

    /// Whether there is a tensor whose name begins with `prefix`.
    pub fn has_prefix(&self, prefix: &str) -> bool {
        self.places.range(prefix.to_string()..).next().is_some_and(|(name, _)| name.starts_with(prefix))
    }

    /// All names, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.places.keys().map(String::as_str)
    }

    /// All tensors, sorted by name. Does not count as reading them; for listings and sizes.
    pub fn tensors(&self) -> impl Iterator<Item = StoredTensor<'_>> {
        self.places.iter().filter_map(|(name, &(file, tensor))| self.files.get(file)?.tensor(tensor, name))
    }

    /// The files (or names of the bytes) that hold its tensors.
    pub fn files(&self) -> impl Iterator<Item = &str> {
        let used: BTreeSet<usize> = self.places.values().map(|(file, _)| *file).collect();
        used.into_iter().filter_map(|file| self.files.get(file)).map(|file| file.what())
    }

    /// Number of tensors.
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Whether there are no tensors.
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// The file (or name of the bytes) a tensor comes from.
    pub fn source(&self, name: &str) -> Option<&str> {
        let &(file, _) = self.places.get(name)?;
        self.files.get(file).map(|file| file.what())
    }

    /// Names that nobody asked for, sorted.
    pub fn unread(&self) -> Vec<String> {
        let read = self.marks();
        self.places.keys().filter(|name| !read.contains(*name)).cloned().collect()
    }

    /// The record of read names. A panic elsewhere cannot leave it half-written, so a poisoned lock is still good.
    fn marks(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.read.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for WeightSet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "WeightSet({} tensors of {:?})", self.places.len(), self.files)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(names: &[&str], value: f32) -> Arc<WeightFile> {
        let mut header = Vec::new();
        for (i, name) in names.iter().enumerate() {
            header.push(format!(r#""{name}":{{"dtype":"F32","shape":[1],"data_offsets":[{},{}]}}"#, i * 4, i * 4 + 4));
        }
        let header = format!("{{{}}}", header.join(","));
        let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
        bytes.extend(header.as_bytes());
        names.iter().for_each(|_| bytes.extend(value.to_le_bytes()));
        Arc::new(WeightFile::from_bytes(format!("file {value}"), bytes).unwrap())
    }

    #[test]
    fn the_first_file_wins_and_reads_are_remembered() {
        let mut set = WeightSet::new();
        set.add(file(&["a", "b"], 1.0), |name| Some(format!("x.{name}")));
        set.add(file(&["b", "c", "dropped"], 2.0), |name| (name != "dropped").then(|| format!("x.{name}")));
        assert_eq!(set.names().collect::<Vec<_>>(), ["x.a", "x.b", "x.c"]);
        assert_eq!(set.require("x.b").unwrap().to_f32().unwrap(), [1.0]);
        assert_eq!(set.require("x.c").unwrap().to_f32().unwrap(), [2.0]);
        assert_eq!(set.source("x.c"), Some("file 2"));
        assert_eq!(set.unread(), ["x.a"]);
        assert!(set.has_prefix("x.") && !set.has_prefix("y"));
        assert_eq!(set.require("x.d").unwrap_err().to_string(), "tensor x.d is not in the checkpoint");
    }

    #[test]
    fn a_set_can_be_shared_between_threads() {
        fn shared<T: Send + Sync>(_: &T) {}
        shared(&WeightSet::new());
    }
}
