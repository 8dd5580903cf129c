//! Writing safetensors files of any size: the header first, from names, types and shapes alone, then one tensor after the
//! other, in pieces. Host memory stays at one piece.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use half::{bf16, f16};

use super::StoredDType;
use crate::{Error, Result};

/// A tensor that will be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorPlan {
    /// Its name in the file.
    pub name: String,
    /// Its type in the file.
    pub dtype: StoredDType,
    /// Its shape.
    pub shape: Vec<usize>,
}

impl TensorPlan {
    /// A tensor of f32.
    pub fn f32(name: impl Into<String>, shape: &[usize]) -> TensorPlan {
        TensorPlan { name: name.into(), dtype: StoredDType::F32, shape: shape.to_vec() }
    }

    /// Its bytes in the file.
    pub fn bytes(&self) -> u64 {
        self.shape.iter().map(|&n| n as u64).product::<u64>() * self.dtype.size() as u64
    }
}

/// A safetensors file in the making. Tensors come in the order of the plan. Only [`finish`](Self::finish) says that the
/// file is whole; write to a new file or folder and rename it afterwards.
pub struct SafetensorsWriter {
    path: PathBuf,
    file: BufWriter<File>,
    open: VecDeque<TensorPlan>,
    /// Bytes of the first open tensor that are written.
    written: u64,
}

impl SafetensorsWriter {
    /// Creates the file and writes its header. The format is named `pt`, as transformers wants it.
    pub fn create(path: impl AsRef<Path>, plan: Vec<TensorPlan>) -> Result<Self> {
        let path = path.as_ref().to_path_buf();
        let header = header(&plan);
        let wrong = |e| Error::file(&path, e);
        let mut file = BufWriter::with_capacity(1 << 20, File::create(&path).map_err(wrong)?);
        file.write_all(&(header.len() as u64).to_le_bytes()).and_then(|()| file.write_all(&header)).map_err(wrong)?;
        let mut writer = SafetensorsWriter { path, file, open: plan.into(), written: 0 };
        writer.go_on();
        Ok(writer)
    }

    /// The next bytes (little-endian, row-major) of a tensor, which must be the first one that is not complete.
    pub fn write(&mut self, name: &str, bytes: &[u8]) -> Result<()> {
        if bytes.is_empty() {
            return Ok(());
        }
        let wrong = |why: String| Err(Error::file(&self.path, why));
        match self.open.front() {
            Some(plan) if plan.name != name => return wrong(format!("{} comes next, not {name}", plan.name)),
            Some(plan) if self.written + bytes.len() as u64 > plan.bytes() => {
                return wrong(format!("{name} has {} bytes, but more came", plan.bytes()));
            }
            None => return wrong(format!("is complete, but {name} came")),
            Some(_) => self.file.write_all(bytes).map_err(|e| Error::file(&self.path, e))?,
        }
        self.written += bytes.len() as u64;
        self.go_on();
        Ok(())
    }

    /// The next values of a tensor, converted to its type, which must be one of floats.
    pub fn write_f32(&mut self, name: &str, values: &[f32]) -> Result<()> {
        let dtype = self.open.front().map_or(StoredDType::F32, |plan| plan.dtype);
        let bytes: Vec<u8> = match dtype {
            StoredDType::F32 => values.iter().flat_map(|x| x.to_le_bytes()).collect(),
            StoredDType::F16 => values.iter().flat_map(|&x| f16::from_f32(x).to_le_bytes()).collect(),
            StoredDType::BF16 => values.iter().flat_map(|&x| bf16::from_f32(x).to_le_bytes()).collect(),
            StoredDType::F64 => values.iter().flat_map(|&x| f64::from(x).to_le_bytes()).collect(),
            other => return Err(Error::file(&self.path, format!("{name} is planned as {other}, but floats came"))),
        };
        self.write(name, &bytes)
    }

    /// Makes sure that everything is written and on the disk.
    pub fn finish(mut self) -> Result<()> {
        if let Some(plan) = self.open.front() {
            return Err(Error::file(&self.path, format!("{} was not written whole", plan.name)));
        }
        self.file.flush().and_then(|()| self.file.get_ref().sync_all()).map_err(|e| Error::file(&self.path, e))
    }

    /// Passes what is complete, and tensors without elements.
    fn go_on(&mut self) {
        while self.open.front().is_some_and(|plan| plan.bytes() == self.written) {
            self.open.pop_front();
            self.written = 0;
        }
    }
}

/// JSON, filled up with spaces so that the data is aligned.
fn header(plan: &[TensorPlan]) -> Vec<u8> {
    let mut entries = serde_json::Map::new();
    entries.insert("__metadata__".into(), serde_json::json!({ "format": "pt" }));
    let mut start = 0;
    for tensor in plan {
        let end = start + tensor.bytes();
        let dtype = tensor.dtype.to_string().to_uppercase();
        let entry = serde_json::json!({ "dtype": dtype, "shape": tensor.shape, "data_offsets": [start, end] });
        entries.insert(tensor.name.clone(), entry);
        start = end;
    }
    let mut header = serde_json::Value::from(entries).to_string().into_bytes();
    header.resize(header.len().next_multiple_of(8), b' ');
    header
}

#[cfg(test)]
mod tests {
    use super::super::WeightFile;
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.safetensors");
        let plan = |name: &str, dtype, shape: &[usize]| TensorPlan { name: name.into(), dtype, shape: shape.to_vec() };
        let all = vec![
            plan("b", StoredDType::F32, &[2, 2]),
            plan("none", StoredDType::F32, &[0, 3]),
            plan("a", StoredDType::BF16, &[3]),
            plan("scalar", StoredDType::F16, &[]),
        ];
        let mut writer = SafetensorsWriter::create(&path, all).unwrap();
        writer.write_f32("b", &[1.0, 2.0]).unwrap();
        writer.write_f32("b", &[3.0, 4.5]).unwrap();
        writer.write_f32("a", &[0.5, -2.0, 8.0]).unwrap();
        writer.write_f32("scalar", &[0.25]).unwrap();
        writer.finish().unwrap();
        let file = WeightFile::open(&path).unwrap();
        let read = |name: &str| file.get(name).unwrap().to_f32().unwrap();
        assert_eq!((read("b"), read("none")), (vec![1.0, 2.0, 3.0, 4.5], vec![]));
        assert_eq!((read("a"), read("scalar")), (vec![0.5, -2.0, 8.0], vec![0.25]));
        // The format's own reader agrees.
        let bytes = std::fs::read(&path).unwrap();
        assert_eq!(safetensors::SafeTensors::deserialize(&bytes).unwrap().len(), 4);
    }

    #[test]
    fn a_wrong_order_and_a_half_file_are_errors() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.safetensors");
        let plan = vec![TensorPlan::f32("a", &[2]), TensorPlan::f32("b", &[1])];
        let mut writer = SafetensorsWriter::create(&path, plan).unwrap();
        let error = |result: Result<()>| result.unwrap_err().to_string();
        assert!(error(writer.write_f32("b", &[1.0])).contains("a comes next, not b"));
        assert!(error(writer.write_f32("a", &[1.0; 3])).contains("has 8 bytes, but more came"));
        writer.write_f32("a", &[1.0; 2]).unwrap();
        assert!(error(writer.finish()).contains("b was not written whole"));
    }
}
