//! The bytes of one checkpoint file: memory-mapped where the platform can, otherwise in memory.

use std::ops::Deref;
use std::path::Path;

use crate::{Error, Result};

/// Bytes of a file that stay valid for as long as this value lives.
pub enum FileBytes {
    /// Pages of the file itself; nothing is read before it is looked at.
    #[cfg(feature = "cli")]
    Mapped(memmap2::Mmap),
    /// A copy in memory (browser, tests, downloads).
    Memory(Vec<u8>),
}

impl FileBytes {
    /// Maps (feature `cli`) or reads the file.
    pub fn open(path: &Path) -> Result<Self> {
        if path.is_dir() {
            return Err(Error::file(path, "is a folder, not a file"));
        }
        Self::read(path).map_err(|e| Error::file(path, e))
    }

    #[cfg(feature = "cli")]
    fn read(path: &Path) -> std::io::Result<Self> {
        let file = std::fs::File::open(path)?;
        if file.metadata()?.len() == 0 {
            return Ok(FileBytes::Memory(Vec::new())); // an empty file cannot be mapped on every platform
        }
        // SAFETY: the map is only read. As with every memory-mapped reader, a file that another process truncates
        // meanwhile ends the process; checkpoints are replaced by renaming, never rewritten in place.
        let map = unsafe { memmap2::Mmap::map(&file)? };
        Ok(FileBytes::Mapped(map))
    }

    /// Gives the whole pages within a range back to the system; reading them again fetches them from the file.
    pub fn release(&self, range: std::ops::Range<usize>) {
        #[cfg(all(feature = "cli", unix))]
        if let FileBytes::Mapped(map) = self {
            const PAGE: usize = 1 << 16; // the largest in use
            let (start, end) = (range.start.next_multiple_of(PAGE), range.end.min(map.len()) / PAGE * PAGE);
            if start < end {
                // SAFETY: the map is of a file and never written, so that its pages come back with the same content.
                // Whether the system takes the advice is its own affair.
                let _ = unsafe { map.unchecked_advise_range(memmap2::UncheckedAdvice::DontNeed, start, end - start) };
            }
        }
        #[cfg(not(all(feature = "cli", unix)))]
        let _ = range;
    }

    #[cfg(not(feature = "cli"))]
    fn read(path: &Path) -> std::io::Result<Self> {
        std::fs::read(path).map(FileBytes::Memory)
    }
}

impl Deref for FileBytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            #[cfg(feature = "cli")]
            FileBytes::Mapped(map) => map,
            FileBytes::Memory(bytes) => bytes,
        }
    }
}

impl From<Vec<u8>> for FileBytes {
    fn from(bytes: Vec<u8>) -> Self {
        FileBytes::Memory(bytes)
    }
}
