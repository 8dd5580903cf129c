//! Files written by `torch.save`: since 2019 a zip archive with uncompressed entries, before that pickles in a row.
//!
//! | zip entry | content |
//! |---|---|
//! | `<stem>/data.pkl` | pickle of a dictionary: name → (storage key, offset, shape, strides) |
//! | `<stem>/data/<key>` | the elements of one storage |
//! | `<stem>/byteorder`, `version`, `.data/serialization_id` | ignored, except that big-endian data is refused |

use std::collections::HashMap;
use std::io::Cursor;
use std::ops::Range;

use zip::read::{ArchiveOffset, Config};
use zip::{CompressionMethod, ZipArchive};

use super::dtype::StoredDType;
use super::pickle::{self, Loaded};
use super::pickle_value::PickledTensor;
use super::stored::TensorLayout;
use crate::{Error, Result};

/// What a file of the older kind begins with: the pickle of torch's magic number.
const LEGACY_MAGIC: &[u8] = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.";

/// Whether the bytes look like a zip archive.
pub(super) fn is_zip(bytes: &[u8]) -> bool {
    bytes.starts_with(b"PK\x03\x04") || bytes.starts_with(b"PK\x05\x06")
}

/// Whether the bytes look like `torch.save` before zip archives.
pub(super) fn is_legacy(bytes: &[u8]) -> bool {
    bytes.starts_with(LEGACY_MAGIC)
}

/// Names and layouts of the tensors of a zip archive.
pub(super) fn parse_zip(what: &str, bytes: &[u8]) -> Result<Vec<(String, TensorLayout)>> {
    let entries = stored_entries(bytes).map_err(|why| Error::format(what, why))?;
    let pickles: Vec<&String> = entries.keys().filter(|name| is_main_pickle(name)).collect();
    let &[pickle_name] = pickles.as_slice() else {
        return Err(Error::format(what, format!("holds {} entries named data.pkl, not one", pickles.len())));
    };
    let stem = pickle_name.trim_end_matches("data.pkl");
    let entry = |name: &str| entries.get(&format!("{stem}{name}")).cloned();
    let content = |name: &str| entry(name).and_then(|range| bytes.get(range));
    if content("byteorder").is_some_and(|order| order.starts_with(b"big")) {
        return Err(Error::format(what, "holds big-endian data, not supported"));
    }
    let pickle = content("data.pkl").unwrap_or_default();
    let (loaded, _) = pickle::load(pickle).map_err(|why| Error::format(what, why))?;
    layouts(what, &loaded, |key, _| entry(&format!("data/{key}")))
}

fn is_main_pickle(name: &str) -> bool {
    name == "data.pkl" || name.strip_suffix("/data.pkl").is_some_and(|stem| !stem.contains('/'))
}

/// Byte ranges of the archive's entries, which must be stored as they are.
fn stored_entries(bytes: &[u8]) -> Result<HashMap<String, Range<usize>>, String> {
    // torch.save puts nothing before the archive, and the crate must not guess: torch's 76 bytes of zip64 records stand
    // between directory and end record, and zip 9 takes a second entry 76 bytes in (`clip_vision_embedding/data.pkl`
    // has that length) for the first one of a shifted archive.
    let config = Config { archive_offset: ArchiveOffset::Known(0) };
    let archive = ZipArchive::with_config(config, Cursor::new(bytes));
    let mut archive = archive.map_err(|e| format!("not a whole zip archive: {e}"))?;
    let mut entries = HashMap::new();
    for index in 0..archive.len() {
        let entry = archive.by_index_raw(index).map_err(|e| format!("zip entry {index}: {e}"))?;
        let name = String::from_utf8_lossy(entry.name_raw()).into_owned();
        if entry.compression() != CompressionMethod::Stored || entry.encrypted() {
            return Err(format!("zip entry {name} is compressed or encrypted; torch.save stores entries as they are"));
        }
        let range = entry_range(entry.data_start(), entry.compressed_size(), bytes.len());
        entries.insert(name.clone(), range.ok_or_else(|| format!("zip entry {name} lies outside the file"))?);
    }
    Ok(entries)
}

fn entry_range(start: Option<u64>, len: u64, file_len: usize) -> Option<Range<usize>> {
    let start = usize::try_from(start?).ok()?;
    let end = start.checked_add(usize::try_from(len).ok()?)?;
    (end <= file_len).then_some(start..end)
}

/// Names and layouts of the tensors of a file of the older kind: five pickles (magic number, version, machine, the
/// dictionary, the order of the storages), then every storage as a count and its elements.
pub(super) fn parse_legacy(what: &str, bytes: &[u8]) -> Result<Vec<(String, TensorLayout)>> {
    let refuse = |why: String| Error::format(what, why);
    let mut at = 0;
    let mut next = || -> Result<Loaded<'_>> {
        let (loaded, used) = pickle::load(bytes.get(at..).unwrap_or_default()).map_err(refuse)?;
        at += used;
        Ok(loaded)
    };
    let (_magic, version, _machine, dictionary, order) = (next()?, next()?, next()?, next()?, next()?);
    if version.integer() != Some(1001) {
        return Err(refuse("was written by an unknown version of torch.save".into()));
    }
    let order = order.strings().ok_or_else(|| refuse("has no list of its storages".into()))?;
    let dtypes = dictionary.storages().map(|storage| (storage.key, storage.dtype)).collect();
    let storages = legacy_storages(bytes, at, &order, &dtypes).map_err(refuse)?;
    layouts(what, &dictionary, |key, _| storages.get(key).cloned())
}

fn legacy_storages<'a>(
    bytes: &[u8],
    mut at: usize,
    order: &[&'a str],
    dtypes: &HashMap<&str, StoredDType>,
) -> Result<HashMap<&'a str, Range<usize>>, String> {
    let mut storages = HashMap::new();
    for &key in order {
        let outside = || format!("storage {key} lies outside the file");
        let dtype = dtypes.get(key).ok_or_else(|| format!("storage {key} is nowhere described"))?;
        let count = bytes.get(at..).and_then(|rest| rest.first_chunk()).ok_or_else(outside)?;
        let size = usize::try_from(u64::from_le_bytes(*count)).ok().and_then(|n| dtype.bytes(n));
        let start = at + 8;
        let end =
            size.and_then(|size| start.checked_add(size)).filter(|&end| end <= bytes.len()).ok_or_else(outside)?;
        storages.insert(key, start..end);
        at = end;
    }
    Ok(storages)
}

/// The layouts of a dictionary's tensors, given where each storage lies.
fn layouts(
    what: &str,
    loaded: &Loaded<'_>,
    locate: impl Fn(&str, &PickledTensor<'_>) -> Option<Range<usize>>,
) -> Result<Vec<(String, TensorLayout)>> {
    let tensors = loaded.tensors().map_err(|why| Error::format(what, why))?;
    let place = |(name, tensor): (&str, &PickledTensor<'_>)| {
        let layout = layout(tensor, locate(tensor.storage.key, tensor));
        layout.map(|l| (name.to_string(), l)).map_err(|why| Error::format(what, format!("tensor {name} {why}")))
    };
    tensors.into_iter().map(place).collect()
}

fn layout(tensor: &PickledTensor<'_>, place: Option<Range<usize>>) -> Result<TensorLayout, String> {
    let storage = &tensor.storage;
    let place = place.ok_or_else(|| format!("has its data in storage {}, which is not there", storage.key))?;
    let bytes = storage.dtype.bytes(storage.len).filter(|&n| n <= place.len());
    let bytes = bytes.ok_or_else(|| {
        format!("wants {} elements of storage {}, which has {} bytes", storage.len, storage.key, place.len())
    })?;
    let range = place.start..place.start + bytes;
    TensorLayout::new(storage.dtype, tensor.shape.clone(), tensor.strides.clone(), tensor.offset, range)
}

#[cfg(test)]
pub(super) mod tests;
