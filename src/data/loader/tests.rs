use super::*;
use crate::data::sample::tests::builder;
use crate::data::source::tests::{png, tar};
use crate::data::{DataConfig, Kind, Objective, SourceConfig};
use std::path::Path;

fn config(path: &Path, kind: Kind) -> DataConfig {
    let sources = vec![SourceConfig { path: path.to_path_buf(), kind, ..Default::default() }];
    DataConfig { sources, objective: Objective::Joint, interleaved: true, seed: 3, max_length: 128 }
}

fn open(config: &DataConfig) -> Arc<TrainingData> {
    Arc::new(TrainingData::open(config).unwrap())
}

fn start(data: &Arc<TrainingData>, position: Position, workers: usize) -> Loader {
    let builder = Arc::new(builder(Objective::Joint, 128));
    Loader::start(data, &builder, position, LoaderOptions { workers, ahead: 2, ..Default::default() }).unwrap()
}

const JPEG: &[u8] = include_bytes!("../../../tests/reference/tiny/reference/images/rgb_64x48.jpg");

/// Twelve pairs; of these a truncated PNG and JPEG, a file that is no picture, one that is missing, a broken line and a text that the
/// model cannot take.
fn pairs(folder: &Path) -> DataConfig {
    let mut lines = String::new();
    for n in 0..12u8 {
        let picture = match n {
            2 => JPEG[..1500].to_vec(),
            3 => png(n)[..40].to_vec(),
            5 => b"not a picture".to_vec(),
            _ => png(n),
        };
        if n != 7 {
            std::fs::write(folder.join(format!("{n}.png")), picture).unwrap();
        }
        let end = if n == 9 { "" } else { "}" };
        let text = if n == 10 { "<im_start>" } else { "picture" };
        lines += &format!("{{\"image\": \"{n}.png\", \"text\": \"{text} {n}\"{end}\n");
    }
    std::fs::write(folder.join("pairs.jsonl"), lines).unwrap();
    config(&folder.join("pairs.jsonl"), Kind::Pairs)
}

#[test]
fn broken_records_are_skipped_counted_and_named() {
    let folder = tempfile::tempdir().unwrap();
    let data = open(&pairs(folder.path()));
    let mut loader = start(&data, data.mixture.start(), 3);
    let samples = loader.next_samples(24).unwrap();
    let texts: std::collections::HashSet<Vec<u32>> =
        samples.into_iter().map(|s| s.ids.into_iter().filter(|id| *id < 512).collect()).collect();
    assert_eq!(texts.len(), 6);
    assert_eq!((loader.skipped().records(), loader.skipped().pictures()), (6, 0));
    let summary = loader.skipped().to_string();
    let problems = [(3, "2.png"), (4, "3.png"), (6, "5.png"), (8, "7.png"), (10, "JSON"), (11, "incomplete block")];
    for (line, word) in problems {
        let named = |problem: &&str| problem.contains(&format!("pairs.jsonl, line {line}:")) && problem.contains(word);
        assert!(summary.lines().any(|problem| named(&problem)), "{line}: {summary}");
    }
    // Half of the draws fail, but never a hundred in a row.
    loader.next_samples(150).unwrap();
}

#[test]
fn strict_makes_them_fatal() {
    let folder = tempfile::tempdir().unwrap();
    let data = open(&pairs(folder.path()));
    let builder = Arc::new(builder(Objective::Joint, 128));
    let options = LoaderOptions { workers: 2, ahead: 2, strict: true, ..Default::default() };
    let mut loader = Loader::start(&data, &builder, data.mixture.start(), options).unwrap();
    let error = loader.next_samples(12).unwrap_err().to_string();
    assert!(error.contains("pairs.jsonl, line "), "{error}");
}

#[test]
fn samples_do_not_depend_on_workers_and_continue_from_any_position() {
    let folder = tempfile::tempdir().unwrap();
    let data = open(&pairs(folder.path()));
    let mut one = start(&data, data.mixture.start(), 1);
    let all = one.next_samples(30).unwrap();
    for workers in [2, 5] {
        assert!(start(&data, data.mixture.start(), workers).next_samples(30).unwrap() == all, "{workers} workers");
    }
    let mut loader = start(&data, data.mixture.start(), 4);
    for taken in 0..19 {
        let saved = serde_json::to_vec(loader.position()).unwrap();
        let mut resumed = start(&data, serde_json::from_slice(&saved).unwrap(), 3);
        assert!(resumed.next_samples(11).unwrap() == all[taken..taken + 11], "from {taken}");
        loader.next_samples(1).unwrap();
    }
}

#[test]
fn a_loader_may_be_dropped_while_its_workers_wait() {
    let folder = tempfile::tempdir().unwrap();
    let data = open(&pairs(folder.path()));
    let mut loader = start(&data, data.mixture.start(), 8);
    loader.next_samples(1).unwrap();
    drop(loader); // returns: the test would hang otherwise
    drop(start(&data, data.mixture.start(), 2));
    assert_eq!(Arc::strong_count(&data), 1);
}

#[test]
fn data_without_a_usable_record_ends_in_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bad.jsonl");
    std::fs::write(&path, "{\n".repeat(3)).unwrap();
    let data = open(&config(&path, Kind::Pairs));
    let error = start(&data, data.mixture.start(), 2).next_samples(1).unwrap_err().to_string();
    assert!(error.contains("100 training records in a row") && error.contains("bad.jsonl, line"), "{error}");
}

#[test]
fn documents_lose_broken_pictures_only() {
    let folder = tempfile::tempdir().unwrap();
    let document = |pictures: [&str; 2]| {
        let info = pictures.map(|name| format!(r#"{{"image_name": "{name}", "matched_text_index": 0}}"#)).join(",");
        format!("{{\"text_list\": [\"a\"], \"image_info\": [{info}]}}\n")
    };
    std::fs::write(folder.path().join("good.png"), png(1)).unwrap();
    let lines = document(["good.png", "gone.png"]) + &document(["gone.png", "gone.png"]);
    std::fs::write(folder.path().join("d.jsonl"), lines).unwrap();
    let data = open(&config(&folder.path().join("d.jsonl"), Kind::Documents));
    let mut loader = start(&data, data.mixture.start(), 2);
    let samples = loader.next_samples(4).unwrap();
    assert!(samples.iter().all(|sample| sample.images.len() == 1 && sample.dreams.len() == 1));
    assert_eq!((loader.skipped().records(), loader.skipped().pictures()), (1, 1));
    let problems = loader.skipped().problems();
    let picture = problems.iter().find(|problem| !problem.whole).unwrap().to_string();
    assert!(picture.contains("d.jsonl, line 1: a picture is left out") && picture.contains("gone.png"), "{picture}");
}

#[test]
fn shards_and_other_sources_mix_and_interleaved_data_can_be_off() {
    let folder = tempfile::tempdir().unwrap();
    let mut both = pairs(folder.path());
    let json = br#"{"text_list": ["a"], "image_info": [{"image_name": "0.png", "matched_text_index": 0}]}"#;
    std::fs::write(folder.path().join("d.tar"), tar(&[("k.json", json), ("k.0.png", &png(1))])).unwrap();
    let path = folder.path().join("d.tar");
    both.sources.push(SourceConfig { path, kind: Kind::Documents, weight: Some(12.0), ..Default::default() });
    let count = |config: &DataConfig| {
        let data = open(config);
        let samples = start(&data, data.mixture.start(), 2).next_samples(40).unwrap();
        samples.iter().filter(|s| s.images.len() == 1 && s.dreams.len() == 1).count()
    };
    assert!((10..30).contains(&count(&both)), "{}", count(&both));
    both.interleaved = false;
    assert_eq!(count(&both), 0);
    both.sources.remove(0);
    assert!(TrainingData::open(&both).unwrap_err().to_string().contains("interleaved is off"));
}

#[test]
fn a_position_in_other_data_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let config = pairs(folder.path());
    let position = open(&config).mixture.start();
    let more = std::fs::read_to_string(&config.sources[0].path).unwrap().repeat(2);
    std::fs::write(&config.sources[0].path, more).unwrap();
    let builder = Arc::new(builder(Objective::Joint, 128));
    let error = Loader::start(&open(&config), &builder, position, LoaderOptions::default()).err().unwrap();
    assert!(error.to_string().contains("has changed"), "{error}");
}

#[test]
fn processes_share_broken_data_as_one_process_takes_it() {
    let folder = tempfile::tempdir().unwrap();
    let data = open(&pairs(folder.path()));
    let builder = Arc::new(builder(Objective::Joint, 128));
    let take = |share, count| {
        let options = LoaderOptions { workers: 2, share, ..Default::default() };
        let mut loader = Loader::start(&data, &builder, data.mixture.start(), options).unwrap();
        let ids = loader.next_samples(count).unwrap().into_iter().map(|sample| sample.ids).collect::<Vec<_>>();
        (ids, loader.position().clone())
    };
    let (one, position) = take((0, 1), 24);
    for processes in [2u64, 3] {
        let each: Vec<_> = (0..processes).map(|process| take((process, processes), 24 / processes as usize)).collect();
        let together: Vec<_> =
            (0..24).map(|n| each[n % processes as usize].0[n / processes as usize].clone()).collect();
        assert_eq!(together, one);
        assert!(each.iter().all(|(_, at)| *at == position));
    }
}
