//! The safetensors format: a JSON header with names, types, shapes and byte ranges, then the data.

use std::collections::BTreeMap;
use std::ops::Range;

use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, Metadata};
use serde::{Deserialize, Serialize};

use super::dtype::StoredDType;
use super::stored::TensorLayout;
use crate::{Error, Result};

/// Names and layouts of the tensors, in file order. The crate checks that the ranges follow each other without gap or
/// overlap, fit the shapes and end where the file ends.
pub(super) fn parse(what: &str, bytes: &[u8]) -> Result<Vec<(String, TensorLayout)>> {
    let (header, metadata) =
        SafeTensors::read_metadata(bytes).map_err(|e| Error::format(what, format!("not a safetensors file: {e}")))?;
    let data_start = header + 8; // the header's own length comes first, as a u64
    let blocks = blocks(&metadata).map_err(|why| Error::format(what, why))?;
    let mut tensors = Vec::new();
    for name in metadata.offset_keys() {
        let Some(info) = metadata.info(&name) else { continue };
        let refuse = |why: String| Error::format(what, format!("tensor {name} {why}"));
        let dtype = stored_dtype(info.dtype).ok_or_else(|| refuse(format!("holds {:?}, not supported", info.dtype)))?;
        let storage = data_start + info.data_offsets.0..data_start + info.data_offsets.1;
        let layout = match blocks.get(&name) {
            Some(blocks) => blocks.layout(dtype, storage),
            None => TensorLayout::contiguous(dtype, info.shape.clone(), storage),
        };
        let layout = layout.map_err(refuse)?;
        tensors.push((name, layout));
    }
    Ok(tensors)
}

/// Key of the header's metadata under which the tensors in blocks are listed: a JSON object, name to [`Blocks`].
pub(crate) const BLOCKS_KEY: &str = "dreamllm.blocks";

/// What a tensor is whose bytes (U8 for other readers) are blocks of [`crate::tensor::quantised`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Blocks {
    /// `q8` or `q4`.
    pub dtype: String,
    /// Its shape.
    pub shape: Vec<usize>,
    /// Whether it is filters `[N, C, KY, KX]` that lie as `[N, KY, KX, C]`: blocks run along channels then.
    #[serde(default)]
    pub channels_last: bool,
}

impl Blocks {
    fn layout(&self, bytes: StoredDType, storage: Range<usize>) -> Result<TensorLayout, String> {
        let dtype = match self.dtype.as_str() {
            "q8" => StoredDType::Q8,
            "q4" => StoredDType::Q4,
            other => return Err(format!("is stored in blocks of {other:?}, which this version does not know")),
        };
        let count = self.shape.iter().try_fold(1usize, |n, &side| n.checked_mul(side));
        if bytes != StoredDType::U8 || count.and_then(|n| dtype.bytes(n)) != Some(storage.len()) {
            return Err(format!("has {} bytes, which are no {} blocks of {:?}", storage.len(), self.dtype, self.shape));
        }
        match self.channels_last {
            true => TensorLayout::channels_last(dtype, self.shape.clone(), storage),
            false => TensorLayout::contiguous(dtype, self.shape.clone(), storage),
        }
    }
}

fn blocks(metadata: &Metadata) -> Result<BTreeMap<String, Blocks>, String> {
    let listed = metadata.metadata().as_ref().and_then(|all| all.get(BLOCKS_KEY));
    let parse = |json: &String| serde_json::from_str(json).map_err(|e| format!("{BLOCKS_KEY} in the header: {e}"));
    listed.map_or_else(|| Ok(BTreeMap::new()), parse)
}

fn stored_dtype(dtype: Dtype) -> Option<StoredDType> {
    Some(match dtype {
        Dtype::F64 => StoredDType::F64,
        Dtype::F32 => StoredDType::F32,
        Dtype::F16 => StoredDType::F16,
        Dtype::BF16 => StoredDType::BF16,
        Dtype::I64 => StoredDType::I64,
        Dtype::I32 => StoredDType::I32,
        Dtype::I16 => StoredDType::I16,
        Dtype::I8 => StoredDType::I8,
        Dtype::U8 => StoredDType::U8,
        Dtype::BOOL => StoredDType::Bool,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(header: &str, data: usize) -> Vec<u8> {
        let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
        bytes.extend(header.as_bytes());
        bytes.extend(std::iter::repeat_n(0, data));
        bytes
    }

    fn in_blocks(dtype: &str, shape: &str, bytes: usize) -> Vec<u8> {
        let blocks = format!(r#"{{\"a\":{{\"dtype\":\"{dtype}\",\"shape\":{shape}}}}}"#);
        let tensor = format!(r#"{{"dtype":"U8","shape":[{bytes}],"data_offsets":[0,{bytes}]}}"#);
        file(&format!(r#"{{"__metadata__":{{"dreamllm.blocks":"{blocks}"}},"a":{tensor}}}"#), bytes)
    }

    #[test]
    fn broken_files_are_one_clear_error() {
        let good = file(r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}"#, 8);
        assert_eq!(parse("f", &good).unwrap().len(), 1);
        for cut in 0..good.len() {
            assert!(parse("f", &good[..cut]).is_err(), "cut at {cut}");
        }
        let bad = [
            file(r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}"#, 9),
            file(r#"{"a":{"dtype":"F32","shape":[3],"data_offsets":[0,8]}}"#, 8),
            file(r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[8,0]}}"#, 8),
            file(
                r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}}"#,
                12,
            ),
            file(r#"{"a":{"dtype":"F32","shape":[18446744073709551615,9],"data_offsets":[0,8]}}"#, 8),
            file(r#"{"a":{"dtype":"F8_E4M3","shape":[8],"data_offsets":[0,8]}}"#, 8),
            u64::MAX.to_le_bytes().to_vec(),
            Vec::new(),
            in_blocks("q8", "[256]", 271),
            in_blocks("q9", "[256]", 272),
            in_blocks("q8", "[18446744073709551615,2]", 272),
            file(r#"{"__metadata__":{"dreamllm.blocks":"[]"},"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}"#, 1),
        ];
        assert_eq!(parse("f", &in_blocks("q8", "[2,100]", 272)).unwrap().len(), 1);
        for (i, bytes) in bad.iter().enumerate() {
            let error = parse("broken.safetensors", bytes).unwrap_err().to_string();
            assert!(error.starts_with("broken.safetensors: ") && !error.contains('\n'), "{i}: {error}");
        }
    }
}
