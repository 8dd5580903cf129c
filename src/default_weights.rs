//! The small model inside the program: the files of `weights/`, compiled in (feature `default-weights`). They are unpacked to
//! the user's cache where a checkpoint is opened, because weights are read through a map of their file.

use crate::{Error, Result};
use std::path::PathBuf;

/// The files of a list, by their paths in `weights/`.
#[cfg(feature = "default-weights")]
macro_rules! files {
    ($($path:literal)*) => {
        /// Paths in the folder, and what the files hold.
        pub const FILES: &[(&str, &[u8])] = &[$(($path, include_bytes!(concat!("../weights/", $path)))),*];
    };
}

#[cfg(feature = "default-weights")]
files! {
    "config.json"
    "drawing_config.json"
    "dreamllm.json"
    "model.safetensors"
    "scene_encoder.safetensors"
    "tokenizer.json"
    "image-encoder/config.json"
    "image-encoder/preprocessor_config.json"
    "image-generator/model_index.json"
    "image-generator/scheduler/scheduler_config.json"
    "image-generator/unet/config.json"
    "image-generator/vae/config.json"
}

/// The folder with the unpacked files. What is there already is compared, and written again if it differs.
#[cfg(feature = "default-weights")]
pub fn folder() -> Result<PathBuf> {
    use sha2::{Digest, Sha256};
    let mut hash = Sha256::new();
    FILES.iter().for_each(|(_, bytes)| hash.update(bytes));
    let name: String = hash.finalize().iter().take(6).map(|byte| format!("{byte:02x}")).collect();
    let places: Vec<PathBuf> = cache().into_iter().chain([std::env::temp_dir()]).collect();
    let mut wrong = None;
    for place in places {
        let folder = place.join("dreamllm").join(format!("default-{name}"));
        match unpack(&folder) {
            Ok(()) => return Ok(folder),
            Err(error) => wrong = wrong.or(Some(error)),
        }
    }
    Err(wrong.unwrap_or_else(|| Error::Input("there is no folder to unpack the default model to".into())))
}

/// Without the feature there is no model to fall back on.
#[cfg(not(feature = "default-weights"))]
pub fn folder() -> Result<PathBuf> {
    Err(Error::Input("say which checkpoint with --model; this program was built without the default weights".into()))
}

#[cfg(feature = "default-weights")]
fn unpack(folder: &std::path::Path) -> Result<()> {
    for (name, bytes) in FILES {
        let file = folder.join(name);
        if std::fs::read(&file).is_ok_and(|found| found == *bytes) {
            continue;
        }
        let inside = file.parent().unwrap_or(folder);
        std::fs::create_dir_all(inside).map_err(|e| Error::file(inside, e))?;
        crate::image::replace_file(&file, bytes)?;
    }
    Ok(())
}

/// Where programs keep what can be made again.
#[cfg(feature = "default-weights")]
fn cache() -> Option<PathBuf> {
    let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let home =
        || variable("HOME").map(|home| home.join(if cfg!(target_os = "macos") { "Library/Caches" } else { ".cache" }));
    variable("XDG_CACHE_HOME").or_else(|| variable("LOCALAPPDATA")).or_else(home)
}

#[cfg(all(test, feature = "default-weights"))]
mod tests {
    use super::*;

    #[test]
    fn what_is_damaged_is_unpacked_again() {
        let folder = std::env::temp_dir().join(format!("dreamllm-test-{}", std::process::id()));
        unpack(&folder).unwrap();
        let file = folder.join("image-generator/unet/config.json");
        std::fs::write(&file, "{").unwrap();
        unpack(&folder).unwrap();
        assert!(FILES.iter().all(|(name, bytes)| std::fs::read(folder.join(name)).unwrap() == *bytes));
        assert!(crate::weights::CheckpointFolder::open(&folder).is_ok());
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn every_file_of_the_folder_is_inside() {
        let (root, mut count, mut open) = (std::path::Path::new("weights"), 0, vec![PathBuf::from("weights")]);
        while let Some(next) = open.pop() {
            for entry in std::fs::read_dir(next).unwrap() {
                let path = entry.unwrap().path();
                let name = path.strip_prefix(root).unwrap().to_string_lossy().into_owned();
                match path.is_dir() {
                    true => open.push(path),
                    // What people read of the training.
                    false if ["README.md", "training.json"].contains(&name.as_str()) => {}
                    false => {
                        assert!(FILES.iter().any(|(known, _)| *known == name), "{name}");
                        count += 1;
                    }
                }
            }
        }
        assert_eq!(count, FILES.len());
    }
}
