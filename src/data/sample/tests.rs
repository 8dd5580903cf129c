use super::*;
use crate::data::{Document, Turn};
use proptest::prelude::*;
use std::path::PathBuf;

/// The builder of the tiny checkpoint: 16 patches, 8 queries.
pub(in crate::data) fn builder(objective: Objective, max_length: usize) -> SampleBuilder {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/reference/tiny");
    let folder = CheckpointFolder::open(root).unwrap();
    let mut builder = SampleBuilder::from_folder(&folder, objective, 128).unwrap();
    builder.max_length = max_length;
    builder
}

/// A picture that is not its own mirror image.
fn picture(seed: usize) -> RgbImage {
    RgbImage::new(40, 32, (0..40 * 32 * 3).map(|i| ((i * 7 + seed * 31) % 251) as u8).collect()).unwrap()
}

fn talk(texts: &[&str], pictures: usize) -> Vec<Turn<RgbImage>> {
    let turn = |(n, text): (usize, &&str)| {
        let pictures = if n == 0 { (0..pictures).map(picture).collect() } else { vec![] };
        Turn { text: text.to_string(), pictures }
    };
    texts.iter().enumerate().map(turn).collect()
}

fn chance() -> Chance {
    Chance::new(0, 0)
}

/// What the labels teach, as text.
fn learned(builder: &SampleBuilder, sample: &Sample) -> String {
    let ids: Vec<u32> = sample.labels.iter().copied().filter(|label| *label != IGNORED).collect();
    builder.tokenizer.decode_text(&ids).unwrap()
}

#[test]
fn joint_pairs_go_either_way_and_always_the_same_for_a_draw() {
    let builder = builder(Objective::Joint, 128);
    let record = Record::Pair { picture: picture(0), text: "A dog.".into() };
    let at = |draw| builder.build(&record, &Chance::new(9, draw)).unwrap();
    let read = (0..100).filter(|&draw| at(draw).dreams.is_empty()).count();
    assert!((30..70).contains(&read), "{read} of 100 are read");
    assert!((0..20).all(|draw| at(draw) == at(draw)));
    for draw in 0..20 {
        let sample = at(draw);
        assert_eq!(sample.images.len() + sample.dreams.len(), 1);
        assert_eq!(sample.labels.iter().all(|label| *label == IGNORED), sample.images.is_empty());
        builder.check(&sample).unwrap();
    }
}

#[test]
fn only_pictures_to_be_drawn_are_mirrored() {
    let mut builder = builder(Objective::Joint, 128);
    let pictures = (0..3).map(|n| (n, picture(n))).collect();
    let texts = ["a", "b", "c"].map(String::from).to_vec();
    let record = Record::Document(Document { instruction: None, texts, pictures, given: 0 });
    let random: Vec<Sample> = (0..20).map(|draw| builder.build(&record, &Chance::new(1, draw)).unwrap()).collect();
    builder.random_flip = false;
    let plain = builder.build(&record, &chance()).unwrap();
    let mirror = |image: &FloatImage| {
        let rows = image.values.chunks_exact(image.width * 3);
        let values = rows.flat_map(|row| row.as_chunks::<3>().0.iter().rev().flatten().copied());
        FloatImage::new(image.width, image.height, values.collect()).unwrap()
    };
    let mut count = 0;
    for sample in &random {
        assert_eq!(sample.images, plain.images);
        for (dream, upright) in sample.dreams.iter().zip(&plain.dreams) {
            assert!(dream == upright || *dream == mirror(upright));
            count += usize::from(dream != upright);
        }
    }
    assert!((15..45).contains(&count), "{count} of 60 are mirrored");
}

#[test]
fn only_answers_are_learned() {
    let builder = builder(Objective::Joint, 400);
    let say = |texts: &[&str]| learned(&builder, &builder.conversation(&talk(texts, 0), &chance()).unwrap());
    assert_eq!(say(&["Who?", "Me.", "Why?", "So."]), "Me. So.");
    // Quirks: from a turn without an answer on everything is learned, and so it is behind an answer in an answer.
    assert!(say(&["Who?", "Me.", "Why?"]).ends_with("Me. USER: Why? "));
    assert!(say(&["Who?", "Me. ASSISTANT: You."]).starts_with("A chat between"));
}

#[test]
fn blocks_that_do_not_fit_leave_what_the_official_code_leaves() {
    let full = builder(Objective::Joint, 400);
    let turns = talk(&["<image>", "Yes."], 1);
    let all = full.conversation(&turns, &chance()).unwrap();
    let start = all.ids.iter().position(|&id| id == full.special.im_start).unwrap();
    let at = |limit| {
        let builder = builder(Objective::Joint, limit);
        let sample = builder.conversation(&turns, &chance()).unwrap();
        assert_eq!(sample.ids.len(), sample.labels.len());
        (sample.ids.len(), sample.images.len(), builder.check(&sample).is_ok())
    };
    // Within the words, in front of the block, within it: the first (limit - start) tokens.
    assert_eq!(at(start - 1), (start - 1, 0, true));
    assert_eq!(at(start), (start, 0, true));
    assert_eq!(at(start + 5), (5, 0, true));
    assert_eq!(at(start + 17), (17, 0, true));
    // Exactly behind the block nothing is cut any more; such a sample is refused.
    assert_eq!(at(start + 18), (all.ids.len(), 1, false));
    assert_eq!(at(start + 19), (start + 19, 1, true));
}

#[test]
fn texts_that_name_picture_tokens_are_refused() {
    let builder = builder(Objective::Comprehension, 128);
    for text in ["<im_start>", "a <dream_start> b", "<im_start><im_patch><im_end>"] {
        let sample = builder.build(&Record::Pair { picture: picture(0), text: text.into() }, &chance()).unwrap();
        assert!(builder.check(&sample).unwrap_err().to_string().contains("incomplete block"), "{text}");
    }
    let turns = talk(&["<im_start>", "Yes."], 0);
    let error = builder.conversation(&turns, &chance()).unwrap_err().to_string();
    assert!(error.contains("more picture tokens"), "{error}");
}

#[test]
fn documents_end_where_the_next_picture_does_not_fit() {
    let pictures = vec![(0, picture(0)), (1, picture(1))];
    let texts = ["a", "b", "c"].map(String::from).to_vec();
    let document = Document { instruction: None, texts, pictures, given: 0 };
    let dreams = |limit| {
        let builder = builder(Objective::Creation, limit);
        let sample = builder.build(&Record::Document(document.clone()), &chance()).unwrap();
        builder.check(&sample).unwrap();
        sample.dreams.len()
    };
    // `▁a` and a block of 10 for each, `▁c`, and two ends.
    assert_eq!((dreams(12), dreams(13), dreams(23), dreams(24)), (0, 1, 1, 2));
}

#[test]
fn two_pictures_of_one_text_stand_together() {
    let builder = builder(Objective::Comprehension, 128);
    let pictures = vec![(0, picture(0)), (0, picture(1))];
    let document = Document { instruction: None, texts: vec!["a".into()], pictures, given: 0 };
    let sample = builder.build(&Record::Document(document), &chance()).unwrap();
    let text = builder.tokenizer.encode("a");
    let block = builder.image_block();
    assert_eq!(sample.ids, [text, block.clone(), block, vec![builder.special.eos]].concat());
}

#[test]
fn given_pictures_are_only_read() {
    let pictures = vec![(0, picture(0)), (1, picture(1))];
    let document = Document { instruction: None, texts: ["a", "b"].map(String::from).to_vec(), pictures, given: 1 };
    for (objective, read, drawn) in
        [(Objective::Joint, 2, 1), (Objective::Comprehension, 2, 0), (Objective::Creation, 0, 1)]
    {
        let sample = builder(objective, 128).build(&Record::Document(document.clone()), &chance()).unwrap();
        assert_eq!((sample.images.len(), sample.dreams.len()), (read, drawn), "{objective:?}");
        builder(objective, 128).check(&sample).unwrap();
    }
    let builder = builder(Objective::Joint, 128);
    let sample = builder.build(&Record::Document(document), &chance()).unwrap();
    let (image, dream) = (builder.image_block(), builder.dream_block());
    let (a, b) = (builder.tokenizer.encode("a"), builder.tokenizer.encode_without_bos("b"));
    assert_eq!(sample.ids, [a, image.clone(), b, dream, image, vec![builder.special.eos]].concat());
}

#[test]
fn a_length_without_room_for_a_picture_is_refused() {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/reference/tiny");
    let folder = CheckpointFolder::open(root).unwrap();
    let error = |length| SampleBuilder::from_folder(&folder, Objective::Joint, length).unwrap_err().to_string();
    assert!(error(19).contains("20 to") && error(1 << 20).contains("not 1048576"), "{}", error(19));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_text_gives_a_label_for_every_token(
        texts in proptest::collection::vec("(<image>|<dream>|</s>| ASSISTANT: |[a-z é]{0,6}){0,5}", 1..4),
        limit in 30usize..200,
    ) {
        let builder = builder(Objective::Joint, limit);
        let pictures = |text: &str| text.matches("<image>").chain(text.matches("<dream>")).map(|_| picture(0)).collect();
        let turns: Vec<_> = texts.iter().map(|text| Turn { text: text.clone(), pictures: pictures(text) }).collect();
        let sample = builder.build(&Record::Conversation(turns), &chance()).unwrap();
        prop_assert_eq!(sample.ids.len(), sample.labels.len());
        prop_assert!(sample.ids.iter().zip(&sample.labels).all(|(id, label)| label == id || *label == IGNORED));
    }
}
