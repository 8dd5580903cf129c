//! Byte-pair encoding as sentencepiece does it: of all neighbours whose union is a piece, the best-ranked union is made
//! first, the leftmost one among equals, until no union is left. A heap of candidates makes that `n log n`.
//!
//! There is no splitting into words before: a piece may cross spaces, and a text of any length is one problem.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::vocabulary::Vocabulary;

/// "No neighbour".
const NONE: usize = usize::MAX;

/// Bytes `start..end` of the text, in a doubly linked list. A symbol swallowed by its left neighbour is empty.
struct Symbol {
    start: usize,
    end: usize,
    previous: usize,
    next: usize,
    /// A user-defined piece: stays as it is.
    whole: bool,
}

/// A possible merge of two neighbours. The order of the fields is the order of merging.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Candidate {
    rank: u32,
    left: usize,
    right: usize,
    /// Where the right symbol ended when this was noted; it is outdated when that has changed.
    end: usize,
}

struct Merger<'a> {
    vocabulary: &'a Vocabulary,
    text: &'a str,
    symbols: Vec<Symbol>,
    candidates: BinaryHeap<Reverse<Candidate>>,
}

/// Appends the ids of `text`, in which spaces are already written as `▁`.
pub(super) fn encode(vocabulary: &Vocabulary, text: &str, ids: &mut Vec<u32>) {
    let mut merger = Merger { vocabulary, text, symbols: split(vocabulary, text), candidates: BinaryHeap::new() };
    for right in 1..merger.symbols.len() {
        merger.note(right - 1, right);
    }
    while let Some(Reverse(best)) = merger.candidates.pop() {
        merger.merge(&best);
    }
    let mut unknown = false;
    for symbol in merger.symbols.iter().filter(|s| s.start < s.end) {
        unknown = vocabulary.push_ids(&text[symbol.start..symbol.end], unknown, ids);
    }
}

/// One symbol a character, or a user-defined piece.
fn split(vocabulary: &Vocabulary, text: &str) -> Vec<Symbol> {
    let mut symbols = Vec::with_capacity(text.len());
    let mut start = 0;
    while let Some(character) = text[start..].chars().next() {
        let whole = vocabulary.whole_piece(&text[start..]);
        let end = start + whole.unwrap_or(character.len_utf8());
        let here = symbols.len();
        let previous = if here == 0 { NONE } else { here - 1 };
        let next = if end == text.len() { NONE } else { here + 1 };
        symbols.push(Symbol { start, end, previous, next, whole: whole.is_some() });
        start = end;
    }
    symbols
}

impl Merger<'_> {
    /// Notes the merge of two neighbours as a candidate if it makes a piece.
    fn note(&mut self, left: usize, right: usize) {
        let (Some(a), Some(b)) = (self.symbols.get(left), self.symbols.get(right)) else { return };
        if a.whole || b.whole {
            return;
        }
        if let Some(rank) = self.vocabulary.rank(&self.text[a.start..b.end]) {
            self.candidates.push(Reverse(Candidate { rank, left, right, end: b.end }));
        }
    }

    fn merge(&mut self, candidate: &Candidate) {
        let &Candidate { left, right, end, .. } = candidate;
        let is_current = |s: &Symbol| s.start < s.end;
        if !is_current(&self.symbols[left]) || !is_current(&self.symbols[right]) || self.symbols[right].end != end {
            return;
        }
        let next = self.symbols[right].next;
        self.symbols[right].end = self.symbols[right].start;
        self.symbols[left].end = end;
        self.symbols[left].next = next;
        if let Some(after) = self.symbols.get_mut(next) {
            after.previous = left;
        }
        self.note(self.symbols[left].previous, left);
        self.note(left, next);
    }
}

#[cfg(test)]
mod tests {
    use super::super::vocabulary::{Kind, Piece};
    use super::*;

    /// Ranks follow the order of the list; single characters need none.
    fn vocabulary(merged: &[(&str, Kind)]) -> Vocabulary {
        let singles = ["▁", "a", "b", "c"].map(|t| (t, Kind::Normal));
        let pieces = [("<unk>", Kind::Unknown)].iter().chain(&singles).chain(merged).enumerate();
        let pieces = pieces.map(|(id, &(text, kind))| Piece {
            text: text.into(),
            kind,
            rank: (id > 4 && kind == Kind::Normal).then_some(id as u32),
        });
        Vocabulary::new("test", pieces.collect()).unwrap()
    }

    fn pieces(vocabulary: &Vocabulary, text: &str) -> Vec<String> {
        let mut ids = Vec::new();
        encode(vocabulary, text, &mut ids);
        ids.iter().map(|&id| vocabulary.piece(id).unwrap().text.clone()).collect()
    }

    #[test]
    fn best_rank_first_then_leftmost() {
        let v = vocabulary(&[("bc", Kind::Normal), ("ab", Kind::Normal), ("aa", Kind::Normal), ("abab", Kind::Normal)]);
        assert_eq!(pieces(&v, "abc"), ["a", "bc"]);
        assert_eq!(pieces(&v, "aaa"), ["aa", "a"]);
        assert_eq!(pieces(&v, "aab"), ["a", "ab"]);
        assert_eq!(pieces(&v, "ababab"), ["abab", "ab"]);
        assert!(pieces(&v, "").is_empty());
    }

    #[test]
    fn runs_of_unknown_characters_are_one_unk() {
        assert_eq!(pieces(&vocabulary(&[]), "aéèbé"), ["a", "<unk>", "b", "<unk>"]);
    }

    #[test]
    fn user_defined_pieces_stay_whole() {
        let v = vocabulary(&[("ab", Kind::Normal), ("abc", Kind::Normal), ("bca", Kind::UserDefined)]);
        assert_eq!(pieces(&v, "abcabc"), ["a", "bca", "b", "c"]);
    }
}
