//! Beam search:   the words w with the largest   log p(w | context) / (T + |w|)^penalty   that a search of N beams finds
//!
//! As transformers 4.35 does it, down to the details that decide between close sentences:
//! - The length counts the prompt's T tokens as well (with their padding), and not the `<eos>`.
//! - Of all continuations of a row's beams, the 2·N best are candidates. A candidate that ends in `<eos>` becomes a
//!   hypothesis only if fewer than N candidates are better; the N best of the others are the next beams.
//! - A row is done when it has N hypotheses and the best candidate, divided by the present length, could not beat the worst of
//!   them. With a positive penalty that is a guess: a longer sentence could still come out ahead.
//! - Beams that have not ended when the tokens run out are hypotheses too.
//!
//! The rows of a search share their prompt's keys and values; a step copies only those of the words behind it.

use super::decoding::{Decoding, NOT_NUMBERS};
use super::dreamllm::{Context, DreamLlm};
use super::generation::Stop;
use crate::ops::select::top_k;
use crate::ops::softmax::log_softmax;
use crate::{Error, Result};

/// How to search.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BeamOptions {
    /// N, the sentences that are followed at once.
    pub beams: usize,
    /// Exponent of the length that scores are divided by: above 0 favours long sentences.
    pub length_penalty: f64,
    /// Whether a row is done as soon as N hypotheses are found.
    pub early_stopping: bool,
    /// Hypotheses to return of every row, at most N.
    pub returned: usize,
}

impl BeamOptions {
    /// The defaults of the official evaluations for N beams.
    pub fn new(beams: usize) -> BeamOptions {
        BeamOptions { beams, length_penalty: 1.0, early_stopping: false, returned: 1 }
    }

    fn check(&self, vocabulary: usize) -> Result<()> {
        if self.beams == 0 || self.returned == 0 || self.returned > self.beams {
            return Err(Error::Input(format!("{} of {} beams cannot be returned", self.returned, self.beams)));
        }
        if self.beams > vocabulary / 2 {
            return Err(Error::Input(format!("{} beams over a vocabulary of {vocabulary} tokens", self.beams)));
        }
        if !self.length_penalty.is_finite() {
            return Err(Error::Input(format!("the length penalty must be a number, not {}", self.length_penalty)));
        }
        Ok(())
    }
}

/// A sentence that was found.
#[derive(Debug, Clone, PartialEq)]
pub struct Hypothesis {
    /// Its tokens after the context, `<eos>` included if it ended.
    pub ids: Vec<u32>,
    /// Its log-probability divided by length^penalty.
    pub score: f64,
}

/// A token that could follow a beam.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Candidate {
    beam: usize,
    token: u32,
    /// Log-probability of the beam with it.
    score: f32,
}

/// A sentence that is being followed.
#[derive(Debug, Clone, Default)]
struct Beam {
    ids: Vec<u32>,
    score: f32,
    /// Which of the row's beams it continues.
    parent: usize,
}

/// The search of one row, without the model.
struct Search {
    options: BeamOptions,
    prompt: usize,
    eos: u32,
    beams: Vec<Beam>,
    /// The best N sentences that ended, in the order in which they were found.
    found: Vec<Hypothesis>,
    done: bool,
}

impl Search {
    fn new(options: BeamOptions, prompt: usize, eos: u32) -> Search {
        Search { options, prompt, eos, beams: vec![Beam::default()], found: Vec::new(), done: false }
    }

    fn normalised(&self, score: f32, words: usize) -> f64 {
        f64::from(score) / ((self.prompt + words) as f64).powf(self.options.length_penalty)
    }

    fn worst(&self) -> f64 {
        self.found.iter().map(|h| h.score).fold(f64::INFINITY, f64::min)
    }

    fn add(&mut self, ids: Vec<u32>, score: f64) {
        if self.found.len() == self.options.beams {
            if score <= self.worst() {
                return;
            }
            let worst = self.worst();
            if let Some(at) = self.found.iter().position(|h| h.score == worst) {
                self.found.remove(at);
            }
        }
        self.found.push(Hypothesis { ids, score });
    }

    /// Takes the candidates, best first.
    fn step(&mut self, candidates: &[Candidate]) {
        let n = self.options.beams;
        let mut next = Vec::with_capacity(n);
        for (rank, candidate) in candidates.iter().enumerate() {
            let before = &self.beams[candidate.beam].ids;
            let ids = [before.as_slice(), &[candidate.token]].concat();
            if candidate.token != self.eos {
                next.push(Beam { ids, score: candidate.score, parent: candidate.beam });
            } else if rank < n {
                let score = self.normalised(candidate.score, before.len());
                self.add(ids, score);
            }
            if next.len() == n {
                break;
            }
        }
        let words = self.beams.first().map_or(0, |b| b.ids.len()) + 1;
        let best = candidates.first().map_or(f32::NEG_INFINITY, |c| c.score);
        self.done =
            self.found.len() == n && (self.options.early_stopping || self.worst() >= self.normalised(best, words));
        self.beams = next;
    }

    /// The hypotheses, best first; of equal ones the last found.
    fn finish(mut self) -> Vec<Hypothesis> {
        if !self.done {
            for beam in std::mem::take(&mut self.beams) {
                let score = self.normalised(beam.score, beam.ids.len());
                self.add(beam.ids, score);
            }
        }
        self.found.reverse();
        self.found.sort_by(|a, b| b.score.total_cmp(&a.score));
        self.found.truncate(self.options.returned);
        self.found
    }
}

/// The best sentences after every row of the context, best first. `on_step` sees the number of tokens that are searched so
/// far, and may stop by an error.
pub async fn beam_search(
    model: &DreamLlm,
    context: &Context,
    options: BeamOptions,
    stop: Stop,
    mut on_step: impl FnMut(usize) -> Result<()>,
) -> Result<Vec<Vec<Hypothesis>>> {
    options.check(model.config.vocab_size)?;
    let [rows, prompt, _] = context.embeds.dims("beam search context", "B T C")?;
    let mut decoding = Decoding::behind(model, context)?;
    let mut searches: Vec<Search> = (0..rows).map(|_| Search::new(options, prompt, stop.eos)).collect();
    for step in 0..stop.max_tokens {
        if step > 0 {
            advance(&mut decoding, &searches, prompt, stop.pad)?;
        }
        let candidates = candidates(&decoding, &searches, 2 * options.beams).await?;
        for (search, candidates) in searches.iter_mut().zip(&candidates).filter(|(search, _)| !search.done) {
            search.step(candidates);
        }
        on_step(step + 1)?;
        if searches.iter().all(|search| search.done) {
            break;
        }
    }
    Ok(searches.into_iter().map(Search::finish).collect())
}

/// The `count` best continuations of every row's beams.
async fn candidates(decoding: &Decoding<'_>, searches: &[Search], count: usize) -> Result<Vec<Vec<Candidate>>> {
    let (values, tokens) = top_k(&log_softmax(&decoding.logits()?)?, count)?;
    let (values, tokens) = (values.read_f32().await?, tokens.read_u32().await?);
    if values.iter().any(|value| value.is_nan()) {
        return Err(Error::Input(NOT_NUMBERS.into()));
    }
    // After the first step every row has N beams; those of a row that is done are followed by padding.
    let beams = values.len() / (count * searches.len()).max(1);
    let of_row = |(row, search): (usize, &Search)| {
        let mut all = Vec::with_capacity(beams * count);
        for (beam, known) in search.beams.iter().enumerate().take(beams) {
            let at = (row * beams + beam) * count;
            let scored = values[at..at + count].iter().zip(&tokens[at..at + count]);
            all.extend(scored.map(|(value, &token)| Candidate { beam, token, score: value + known.score }));
        }
        // Stable: of equal scores the first beam and the first token.
        all.sort_by(|a, b| b.score.total_cmp(&a.score));
        all.truncate(count);
        all
    };
    Ok(searches.iter().enumerate().map(of_row).collect())
}

/// The model reads the last token of every beam behind the words of the beam that it continues.
fn advance(decoding: &mut Decoding, searches: &[Search], prompt: usize, pad: u32) -> Result<()> {
    let first = decoding.len() == prompt;
    let (mut parents, mut tokens) = (Vec::new(), Vec::new());
    for (row, search) in searches.iter().enumerate() {
        for beam in 0..search.options.beams {
            let known = search.beams.get(beam).filter(|_| !search.done);
            let parent = known.map_or(0, |known| known.parent);
            parents.push(if first { row } else { row * search.options.beams + parent } as u32);
            tokens.push(known.and_then(|known| known.ids.last().copied()).unwrap_or(pad));
        }
    }
    decoding.reorder(&parents, prompt)?;
    decoding.advance(&tokens)
}

#[cfg(test)]
mod tests {
    use super::*;

    const EOS: u32 = 9;

    fn candidate(beam: usize, token: u32, score: f32) -> Candidate {
        Candidate { beam, token, score }
    }

    fn search(options: BeamOptions) -> Search {
        Search::new(options, 4, EOS)
    }

    #[test]
    fn an_end_below_the_first_n_candidates_is_dropped() {
        let mut two = search(BeamOptions::new(2));
        two.step(&[candidate(0, 1, -1.0), candidate(0, EOS, -2.0), candidate(0, 2, -3.0), candidate(0, 3, -4.0)]);
        assert_eq!(two.found, [Hypothesis { ids: vec![EOS], score: -2.0 / 4.0 }]);
        assert_eq!(two.beams.iter().map(|b| b.ids[0]).collect::<Vec<_>>(), [1, 2]);
        let mut late = search(BeamOptions::new(2));
        late.step(&[candidate(0, 1, -1.0), candidate(0, 2, -2.0), candidate(0, EOS, -3.0), candidate(0, 3, -4.0)]);
        assert!(late.found.is_empty());
    }

    #[test]
    fn a_row_is_done_when_the_best_candidate_cannot_win() {
        let run = |early_stopping, next: f32| {
            let mut one = search(BeamOptions { early_stopping, ..BeamOptions::new(1) });
            one.step(&[candidate(0, EOS, -2.0), candidate(0, 1, next)]);
            one.done
        };
        // The best candidate is the end itself: -2/5 is above -2/4, so the search goes on.
        assert!(!run(false, -9.0) && run(true, -9.0));
        let mut two = search(BeamOptions::new(1));
        two.step(&[candidate(0, EOS, -2.0), candidate(0, 1, -2.1)]);
        two.step(&[candidate(0, 1, -3.1), candidate(0, 2, -4.0)]);
        assert!(two.done, "-3.1/6 is below -2/4");
    }

    #[test]
    fn only_the_best_sentences_are_kept_and_the_unfinished_ones_count() {
        let options = BeamOptions { returned: 2, ..BeamOptions::new(2) };
        let mut two = search(options);
        two.step(&[candidate(0, EOS, -8.0), candidate(0, 1, -9.0), candidate(0, 2, -9.5), candidate(0, 3, -10.0)]);
        let found = two.finish();
        // -9/5 and -9.5/5 both beat -8/4.
        assert_eq!(found.iter().map(|h| h.ids.clone()).collect::<Vec<_>>(), [vec![1], vec![2]]);
        assert!((found[0].score + 1.8).abs() < 1e-6 && (found[1].score + 1.9).abs() < 1e-6);
    }

    #[test]
    fn options_that_make_no_sense_are_refused() {
        assert!(BeamOptions::new(0).check(100).is_err() && BeamOptions::new(51).check(100).is_err());
        assert!(BeamOptions { returned: 3, ..BeamOptions::new(2) }.check(100).is_err());
        assert!(BeamOptions { length_penalty: f64::NAN, ..BeamOptions::new(2) }.check(100).is_err());
        assert!(BeamOptions::new(50).check(100).is_ok());
    }
}
