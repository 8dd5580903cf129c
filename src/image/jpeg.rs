//! JPEG decoding that gives the same bytes as libjpeg-turbo, which Pillow uses.
//!
//! Other decoders round the inverse DCT, the chroma upsampling and the colour conversion differently, by up to three
//! levels. This one covers the 8-bit Huffman files that are in use (baseline, extended, progressive; grey or three
//! colours) and leaves the rest (four colours, arithmetic coding, 12 bits) to the `image` crate.
//!
//! The way: markers → entropy-coded coefficients ([`scan`]) → blocks of samples ([`idct`]) → rows of colour
//! ([`upsample`]). Source: ITU-T T.81, and libjpeg-turbo's `jdhuff.c`, `jdphuff.c`, `jidctint.c`, `jdsample.c`, `jdcolor.c`.

mod frame;
mod huffman;
mod idct;
mod scan;
mod upsample;

use frame::{Frame, Tables};

use super::rgb::RgbImage;

/// Why a file was not decoded.
#[derive(Debug, PartialEq)]
pub(super) enum Stop {
    /// A kind of JPEG, or damage, that is left to another decoder.
    Unsupported(&'static str),
    /// The file ends before the picture does.
    Truncated,
}

type Step<T = ()> = Result<T, Stop>;

/// libjpeg has no limit, but a small file of nothing but scans would keep it busy for hours.
const MOST_SCANS: usize = 500;

/// Decodes a JPEG file, without regard to its EXIF orientation.
pub(super) fn decode(bytes: &[u8]) -> Step<RgbImage> {
    let mut reader = Reader { bytes, at: 2 };
    let mut tables = Tables::default();
    let mut frame: Option<Frame> = None;
    let mut scans = 0;
    loop {
        let marker = reader.marker()?;
        match marker {
            0xd9 => break,
            0x01 | 0xd0..=0xd8 => continue,
            _ => {}
        }
        let segment = reader.segment()?;
        match marker {
            0xc0..=0xc2 if frame.is_none() => frame = Some(Frame::parse(segment, marker == 0xc2, bytes.len())?),
            0xc4 => tables.huffman(segment)?,
            0xdb => tables.quantisation(segment)?,
            0xdd => tables.restart_interval(segment)?,
            0xe0 | 0xee => tables.application(marker, segment),
            0xda => {
                let frame = frame.as_mut().ok_or(Stop::Unsupported("a scan before the frame"))?;
                scans += 1;
                if scans > MOST_SCANS {
                    return Err(Stop::Unsupported("too many scans"));
                }
                reader.at = scan::decode(bytes, reader.at, segment, frame, &tables)?;
            }
            0xc0..=0xcf => return Err(Stop::Unsupported("this coding process")),
            _ => {}
        }
    }
    let frame = frame.ok_or(Stop::Unsupported("no frame"))?;
    upsample::to_rgb(&frame, tables.colours(&frame))
}

/// A place in the file, between segments.
struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    /// The next marker's code. Anything before it is skipped, as libjpeg does.
    fn marker(&mut self) -> Step<u8> {
        loop {
            let rest = self.bytes.get(self.at..).unwrap_or_default();
            let found = rest.windows(2).position(|w| matches!(w, [0xff, code] if !matches!(code, 0 | 0xff)));
            let skip = found.ok_or(Stop::Truncated)?;
            self.at += skip + 2;
            if let Some(&code) = rest.get(skip + 1) {
                return Ok(code);
            }
        }
    }

    /// The content of the segment that follows a marker.
    fn segment(&mut self) -> Step<&'a [u8]> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let (&length, _) = rest.split_first_chunk::<2>().ok_or(Stop::Truncated)?;
        let length = usize::from(u16::from_be_bytes(length));
        let content = rest.get(2..length.max(2)).ok_or(Stop::Truncated)?;
        self.at += length.max(2);
        Ok(content)
    }
}

#[cfg(test)]
mod tests;
