//! Questions and answers in the chat format; the answers are learned.

use super::{Sample, SampleBuilder};
use crate::data::{Chance, Turn};
use crate::image::RgbImage;
use crate::ops::cross_entropy::IGNORED;
use crate::text::{Chat, Role, SpecialTokens};
use crate::{Error, Result};

/// What stands between a question and its answer.
const ANSWER: &str = " ASSISTANT: ";

impl SampleBuilder {
    /// The prompt with `<image>` as an image block and `<dream>` as a dream block and the image block of the same picture.
    pub(super) fn conversation(&self, turns: &[Turn<RgbImage>], chance: &Chance) -> Result<Sample> {
        let sides = [Role::User, Role::Assistant].into_iter().cycle();
        let chat = turns.iter().zip(sides).fold(Chat::training(), |chat, (turn, role)| chat.turn(role, &turn.text));
        let prompt = chat.text();
        let ids = self.tokenizer.encode(&prompt);
        let mut labels = ids.clone();
        self.ignore_questions(&prompt, &mut labels);
        let (ids, labels) = self.truncate_and_replace(&ids, &labels);
        let mut sample = Sample { ids, labels, ..Sample::default() };
        self.add_pictures(&mut sample, turns, chance)?;
        Ok(sample)
    }

    /// Takes everything but the answers out of the labels. As officially, lengths of turns encoded alone are added up: the
    /// `<s>` of each stands for the `</s>` before it, and two are taken off a question, for its `<s>` and the space at its end,
    /// which is a token of its own only there. From a turn on that is no question with one answer nothing is taken out.
    fn ignore_questions(&self, prompt: &str, labels: &mut [u32]) {
        let mut ignore =
            |from: usize, count| labels.iter_mut().skip(from).take(count).for_each(|label| *label = IGNORED);
        ignore(0, 1);
        let mut here = 1;
        for turn in prompt.split(SpecialTokens::EOS) {
            let Some((question, answer)) = turn.split_once(ANSWER) else { break };
            if answer.contains(ANSWER) {
                break;
            }
            let asked = self.tokenizer.encode(&format!("{question}{ANSWER}")).len();
            ignore(here, asked.saturating_sub(2));
            here += self.tokenizer.encode(turn).len();
        }
    }

    /// The official `truncate_and_replace`: puts blocks in the place of placeholders, up to `max_length` tokens. Two of its
    /// quirks are kept: a block that does not fit leaves only the first (limit − position) tokens, not the first `position`;
    /// and where a block ends exactly at the limit, plain tokens behind it are not cut off.
    fn truncate_and_replace(&self, ids: &[u32], labels: &[u32]) -> (Vec<u32>, Vec<u32>) {
        let image = self.image_block();
        let dream = [self.dream_block(), image.clone()].concat();
        let (mut new_ids, mut new_labels) = (Vec::new(), Vec::new());
        for (&id, &label) in ids.iter().zip(labels) {
            let block = match id {
                id if id == self.special.image => &image,
                id if id == self.special.dream => &dream,
                id => {
                    new_ids.push(id);
                    new_labels.push(label);
                    if new_ids.len() == self.max_length {
                        break;
                    }
                    continue;
                }
            };
            let here = new_ids.len();
            if here + block.len() > self.max_length {
                if here < self.max_length {
                    new_ids.truncate(self.max_length - here);
                    new_labels.truncate(self.max_length - here);
                }
                break;
            }
            new_ids.extend(block);
            new_labels.resize(new_ids.len(), IGNORED);
        }
        (new_ids, new_labels)
    }

    /// The pictures of the blocks that are left. A dream's picture is also the one of the image block behind it.
    fn add_pictures(&self, sample: &mut Sample, turns: &[Turn<RgbImage>], chance: &Chance) -> Result<()> {
        let mut pictures = turns.iter().flat_map(|turn| &turn.pictures).peekable();
        let none = || Error::Input("the conversation has more picture tokens than pictures".into());
        for &id in &sample.ids {
            if id == self.special.im_start {
                sample.images.push(self.read(pictures.next().ok_or_else(none)?)?);
            } else if id == self.special.dream_start {
                let picture = pictures.peek().ok_or_else(none)?;
                sample.dreams.push(self.drawn(picture, chance, sample.dreams.len())?);
            }
        }
        Ok(())
    }
}
