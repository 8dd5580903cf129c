//! Writing a safetensors file as its tensors come, so that no more than a piece of one is in memory.
//!
//! The header holds every name, type, shape and place, so these are told first; the bytes follow in the same order, in
//! pieces of any size. The file has its name only when it is whole.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use half::{bf16, f16};

use super::dtype::StoredDType;
use crate::{Error, Result};

/// What the header says of a tensor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorHeader {
    /// Its name.
    pub name: String,
    /// Its element type.
    pub dtype: StoredDType,
    /// Lengths of its axes.
    pub shape: Vec<usize>,
}

impl TensorHeader {
    /// A tensor of f32.
    pub fn f32(name: impl Into<String>, shape: &[usize]) -> TensorHeader {
        TensorHeader { name: name.into(), dtype: StoredDType::F32, shape: shape.to_vec() }
    }

    /// Bytes of the tensor, none if they cannot be counted.
    pub fn bytes(&self) -> Option<u64> {
        let (_, bytes) = self.dtype.unit();
        self.shape.iter().try_fold(bytes as u64, |bytes, &side| bytes.checked_mul(side as u64))
    }
}

/// A file that is being written. Dropped before [`SafetensorsWriter::finish`], it leaves nothing behind.
pub struct SafetensorsWriter {
    path: PathBuf,
    part: PathBuf,
    out: BufWriter<File>,
    tensors: Vec<TensorHeader>,
    /// The tensor that is being written, and bytes of it that are still to come.
    current: usize,
    missing: u64,
    finished: bool,
}

impl SafetensorsWriter {
    /// Begins a file with its header. Readers that map files like wide types in front, where everything is aligned.
    pub fn create(
        path: impl AsRef<Path>,
        tensors: Vec<TensorHeader>,
        metadata: &BTreeMap<String, String>,
    ) -> Result<Self> {
        let path = path.as_ref().to_path_buf();
        let header = header(&tensors, metadata).map_err(|why| Error::file(&path, why))?;
        let mut part = path.as_os_str().to_os_string();
        part.push(".part");
        let part = PathBuf::from(part);
        let file = File::create(&part).map_err(|e| Error::file(&part, e))?;
        let missing = tensors.first().and_then(TensorHeader::bytes).unwrap_or(0);
        let out = BufWriter::with_capacity(1 << 20, file);
        let mut writer = Self { path, part, out, tensors, current: 0, missing, finished: false };
        writer.put(&(header.len() as u64).to_le_bytes())?;
        writer.put(&header)?;
        Ok(writer)
    }

    /// Begins a file that says that its tensors are PyTorch's, as transformers wants to be told.
    pub fn create_pt(path: impl AsRef<Path>, tensors: Vec<TensorHeader>) -> Result<Self> {
        Self::create(path, tensors, &BTreeMap::from([("format".to_string(), "pt".to_string())]))
    }

    /// The next values of a tensor, which are converted to its type of floats.
    pub fn write_f32(&mut self, name: &str, values: &[f32]) -> Result<()> {
        self.skip_whole(name);
        let dtype = self.tensors.get(self.current).map_or(StoredDType::F32, |tensor| tensor.dtype);
        let bytes: Vec<u8> = match dtype {
            StoredDType::F32 => return self.write(name, bytemuck::cast_slice(values)),
            StoredDType::F16 => values.iter().flat_map(|&x| f16::from_f32(x).to_le_bytes()).collect(),
            StoredDType::BF16 => values.iter().flat_map(|&x| bf16::from_f32(x).to_le_bytes()).collect(),
            StoredDType::F64 => values.iter().flat_map(|&x| f64::from(x).to_le_bytes()).collect(),
            other => return self.refuse(format!("{name} is of {other}, but floats came")),
        };
        self.write(name, &bytes)
    }

    /// The next bytes of tensor `name`, which must be the one that is being written or, where that is whole, the next one.
    pub fn write(&mut self, name: &str, bytes: &[u8]) -> Result<()> {
        self.skip_whole(name);
        match self.tensors.get(self.current) {
            Some(tensor) if tensor.name == name && bytes.len() as u64 <= self.missing => {
                self.missing -= bytes.len() as u64;
                self.put(bytes)
            }
            Some(tensor) => {
                let (missing, wanted) = (self.missing, tensor.name.clone());
                self.refuse(format!("{} bytes of {name} came where {missing} of {wanted} were due", bytes.len()))
            }
            None => self.refuse(format!("{name} came behind the last tensor")),
        }
    }

    /// Ends the file and gives it its name. An error if a tensor is not whole.
    pub fn finish(mut self) -> Result<()> {
        self.skip_whole("");
        if let Some(tensor) = self.tensors.get(self.current) {
            let why = format!("ended with {} bytes of {} missing", self.missing, tensor.name);
            return self.refuse(why);
        }
        let ended = self.out.flush().and_then(|()| self.out.get_ref().sync_all());
        ended.and_then(|()| fs::rename(&self.part, &self.path)).map_err(|e| Error::file(&self.path, e))?;
        self.finished = true;
        Ok(())
    }

    /// Goes on to the next tensor while the current one is whole and is not `name`.
    fn skip_whole(&mut self, name: &str) {
        while self.missing == 0 && self.tensors.get(self.current).is_some_and(|tensor| tensor.name != name) {
            self.current += 1;
            self.missing = self.tensors.get(self.current).and_then(TensorHeader::bytes).unwrap_or(0);
        }
    }

    fn put(&mut self, bytes: &[u8]) -> Result<()> {
        self.out.write_all(bytes).map_err(|e| Error::file(&self.path, e))
    }

    fn refuse<T>(&self, why: String) -> Result<T> {
        Err(Error::file(&self.path, why))
    }
}

impl Drop for SafetensorsWriter {
    fn drop(&mut self) {
        if !self.finished {
            let _ = fs::remove_file(&self.part); // the error that led here is the one to tell
        }
    }
}

/// The JSON header, padded so that the data begins at a multiple of 8. It is put together in the order of the tensors,
/// which is that of their bytes.
fn header(tensors: &[TensorHeader], metadata: &BTreeMap<String, String>) -> Result<Vec<u8>, String> {
    let (mut entries, mut names, mut start) = (Vec::new(), BTreeSet::new(), 0u64);
    if !metadata.is_empty() {
        entries.push(format!("\"__metadata__\":{}", serde_json::json!(metadata)));
    }
    for tensor in tensors {
        let TensorHeader { name, dtype, shape } = tensor;
        let end = tensor.bytes().and_then(|bytes| start.checked_add(bytes));
        let end = end.ok_or_else(|| format!("tensor {name} has an impossible shape"))?;
        if name == "__metadata__" || !names.insert(name) {
            return Err(format!("there are two tensors {name}"));
        }
        let dtype = dtype.safetensors_name();
        let about = serde_json::json!({ "dtype": dtype, "shape": shape, "data_offsets": [start, end] });
        entries.push(format!("{}:{about}", serde_json::json!(name)));
        start = end;
    }
    let mut header = format!("{{{}}}", entries.join(",")).into_bytes();
    header.resize(header.len().next_multiple_of(8), b' ');
    Ok(header)
}

#[cfg(test)]
mod tests {
    use super::super::WeightFile;
    use super::*;

    fn tensor(name: &str, dtype: StoredDType, shape: &[usize]) -> TensorHeader {
        TensorHeader { name: name.into(), dtype, shape: shape.to_vec() }
    }

    fn three() -> Vec<TensorHeader> {
        vec![
            tensor("a", StoredDType::F32, &[2, 3]),
            tensor("empty \"name\"", StoredDType::F32, &[0, 3]),
            tensor("b", StoredDType::U8, &[3]),
        ]
    }

    #[test]
    fn values_take_the_type_of_their_tensor() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.safetensors");
        let all = vec![
            tensor("b", StoredDType::F32, &[2, 2]),
            tensor("none", StoredDType::F32, &[0, 3]),
            tensor("a", StoredDType::BF16, &[3]),
            tensor("scalar", StoredDType::F16, &[]),
            tensor("id", StoredDType::I64, &[1]),
        ];
        let mut writer = SafetensorsWriter::create_pt(&path, all).unwrap();
        writer.write_f32("b", &[1.0, 2.0]).unwrap();
        writer.write_f32("b", &[3.0, 4.5]).unwrap();
        writer.write_f32("a", &[0.5, -2.0, 8.0]).unwrap();
        writer.write_f32("scalar", &[0.25]).unwrap();
        assert!(writer.write_f32("id", &[1.0]).unwrap_err().to_string().contains("floats came"));
        writer.write("id", &7i64.to_le_bytes()).unwrap();
        writer.finish().unwrap();
        let file = WeightFile::open(&path).unwrap();
        let read = |name: &str| file.get(name).unwrap().to_f32().unwrap();
        assert_eq!((read("b"), read("none")), (vec![1.0, 2.0, 3.0, 4.5], vec![]));
        assert_eq!((read("a"), read("scalar")), (vec![0.5, -2.0, 8.0], vec![0.25]));
    }

    #[test]
    fn what_is_written_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.safetensors");
        let metadata = BTreeMap::from([("format".to_string(), "pt".to_string())]);
        let mut writer = SafetensorsWriter::create(&path, three(), &metadata).unwrap();
        let values: Vec<u8> = (0..6).flat_map(|i| (i as f32).to_le_bytes()).collect();
        writer.write("a", &values[..5]).unwrap();
        writer.write("a", &values[5..]).unwrap();
        writer.write("b", &[7, 8, 9]).unwrap();
        assert!(!path.exists());
        writer.finish().unwrap();
        let file = WeightFile::open(&path).unwrap();
        assert_eq!(file.names().collect::<Vec<_>>(), ["a", "empty \"name\"", "b"]);
        assert_eq!(file.get("a").unwrap().to_f32().unwrap(), [0., 1., 2., 3., 4., 5.]);
        assert_eq!(file.get("b").unwrap().to_f32().unwrap(), [7., 8., 9.]);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_file_that_is_not_whole_is_not_there() {
        let folder = tempfile::tempdir().unwrap();
        let begin = || {
            let path = folder.path().join("a.safetensors");
            SafetensorsWriter::create(path, three(), &BTreeMap::new()).unwrap()
        };
        let mut writer = begin();
        writer.write("a", &[0; 23]).unwrap();
        assert!(writer.write("b", &[0; 3]).is_err(), "a tensor was left half written");
        assert!(writer.write("a", &[0; 2]).is_err(), "more bytes than the tensor has");
        assert!(writer.finish().unwrap_err().to_string().contains("1 bytes of a missing"));
        let mut writer = begin();
        writer.write("a", &[0; 24]).unwrap();
        writer.write("b", &[0; 3]).unwrap();
        assert!(writer.write("c", &[0]).is_err());
        drop(writer);
        let twice = vec![tensor("a", StoredDType::U8, &[1]); 2];
        assert!(SafetensorsWriter::create(folder.path().join("b"), twice, &BTreeMap::new()).is_err());
        let huge = vec![tensor("a", StoredDType::F32, &[usize::MAX, 2])];
        assert!(SafetensorsWriter::create(folder.path().join("b"), huge, &BTreeMap::new()).is_err());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
