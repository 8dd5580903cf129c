//! Agreement with the recordings of the official pipeline.

use std::path::{Path, PathBuf};

use super::*;
use crate::models::config::{ClipPreprocessConfig, Config};
use crate::weights::WeightFile;

const IMAGES: [&str; 7] = [
    "rgb_97x61.png",
    "rgba_40x64.png",
    "grey_50x33.png",
    "rgb_5x7.png",
    "rgb_64x48.jpg",
    "exif6_30x20.jpg",
    "pal_33x45.png",
];

fn tiny() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/reference/tiny")
}

fn recordings() -> WeightFile {
    WeightFile::open(tiny().join("reference/preprocess.safetensors")).unwrap()
}

fn path(name: &str) -> PathBuf {
    tiny().join("reference/images").join(name)
}

/// The picture as the official loader decoded it.
fn decoded(recorded: &WeightFile, name: &str) -> RgbImage {
    let tensor = recorded.get(&format!("{name}.decoded_rgb_u8")).unwrap();
    RgbImage::new(tensor.shape()[1], tensor.shape()[0], tensor.raw().unwrap().to_vec()).unwrap()
}

fn to_chw(image: &RgbImage) -> Vec<u8> {
    (0..3).flat_map(|c| image.pixels.iter().skip(c).step_by(3).copied()).collect()
}

fn furthest(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

fn clip_config() -> ClipPreprocessConfig {
    ClipPreprocessConfig::open(&tiny().join("clip-vit-large-patch14/preprocessor_config.json")).unwrap()
}

#[test]
fn pictures_decode_as_recorded() {
    let recorded = recordings();
    for name in IMAGES {
        let (got, want) = (load(path(name)).unwrap(), decoded(&recorded, name));
        assert_eq!((got.width, got.height), (want.width, want.height), "{name}");
        assert!(got.pixels == want.pixels, "{name}: decoded bytes differ");
    }
}

#[test]
fn clip_sees_what_was_recorded() {
    let recorded = recordings();
    for name in IMAGES {
        let image = decoded(&recorded, name);
        let bytes = to_chw(&clip_resize_and_crop(&image, &clip_config()).unwrap());
        let want = recorded.get(&format!("{name}.clip_resized_cropped_u8")).unwrap();
        assert!(bytes == want.raw().unwrap(), "{name}: resized bytes differ");
        let values = clip_pixels(&image, &clip_config()).unwrap().to_chw();
        let want = recorded.get(&format!("{name}.clip_pixel_values")).unwrap().to_f32().unwrap();
        assert!(furthest(&values, &want) <= 1e-6, "{name}: {}", furthest(&values, &want));
    }
}

#[test]
fn the_vae_sees_what_was_recorded() {
    let recorded = recordings();
    for name in IMAGES {
        let values = diffusion_pixels(&decoded(&recorded, name), 32).unwrap();
        let want = recorded.get(&format!("{name}.sd_pixel_values")).unwrap().to_f32().unwrap();
        assert!(furthest(&values.to_chw(), &want) <= 1e-6, "{name}: {}", furthest(&values.to_chw(), &want));
    }
}

#[test]
fn results_become_the_recorded_bytes() {
    let pipeline = WeightFile::open(tiny().join("reference/pipeline.safetensors")).unwrap();
    let mut compared = 0;
    for name in pipeline.names().filter_map(|name| name.strip_suffix(".image_0_1")) {
        // [1, 3, Y, X] in 0…1 to [Y, X, 3] in −1…1.
        let recorded = pipeline.get(&format!("{name}.image_0_1")).unwrap();
        let &[1, 3, height, width] = recorded.shape() else { continue };
        let chw = recorded.to_f32().unwrap();
        let values = (0..height * width * 3).map(|i| chw[i % 3 * height * width + i / 3] * 2.0 - 1.0).collect();
        let image = to_rgb(&FloatImage::new(width, height, values).unwrap()).unwrap();
        let want = pipeline.get(&format!("{name}.image_u8")).unwrap();
        assert!(image.pixels.iter().zip(want.raw().unwrap()).all(|(a, b)| a.abs_diff(*b) <= 1), "{name}");
        let differ = image.pixels.iter().zip(want.raw().unwrap()).filter(|(a, b)| a != b).count();
        assert!(differ * 100 < image.pixels.len(), "{name}: {differ} of {} differ", image.pixels.len());
        compared += 1;
    }
    assert!(compared > 0);
}

fn encoded(image: ::image::DynamicImage, format: ::image::ImageFormat) -> Vec<u8> {
    let mut bytes = std::io::Cursor::new(Vec::new());
    image.write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

#[test]
fn every_kind_of_pixel_becomes_rgb() {
    use ::image::{DynamicImage, ImageBuffer, ImageFormat::Png};
    let one = |image: DynamicImage| decode("one pixel", &encoded(image, Png)).unwrap().pixels;
    let buffer = |pixel: &[u16]| pixel.to_vec();
    let grey = ImageBuffer::from_raw(1, 1, buffer(&[0x80ff])).unwrap();
    assert_eq!(one(DynamicImage::ImageLuma16(grey)), [0x80; 3]);
    let rgb = ImageBuffer::from_raw(1, 1, buffer(&[0x01ff, 0x7f00, 0xffff])).unwrap();
    assert_eq!(one(DynamicImage::ImageRgb16(rgb)), [1, 0x7f, 0xff]);
    let rgba = ImageBuffer::from_raw(1, 1, buffer(&[0, 0, 0, 0x00ff])).unwrap();
    assert_eq!(one(DynamicImage::ImageRgba16(rgba)), [255; 3]);
    let grey_alpha = ImageBuffer::from_raw(1, 1, vec![0u8, 128]).unwrap();
    assert_eq!(one(DynamicImage::ImageLumaA8(grey_alpha)), [127; 3]);
}

#[test]
fn all_five_formats_are_read() {
    use ::image::{DynamicImage, ImageFormat, RgbImage as Buffer};
    for format in [ImageFormat::Png, ImageFormat::Jpeg, ImageFormat::WebP, ImageFormat::Bmp, ImageFormat::Gif] {
        let image = DynamicImage::ImageRgb8(Buffer::from_pixel(5, 3, ::image::Rgb([200, 200, 200])));
        let got = decode("flat", &encoded(image, format)).unwrap();
        assert_eq!((got.width, got.height), (5, 3), "{format:?}");
        assert!(got.pixels.iter().all(|&p| p.abs_diff(200) <= 1), "{format:?}");
    }
}

#[test]
fn bad_pictures_are_one_clear_line() {
    let line = |bytes: &[u8]| {
        let error = decode("some picture", bytes).unwrap_err().to_string();
        assert!(error.starts_with("some picture: ") && !error.contains('\n'), "{error}");
        error
    };
    assert!(line(b"").contains("is not a PNG"));
    assert!(line(b"GIF87a").len() > 10);
    assert!(line(b"<svg></svg>").contains("is not a PNG"));
    // A header that promises 100,000 x 100,000 pixels is refused before any is allocated.
    let mut huge = encode_png(&RgbImage::new(1, 1, vec![0; 3]).unwrap(), &[]).unwrap();
    huge[16..24].copy_from_slice(&[0, 1, 0x86, 0xa0, 0, 1, 0x86, 0xa0]);
    let crc = write::crc32(&huge[12..29]).to_be_bytes();
    huge[29..33].copy_from_slice(&crc);
    assert!(line(&huge).contains("100000 x 100000 pixels"));
    for name in IMAGES {
        let whole = std::fs::read(path(name)).unwrap();
        let _ = decode(name, &whole[..whole.len() / 2]); // a decoder may show the upper half, but must not panic
        assert!(decode(name, &whole[..20]).is_err(), "{name}");
    }
    assert!(load(Path::new("/no/such/picture.png")).unwrap_err().to_string().starts_with("/no/such/picture.png: "));
    assert!(load(tiny()).unwrap_err().to_string().contains("is a folder"));
}
