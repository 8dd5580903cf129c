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
//! Folders are written under another name and renamed, and removed the same way: what has its name is whole.

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
const LOCK: &str = ".lock";

impl RunFolder {
    /// Makes the folder and locks it. A folder with a run in it is refused unless the run is to be resumed.
    pub fn claim(root: &Path, resume: bool) -> Result<RunFolder> {
        fs::create_dir_all(root).map_err(|e| Error::file(root, e))?;
        let lock = File::create(root.join(LOCK)).map_err(|e| Error::file(root, e))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => return Err(Error::file(root, "another process is training here")),
            // Where files cannot be locked, nobody is kept out.
            Err(fs::TryLockError::Error(_)) => {}
        }
        let folder = RunFolder { root: root.to_path_buf(), _lock: Some(lock) };
        let used = |name: &String| name == "log.jsonl" || name == "final" || step_of(name).is_some();
        if !resume && folder.names()?.iter().any(used) {
            return Err(Error::file(
                root,
                "holds a run already; --resume continues it, another `out` begins a new one",
            ));
        }
        folder.clear()?;
        if folder.newest()?.is_none() {
            // Whoever left this may have begun with another model.
            remove_tree(&folder.path(SHARED))?;
        }
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
        let mut found: Vec<_> =
            self.names()?.iter().filter_map(|name| Some((step_of(name)?, self.root.join(name)))).collect();
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

    /// Removes what an interrupted process left.
    fn clear(&self) -> Result<()> {
        let left = |name: &&String| name.starts_with('.') && (name.ends_with(".part") || name.ends_with(".old"));
        for name in self.names()?.iter().filter(left) {
            let path = self.root.join(name);
            let removed = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
            removed.map_err(|e| Error::file(&path, e))?;
        }
        Ok(())
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

fn remove_tree(path: &Path) -> Result<()> {
    match fs::remove_dir_all(path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(Error::file(path, e)),
        _ => Ok(()),
    }
}

fn step_of(name: &str) -> Option<u64> {
    name.strip_prefix(CHECKPOINT)?.parse().ok()
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
                .publish(&name, async |part: &Path| fs::write(part.join("a"), "a").map_err(|e| Error::file(part, e)));
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
}
