use super::*;
use crate::data::record::Document;
use crate::data::{DataConfig, Objective, SourceConfig, TrainingData};
use crate::image::{RgbImage, encode_png};
use std::path::PathBuf;

/// A small PNG, different for every seed.
pub(in crate::data) fn png(seed: u8) -> Vec<u8> {
    encode_png(&RgbImage::new(3, 2, vec![seed; 18]).unwrap(), &[]).unwrap()
}

/// A tar file of names and contents.
pub(in crate::data) fn tar(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    for (name, bytes) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        archive.append_data(&mut header, name, *bytes).unwrap();
    }
    archive.into_inner().unwrap()
}

/// Every record of a source with its pictures.
pub(in crate::data) fn read_all(config: &SourceConfig) -> Vec<Record<RgbImage>> {
    let source = config.open(&mut Vec::new()).unwrap();
    let read = |n| source.record(n).unwrap().try_map(|picture| picture.load()).unwrap();
    (0..source.len()).map(|n| read(n).0).collect()
}

struct Folder(tempfile::TempDir);

impl Folder {
    fn new(files: &[(&str, &[u8])]) -> Self {
        let folder = Folder(tempfile::tempdir().unwrap());
        files.iter().for_each(|(name, bytes)| folder.write(name, bytes));
        folder
    }

    fn write(&self, name: &str, bytes: &[u8]) {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn open(&self, name: &str, kind: Kind) -> Result<(Box<dyn Source>, Vec<Problem>)> {
        let mut problems = Vec::new();
        let source = open(&self.path(name), Form { kind, pictures: None, text_key: None }, &mut problems)?;
        Ok((source, problems))
    }

    fn error(&self, name: &str, kind: Kind) -> String {
        self.open(name, kind).unwrap_err().to_string()
    }
}

/// Captions and first pixels of all pairs; errors as text.
fn pairs(source: &dyn Source) -> Vec<Result<(String, u8), String>> {
    let pair = |n| {
        let (record, _) = source.record(n)?.try_map(|picture| picture.load())?;
        match record {
            Record::Pair { picture, text } => Ok((text, picture.pixels[0])),
            other => panic!("{other:?}"),
        }
    };
    (0..source.len()).map(|n| pair(n).map_err(|e: Error| e.to_string())).collect()
}

fn good(text: &str, pixel: u8) -> Result<(String, u8), String> {
    Ok((text.into(), pixel))
}

#[test]
fn json_lines_and_lists_name_pictures_beside_them() {
    let lines = br#"{"image": "p/a.png", "text": "one"}

{"image": "b.png", "caption": "two"}"#;
    let list = br#"[{"image": "p/a.png", "text": "one"}, {"image": "b.png", "text": "two"}]"#;
    let marked = [b"\xef\xbb\xbf".as_slice(), list].concat();
    let folder = Folder::new(&[
        ("a.jsonl", lines),
        ("b.json", list),
        ("c.json", &marked),
        ("d.json", lines),
        ("p/a.png", &png(1)),
        ("b.png", &png(2)),
    ]);
    for name in ["a.jsonl", "b.json", "c.json", "d.json"] {
        let (source, problems) = folder.open(name, Kind::Pairs).unwrap();
        assert_eq!(pairs(&*source), [good("one", 1), good("two", 2)], "{name}");
        assert!(problems.is_empty());
    }
    let place = |name: &str| folder.open(name, Kind::Pairs).unwrap().0.place(1);
    assert!(place("a.jsonl").ends_with("a.jsonl, line 3") && place("b.json").ends_with("b.json, item 2"));
}

#[test]
fn pictures_may_lie_in_another_folder() {
    let folder = Folder::new(&[("a.jsonl", br#"{"image": "a.png", "x": "one"}"#), ("far/a.png", &png(1))]);
    let far = folder.path("far");
    let form = Form { kind: Kind::Pairs, pictures: Some(&far), text_key: Some("x") };
    let source = open(&folder.path("a.jsonl"), form, &mut Vec::new()).unwrap();
    assert_eq!(pairs(&*source), [good("one", 1)]);
}

#[test]
fn folders_have_manifests_or_captions() {
    let folder = Folder::new(&[
        ("manifest/metadata.jsonl", br#"{"file_name": "a.png", "text": "one"}"#),
        ("manifest/a.png", &png(1)),
        ("captions/b.png", &png(2)),
        ("captions/b.txt", b"two\n"),
        ("captions/c.png", &png(3)),
        ("captions/d.PNG", &png(4)),
        ("captions/d.txt", b" "),
        ("captions/notes.md", b"x"),
        ("empty/x.md", b""),
    ]);
    assert_eq!(pairs(&*folder.open("manifest", Kind::Pairs).unwrap().0), [good("one", 1)]);
    let captions = pairs(&*folder.open("captions", Kind::Pairs).unwrap().0);
    assert_eq!((captions.len(), &captions[0]), (3, &good("two", 2)));
    assert!(captions[1].as_ref().is_err_and(|e| e.contains("c.txt")));
    assert!(captions[2].as_ref().is_err_and(|e| e.contains("d.txt") && e.contains("empty")));
    assert!(folder.error("empty", Kind::Pairs).contains("holds no record"));
    assert!(folder.error("empty", Kind::Documents).contains("manifest"));
}

#[test]
fn shards_group_files_by_key() {
    let first = tar(&[
        ("x/000.jpg", &png(1)),
        ("x/000.txt", b"one"),
        ("x/001.json", br#"{"caption": "two"}"#),
        ("x/001.PNG", &png(2)),
        ("x/no_dot", b""),
        ("x/.hidden", b""),
        ("x/002.txt", b"no picture"),
    ]);
    // The same key in another shard is another record; a name with dots keeps all behind the first one.
    let second = tar(&[("x/002.jpg", &png(3)), ("x/002.txt", b""), ("y.0.png", &png(4)), ("y.txt", b"dots")]);
    let folder = Folder::new(&[("s/b.tar", &second), ("s/a.tar", &first), ("s/readme.md", b"")]);
    let (source, problems) = folder.open("s", Kind::Pairs).unwrap();
    let found = pairs(&*source);
    assert_eq!(found[..2], [good("one", 1), good("two", 2)]);
    let reason = |n: usize| found[n].clone().unwrap_err();
    assert!(reason(2).contains("no picture") && reason(3).contains("empty") && reason(4).contains("no picture"));
    assert_eq!((found.len(), problems.len()), (5, 0));
    assert!(source.place(1).ends_with("a.tar, x/001"), "{}", source.place(1));
    assert_eq!(pairs(&*folder.open("s/b.tar", Kind::Pairs).unwrap().0).len(), 2);
}

#[test]
fn documents_in_shards_find_their_pictures() {
    let json = br#"{"text_list": ["a", "b"], "image_info": [
        {"image_name": "one.webp", "matched_text_index": 1}, {"image_name": "zero.png", "matched_text_index": 0}]}"#;
    let shard = tar(&[
        ("d.json", json),
        ("d.one.jpg", &png(1)),
        ("d.zero.png", &png(2)),
        ("e.json", json),
        ("f.json", json),
        ("f.one.png", &png(3)),
    ]);
    let folder = Folder::new(&[("a.tar", &shard)]);
    let (source, _) = folder.open("a.tar", Kind::Documents).unwrap();
    let (record, _) = source.record(0).unwrap().try_map(|picture| picture.load()).unwrap();
    let Record::Document(Document { pictures, .. }) = record else { panic!() };
    assert_eq!(pictures.iter().map(|(after, p)| (*after, p.pixels[0])).collect::<Vec<_>>(), [(0, 2), (1, 1)]);
    let error = source.record(1).unwrap().try_map(|picture| picture.load()).unwrap_err().to_string();
    assert!(
        error.contains("one.webp is not in the shard") || error.contains("zero.png is not in the shard"),
        "{error}"
    );
    // A document that has one of its pictures keeps it, and the other one is named.
    let (record, dropped) = source.record(2).unwrap().try_map(|picture| picture.load()).unwrap();
    assert!(matches!(record, Record::Document(document) if document.pictures.len() == 1) && dropped.len() == 1);
}

#[test]
fn a_shard_that_ends_too_early_is_used_as_far_as_it_goes() {
    let picture = vec![7; 5000];
    let whole = tar(&[("0.txt", b"one"), ("0.png", &png(1)), ("1.txt", b"two"), ("1.png", &picture)]);
    let folder = Folder::new(&[("a.tar", &whole[..whole.len() - 6000]), ("text.tar", b"this is no tar file")]);
    let (source, problems) = folder.open("a.tar", Kind::Pairs).unwrap();
    assert_eq!(pairs(&*source)[0], good("one", 1));
    assert!(pairs(&*source)[1].is_err());
    assert!(problems[0].place.ends_with("a.tar") && problems[0].whole, "{problems:?}");
    assert!(folder.error("text.tar", Kind::Pairs).contains("holds no record"));
}

#[test]
fn what_cannot_be_opened_is_one_clear_error() {
    let folder = Folder::new(&[("a.jsonl", b"\n \n"), ("b.json", b"[]"), ("c.parquet", b"PAR1"), ("d.json", b"")]);
    for name in ["a.jsonl", "b.json", "d.json"] {
        assert!(folder.error(name, Kind::Pairs).contains("holds no record"), "{name}");
    }
    assert!(folder.error("c.parquet", Kind::Pairs).contains(".jsonl or .tar"));
    assert!(folder.error("gone.jsonl", Kind::Pairs).contains("gone.jsonl"));
    assert!(folder.error("gone", Kind::Pairs).contains("no such file or folder"));
}

#[test]
fn a_file_may_be_a_single_record() {
    let folder = tempfile::tempdir().unwrap();
    let count = |name: &str, text: &str| {
        std::fs::write(folder.path().join(name), text).unwrap();
        let source = SourceConfig { path: folder.path().join(name), ..Default::default() };
        let config = DataConfig {
            sources: vec![source],
            objective: Objective::Joint,
            interleaved: true,
            seed: 0,
            max_length: 64,
        };
        TrainingData::open(&config).unwrap().mixture.records()
    };
    assert_eq!(count("one.json", "\n{\n  \"image\": \"a.png\",\n  \"text\": \"a\"\n}\n"), 1);
    assert_eq!(count("lines.json", "{\"image\": \"a.png\"}\n{\"image\": \"b.png\"}\n"), 2);
    // Not JSON as a whole: every line is a record, and is named if it cannot be used.
    assert_eq!(count("broken.json", "{\n{\"image\": \"b.png\"}\n"), 2);
}
