//! What the library can be asked for besides a recorded run: beams, answers, pictures from pictures, documents, talk. The
//! weights are random, so these are tests of mechanics: what must be equal, what must differ, what must be refused.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use common::{gpu, tiny};
use dreamllm::diffusion::condition::Condition;
use dreamllm::diffusion::pipeline::{DrawOptions, Step, decode, draw, pictures};
use dreamllm::diffusion::source::Source;
use dreamllm::diffusion::{Sampler, SamplerKind, SamplerOptions};
use dreamllm::gpu::GpuOptions;
use dreamllm::image::{RgbImage, load};
use dreamllm::interleaved::{ComposeOptions, Conversation, Document, Event, Part, compose};
use dreamllm::models::answer::{AnswerOptions, Ending, answer};
use dreamllm::models::beams::{BeamOptions, beam_search};
use dreamllm::models::config::TimestepSpacing;
use dreamllm::models::decoding::Decoding;
use dreamllm::models::dreamllm::{Diffusion, DreamLlm, LoadOptions};
use dreamllm::models::generation::{GREEDY, Stop, generate};
use dreamllm::models::llama::Cache;
use dreamllm::models::vae_tiles::Tiling;
use dreamllm::ops::random::normal;
use dreamllm::ops::sample::Sampling;
use dreamllm::ops::softmax::log_softmax;
use dreamllm::text::{Batch, Chat, PaddingSide};
use dreamllm::weights::CheckpointFolder;
use dreamllm::{Error, Result, Tensor};
use pollster::block_on;

/// The tiny model; it is not shared between threads, and loads in a moment.
fn model() -> DreamLlm {
    let folder = CheckpointFolder::open(tiny()).unwrap();
    let options = LoadOptions { vision: true, diffusion: true, ..Default::default() };
    DreamLlm::load(&folder, gpu(), options, &|_| ()).unwrap()
}

fn image(name: &str) -> RgbImage {
    load(tiny().join("reference/images").join(name)).unwrap()
}

fn two() -> [RgbImage; 2] {
    [image("rgb_97x61.png"), image("rgba_40x64.png")]
}

fn read(x: &Tensor) -> Vec<f32> {
    block_on(x.read_f32()).unwrap()
}

/// Largest difference, relative to the largest magnitude.
fn apart(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    let largest = |values: &mut dyn Iterator<Item = f32>| values.fold(0f32, |m, x| m.max(x.abs()));
    largest(&mut a.iter().zip(b).map(|(a, b)| a - b)) / largest(&mut b.iter().copied()).max(1e-12)
}

fn stop(max_tokens: usize) -> Stop {
    Stop { max_tokens, eos: 2, pad: 0 }
}

#[test]
fn one_beam_is_greedy_and_scores_are_those_of_the_words() {
    let model = model();
    let prompt = Chat::evaluation().ask(2, "What differs?").prompt();
    let context = model.context(&prompt, &two()).unwrap();
    let greedy = block_on(generate(&model, &context, GREEDY, 0, stop(9), |_| Ok(true))).unwrap();
    let search = |options| block_on(beam_search(&model, &context, options, stop(9), |_| Ok(()))).unwrap();
    assert_eq!(search(BeamOptions::new(1))[0][0].ids, greedy[0]);

    let found = search(BeamOptions { returned: 4, ..BeamOptions::new(4) }).remove(0);
    assert_eq!(found.len(), 4);
    assert!(found.windows(2).all(|pair| pair[0].score >= pair[1].score && pair[0].ids != pair[1].ids));
    // The words of each, read by a decoder that knows of no other beam.
    let length = context.embeds.shape().as_slice()[1];
    for hypothesis in &found {
        let mut decoding = Decoding::behind(&model, &context).unwrap();
        let mut sum = 0.0;
        for &id in &hypothesis.ids {
            sum += f64::from(read(&log_softmax(&decoding.logits().unwrap()).unwrap())[id as usize]);
            decoding.advance(&[id]).unwrap();
        }
        let words = hypothesis.ids.iter().filter(|id| **id != 2).count();
        let score = sum / (length + words) as f64;
        assert!((score - hypothesis.score).abs() < 1e-5, "{score} {hypothesis:?}");
    }
}

#[test]
fn every_row_of_a_batch_is_searched_as_if_it_were_alone() {
    // Three rows: the recorded batch has two, and reordering must not mix rows.
    let model = model();
    let texts = ["A dog", "A cat on", "The sky is"];
    let rows: Vec<Vec<u32>> = texts.iter().map(|text| model.tokenizer.encode(text)).collect();
    let batch = Batch::new(&rows, model.special.pad, PaddingSide::Left);
    let context = model.embed(&batch, &[], None).unwrap();
    let together = block_on(beam_search(&model, &context, BeamOptions::new(3), stop(6), |_| Ok(()))).unwrap();
    for (row, found) in rows.iter().zip(&together) {
        let alone = model.embed(&Batch::new(&[row.as_slice()], 0, PaddingSide::Left), &[], None);
        // Length counts padding, which changes scores but, without an end, no order.
        let alone = block_on(beam_search(&model, &alone.unwrap(), BeamOptions::new(3), stop(6), |_| Ok(()))).unwrap();
        assert_eq!(found[0].ids, alone[0][0].ids);
    }
}

/// Attention cannot cut the keys of one sequence, so that a pass fails in the first layer, when its tokens are counted in.
#[test]
fn a_pass_that_fails_leaves_the_cache_as_it_was() {
    let options = GpuOptions { max_binding: Some(32 << 10), ..GpuOptions::default() };
    let weak = gpu().emulate(&options).unwrap();
    let model =
        DreamLlm::load(&CheckpointFolder::open(tiny()).unwrap(), &weak, LoadOptions::default(), &|_| ()).unwrap();
    let context = model.context("A dog", &[]).unwrap();
    let mut cache = Cache::default();
    let error = model.llama.forward(&context.embeds, &context.tokens, Some(&mut cache)).unwrap_err();
    assert!(matches!(error, Error::TooLarge { .. }), "{error}");
    assert_eq!((cache.len(), cache.layer(0).is_some()), (0, true));
}

#[test]
fn a_dream_behind_padded_rows_is_that_of_each_row_alone() {
    let model = model();
    let rows = ["A dog", "The sky over the river is red."].map(|text| model.tokenizer.encode(text));
    let dreamed = |rows: &[&[u32]]| {
        let context = model.embed(&Batch::new(rows, model.special.pad, PaddingSide::Left), &[], None).unwrap();
        let mut decoding = Decoding::behind(&model, &context).unwrap();
        let condition = read(&decoding.dream().unwrap());
        (condition, read(&decoding.logits().unwrap()))
    };
    let (together, scores) = dreamed(&[&rows[0], &rows[1]]);
    for (n, row) in rows.iter().enumerate() {
        let (alone, scores_alone) = dreamed(&[row]);
        assert!(apart(&together[n * alone.len()..(n + 1) * alone.len()], &alone) < 1e-4);
        assert!(apart(&scores[n * scores_alone.len()..(n + 1) * scores_alone.len()], &scores_alone) < 1e-4);
    }
}

#[test]
fn two_pictures_are_two() {
    // The official pipeline prepares only the first picture of a prompt.
    let model = model();
    let [a, b] = two();
    let condition = |images: &[RgbImage]| {
        read(&Condition::new(&model, "A <image> beside a <image>.", "", images).unwrap().condition)
    };
    let (both, twice, swapped) =
        (condition(&[a.clone(), b.clone()]), condition(&[a.clone(), a.clone()]), condition(&[b.clone(), a.clone()]));
    assert!(apart(&both, &twice) > 1e-2 && apart(&both, &swapped) > 1e-2);
    // Without a placeholder pictures stand in front.
    let front = |prompt: &str| read(&Condition::new(&model, prompt, "", &[a.clone(), b.clone()]).unwrap().condition);
    assert_eq!(front("Both."), front("<image><image>Both."));
    let wrong = Condition::new(&model, "A <image>.", "", &[a, b]).unwrap_err().to_string();
    assert_eq!(wrong, "the prompt has places for 1 images, but 2 are given");
    assert!(Condition::new(&model, "A <image>.", "", &[]).is_err());
}

#[test]
fn reading_in_pieces_is_reading_at_once() {
    let model = model();
    let images = two();
    let text = "See <image></s>and <image></s>What?";
    let context = model.context(text, &images).unwrap();
    let mut pieces = Decoding::new(&model);
    pieces.read("See <image></s>", &images[..1]).unwrap();
    pieces.read("and", &[]).unwrap();
    pieces.read_picture(&images[1]).unwrap();
    pieces.read_ids(&[2]).unwrap();
    pieces.read("What?", &[]).unwrap();
    // "and " has one more token than "and".
    let whole = Decoding::behind(&model, &model.context(&text.replace("and <", "and<"), &images).unwrap()).unwrap();
    assert_eq!(pieces.len(), whole.len());
    assert!(apart(&read(&pieces.logits().unwrap()), &read(&whole.logits().unwrap())) < 1e-4);
    assert_eq!(context.embeds.shape().as_slice()[1], whole.len() + 1);
}

#[test]
fn a_text_that_is_too_long_is_refused_and_nothing_is_read() {
    let model = model();
    let mut decoding = Decoding::new(&model);
    decoding.read("Hello", &[]).unwrap();
    let length = decoding.len();
    let error = decoding.read_ids(&vec![5; 2048]).unwrap_err().to_string();
    assert!(error.contains("2048"), "{error}");
    assert_eq!(decoding.len(), length);
    decoding.read("more", &[]).unwrap();
    assert!(Decoding::new(&model).logits().is_err());
}

#[test]
fn answers_end_where_they_should_and_seeds_repeat() {
    let model = model();
    let ask = |options: AnswerOptions| {
        let mut streamed = String::new();
        let on_text = |text: &str| {
            streamed += text;
            Ok(())
        };
        let answer = block_on(answer(&model, "How many?", &[], &options, on_text)).unwrap();
        assert_eq!(streamed, answer.text);
        answer
    };
    let options = AnswerOptions { max_tokens: 20, ..AnswerOptions::default() };
    let whole = ask(options.clone());
    assert_eq!((whole.ids.len(), &whole.ending), (20, &Ending::Length));
    // A stop string across the middle of the text.
    let middle: String = whole.text.chars().skip(6).take(3).collect();
    let cut = ask(AnswerOptions { stop: vec![middle.clone()], ..options.clone() });
    assert_eq!(cut.ending, Ending::Stop(middle.clone()));
    assert_eq!(cut.text, whole.text[..whole.text.find(&middle).unwrap()]);
    let drawn = |seed| {
        let sampling = Sampling { temperature: 1.5, top_k: 50, top_p: 0.95 };
        ask(AnswerOptions { sampling, seed, ..options.clone() }).ids
    };
    assert_eq!(drawn(1), drawn(1));
    assert_ne!(drawn(1), drawn(2));
    let system = ask(AnswerOptions { system: Some("Be brief.".into()), ..options.clone() });
    assert_ne!(system.ids, whole.ids);
    let beams = ask(AnswerOptions { beams: 3, ..options.clone() });
    assert!(beams.score.is_some());

    let refused = |options: AnswerOptions| block_on(answer(&model, "", &[], &options, |_| Ok(()))).is_err();
    let hot = Sampling { temperature: 1.0, ..GREEDY };
    assert!(refused(AnswerOptions { sampling: hot, beams: 2, ..options.clone() }));
    assert!(refused(AnswerOptions { sampling: Sampling { top_p: 1.5, ..hot }, ..options.clone() }));
    assert!(refused(AnswerOptions { stop: vec![String::new()], ..options }));
}

fn small(steps: usize) -> DrawOptions {
    DrawOptions { steps, width: 32, height: 32, cfg_scale: 3.0, ..DrawOptions::default() }
}

fn drawn(
    diffusion: &Diffusion,
    condition: &Condition,
    options: &DrawOptions,
    source: Option<&Source>,
) -> Vec<RgbImage> {
    block_on(draw(diffusion, condition, options, source, async |_: Step<'_>| Ok(()))).unwrap()
}

/// Largest difference in levels.
fn levels(a: &RgbImage, b: &RgbImage) -> u8 {
    a.pixels.iter().zip(&b.pixels).map(|(a, b)| a.abs_diff(*b)).max().unwrap()
}

#[test]
fn a_condition_file_draws_the_same_without_the_language_model() {
    let model = model();
    let made = Condition::new(&model, "A <image>, snow", "ugly", &two()[..1]).unwrap();
    let bytes = block_on(made.to_bytes()).unwrap();
    let folder = CheckpointFolder::open(tiny()).unwrap();
    let loaded = Condition::from_bytes("c", &bytes, gpu()).unwrap();
    assert_eq!((loaded.prompt.as_str(), loaded.negative_prompt.as_str()), ("A <image>, snow", "ugly"));
    assert_eq!(loaded.fingerprint, folder.fingerprint());
    let alone = Diffusion::open(&folder, gpu(), Default::default(), &|_| ()).unwrap();
    let want = drawn(model.diffusion().unwrap(), &made, &small(3), None);
    assert_eq!(drawn(&alone, &loaded, &small(3), None), want);

    // Damaged in every place of the header, and cut anywhere: refused or read, never a panic.
    for at in (0..bytes.len().min(600)).step_by(3) {
        let mut damaged = bytes.clone();
        damaged[at] ^= 0x15;
        let _ = Condition::from_bytes("c", &damaged, gpu());
        assert!(Condition::from_bytes("c", &bytes[..at], gpu()).is_err());
    }
    let wide = Tensor::from_f32(gpu(), &[0.0; 14], [1, 2, 7]).unwrap();
    let wrong = Condition { condition: wide.clone(), unconditional: wide, ..loaded };
    assert!(wrong.check(&alone).unwrap_err().to_string().contains("width 7"));
}

#[test]
fn a_batch_is_the_pictures_of_its_seeds() {
    let model = model();
    let diffusion = model.diffusion().unwrap();
    let condition = Condition::new(&model, "A dog", "", &[]).unwrap();
    let batch = drawn(diffusion, &condition, &DrawOptions { batch: 3, seed: 7, ..small(3) }, None);
    for (i, picture) in batch.iter().enumerate() {
        let alone = drawn(diffusion, &condition, &DrawOptions { seed: 7 + i as u64, ..small(3) }, None);
        assert!(levels(picture, &alone[0]) <= 1, "picture {i}");
    }
    assert!(levels(&batch[0], &batch[1]) > 5);
}

#[test]
fn a_picture_is_redrawn_from_its_strength_on_and_kept_under_the_mask() {
    let model = model();
    let diffusion = model.diffusion().unwrap();
    let condition = Condition::new(&model, "A dog", "", &[]).unwrap();
    let picture = dreamllm::image::cover(&image("rgb_97x61.png"), 32, 32).unwrap();
    let half: Vec<u8> = (0..32 * 32).flat_map(|i| [if i % 32 < 16 { 0 } else { 255 }; 3]).collect();
    let mask = RgbImage::new(32, 32, half).unwrap();
    for (kind, steps, strength, taken) in [
        (SamplerKind::Ddpm, 10, 0.5, 5),
        (SamplerKind::Ddim, 10, 0.15, 1),
        (SamplerKind::Euler, 4, 1.0, 4),
        (SamplerKind::DpmSolver, 6, 0.5, 3),
        (SamplerKind::UniPc, 6, 0.5, 3),
        (SamplerKind::EulerAncestral, 6, 0.5, 3),
    ] {
        let options = DrawOptions { sampler: kind, ..small(steps) };
        let source = Source { picture: picture.clone(), mask: Some(mask.clone()), strength };
        let mut seen = 0;
        let count = async |step: Step<'_>| {
            seen += 1;
            assert!(read(&step.clean().unwrap()).iter().all(|x| x.is_finite()));
            Ok(())
        };
        let new = block_on(draw(diffusion, &condition, &options, Some(&source), count)).unwrap().remove(0);
        assert_eq!(seen, taken, "{kind}");
        let column = |image: &RgbImage, x: usize| -> Vec<u8> {
            (0..32).flat_map(|y| image.pixels[3 * (32 * y + x)..][..3].to_vec()).collect()
        };
        assert!((0..16).all(|x| column(&new, x) == column(&picture, x)), "{kind}: the mask is not kept");
        assert!((16..32).any(|x| column(&new, x) != column(&picture, x)), "{kind}: nothing is new");
    }
    let none = Source { picture, mask: None, strength: 0.01 };
    let refused = block_on(draw(diffusion, &condition, &small(10), Some(&none), async |_: Step<'_>| Ok(())));
    assert!(refused.unwrap_err().to_string().contains("strength"));
}

#[test]
fn the_clean_latent_of_the_true_noise_is_the_latent() {
    let model = model();
    let scheduler = &model.diffusion().unwrap().scheduler;
    let shape = [1, 8, 8, 4];
    let (x0, noise) = (normal(gpu(), shape, 1, 0).unwrap(), normal(gpu(), shape, 1, 1).unwrap());
    for (kind, name) in SamplerKind::ALL {
        let sampler = Sampler::new(kind, scheduler, 10, SamplerOptions::default()).unwrap();
        for i in [0, 4, 9] {
            let x = sampler.add_noise(i, &x0, &noise).unwrap();
            let clean = read(&sampler.clean(i, &noise, &x).unwrap());
            assert!(apart(&clean, &read(&x0)) < 1e-4, "{name} {i}");
        }
        let trailing = SamplerOptions { spacing: Some(TimestepSpacing::Trailing), ..SamplerOptions::default() };
        if let Ok(sampler) = Sampler::new(kind, scheduler, 10, trailing) {
            assert_eq!(sampler.timesteps()[0], 999.0, "{name}");
        }
    }
}

#[test]
fn one_tile_is_exact_and_several_are_close() {
    let model = model();
    let diffusion = model.diffusion().unwrap();
    let latents = normal(gpu(), [1, 24, 20, 4], 5, 0).unwrap();
    let want = read(&diffusion.vae.decode(&latents).unwrap());
    let tiled = |tiling| block_on(diffusion.vae.decode_tiled(&latents, tiling)).unwrap();
    assert_eq!(tiled(Tiling::default()).values, want);
    let several = tiled(Tiling { side: 12, overlap: 6 });
    assert_eq!((several.width, several.height), (40, 48));
    let difference = several.values.iter().zip(&want).map(|(a, b)| (a - b).powi(2)).sum::<f32>();
    let relative = (difference / want.iter().map(|x| x * x).sum::<f32>()).sqrt();
    println!("tiles are {relative:.1e} off");
    assert!(relative > 0.0 && relative < 0.2, "{relative}");
    // Decoding through the pipeline gives the same picture.
    let scaled = latents.scale(diffusion.scaling_factor).unwrap();
    let one = dreamllm::diffusion::pipeline::decode_pictures(diffusion, &scaled, Some(Tiling::default()));
    let plain = block_on(pictures(&decode(diffusion, &scaled).unwrap())).unwrap();
    assert!(levels(&block_on(one).unwrap()[0], &plain[0]) <= 1);
}

fn document(model: &DreamLlm, given: &[Part], options: &ComposeOptions) -> Result<(Document, String)> {
    let mut streamed = String::new();
    let on_event = |event: Event<'_>| {
        match event {
            Event::Text(text) => streamed += text,
            Event::Step(done, count) => assert!(done <= count),
            Event::Picture(_) => streamed += "[]",
        }
        Ok(())
    };
    let composed = block_on(compose(model, "Write about winter.", given, options, on_event))?;
    assert!(composed.complete);
    Ok((composed.document, streamed))
}

#[test]
fn a_cancelled_document_keeps_what_is_there() {
    let model = model();
    let options = ComposeOptions {
        words: AnswerOptions { max_tokens: 15, ..AnswerOptions::default() },
        draw: small(3),
        most_pictures: 2,
        every: Some(5),
        ..ComposeOptions::default()
    };
    let whole = document(&model, &[], &options).unwrap().0;
    // Stopped in the second picture, then within the words behind the first one.
    let mut pictures = 0;
    let in_picture = |event: Event<'_>| {
        pictures += usize::from(matches!(event, Event::Picture(_)));
        if pictures == 1 && matches!(event, Event::Step(2, _)) { Err(Error::Cancelled) } else { Ok(()) }
    };
    let stopped = block_on(compose(&model, "Write about winter.", &[], &options, in_picture)).unwrap();
    assert!(!stopped.complete);
    assert_eq!(stopped.document.parts, whole.parts[..3]);
    let mut texts = None;
    let in_words = |event: Event<'_>| {
        match event {
            Event::Picture(_) => texts = Some(0),
            Event::Text(_) => texts = texts.map(|n| n + 1),
            Event::Step(..) => (),
        }
        if texts == Some(3) { Err(Error::Cancelled) } else { Ok(()) }
    };
    let stopped = block_on(compose(&model, "Write about winter.", &[], &options, in_words)).unwrap();
    assert!(!stopped.complete && stopped.document.parts.len() == 3);
    assert_eq!(stopped.document.parts[..2], whole.parts[..2]);
    let text = |document: &Document| match &document.parts[2] {
        Part::Text(text) => text.clone(),
        Part::Picture(_) => panic!("a picture too many"),
    };
    assert!(!text(&stopped.document).is_empty() && text(&whole).starts_with(&text(&stopped.document)));
    // Any other error is one.
    let failing = |_: Event<'_>| Err(Error::Input("enough".into()));
    assert!(block_on(compose(&model, "Write about winter.", &[], &options, failing)).is_err());
}

#[test]
fn a_stop_string_ends_a_document() {
    let model = model();
    let words = AnswerOptions { max_tokens: 12, ..AnswerOptions::default() };
    let options = ComposeOptions { words, draw: small(2), ..ComposeOptions::default() };
    let text = |options: &ComposeOptions| match &document(&model, &[], options).unwrap().0.parts[..] {
        [Part::Text(text)] => text.clone(),
        parts => panic!("{} parts", parts.len()),
    };
    let whole = text(&options);
    let half: String = whole.chars().skip(whole.chars().count() / 2).take(3).collect();
    let stopping =
        ComposeOptions { words: AnswerOptions { stop: vec![half.clone()], ..options.words.clone() }, ..options };
    assert_eq!(text(&stopping), whole.split(&half).next().unwrap());
}

#[test]
fn documents_take_turns() {
    let model = model();
    let options = ComposeOptions {
        words: AnswerOptions { max_tokens: 15, ..AnswerOptions::default() },
        draw: small(2),
        most_pictures: 2,
        every: Some(5),
        ..ComposeOptions::default()
    };
    let (made, streamed) = document(&model, &[], &options).unwrap();
    let kinds: Vec<bool> = made.parts.iter().map(|part| matches!(part, Part::Picture(_))).collect();
    assert_eq!(kinds, [false, true, false, true, false]);
    let shown: String = made.parts.iter().map(|part| if let Part::Text(text) = part { text } else { "[]" }).collect();
    assert_eq!(streamed, shown);
    assert_eq!(document(&model, &[], &options).unwrap().0, made);
    // Pictures are seen: after another first picture other words follow.
    let other = ComposeOptions { draw: DrawOptions { seed: 99, ..small(2) }, ..options.clone() };
    let (other, _) = document(&model, &[], &other).unwrap();
    assert_eq!(other.parts[0], made.parts[0]);
    assert!(other.parts[1] != made.parts[1] && other.parts[2..] != made.parts[2..]);
    // A document that is given goes on behind its parts.
    let given = [Part::Text("Snow falls.".into()), Part::Picture(two()[0].clone())];
    let (longer, _) = document(&model, &given, &options).unwrap();
    assert!(longer.parts.starts_with(&given), "{}", longer.parts.len());
    assert!(longer.parts.len() > 3 && longer.parts[2] != made.parts[0], "{}", longer.parts.len());
    // No more pictures than fit.
    let (words, _) = document(&model, &[], &ComposeOptions { most_pictures: 0, ..options }).unwrap();
    assert_eq!((words.parts.len(), words.pictures().count()), (1, 0));
}

#[test]
fn a_conversation_remembers_and_forgets() {
    let model = model();
    let options = AnswerOptions { max_tokens: 6, ..AnswerOptions::default() };
    let mut talk = Conversation::new(&model, options.clone()).unwrap();
    talk.show(two()[0].clone());
    let first = block_on(talk.ask("What is this?", |_| Ok(()))).unwrap();
    let second = block_on(talk.ask("Are you sure?", |_| Ok(()))).unwrap();
    // The same tokens in one piece.
    let mut whole = Decoding::new(&model);
    let opening = options.chat().opening() + &Chat::question(1, "What is this?");
    whole.read(&opening, &two()[..1]).unwrap();
    whole.read_ids(&[first.ids.as_slice(), &[2]].concat()).unwrap();
    whole.read(&Chat::question(0, "Are you sure?"), &[]).unwrap();
    for &id in &second.ids {
        assert_eq!(block_on(whole.choose(GREEDY, 0, 0)).unwrap(), [id]);
        whole.advance(&[id]).unwrap();
    }
    let room = talk.room();
    let picture = block_on(talk.dream("a dog", &small(2), "", |_, _| Ok(()))).unwrap();
    assert_eq!((picture.width, picture.height), (32, 32));
    // The question, the dream (8 queries) and the picture (16 patches) with their marks, and the end.
    assert!(room - talk.room() > 8 + 2 + 16 + 2 + 1);
    assert_eq!(talk.said().pictures().count(), 2);
    talk.reset();
    assert!(talk.said().parts.is_empty());
    talk.show(two()[0].clone());
    assert_eq!(block_on(talk.ask("What is this?", |_| Ok(()))).unwrap(), first);
    // An interrupted answer does not end the conversation.
    let stopped = block_on(talk.ask("And?", |_| Err(Error::Cancelled)));
    assert!(matches!(stopped, Err(Error::Cancelled)));
    assert_eq!(talk.said().parts.last(), Some(&Part::Text("**User:** And?".into())));
    // What was seen of it is in the conversation, as it is in the cache.
    let mut seen = String::new();
    let stopped = block_on(talk.ask("And then?", |text| match seen.is_empty() {
        true => {
            seen += text;
            Ok(())
        }
        false => Err(Error::Cancelled),
    }));
    assert!(matches!(stopped, Err(Error::Cancelled)) && !seen.is_empty());
    assert_eq!(talk.said().parts.last(), Some(&Part::Text(format!("**Assistant:** {seen}"))));
    block_on(talk.ask("Go on.", |_| Ok(()))).unwrap();
    assert!(Conversation::new(&model, AnswerOptions { beams: 2, ..options }).is_err());
}
