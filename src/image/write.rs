//! Writing pictures as PNG, and replacing files only by complete ones.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use ::image::codecs::png::PngEncoder;
use ::image::{ExtendedColorType, ImageEncoder};

use super::rgb::RgbImage;
use crate::{Error, Result};

/// Writes a PNG file with `text` (keyword, value) chunks, such as the prompt and the seed. An existing file is replaced
/// only when the new one is complete.
pub fn write_png(path: impl AsRef<Path>, image: &RgbImage, text: &[(&str, &str)]) -> Result<()> {
    replace_file(path, &encode_png(image, text)?)
}

/// The bytes of a PNG file.
pub fn encode_png(image: &RgbImage, text: &[(&str, &str)]) -> Result<Vec<u8>> {
    image.check("PNG")?;
    let side = |n: usize| u32::try_from(n).map_err(|_| Error::Input(format!("a PNG side of {n} pixels is too long")));
    let (width, height) = (side(image.width)?, side(image.height)?);
    let mut png = Vec::new();
    PngEncoder::new(&mut png)
        .write_image(&image.pixels, width, height, ExtendedColorType::Rgb8)
        .map_err(|e| Error::format("PNG", e))?;
    let chunks = text.iter().map(|(keyword, value)| text_chunk(keyword, value)).collect::<Result<Vec<_>>>()?;
    // Text belongs behind the header, which is the signature (8 bytes) and the first chunk (25 bytes).
    let after_header = 33.min(png.len());
    png.splice(after_header..after_header, chunks.into_iter().flatten());
    Ok(png)
}

/// A `tEXt` chunk if the value is ASCII, which every reader understands, otherwise an uncompressed `iTXt` chunk.
fn text_chunk(keyword: &str, value: &str) -> Result<Vec<u8>> {
    let printable = keyword.chars().all(|c| c == ' ' || c.is_ascii_graphic()) && keyword.trim() == keyword;
    if !printable || !(1..=79).contains(&keyword.len()) || keyword.contains("  ") {
        return Err(Error::Input(format!("{keyword:?} is no PNG keyword: 1 to 79 printable ASCII characters")));
    }
    if value.contains('\0') {
        return Err(Error::Input(format!("the PNG text {keyword:?} contains a NUL character")));
    }
    // iTXt has after the keyword: not compressed, method 0, no language, no translated keyword.
    let (kind, between) = if value.is_ascii() { (b"tEXt", &[0u8][..]) } else { (b"iTXt", &[0u8; 5][..]) };
    let data = [keyword.as_bytes(), between, value.as_bytes()].concat();
    let length = u32::try_from(data.len()).ok().filter(|&n| n < 1 << 31);
    let length = length.ok_or_else(|| Error::Input(format!("the PNG text {keyword:?} is too long")))?;
    let checked = [&kind[..], &data].concat();
    Ok([&length.to_be_bytes()[..], &checked, &crc32(&checked).to_be_bytes()].concat())
}

/// The check sum of PNG chunks (ISO 3309, polynomial 0xEDB88320 reflected). Texts are short: no table.
pub(super) fn crc32(bytes: &[u8]) -> u32 {
    let shift = |crc: u32, _| if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 };
    !bytes.iter().fold(!0u32, |crc, &byte| (0..8).fold(crc ^ u32::from(byte), shift))
}

/// Writes `bytes` to a new file beside `path`, then renames it, so that `path` is always whole: the old content or the
/// new. A link keeps pointing where it does; a device such as `/dev/stdout` is written to.
pub fn replace_file(path: impl AsRef<Path>, bytes: &[u8]) -> Result<()> {
    let path = path.as_ref();
    let target = fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf());
    let replaced = match fs::metadata(&target) {
        Ok(found) if found.is_dir() => return Err(Error::file(path, "is a folder")),
        Ok(found) if !found.is_file() => fs::write(&target, bytes),
        _ => write_beside(&target, bytes),
    };
    replaced.map_err(|e| Error::file(path, e))
}

/// An error if [`replace_file`] could not write there: a new file is made beside `path`, and removed.
pub fn check_writable(path: impl AsRef<Path>) -> Result<()> {
    let path = path.as_ref();
    let target = fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf());
    if fs::metadata(&target).is_ok_and(|found| !found.is_file()) {
        return Ok(()); // a device is written to as it is
    }
    let made = create_beside(&target).and_then(|(file, part)| {
        drop(file);
        fs::remove_file(part)
    });
    made.map_err(|e| Error::file(path, e))
}

fn write_beside(target: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let (mut file, part) = create_beside(target)?;
    let written = file.write_all(bytes).and_then(|()| file.sync_all());
    drop(file);
    let renamed = written.and_then(|()| keep_permissions(target, &part)).and_then(|()| fs::rename(&part, target));
    if renamed.is_err() {
        let _ = fs::remove_file(&part); // the error that matters is the first one
    }
    renamed
}

/// A new file beside the target, under a name that nothing has.
fn create_beside(target: &Path) -> std::io::Result<(File, PathBuf)> {
    let name = target.file_name().ok_or(std::io::ErrorKind::InvalidFilename)?.to_string_lossy();
    let mut attempt = 0;
    loop {
        let part = target.with_file_name(format!(".{name}.{attempt}.part"));
        match OpenOptions::new().write(true).create_new(true).open(&part) {
            Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists && attempt < 1000 => attempt += 1,
            opened => return opened.map(|file| (file, part)),
        }
    }
}

fn keep_permissions(target: &Path, part: &Path) -> std::io::Result<()> {
    match fs::metadata(target) {
        Ok(old) => fs::set_permissions(part, old.permissions()),
        Err(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::{decode, load};

    fn picture() -> RgbImage {
        RgbImage::new(3, 2, (0..18).map(|i| i * 14).collect()).unwrap()
    }

    #[test]
    fn pictures_come_back_and_texts_are_valid_chunks() {
        let png = encode_png(&picture(), &[("prompt", "a dog"), ("Title", "ein Bär")]).unwrap();
        assert_eq!(decode("png", &png).unwrap(), picture());
        let mut at = 8;
        let mut kinds = Vec::new();
        while at < png.len() {
            let length = u32::from_be_bytes(png[at..at + 4].try_into().unwrap()) as usize;
            let checked = &png[at + 4..at + 8 + length];
            assert_eq!(crc32(checked).to_be_bytes(), png[at + 8 + length..at + 12 + length]);
            kinds.push((String::from_utf8_lossy(&checked[..4]).into_owned(), checked[4..].to_vec()));
            at += 12 + length;
        }
        assert_eq!((kinds[0].0.as_str(), kinds.last().unwrap().0.as_str()), ("IHDR", "IEND"));
        assert_eq!(kinds[1], ("tEXt".into(), b"prompt\0a dog".to_vec()));
        assert_eq!(kinds[2], ("iTXt".into(), [&b"Title\0\0\0\0\0"[..], "ein Bär".as_bytes()].concat()));
    }

    #[test]
    fn bad_texts_and_pictures_are_errors() {
        for keyword in ["", " a", "ä", "a\nb", &"k".repeat(80)] {
            assert!(encode_png(&picture(), &[(keyword, "v")]).is_err(), "{keyword:?}");
        }
        assert!(encode_png(&picture(), &[("k", "a\0b")]).is_err());
        assert!(encode_png(&RgbImage { width: 9, height: 9, pixels: vec![] }, &[]).is_err());
    }

    #[test]
    fn files_are_replaced_whole_and_nothing_is_left_beside_them() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.png");
        fs::write(&path, "old").unwrap();
        write_png(&path, &picture(), &[]).unwrap();
        assert_eq!(load(&path).unwrap(), picture());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        assert!(write_png(folder.path(), &picture(), &[]).unwrap_err().to_string().contains("is a folder"));
        assert!(write_png(folder.path().join("no/such/a.png"), &picture(), &[]).is_err());
    }

    #[cfg(unix)]
    #[test]
    fn links_and_devices_stay_what_they_are() {
        let folder = tempfile::tempdir().unwrap();
        let (path, link) = (folder.path().join("a.png"), folder.path().join("link.png"));
        fs::write(&path, "old").unwrap();
        std::os::unix::fs::symlink(&path, &link).unwrap();
        write_png(&link, &picture(), &[]).unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(load(&path).unwrap(), picture());
        write_png("/dev/null", &picture(), &[]).unwrap();
        assert!(!fs::metadata("/dev/null").unwrap().is_file());
    }
}
