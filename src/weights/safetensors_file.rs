//! The safetensors format: a JSON header with names, types, shapes and byte ranges, then the data.

use safetensors::SafeTensors;
use safetensors::tensor::Dtype;

use super::dtype::StoredDType;
use super::stored::TensorLayout;
use crate::{Error, Result};

/// Names and layouts of the tensors, in file order. The crate checks that the ranges follow each other without gap or
/// overlap, fit the shapes and end where the file ends.
pub(super) fn parse(what: &str, bytes: &[u8]) -> Result<Vec<(String, TensorLayout)>> {
    let (header, metadata) =
        SafeTensors::read_metadata(bytes).map_err(|e| Error::format(what, format!("not a safetensors file: {e}")))?;
    let data_start = header + 8; // the header's own length comes first, as a u64
    let mut tensors = Vec::new();
    for name in metadata.offset_keys() {
        let Some(info) = metadata.info(&name) else { continue };
        let refuse = |why: String| Error::format(what, format!("tensor {name} {why}"));
        let dtype = stored_dtype(info.dtype).ok_or_else(|| refuse(format!("holds {:?}, not supported", info.dtype)))?;
        let storage = data_start + info.data_offsets.0..data_start + info.data_offsets.1;
        let layout = TensorLayout::contiguous(dtype, info.shape.clone(), storage).map_err(refuse)?;
        tensors.push((name, layout));
    }
    Ok(tensors)
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
        ];
        for (i, bytes) in bad.iter().enumerate() {
            let error = parse("broken.safetensors", bytes).unwrap_err().to_string();
            assert!(error.starts_with("broken.safetensors: ") && !error.contains('\n'), "{i}: {error}");
        }
    }
}
