//! A new checkpoint's folder, which has its name only when it is whole.

use crate::{Error, Result};
use std::fs;
use std::path::{Path, PathBuf};

/// A folder beside the wanted one, which takes its name in the end. Dropped before that, it is removed.
pub(crate) struct Staging {
    part: PathBuf,
    out: PathBuf,
}

impl Staging {
    /// Makes it, for a folder `out` that must be empty or not be there.
    pub fn new(out: &Path) -> Result<Staging> {
        let is_free = match fs::read_dir(out) {
            Ok(mut entries) => entries.next().is_none(),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => true,
            Err(e) => return Err(Error::file(out, e)),
        };
        if !is_free {
            return Err(Error::file(out, "is not empty; the new checkpoint needs a folder of its own"));
        }
        if out.file_name().is_none() {
            return Err(Error::file(out, "is no name for a new folder"));
        }
        // A link keeps pointing where it does.
        let whole = fs::canonicalize(out).unwrap_or_else(|_| out.to_path_buf());
        let part = make_beside(&whole).map_err(|e| Error::file(out, e))?;
        Ok(Staging { part, out: whole })
    }

    /// Where to write.
    pub fn path(&self) -> &Path {
        &self.part
    }

    /// Gives the folder its name.
    pub fn publish(self) -> Result<()> {
        let _ = fs::remove_dir(&self.out); // an empty folder, if any: not everywhere is it replaced
        fs::rename(&self.part, &self.out).map_err(|e| Error::file(&self.out, e))
    }
}

/// A new folder beside the target, under a hidden name that nothing has.
fn make_beside(target: &Path) -> std::io::Result<PathBuf> {
    let name = target.file_name().unwrap_or_default().to_string_lossy();
    let mut attempt = 0;
    loop {
        let part = target.with_file_name(format!(".{name}.{}.{attempt}.part", std::process::id()));
        match fs::create_dir(&part) {
            Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists && attempt < 1000 => attempt += 1,
            made => return made.map(|()| part),
        }
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        if self.part.exists() {
            let _ = fs::remove_dir_all(&self.part); // the error that led here is the one to tell
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_whole_or_not_there_and_nothing_else_is_touched() {
        let place = tempfile::tempdir().unwrap();
        let at = |name: &str| place.path().join(name);
        let names = || {
            let mut names: Vec<_> = fs::read_dir(place.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
            names.sort();
            names
        };
        fs::create_dir(at("z.part")).unwrap();
        fs::write(at("red.png"), "mine").unwrap();
        drop(Staging::new(&at("z.v1")).unwrap());
        assert!(Staging::new(&at("red.png")).is_err());
        assert!(Staging::new(place.path()).is_err_and(|e| e.to_string().contains("not empty")));
        assert_eq!(names(), ["red.png", "z.part"]);
        assert!(Staging::new(&at("new/z.v1")).is_err());
        fs::create_dir(at("new")).unwrap();
        let staging = Staging::new(&at("new/z.v1")).unwrap();
        fs::write(staging.path().join("a"), "a").unwrap();
        staging.publish().unwrap();
        assert_eq!(fs::read(at("new/z.v1/a")).unwrap(), b"a");
        assert_eq!(fs::read_dir(at("new")).unwrap().count(), 1);
    }
}
