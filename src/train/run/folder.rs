//! The folder of a run, whose parts are complete at any moment.
//!
//! | | |
//! |---|---|
//! | `log.jsonl` | a line a step |
//! | `curves.svg` | the log, drawn |
//! | `step-00000100/` | a checkpoint: everything that a resumption needs, and the model |
//! | `samples/step-00000100/` | what the model drew and answered then |
//! | `final/`, `final-ema/` | the trained model, and its average |
//! | `shared/` | weights that are not trained, to which every checkpoint links |
//! | `.….part`, `.….old` | a part in the making or being removed; a resumption clears them away |
//!
//! Folders are written under another name and renamed, and removed the same way: what has its name is whole. A run removes nothing
//! that no run has made: it begins in an empty folder, goes on in a run's, and clears away what has a run's names.

use super::STATE;
use crate::{Error, Result};
use std::fs::{self, File};
use std::path::{Path, PathBuf};

/// A run's folder, which no other process uses.
pub struct RunFolder {
    root: PathBuf,
    /// The lock lives as long as the file is open; the system opens it when the process is killed.
    _lock: Option<File>,
}

const CHECKPOINT: &str = "step-";
/// Parts of models that all checkpoints share.
pub(super) const SHARED: &str = "shared";
/// The one file in it.
pub(in crate::train) const FROZEN: &str = "frozen.safetensors";
pub(super) const LOG: &str = "log.jsonl";
const SAMPLES: &str = "samples";
const LOCK: &str = ".lock";

impl RunFolder {
    /// An error if a run cannot begin in a folder, or go on there if it is to be resumed. Nothing is changed.
    pub fn check(root: &Path, resume: bool) -> Result<()> {
        if !root.try_exists().map_err(|e| Error::file(root, e))? {
            return Ok(());
        }
        let folder = RunFolder::join(root);
        let names = folder.names()?;
        let is_run = folder.path(LOG).is_file() || folder.newest()?.is_some();
        match (is_run, resume) {
            (true, true) => Ok(()),
            (true, false) => {
                Err(Error::file(root, "holds a run already; --resume continues it, another `out` begins a new one"))
            }
            (false, _) if names.iter().all(|name| name == LOCK) => Ok(()),
            (false, _) => Err(Error::file(root, "is not empty and holds no run; a run needs a folder of its own")),
        }
    }

    /// Makes the folder and locks it. A folder with a run in it is refused unless the run is to be resumed, one with anything else is
    /// always refused.
    pub fn claim(root: &Path, resume: bool) -> Result<RunFolder> {
        RunFolder::check(root, resume)?;
        fs::create_dir_all(root).map_err(|e| Error::file(root, e))?;
        let folder = RunFolder { root: root.to_path_buf(), _lock: lock(root)? };
        RunFolder::check(root, resume)?; // another process may have begun in between
        folder.clear()?;
        Ok(folder)
    }

    /// The folder for another process of the same run, which only reads.
    pub fn join(root: &Path) -> RunFolder {
        RunFolder { root: root.to_path_buf(), _lock: None }
    }

    /// A place in the folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// The last complete checkpoint and its step.
    pub fn newest(&self) -> Result<Option<(u64, PathBuf)>> {
        Ok(self.checkpoints()?.pop())
    }

    /// Complete checkpoints by step, the newest last.
    pub fn checkpoints(&self) -> Result<Vec<(u64, PathBuf)>> {
        let found = self.names()?;
        let found = found.iter().filter_map(|name| Some((step_of(name)?, self.root.join(name))));
        let mut found: Vec<_> = found.filter(|(_, path)| path.join(STATE).is_file()).collect();
        found.sort();
        Ok(found)
    }

    /// The name of a step's folder.
    pub fn step_name(step: u64) -> String {
        format!("{CHECKPOINT}{step:08}")
    }

    /// Writes a folder that has its name only when it is complete and on the disk. One that is there is replaced.
    pub async fn publish(&self, name: &str, write: impl AsyncFnOnce(&Path) -> Result<()>) -> Result<()> {
        let target = self.root.join(name);
        let part = hidden(&target, "part");
        remove_tree(&part)?;
        fs::create_dir_all(&part).map_err(|e| Error::file(&part, e))?;
        write(&part).await?;
        sync_tree(&part)?;
        self.remove(name)?;
        fs::rename(&part, &target).map_err(|e| Error::file(&target, e))?;
        sync(&self.root)
    }

    /// Removes all but the newest `keep` checkpoints.
    pub fn prune(&self, keep: usize) -> Result<()> {
        let all = self.checkpoints()?;
        let old = all.len().saturating_sub(keep.max(1));
        all.iter().take(old).try_for_each(|(step, _)| self.remove(&Self::step_name(*step)))
    }

    /// Removes a folder; from the first moment on it has another name.
    fn remove(&self, name: &str) -> Result<()> {
        let target = self.root.join(name);
        let old = hidden(&target, "old");
        remove_tree(&old)?;
        if !target.exists() {
            return Ok(());
        }
        fs::rename(&target, &old).map_err(|e| Error::file(&target, e))?;
        remove_tree(&old)
    }

    /// Removes what an interrupted process left: parts, and what all checkpoints share if there is none, since whoever left that may
    /// have begun with another model.
    fn clear(&self) -> Result<()> {
        let samples = RunFolder::join(&self.path(SAMPLES));
        let shared = RunFolder::join(&self.path(SHARED));
        for folder in [self, &samples, &shared].into_iter().filter(|folder| folder.root.is_dir()) {
            folder.names()?.iter().filter(|name| is_part(name)).try_for_each(|name| remove(&folder.path(name)))?;
        }
        match self.newest()? {
            None => remove(&shared.path(FROZEN)),
            Some(_) => Ok(()),
        }
    }

    fn names(&self) -> Result<Vec<String>> {
        let wrong = |e| Error::file(&self.root, e);
        let entries = fs::read_dir(&self.root).map_err(wrong)?;
        entries.map(|entry| Ok(entry.map_err(wrong)?.file_name().to_string_lossy().into_owned())).collect()
    }
}

/// The name of a part while it is not whole.
fn hidden(target: &Path, ending: &str) -> PathBuf {
    let name = target.file_name().unwrap_or_default().to_string_lossy();
    target.with_file_name(format!(".{name}.{ending}"))
}

/// Whether a name is that of something unfinished that a run writes or removes.
fn is_part(name: &str) -> bool {
    let Some(inner) = name.strip_prefix('.') else { return false };
    let folder = inner.strip_suffix(".part").or_else(|| inner.strip_suffix(".old"));
    let is_folder = |name: &str| name == "final" || name == "final-ema" || step_of(name).is_some();
    let is_file = |name: &str| [LOG, "curves.svg", FROZEN].iter().any(|file| name.starts_with(&format!("{file}.")));
    folder.is_some_and(is_folder) || inner.strip_suffix(".part").is_some_and(is_file)
}

/// Keeps other processes out as long as the file is open. What is in it, if it is somebody else's, stays.
fn lock(root: &Path) -> Result<Option<File>> {
    let path = root.join(LOCK);
    let opened = File::options().write(true).create(true).truncate(false).open(&path);
    let lock = opened.map_err(|e| Error::file(&path, e))?;
    match lock.try_lock() {
        Err(fs::TryLockError::WouldBlock) => Err(Error::file(root, "another process is training here")),
        // Where files cannot be locked, nobody is kept out.
        _ => Ok(Some(lock)),
    }
}

/// Removes a file or a folder, if it is there.
fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(_) if path.is_dir() => remove_tree(path),
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(Error::file(path, e)),
        _ => Ok(()),
    }
}

fn remove_tree(path: &Path) -> Result<()> {
    match fs::remove_dir_all(path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(Error::file(path, e)),
        _ => Ok(()),
    }
}

/// The step of a checkpoint, if a name is one's exactly.
fn step_of(name: &str) -> Option<u64> {
    name.strip_prefix(CHECKPOINT)?.parse().ok().filter(|step| RunFolder::step_name(*step) == name)
}

/// Has the names in a folder and those in it written to the disk, where the system can do that.
fn sync_tree(folder: &Path) -> Result<()> {
    for entry in fs::read_dir(folder).map_err(|e| Error::file(folder, e))? {
        let path = entry.map_err(|e| Error::file(folder, e))?.path();
        if path.is_dir() {
            sync_tree(&path)?;
        }
    }
    sync(folder)
}

fn sync(folder: &Path) -> Result<()> {
    if cfg!(unix) {
        File::open(folder).and_then(|file| file.sync_all()).map_err(|e| Error::file(folder, e))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_checkpoints_are_found_and_old_ones_go() {
        let place = tempfile::tempdir().unwrap();
        let folder = RunFolder::claim(place.path(), false).unwrap();
        assert!(folder.newest().unwrap().is_none());
        let publish = |step: u64| {
            let name = RunFolder::step_name(step);
            let written = folder
                .publish(&name, async |part: &Path| fs::write(part.join(STATE), "a").map_err(|e| Error::file(part, e)));
            pollster::block_on(written).unwrap();
        };
        [100, 20, 3].into_iter().for_each(publish);
        let broken = folder.publish("step-00000200", async |_: &Path| Err(Error::Cancelled));
        assert!(pollster::block_on(broken).is_err());
        assert_eq!(folder.newest().unwrap().unwrap().0, 100);
        folder.prune(2).unwrap();
        let steps = || folder.checkpoints().unwrap().into_iter().map(|(step, _)| step).collect::<Vec<_>>();
        assert_eq!(steps(), [20, 100]);
        publish(100);
        assert_eq!(steps(), [20, 100]);
        let busy = RunFolder::claim(place.path(), true).err().map(|e| e.to_string());
        assert!(busy.is_some_and(|e| e.contains("another process")));
        drop(folder);
        let used = RunFolder::claim(place.path(), false).err().map(|e| e.to_string());
        assert!(used.is_some_and(|e| e.contains("--resume")));
        let folder = RunFolder::claim(place.path(), true).unwrap();
        assert!(!folder.names().unwrap().iter().any(|name| name.ends_with(".part")));
    }

    /// What a run did not make stays, whatever its name is.
    #[test]
    fn only_what_a_run_has_made_is_cleared_away() {
        let place = tempfile::tempdir().unwrap();
        let at = |name: &str| place.path().join(name);
        let write = |name: &str| {
            fs::create_dir_all(at(name).parent().unwrap()).unwrap();
            fs::write(at(name), "mine").unwrap();
        };
        let own =
            ["shared/holiday.jpg", ".notes.part", "backup.old/a", ".b.old", "step-5/state.json", "step-00000006/a"];
        own.iter().for_each(|name| write(name));
        for resume in [false, true] {
            let refused = RunFolder::claim(place.path(), resume).err().map(|e| e.to_string());
            assert!(refused.is_some_and(|e| e.contains("holds no run")), "{resume}");
            assert!(!at(LOCK).exists());
        }
        // In a run's folder as well, where the run's own remains go.
        let gone =
            [".step-00000002.part/a", ".final.old/a", "samples/.step-00000002.part/a", "shared/frozen.safetensors"];
        let gone = [&gone[..], &["shared/.frozen.safetensors.7.part", ".log.jsonl.0.part"]].concat();
        gone.iter().chain(&[LOG]).for_each(|name| write(name));
        let folder = RunFolder::claim(place.path(), true).unwrap();
        assert!(folder.newest().unwrap().is_none());
        folder.prune(1).unwrap();
        assert!(own.iter().all(|name| at(name).is_file()));
        assert!(gone.iter().all(|name| !at(name).exists()));
    }
}
