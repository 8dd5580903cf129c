//! Decoding pictures as the official `load_image` does: turned upright by their EXIF tag, transparency over white, RGB.
//!
//! Differences to Pillow, both deliberate: 16-bit grey keeps its upper byte (Pillow clips it to white), and
//! transparency of grey, palette and GIF pictures is laid over white as well (Pillow shows the arbitrary colours under it).

use std::fs::{File, FileType};
use std::io::{Cursor, Read};
use std::path::Path;

use ::image::{DynamicImage, ImageDecoder, ImageFormat, ImageReader, Limits};

use super::jpeg;
use super::rgb::RgbImage;
use crate::{Error, Result};

/// Pillow's limit, against small files that unpack to gigabytes.
const MOST_PIXELS: u64 = 178_956_970;

/// More is no picture that somebody means to show.
const MOST_BYTES: u64 = 1 << 30;

/// Decodes a PNG, JPEG, WebP, BMP or GIF file (the first picture of an animation). The content decides, not the name.
pub fn load(path: impl AsRef<Path>) -> Result<RgbImage> {
    let path = path.as_ref();
    if path.is_dir() {
        return Err(Error::file(path, "is a folder, not a picture"));
    }
    let bytes = read(path).map_err(|e| Error::file(path, e))?;
    decode(&path.display().to_string(), &bytes)
}

/// The content of a file or a pipe. A device such as `/dev/zero` may never end.
fn read(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let file = File::open(path)?;
    let kind = file.metadata()?.file_type();
    if !kind.is_file() && !is_pipe(kind) {
        return Err(std::io::Error::other("is neither a file nor a pipe"));
    }
    file.take(MOST_BYTES + 1).read_to_end(&mut bytes)?;
    match bytes.len() as u64 <= MOST_BYTES {
        true => Ok(bytes),
        false => Err(std::io::Error::other("has more than 1 GiB, too much for a picture")),
    }
}

#[cfg(unix)]
fn is_pipe(kind: FileType) -> bool {
    use std::os::unix::fs::FileTypeExt;
    kind.is_fifo()
}

/// Where files have no other kinds, what is neither a file nor a folder is let through.
#[cfg(not(unix))]
fn is_pipe(kind: FileType) -> bool {
    !kind.is_dir()
}

/// Decodes a picture in memory; `what` names it in errors.
pub fn decode(what: &str, bytes: &[u8]) -> Result<RgbImage> {
    let reader = ImageReader::new(Cursor::new(bytes)).with_guessed_format().map_err(|e| Error::format(what, e))?;
    let unknown = || Error::format(what, "is not a PNG, JPEG, WebP, BMP or GIF picture");
    let format = reader.format().ok_or_else(unknown)?;
    let mut reader = reader;
    reader.limits(Limits::no_limits()); // our own limit comes before any pixel is decoded
    let mut decoder = reader.into_decoder().map_err(|e| decoding_error(what, e))?;
    check_size(what, decoder.dimensions())?;
    let orientation = decoder.orientation().map_err(|e| decoding_error(what, e))?;
    let exact = if format == ImageFormat::Jpeg { exact_jpeg(what, bytes)? } else { None };
    let mut image = match exact {
        Some(image) => image,
        None => DynamicImage::from_decoder(decoder).map_err(|e| decoding_error(what, e))?,
    };
    image.apply_orientation(orientation);
    let (width, height) = (image.width() as usize, image.height() as usize);
    RgbImage::new(width, height, to_rgb(image))
}

/// A JPEG as Pillow decodes it; none if it is of a rare kind or damaged, and the `image` crate should try.
fn exact_jpeg(what: &str, bytes: &[u8]) -> Result<Option<DynamicImage>> {
    match jpeg::decode(bytes) {
        Ok(image) => {
            let (width, height) = (image.width as u32, image.height as u32);
            Ok(::image::RgbImage::from_raw(width, height, image.pixels).map(DynamicImage::ImageRgb8))
        }
        Err(jpeg::Stop::Truncated) => Err(Error::format(what, "the JPEG file ends too early")),
        Err(jpeg::Stop::Unsupported(_)) => Ok(None),
    }
}

fn check_size(what: &str, (width, height): (u32, u32)) -> Result<()> {
    let pixels = u64::from(width) * u64::from(height);
    if pixels == 0 {
        return Err(Error::format(what, format!("has no pixels ({width} x {height})")));
    }
    if pixels > MOST_PIXELS {
        let (what, need) = (format!("{what}: picture"), format!("{width} x {height} pixels"));
        return Err(Error::TooLarge { what, need, limit: format!("{MOST_PIXELS} pixels") });
    }
    Ok(())
}

/// The decoder's message in one line.
fn decoding_error(what: &str, error: ::image::ImageError) -> Error {
    Error::format(what, error.to_string().replace('\n', " "))
}

fn to_rgb(image: DynamicImage) -> Vec<u8> {
    match image {
        DynamicImage::ImageRgb8(image) => image.into_raw(),
        DynamicImage::ImageLuma8(image) => image.iter().flat_map(|&grey| [grey; 3]).collect(),
        DynamicImage::ImageLuma16(image) => image.iter().flat_map(|&grey| [upper(grey); 3]).collect(),
        DynamicImage::ImageRgb16(image) => image.iter().map(|&channel| upper(channel)).collect(),
        DynamicImage::ImageLumaA8(image) => image.pixels().flat_map(|p| over_white([p.0[0]; 3], p.0[1])).collect(),
        DynamicImage::ImageLumaA16(image) => {
            image.pixels().flat_map(|p| over_white([upper(p.0[0]); 3], upper(p.0[1]))).collect()
        }
        DynamicImage::ImageRgba16(image) => image.pixels().flat_map(|p| rgba_over_white(p.0.map(upper))).collect(),
        other => other.into_rgba8().pixels().flat_map(|p| rgba_over_white(p.0)).collect(),
    }
}

/// Pillow keeps the upper byte of 16-bit colours.
fn upper(channel: u16) -> u8 {
    (channel >> 8) as u8
}

fn rgba_over_white([r, g, b, alpha]: [u8; 4]) -> [u8; 3] {
    over_white([r, g, b], alpha)
}

/// Pillow's `alpha_composite` over opaque white, in its fixed-point arithmetic (`src/libImaging/AlphaComposite.c`): 7
/// bits behind the point, and division by 255 as `(x + x/256) / 256`.
fn over_white(colour: [u8; 3], alpha: u8) -> [u8; 3] {
    const BITS: u32 = 7;
    if alpha == 0 {
        return [255; 3];
    }
    let weight = u32::from(alpha) << BITS;
    let rest = (255 << BITS) - weight;
    colour.map(|channel| {
        let sum = u32::from(channel) * weight + 255 * rest + (0x80 << BITS);
        ((((sum >> 8) + sum) >> 8) >> BITS) as u8
    })
}
