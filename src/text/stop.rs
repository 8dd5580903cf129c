//! Texts that end an answer, found while it is being written.

use crate::{Error, Result};

/// Watches a text that comes in pieces for the first of some strings. What could be the beginning of one is held back, so
/// nothing of a stop string is ever shown.
#[derive(Debug, Clone)]
pub struct StopStrings {
    strings: Vec<String>,
    held: String,
    found: Option<usize>,
}

impl StopStrings {
    /// Watches for any of `strings`, none of which may be empty.
    pub fn new(strings: Vec<String>) -> Result<Self> {
        match strings.iter().any(String::is_empty) {
            true => Err(Error::Input("a stop string is empty".into())),
            false => Ok(StopStrings { strings, held: String::new(), found: None }),
        }
    }

    /// The string that was found.
    pub fn found(&self) -> Option<&str> {
        self.found.and_then(|i| self.strings.get(i)).map(String::as_str)
    }

    /// Takes a piece; returns what can be shown. Behind a stop string nothing is.
    pub fn push(&mut self, piece: &str) -> String {
        if self.found.is_some() {
            return String::new();
        }
        self.held.push_str(piece);
        // The earliest end wins, as if the text had come character by character.
        let end = |(i, stop): (usize, &String)| self.held.find(stop.as_str()).map(|at| (at + stop.len(), at, i));
        if let Some((_, at, i)) = self.strings.iter().enumerate().filter_map(end).min() {
            self.found = Some(i);
            self.held.truncate(at);
            return std::mem::take(&mut self.held);
        }
        let open = self.held.char_indices().map(|(at, _)| at);
        let mut open = open.filter(|&at| self.strings.iter().any(|stop| stop.starts_with(&self.held[at..])));
        let shown = open.next().unwrap_or(self.held.len());
        let rest = self.held.split_off(shown);
        std::mem::replace(&mut self.held, rest)
    }

    /// What was held back when the text ended.
    pub fn finish(&mut self) -> String {
        std::mem::take(&mut self.held)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn stop(strings: &[&str]) -> StopStrings {
        StopStrings::new(strings.iter().map(|s| s.to_string()).collect()).unwrap()
    }

    #[test]
    fn a_string_across_pieces_is_found_and_not_shown() {
        let mut watch = stop(&["USER:", "\n\n"]);
        let shown: Vec<String> = ["Hello U", "S", " US", "ER", ": no", "more"].map(|piece| watch.push(piece)).into();
        assert_eq!(shown, ["Hello ", "", "US ", "", "", ""]);
        assert_eq!(watch.found(), Some("USER:"));
        assert_eq!(watch.finish(), "");
        assert!(StopStrings::new(vec![String::new()]).is_err());
    }

    #[test]
    fn what_was_held_back_comes_at_the_end() {
        let mut watch = stop(&["日本語"]);
        assert_eq!(watch.push("in 日本"), "in ");
        assert_eq!((watch.finish().as_str(), watch.found()), ("日本", None));
    }

    proptest! {
        /// However a text is cut, what is shown is what stands before the first stop string.
        #[test]
        fn pieces_do_not_matter(text in "[ab ]{0,20}", cut in 1usize..5) {
            let mut watch = stop(&["ab", "ba b"]);
            let letters: Vec<char> = text.chars().collect();
            let mut shown: String = letters.chunks(cut).map(|c| watch.push(&c.iter().collect::<String>())).collect();
            shown += &watch.finish();
            let mut whole = stop(&["ab", "ba b"]);
            let one_by_one: String = letters.iter().map(|c| whole.push(&c.to_string())).collect();
            prop_assert_eq!(shown, one_by_one + &whole.finish());
        }
    }
}
