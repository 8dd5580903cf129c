use std::io::Write;
use std::path::PathBuf;

use proptest::prelude::*;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

use super::super::WeightFile;
use super::*;

/// A tensor to be written as `torch.save` would: `f32` elements of its own storage, seen through a view.
pub(crate) struct Saved<'a> {
    pub(crate) name: &'a str,
    pub(crate) elements: &'a [f32],
    pub(crate) offset: u8,
    pub(crate) shape: &'a [u8],
    pub(crate) strides: &'a [u8],
}

fn text(out: &mut Vec<u8>, text: &str) {
    out.push(b'X');
    out.extend((text.len() as u32).to_le_bytes());
    out.extend(text.as_bytes());
}

fn tuple(out: &mut Vec<u8>, items: &[u8]) {
    out.push(b'(');
    items.iter().for_each(|&item| out.extend([b'K', item]));
    out.push(b't');
}

/// The pickle of an `OrderedDict` of tensors with `_metadata`, protocol 2.
fn pickle_of(tensors: &[Saved<'_>], legacy: bool) -> Vec<u8> {
    let mut out = b"\x80\x02ccollections\nOrderedDict\n)R(".to_vec();
    for (key, tensor) in tensors.iter().enumerate() {
        text(&mut out, tensor.name);
        out.extend(b"ctorch._utils\n_rebuild_parameter\n(ctorch._utils\n_rebuild_tensor_v2\n((");
        text(&mut out, "storage");
        out.extend(b"ctorch\nFloatStorage\n");
        text(&mut out, &key.to_string());
        text(&mut out, "cpu");
        out.push(b'J');
        out.extend((tensor.elements.len() as u32).to_le_bytes());
        out.extend(if legacy { &b"NtQ"[..] } else { b"tQ" });
        out.extend([b'K', tensor.offset]);
        tuple(&mut out, tensor.shape);
        tuple(&mut out, tensor.strides);
        out.extend(b"\x89ccollections\nOrderedDict\n)RtR\x89ccollections\nOrderedDict\n)RtR");
    }
    out.extend(b"u}");
    text(&mut out, "_metadata");
    out.extend(b"ccollections\nOrderedDict\n)Rsb.");
    out
}

fn bytes_of(elements: &[f32]) -> Vec<u8> {
    elements.iter().flat_map(|x| x.to_le_bytes()).collect()
}

/// What `torch.save` writes.
pub(crate) fn torch_save(tensors: &[Saved<'_>]) -> Vec<u8> {
    let mut entries =
        vec![("data.pkl".to_string(), pickle_of(tensors, false)), ("byteorder".into(), b"little".to_vec())];
    entries.extend(tensors.iter().enumerate().map(|(key, t)| (format!("data/{key}"), bytes_of(t.elements))));
    zip_of(&entries)
}

fn zip_of(entries: &[(String, Vec<u8>)]) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    let stored = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
    for (name, bytes) in entries {
        zip.start_file(format!("archive/{name}"), stored).unwrap();
        zip.write_all(bytes).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

/// What `torch.save` wrote before 2019.
fn legacy_save(tensors: &[Saved<'_>]) -> Vec<u8> {
    let mut out = LEGACY_MAGIC.to_vec();
    out.extend(b"\x80\x02M\xe9\x03."); // protocol version 1001
    out.extend(b"\x80\x02}.");
    out.extend(pickle_of(tensors, true));
    out.extend(b"\x80\x02](");
    (0..tensors.len()).for_each(|key| text(&mut out, &key.to_string()));
    out.extend(b"e.");
    for tensor in tensors {
        out.extend((tensor.elements.len() as u64).to_le_bytes());
        out.extend(bytes_of(tensor.elements));
    }
    out
}

const NUMBERS: [f32; 6] = [0.0, 1.0, 2.0, 3.0, 4.0, 5.0];

fn views() -> Vec<Saved<'static>> {
    vec![
        Saved { name: "plain", elements: &NUMBERS, offset: 0, shape: &[2, 3], strides: &[3, 1] },
        Saved { name: "transposed", elements: &NUMBERS, offset: 0, shape: &[3, 2], strides: &[1, 3] },
        Saved { name: "tail", elements: &NUMBERS, offset: 4, shape: &[2], strides: &[1] },
        Saved { name: "scalar", elements: &NUMBERS, offset: 5, shape: &[], strides: &[] },
    ]
}

#[test]
fn views_are_read_as_pytorch_would_show_them_in_both_kinds_of_file() {
    for bytes in [torch_save(&views()), legacy_save(&views())] {
        let file = WeightFile::from_bytes("f", bytes).unwrap();
        assert_eq!(file.names().collect::<Vec<_>>(), ["plain", "transposed", "tail", "scalar"]);
        let read = |name: &str| file.get(name).unwrap().to_f32().unwrap();
        assert_eq!(read("plain"), NUMBERS);
        assert_eq!(read("transposed"), [0., 3., 1., 4., 2., 5.]);
        assert_eq!(read("tail"), [4., 5.]);
        assert_eq!(read("scalar"), [5.]);
        assert_eq!(file.get("scalar").unwrap().shape(), [0usize; 0]);
    }
}

fn refusal(bytes: Vec<u8>) -> String {
    let error = WeightFile::from_bytes("bad.bin", bytes).unwrap_err().to_string();
    assert!(error.starts_with("bad.bin: ") && !error.contains('\n'), "{error}");
    error
}

#[test]
fn views_outside_their_storage_are_refused() {
    let view = |offset, shape: &'static [u8], strides: &'static [u8]| {
        [Saved { name: "t", elements: &NUMBERS, offset, shape, strides }]
    };
    for bad in [view(1, &[2, 3], &[3, 1]), view(0, &[200], &[0]), view(0, &[2], &[6]), view(0, &[2], &[1, 1])] {
        assert!(refusal(torch_save(&bad)).contains("tensor t"));
        assert!(refusal(legacy_save(&bad)).contains("tensor t"));
    }
}

#[test]
fn broken_archives_are_one_clear_error() {
    let entries = |data: &[u8], order: &[u8]| {
        let pickle = pickle_of(&views()[..1], false);
        let of = |name: &str, bytes: &[u8]| (name.to_string(), bytes.to_vec());
        vec![of("data.pkl", &pickle), of("byteorder", order), of("data/0", data)]
    };
    assert!(WeightFile::from_bytes("f", zip_of(&entries(&[0; 24], b"little"))).is_ok());
    assert!(refusal(zip_of(&entries(&[0; 20], b"little"))).contains("storage 0"));
    assert!(refusal(zip_of(&entries(&[0; 24], b"big"))).contains("big-endian"));
    assert!(refusal(zip_of(&entries(&[0; 24], b"little")[..2])).contains("storage 0, which is not there"));
    assert!(refusal(zip_of(&entries(&[0; 24], b"little")[1..])).contains("data.pkl"));
    assert!(refusal(b"PK\x03\x04".to_vec()).contains("zip"));
    assert!(refusal(b"version https://git-lfs.github.com/spec/v1\n".to_vec()).contains("LFS"));
}

#[test]
fn compressed_entries_are_refused() {
    // "stored" is 0 in the two headers; 8 is deflate.
    let mut bytes = torch_save(&views());
    let central = bytes.windows(4).position(|w| w == b"PK\x01\x02").unwrap();
    bytes[8] = 8;
    bytes[central + 10] = 8;
    assert!(refusal(bytes).contains("compressed"));
}

#[test]
fn truncated_files_never_open_wrongly() {
    for bytes in [torch_save(&views()), legacy_save(&views())] {
        for cut in 0..bytes.len() {
            assert!(WeightFile::from_bytes("f", bytes[..cut].to_vec()).is_err(), "cut at {cut}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]
    #[test]
    fn flipped_bytes_never_panic(at in 0usize..2000, value in any::<u8>(), legacy in any::<bool>()) {
        let mut bytes = if legacy { legacy_save(&views()) } else { torch_save(&views()) };
        let at = at % bytes.len();
        bytes[at] = value;
        if let Ok(file) = WeightFile::from_bytes("f", bytes) {
            for name in file.names() {
                let tensor = file.get(name).unwrap();
                prop_assert_eq!(tensor.to_f32().unwrap().len(), tensor.len());
            }
        }
    }
}

#[test]
fn the_recorded_dream_queries_come_out() {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/reference/tiny");
    let file = WeightFile::open(root.join("dream_embedding.bin")).unwrap();
    let queries = file.get("dream_queries").unwrap();
    assert_eq!((queries.shape(), queries.dtype()), (&[1, 8, 64][..], StoredDType::F32));
    let recorded = WeightFile::open(root.join("reference/dream.safetensors")).unwrap();
    let with_special = recorded.get("dream_queries_with_special").unwrap().to_f32().unwrap();
    assert_eq!(queries.to_f32().unwrap(), with_special[64..9 * 64]);
}
