//! Writing what `torch.load` reads: a zip archive with a pickle of the tensors' names, types, shapes and storages, and one
//! entry of bytes for each storage. Every tensor has a storage of its own and comes in pieces, in the announced order.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use zip::write::{SimpleFileOptions, ZipWriter};
use zip::{CompressionMethod, DateTime};

use super::dtype::StoredDType;
use super::safetensors_writer::TensorHeader;
use crate::{Error, Result};

/// A `.bin` file that is being written. Dropped before [`TorchWriter::finish`], it leaves nothing behind.
pub struct TorchWriter {
    path: PathBuf,
    part: PathBuf,
    /// None once the file is whole.
    zip: Option<ZipWriter<BufWriter<File>>>,
    stem: String,
    tensors: Vec<TensorHeader>,
    /// Tensors that were begun, and bytes of the last one that are still to come.
    begun: usize,
    missing: u64,
}

impl TorchWriter {
    /// Begins a file with its pickle.
    pub fn create(path: impl AsRef<Path>, tensors: Vec<TensorHeader>) -> Result<Self> {
        let path = path.as_ref().to_path_buf();
        let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let pickle = pickle(&tensors).map_err(|why| Error::file(&path, why))?;
        let mut part = path.as_os_str().to_os_string();
        part.push(".part");
        let part = PathBuf::from(part);
        let file = File::create(&part).map_err(|e| Error::file(&part, e))?;
        let zip = Some(ZipWriter::new(BufWriter::with_capacity(1 << 20, file)));
        let mut writer = Self { path, part, zip, stem, tensors, begun: 0, missing: 0 };
        writer.entry("data.pkl", pickle.len() as u64)?;
        writer.put(&pickle)?;
        Ok(writer)
    }

    /// The next bytes of tensor `name`, which must be the one that is being written or, where that is whole, the next one.
    pub fn write(&mut self, name: &str, bytes: &[u8]) -> Result<()> {
        while self.missing == 0 && self.tensors.get(self.begun).is_some() && !self.is_current(name) {
            self.begin()?;
        }
        if !self.is_current(name) || bytes.len() as u64 > self.missing {
            let why = format!("{} bytes of {name} came where {} of another tensor were due", bytes.len(), self.missing);
            return Err(Error::file(&self.path, why));
        }
        self.missing -= bytes.len() as u64;
        self.put(bytes)
    }

    /// Ends the file and gives it its name. An error if a tensor is not whole.
    pub fn finish(mut self) -> Result<()> {
        while self.missing == 0 && self.begun < self.tensors.len() {
            self.begin()?;
        }
        if self.missing > 0 {
            return Err(Error::file(&self.path, format!("ended with {} bytes of a tensor missing", self.missing)));
        }
        self.entry("version", 2)?;
        self.put(b"3\n")?;
        let Some(zip) = self.zip.take() else { return Ok(()) };
        let ended = zip.finish().map_err(std::io::Error::from);
        let ended = ended.and_then(|mut out| out.flush().and_then(|()| out.get_ref().sync_all()));
        let renamed = ended.and_then(|()| fs::rename(&self.part, &self.path));
        renamed.map_err(|e| Error::file(&self.path, e))
    }

    fn is_current(&self, name: &str) -> bool {
        self.begun.checked_sub(1).and_then(|i| self.tensors.get(i)).is_some_and(|tensor| tensor.name == name)
    }

    /// The entry of the next tensor.
    fn begin(&mut self) -> Result<()> {
        self.missing = self.tensors.get(self.begun).and_then(TensorHeader::bytes).unwrap_or(0);
        self.begun += 1;
        self.entry(&format!("data/{}", self.begun - 1), self.missing)
    }

    fn entry(&mut self, name: &str, bytes: u64) -> Result<()> {
        let options = SimpleFileOptions::default()
            .compression_method(CompressionMethod::Stored)
            .last_modified_time(DateTime::default())
            .large_file(bytes >= u64::from(u32::MAX))
            .with_alignment(64);
        let name = format!("{}/{name}", self.stem);
        let begun = self.zip.as_mut().map_or(Ok(()), |zip| zip.start_file(name, options));
        begun.map_err(|e| Error::file(&self.path, e))
    }

    fn put(&mut self, bytes: &[u8]) -> Result<()> {
        let written = self.zip.as_mut().map_or(Ok(()), |zip| zip.write_all(bytes));
        written.map_err(|e| Error::file(&self.path, e))
    }
}

impl Drop for TorchWriter {
    fn drop(&mut self) {
        if self.part.exists() {
            drop(self.zip.take());
            let _ = fs::remove_file(&self.part); // the error that led here is the one to tell
        }
    }
}

/// Protocol 2: a dictionary, name to `torch._utils._rebuild_tensor_v2(storage, 0, shape, strides, False, OrderedDict())`.
fn pickle(tensors: &[TensorHeader]) -> Result<Vec<u8>, String> {
    let mut out = b"\x80\x02}(".to_vec();
    for (key, TensorHeader { name, dtype, shape }) in tensors.iter().enumerate() {
        let strides: Option<Vec<usize>> = (0..shape.len()).map(|axis| product(&shape[axis + 1..])).collect();
        let (strides, count) = strides.zip(product(shape)).ok_or_else(|| format!("{name} has an impossible shape"))?;
        text(&mut out, name);
        out.extend(b"ctorch._utils\n_rebuild_tensor_v2\n((");
        text(&mut out, "storage");
        out.extend(format!("ctorch\n{}\n", storage(*dtype)?).as_bytes());
        text(&mut out, &key.to_string());
        text(&mut out, "cpu");
        number(&mut out, count);
        out.extend(b"tQ"); // the storage, by its persistent id
        number(&mut out, 0);
        for sides in [shape, &strides] {
            out.push(b'(');
            sides.iter().for_each(|&side| number(&mut out, side));
            out.push(b't');
        }
        out.extend(b"\x89ccollections\nOrderedDict\n)RtR");
    }
    out.extend(b"u.");
    Ok(out)
}

fn product(sides: &[usize]) -> Option<usize> {
    sides.iter().try_fold(1usize, |n, &side| n.checked_mul(side))
}

fn storage(dtype: StoredDType) -> Result<&'static str, String> {
    Ok(match dtype {
        StoredDType::F64 => "DoubleStorage",
        StoredDType::F32 => "FloatStorage",
        StoredDType::F16 => "HalfStorage",
        StoredDType::BF16 => "BFloat16Storage",
        other => return Err(format!("torch files of {other} are not written")),
    })
}

fn text(out: &mut Vec<u8>, text: &str) {
    out.push(b'X');
    out.extend((text.len() as u32).to_le_bytes());
    out.extend(text.as_bytes());
}

fn number(out: &mut Vec<u8>, n: usize) {
    match i32::try_from(n) {
        Ok(n) => {
            out.push(b'J');
            out.extend(n.to_le_bytes());
        }
        Err(_) => {
            out.extend(b"\x8a\x08");
            out.extend((n as u64).to_le_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::WeightFile;
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("dream_embedding.bin");
        let tensor =
            |name: &str, dtype, shape: &[usize]| TensorHeader { name: name.into(), dtype, shape: shape.to_vec() };
        let tensors = vec![
            tensor("a.weight", StoredDType::F32, &[2, 3]),
            tensor("none", StoredDType::F32, &[0]),
            tensor("b", StoredDType::F16, &[]),
        ];
        let values: Vec<u8> = (0..6).flat_map(|i| (i as f32).to_le_bytes()).collect();
        let mut writer = TorchWriter::create(&path, tensors.clone()).unwrap();
        writer.write("a.weight", &values[..7]).unwrap();
        assert!(writer.write("b", &[0, 0x3c]).is_err());
        writer.write("a.weight", &values[7..]).unwrap();
        writer.write("b", &[0, 0x3c]).unwrap();
        assert!(!path.exists());
        writer.finish().unwrap();
        let file = WeightFile::open(&path).unwrap();
        assert_eq!(file.get("a.weight").unwrap().to_f32().unwrap(), [0., 1., 2., 3., 4., 5.]);
        assert_eq!(file.get("b").unwrap().to_f32().unwrap(), [1.0]);
        assert_eq!((file.len(), file.get("none").unwrap().shape()), (3, &[0][..]));
        let half = TorchWriter::create(folder.path().join("c.bin"), tensors).unwrap();
        assert!(half.finish().is_err());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
