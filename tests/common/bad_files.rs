//! Broken files and checkpoints, made anew for every row of `tests/bad_input.rs`.
#![allow(clippy::unwrap_used)]

use super::tiny;
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// A folder to work in, with `kept.png` in it, which must stay what it is.
pub struct Bench {
    folder: TempDir,
}

impl Bench {
    pub fn new() -> Bench {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("kept.png"), b"an existing file").unwrap();
        Bench { folder }
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// An argument with paths in the places of their names.
    pub fn place(&self, word: &str, file: &Path) -> String {
        let text = |path: &Path| path.to_str().unwrap().to_string();
        word.replace("MODEL", &text(&tiny()))
            .replace("KEPT", &text(&self.folder().join("kept.png")))
            .replace("FILE", &text(file))
            .replace("FOLDER", &text(self.folder()))
            .replace("PHOTO", &text(&tiny().join("reference/images/rgb_97x61.png")))
            .replace("LONG", &"dog ".repeat(3000))
    }

    /// Every file of the folder with its content; links of a checkpoint are not followed.
    pub fn files(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let (mut found, mut open) = (Vec::new(), vec![self.folder().to_path_buf()]);
        while let Some(folder) = open.pop() {
            for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
                let kind = entry.file_type().unwrap();
                if kind.is_dir() {
                    open.push(entry.path());
                }
                let content = if kind.is_file() { fs::read(entry.path()).unwrap() } else { Vec::new() };
                found.push((entry.path(), content));
            }
        }
        found.sort();
        found
    }

    /// A file.
    pub fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.folder().join(name);
        fs::write(&path, bytes).unwrap();
        path
    }

    /// A folder in the folder.
    pub fn folder_within(&self, name: &str) -> PathBuf {
        let path = self.folder().join(name);
        fs::create_dir(&path).unwrap();
        path
    }

    /// A document in a folder of its own.
    pub fn document_within(&self, name: &str) -> PathBuf {
        fs::create_dir(self.folder().join(name).parent().unwrap()).unwrap();
        self.file(name, b"# A\n\nWords.\n")
    }

    /// A good picture of a size.
    pub fn picture(&self, width: usize, height: usize) -> PathBuf {
        let image = dreamllm::image::RgbImage::new(width, height, vec![200; width * height * 3]).unwrap();
        self.file("picture.png", &dreamllm::image::encode_png(&image, &[]).unwrap())
    }

    /// The first bytes of a recorded picture.
    pub fn cut_photo(&self, name: &str, length: usize) -> PathBuf {
        self.file(name, &fs::read(tiny().join("reference/images").join(name)).unwrap()[..length])
    }

    /// A BMP file whose header claims 100000 x 100000 pixels.
    pub fn huge_bmp(&self) -> PathBuf {
        let mut bmp = b"BM\x36\0\0\0\0\0\0\0\x36\0\0\0\x28\0\0\0".to_vec();
        [100_000i32, 100_000].iter().for_each(|side| bmp.extend(side.to_le_bytes()));
        bmp.extend([1, 0, 24, 0]);
        bmp.extend([0; 24]);
        self.file("a.bmp", &bmp)
    }

    /// The tiny checkpoint, of links; a part of it is replaced by what `change` puts in its place.
    fn checkpoint(&self, part: &str, change: impl FnOnce(&Path)) -> PathBuf {
        let root = self.folder().join("checkpoint");
        link(&tiny(), &root, part);
        change(&root.join(part));
        root
    }

    /// With another file.
    pub fn with(&self, part: &str, bytes: &[u8]) -> PathBuf {
        self.checkpoint(part, |path| fs::write(path, bytes).unwrap())
    }

    /// Without a file or folder.
    pub fn without(&self, part: &str) -> PathBuf {
        self.checkpoint(part, |_| ())
    }

    /// With the first bytes of a file.
    pub fn cut(&self, part: &str, length: usize) -> PathBuf {
        self.with(part, &fs::read(tiny().join(part)).unwrap()[..length])
    }

    /// With a folder in a file's place.
    pub fn folder_as(&self, part: &str) -> PathBuf {
        self.checkpoint(part, |path| fs::create_dir(path).unwrap())
    }

    /// Without its decoder's file, but with an index of shards.
    pub fn sharded(&self, index: &str) -> PathBuf {
        let root = self.without("model.safetensors");
        fs::write(root.join("model.safetensors.index.json"), index).unwrap();
        root
    }

    pub fn without_tokenizer(&self) -> PathBuf {
        let root = self.without("tokenizer.model");
        fs::remove_file(root.join("tokenizer.json")).unwrap();
        root
    }

    /// With only a `tokenizer.json`.
    pub fn tokenizer_json(&self, bytes: &[u8]) -> PathBuf {
        let root = self.with("tokenizer.json", bytes);
        fs::remove_file(root.join("tokenizer.model")).unwrap();
        root
    }

    /// With another value in `config.json`.
    pub fn config(&self, key: &str, value: &str) -> PathBuf {
        self.nested("config.json", key, value)
    }

    /// With another value in a config.
    pub fn nested(&self, part: &str, key: &str, value: &str) -> PathBuf {
        let mut config: serde_json::Value = serde_json::from_slice(&fs::read(tiny().join(part)).unwrap()).unwrap();
        config[key] = serde_json::from_str(value).unwrap();
        self.with(part, config.to_string().as_bytes())
    }

    /// With a torch file of this pickle in the place of the dream queries.
    pub fn pickle(&self, pickle: &[u8]) -> PathBuf {
        self.with("dream_embedding.bin", &zip(pickle, |_| ()))
    }

    /// With a torch file of two pickles.
    pub fn two_pickles(&self) -> PathBuf {
        let zip = entries(&[("a/data.pkl", b"\x80\x02}."), ("b/data.pkl", b"\x80\x02}.")]);
        self.with("dream_embedding.bin", &zip)
    }

    /// A condition file of 48 numbers, twice.
    pub fn condition(&self, values: [f32; 48], shape: &str) -> PathBuf {
        let header = format!(
            r#"{{"__metadata__":{{"format":"dreamllm condition 1"}},{},{}}}"#,
            tensor("condition", "F32", shape, 0, 192),
            tensor("unconditional", "F32", shape, 192, 384)
        );
        let mut bytes = safetensors(&header, 0);
        for value in [values, values].concat() {
            bytes.extend(value.to_le_bytes());
        }
        self.file("c.safetensors", &bytes)
    }
}

/// Links to everything of a folder but `part`, whose own folders are made.
fn link(from: &Path, to: &Path, part: &str) {
    fs::create_dir(to).unwrap();
    let (first, rest) = part.split_once('/').unwrap_or((part, ""));
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let name = entry.file_name();
        if name != first {
            // The recordings are not needed, and `verify` must miss them.
            if name != "reference" {
                std::os::unix::fs::symlink(entry.path(), to.join(name)).unwrap();
            }
        } else if !rest.is_empty() {
            link(&entry.path(), &to.join(name), rest);
        }
    }
}

/// A safetensors file with so many bytes of data.
pub fn safetensors(header: &str, data: usize) -> Vec<u8> {
    [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &vec![0; data]].concat()
}

/// An entry of a safetensors header.
pub fn tensor(name: &str, dtype: &str, shape: &str, from: usize, to: usize) -> String {
    format!(r#""{name}":{{"dtype":"{dtype}","shape":{shape},"data_offsets":[{from},{to}]}}"#)
}

/// A PNG file that claims a size and holds nothing.
pub fn png(width: u32, height: u32) -> Vec<u8> {
    let header = [b"IHDR", &width.to_be_bytes()[..], &height.to_be_bytes(), &[8, 2, 0, 0, 0]].concat();
    let chunk = |content: &[u8]| {
        [&(content.len() as u32 - 4).to_be_bytes()[..], content, &crc32(content).to_be_bytes()].concat()
    };
    [b"\x89PNG\r\n\x1a\n", &chunk(&header)[..], &chunk(b"IDAT"), &chunk(b"IEND")].concat()
}

/// A torch file of a pickle and a storage of 8 bytes, and what `change` makes of it.
pub fn zip(pickle: &[u8], change: impl FnOnce(&mut [u8])) -> Vec<u8> {
    let mut zip = entries(&[("a/data.pkl", pickle), ("a/data/0", &[0; 8])]);
    change(&mut zip);
    zip
}

/// A zip archive of stored entries.
fn entries(files: &[(&str, &[u8])]) -> Vec<u8> {
    let (mut zip, mut directory) = (Vec::new(), Vec::new());
    for (name, content) in files {
        let place = (zip.len() as u32).to_le_bytes();
        let length = (content.len() as u32).to_le_bytes();
        let crc = crc32(content).to_le_bytes();
        let name_length = (name.len() as u16).to_le_bytes();
        // Version, flags, method 0, time and date, check sum, both lengths, the name's length, no extra field.
        let common = [&[20, 0, 0, 0, 0, 0, 0, 0, 0, 0][..], &crc, &length, &length, &name_length, &[0; 2]].concat();
        zip.extend([b"PK\x03\x04", &common[..], name.as_bytes(), content].concat());
        directory.extend([b"PK\x01\x02\x14\0", &common[..], &[0; 10], &place, name.as_bytes()].concat());
    }
    let (count, start) = ((files.len() as u16).to_le_bytes(), (zip.len() as u32).to_le_bytes());
    let length = (directory.len() as u32).to_le_bytes();
    [&zip[..], &directory, b"PK\x05\x06\0\0\0\0", &count, &count, &length, &start, &[0; 2]].concat()
}

fn crc32(bytes: &[u8]) -> u32 {
    let shift = |crc: u32, _| if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 };
    !bytes.iter().fold(!0u32, |crc, &byte| (0..8).fold(crc ^ u32::from(byte), shift))
}
