//! Text with pictures in it: text₁ dream₁ image₁ text₂ dream₂ image₂ …; a picture that is given has no dream.

use super::{Objective, Sample, SampleBuilder};
use crate::Result;
use crate::data::{Chance, Document};
use crate::image::RgbImage;
use crate::ops::cross_entropy::IGNORED;
use crate::text::{Chat, Role};

impl SampleBuilder {
    /// `<s>` or the instruction's prompt, then pieces of text with their pictures while they fit, then `</s>`.
    pub(super) fn document(&self, document: &Document<RgbImage>, chance: &Chance) -> Result<Sample> {
        let ask = |text: &String| self.tokenizer.encode(&Chat::training().turn(Role::User, text).prompt());
        let prompt = document.instruction.as_ref().map(ask);
        let asked = prompt.as_ref().map_or(0, Vec::len);
        // Room is counted without the `<s>` of a plain document, but two places are kept free.
        let mut sample = Sample { ids: prompt.unwrap_or_default(), ..Sample::default() };
        self.pieces(document, chance, &mut sample)?;
        if asked == 0 {
            sample.ids.insert(0, self.special.bos);
        }
        sample.ids.push(self.special.eos);
        sample.labels = sample.ids.iter().map(|&id| self.label(id)).collect();
        sample.labels.iter_mut().take(asked).for_each(|label| *label = IGNORED);
        Ok(sample)
    }

    fn pieces(&self, document: &Document<RgbImage>, chance: &Chance, sample: &mut Sample) -> Result<()> {
        let (reads, draws) = (self.objective != Objective::Creation, self.objective != Objective::Comprehension);
        let fits = |sample: &Sample, more: &[u32]| sample.ids.len() + more.len() + 2 <= self.max_length;
        let after: Vec<usize> = document.pictures.iter().map(|(after, _)| *after).collect();
        let mut pictures = document.pictures.iter().enumerate();
        for text in merged(&document.texts, &after) {
            let text = self.tokenizer.encode_without_bos(&text);
            if !fits(sample, &text) {
                break;
            }
            sample.ids.extend(text);
            let Some((n, (_, picture))) = pictures.next() else { continue };
            let draws = draws && n >= document.given;
            let mut blocks = if draws { self.dream_block() } else { Vec::new() };
            blocks.extend(if reads { self.image_block() } else { Vec::new() });
            if !fits(sample, &blocks) {
                break;
            }
            if reads {
                sample.images.push(self.read(picture)?);
            }
            if draws {
                sample.dreams.push(self.drawn(picture, chance, sample.dreams.len())?);
            }
            sample.ids.extend(&blocks);
        }
        Ok(())
    }
}

/// The texts up to each picture's joined into one, and what is left. The second of two pictures of one text has nothing in front.
fn merged(texts: &[String], after: &[usize]) -> Vec<String> {
    let texts: Vec<&str> = texts.iter().map(|text| text.trim_matches(is_python_space)).collect();
    let mut start = 0;
    let mut pieces = Vec::new();
    for index in after {
        let end = index.saturating_add(1);
        pieces.push(texts.get(start..end.min(texts.len())).unwrap_or_default().join(" "));
        start = end;
    }
    if start < texts.len() {
        pieces.push(texts[start..].join(" "));
    }
    pieces
}

/// What Python's `strip` takes away: Unicode's white space and four separators more.
fn is_python_space(c: char) -> bool {
    c.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&c)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn merge(texts: &[&str], after: &[usize]) -> Vec<String> {
        merged(&texts.iter().map(|text| text.to_string()).collect::<Vec<_>>(), after)
    }

    #[test]
    fn texts_are_joined_up_to_their_picture() {
        let texts = [" a ", "b", "\u{1c}c\n", "d"];
        assert_eq!(merge(&texts, &[0, 2]), ["a", "b c", "d"]);
        assert_eq!(merge(&texts, &[3]), ["a b c d"]);
        assert_eq!(merge(&texts, &[1, 1]), ["a b", "", "c d"]);
        assert_eq!(merge(&texts, &[9, usize::MAX]), ["a b c d", ""]);
        assert_eq!(merge(&[], &[0]), [""]);
    }
}
