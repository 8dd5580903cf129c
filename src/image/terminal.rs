//! Pictures as what terminals print: by the protocols of kitty, iTerm2 and sixel, or by half blocks of colour.
//!
//! Sources: sw.kovidgoyal.net/kitty/graphics-protocol, iterm2.com/documentation-images.html, DEC's VT330 manual (sixel).

use super::base64::base64;
use super::resize::resize;
use super::rgb::RgbImage;
use super::write::encode_png;
use crate::Result;
use crate::models::config::Resampling;
use std::fmt::Write;

/// What a terminal understands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Terminal {
    /// PNG in pieces of base64.
    Kitty,
    /// A file in base64.
    Iterm,
    /// Bands of six rows, in at most 216 colours.
    Sixel,
    /// Two pixels a character, in 24-bit colour.
    TrueColour,
    /// Two pixels a character, in the 216 colours that most terminals have.
    Blocks,
}

/// A longer side is scaled down to this, where the terminal shows pixels.
const LONGEST_SIDE: usize = 512;
/// Columns that a picture of blocks takes at most.
const MOST_COLUMNS: usize = 64;
/// Base64 in one piece of kitty's protocol.
const PIECE: usize = 4096;

/// The picture for a terminal of so many columns, its last line ended.
pub fn to_terminal(image: &RgbImage, terminal: Terminal, columns: usize) -> Result<String> {
    image.check("a picture in the terminal")?;
    let small = || fitted(image, LONGEST_SIDE, LONGEST_SIDE);
    Ok(match terminal {
        Terminal::Kitty => kitty(&encode_png(&small()?, &[])?),
        Terminal::Iterm => iterm(&encode_png(&small()?, &[])?),
        Terminal::Sixel => sixel(&small()?),
        Terminal::TrueColour | Terminal::Blocks => {
            // Characters are about twice as high as wide, so half a character is about a square.
            let columns = columns.clamp(1, MOST_COLUMNS);
            blocks(&fitted(image, columns, columns)?, terminal == Terminal::TrueColour)
        }
    })
}

/// The picture, scaled down until it is no larger than `width` × `height`.
fn fitted(image: &RgbImage, width: usize, height: usize) -> Result<RgbImage> {
    let scale = (width as f64 / image.width as f64).min(height as f64 / image.height as f64);
    if scale >= 1.0 {
        return Ok(image.clone());
    }
    let side = |n: usize| ((n as f64 * scale).round() as usize).max(1);
    resize(image, side(image.width), side(image.height), Resampling::Lanczos)
}

fn kitty(png: &[u8]) -> String {
    let (text, mut out) = (base64(png), String::new());
    let pieces = text.as_bytes().chunks(PIECE);
    let count = pieces.len();
    for (i, piece) in pieces.enumerate() {
        // The first piece says: a PNG (100), transmit and show; the last one, that nothing follows.
        let (keys, more) = (if i == 0 { "f=100,a=T," } else { "" }, u8::from(i + 1 < count));
        out += &format!("\x1b_G{keys}m={more};{}\x1b\\", String::from_utf8_lossy(piece));
    }
    out + "\n"
}

fn iterm(png: &[u8]) -> String {
    format!("\x1b]1337;File=inline=1;size={}:{}\x07\n", png.len(), base64(png))
}

/// Levels 0 to 5 of the three colours as one number, 0 to 215.
fn cube(levels: [usize; 3]) -> usize {
    levels.iter().fold(0, |code, level| code * 6 + level)
}

fn sixel(image: &RgbImage) -> String {
    // Ordered dithering: a threshold for every place in a square of 4 x 4.
    const BAYER: [[usize; 4]; 4] = [[0, 8, 2, 10], [12, 4, 14, 6], [3, 11, 1, 9], [15, 7, 13, 5]];
    let (pixels, _) = image.pixels.as_chunks::<3>();
    let colour = |(i, pixel): (usize, &[u8; 3])| {
        let threshold = 2 * BAYER[i / image.width % 4][i % image.width % 4] + 1;
        cube(pixel.map(|byte| (usize::from(byte) * 5 * 32 + threshold * 255) / (255 * 32)))
    };
    let colours: Vec<usize> = pixels.iter().enumerate().map(colour).collect();
    let mut out = format!("\x1bPq\"1;1;{};{}", image.width, image.height);
    for code in 0..216 {
        let percent = [code / 36, code / 6 % 6, code % 6].map(|level| level * 20);
        out += &format!("#{code};2;{};{};{}", percent[0], percent[1], percent[2]);
    }
    for band in colours.chunks(6 * image.width) {
        for code in 0..216 {
            if band.contains(&code) {
                out += &format!("#{code}");
                band_of(&mut out, band, image.width, code);
                out.push('$');
            }
        }
        out.push('-');
    }
    out + "\x1b\\\n"
}

/// One colour's places in a band: a character a column, whose bits are the rows; runs as `!count`.
fn band_of(out: &mut String, band: &[usize], width: usize, code: usize) {
    let bits =
        |x: usize| (band.iter().skip(x).step_by(width).enumerate()).map(|(y, &c)| u8::from(c == code) << y).sum::<u8>();
    let mut x = 0;
    while x < width {
        let here = bits(x);
        let run = (x..width).take_while(|&x| bits(x) == here).count();
        let _ = write!(out, "!{run}{}", char::from(63 + here)); // writing to a String cannot fail
        x += run;
    }
}

/// Upper half blocks: the upper pixel in the foreground's colour, the lower one in the background's.
fn blocks(image: &RgbImage, true_colour: bool) -> String {
    let colour = |ground: u8, pixel: &[u8; 3]| match (true_colour, pixel) {
        (true, [r, g, b]) => format!("\x1b[{ground};2;{r};{g};{b}m"),
        (false, pixel) => format!("\x1b[{ground};5;{}m", 16 + cube(pixel.map(nearest_level))),
    };
    let mut out = String::new();
    for lines in image.pixels.chunks(2 * 3 * image.width) {
        let (pixels, _) = lines.as_chunks::<3>();
        let (upper, lower) = pixels.split_at(image.width);
        for (x, pixel) in upper.iter().enumerate() {
            out += &colour(38, pixel);
            out += &lower.get(x).map_or(String::new(), |below| colour(48, below));
            out.push('\u{2580}');
        }
        out += "\x1b[0m\n";
    }
    out
}

/// The level of the colour cube of 256-colour terminals (0, 95, 135, 175, 215, 255) next to a byte.
fn nearest_level(byte: u8) -> usize {
    match byte {
        0..48 => 0,
        48..115 => 1,
        _ => (usize::from(byte) - 35) / 40,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picture() -> RgbImage {
        RgbImage::new(2, 3, vec![255, 0, 0, 0, 255, 0, 0, 0, 255, 255, 255, 255, 0, 0, 0, 255, 0, 0]).unwrap()
    }

    #[test]
    fn blocks_hold_two_pixels() {
        let out = to_terminal(&picture(), Terminal::TrueColour, 80).unwrap();
        let lines: Vec<&str> = out.lines().collect();
        assert_eq!(lines.len(), 2);
        assert_eq!(
            lines[0],
            "\x1b[38;2;255;0;0m\x1b[48;2;0;0;255m\u{2580}\x1b[38;2;0;255;0m\x1b[48;2;255;255;255m\u{2580}\x1b[0m"
        );
        assert_eq!(lines[1], "\x1b[38;2;0;0;0m\u{2580}\x1b[38;2;255;0;0m\u{2580}\x1b[0m");
        let out = to_terminal(&picture(), Terminal::Blocks, 80).unwrap();
        assert!(out.starts_with("\x1b[38;5;196m\x1b[48;5;21m\u{2580}\x1b[38;5;46m\x1b[48;5;231m"), "{out:?}");
        // A wide picture takes no more columns than there are.
        let wide = RgbImage::new(300, 10, vec![9; 9000]).unwrap();
        let out = to_terminal(&wide, Terminal::Blocks, 20).unwrap();
        assert_eq!((out.lines().count(), out.matches('\u{2580}').count()), (1, 20));
    }

    #[test]
    fn levels_are_the_nearest() {
        for byte in 0..=255u8 {
            let levels = [0i32, 95, 135, 175, 215, 255];
            let off = |level: usize| (levels[level] - i32::from(byte)).abs();
            let best = (0..6).map(off).min().unwrap();
            assert!(off(nearest_level(byte)) == best, "{byte}");
        }
    }

    #[test]
    fn kitty_pieces_are_whole_and_end() {
        let noise = (0..64 * 64 * 3).map(|i: usize| (i * i % 251) as u8).collect();
        let image = RgbImage::new(64, 64, noise).unwrap();
        let out = to_terminal(&image, Terminal::Kitty, 80).unwrap();
        let pieces: Vec<&str> = out.trim_end().split("\x1b\\").filter(|piece| !piece.is_empty()).collect();
        assert!(pieces.len() > 1 && pieces[0].starts_with("\x1b_Gf=100,a=T,m=1;"), "{}", pieces.len());
        assert!(pieces[1..].iter().all(|piece| piece.starts_with("\x1b_Gm=")));
        assert!(pieces.last().unwrap().starts_with("\x1b_Gm=0;"));
        let text: String = pieces.iter().map(|piece| piece.split(';').nth(1).unwrap()).collect();
        assert_eq!(text, base64(&encode_png(&image, &[]).unwrap()));
    }

    #[test]
    fn sixels_read_back() {
        let out = to_terminal(&picture(), Terminal::Sixel, 80).unwrap();
        assert!(out.starts_with("\x1bPq\"1;1;2;3#0;2;0;0;0#1;2;0;0;20") && out.ends_with("\x1b\\\n"));
        // Red (180) stands in row 0 of column 0 and in row 2 of column 1.
        let red = out.rsplit("#180").next().unwrap().split('$').next().unwrap();
        assert_eq!(red, format!("!1{}!1{}", char::from(63 + 1), char::from(63 + 4)));
    }
}
