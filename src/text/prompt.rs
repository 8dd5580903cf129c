//! Where the pictures go in a sequence of ids.
//!
//! A picture is `<im_start>`, `P` times `<im_patch>`, `<im_end>`; a dream is `<dream_start>`, `Q` times `<im_patch>`,
//! `<dream_end>`. The embeddings of the `<im_patch>` places are replaced by patch embeddings or dream queries.

use super::special::SpecialTokens;
use crate::{Error, Result};

/// Ids with their pictures in place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prompt {
    /// Token ids, `[T]`.
    pub ids: Vec<u32>,
    /// For every image, in order, the place of its first patch in `ids`.
    pub images: Vec<usize>,
    /// `P`: patches an image.
    pub patches: usize,
}

impl Prompt {
    /// Puts the block of an image with `patches` patches in the place of every `<image>`. A block that is written out
    /// already counts as an image too. There must be `images` of them together.
    pub fn new(ids: &[u32], special: &SpecialTokens, images: usize, patches: usize) -> Result<Self> {
        let is_place = |id: &&u32| **id == special.image || **id == special.im_start;
        let places = ids.iter().filter(is_place).count();
        if places != images {
            return Err(Error::Input(format!("the prompt has places for {places} images, but {images} are given")));
        }
        let block = image_block(special, patches);
        let mut prompt = Prompt { ids: Vec::new(), images: Vec::new(), patches };
        let mut rest = ids;
        while let Some((&id, after)) = rest.split_first() {
            rest = after;
            if id == special.im_start {
                rest = after.strip_prefix(&block[1..]).ok_or_else(|| broken_block(patches))?;
            } else if id != special.image {
                prompt.ids.push(id);
                continue;
            }
            prompt.images.push(prompt.ids.len() + 1);
            prompt.ids.extend_from_slice(&block);
        }
        Ok(prompt)
    }
}

/// A prompt in which `images` pictures have their places: as it is if it has any `<image>` (or a block that is written
/// out), otherwise with one for each picture in front.
pub fn place_images(text: &str, images: usize) -> String {
    let has_places = text.contains(SpecialTokens::IMAGE) || text.contains("<im_start>");
    if has_places { text.to_string() } else { SpecialTokens::IMAGE.repeat(images) + text }
}

fn broken_block(patches: usize) -> Error {
    Error::Input(format!("the prompt has an <im_start> that {patches} <im_patch> and <im_end> do not follow"))
}

/// `<im_start>`, `P` times `<im_patch>`, `<im_end>`.
pub fn image_block(special: &SpecialTokens, patches: usize) -> Vec<u32> {
    block(special.im_start, special.im_patch, patches, special.im_end)
}

/// `<dream_start>`, `Q` times `<im_patch>`, `<dream_end>`; there is no token of its own for a dream query.
pub fn dream_block(special: &SpecialTokens, queries: usize) -> Vec<u32> {
    block(special.dream_start, special.im_patch, queries, special.dream_end)
}

fn block(start: u32, filler: u32, count: usize, end: u32) -> Vec<u32> {
    std::iter::once(start).chain(std::iter::repeat_n(filler, count)).chain([end]).collect()
}

#[cfg(test)]
mod tests {
    use super::super::tokenizer::tests::tiny;
    use super::*;

    #[test]
    fn placeholders_and_blocks_are_images() {
        let tokenizer = tiny();
        let special = SpecialTokens::new(&tokenizer).unwrap();
        let ids = tokenizer.encode("<image><im_start><im_patch><im_patch><im_end>a<image>");
        let prompt = Prompt::new(&ids, &special, 3, 2).unwrap();
        let block = "<im_start><im_patch><im_patch><im_end>";
        assert_eq!(prompt.ids, tokenizer.encode(&format!("{block}{block}a{block}")));
        assert_eq!(prompt.images, [2, 6, 11]);
        assert!(prompt.images.iter().all(|&at| prompt.ids[at..at + 2] == [special.im_patch; 2]));
    }

    #[test]
    fn errors_name_the_numbers() {
        let tokenizer = tiny();
        let special = SpecialTokens::new(&tokenizer).unwrap();
        let error =
            |text: &str, images| Prompt::new(&tokenizer.encode(text), &special, images, 2).unwrap_err().to_string();
        assert_eq!(error("<image> <image>", 1), "the prompt has places for 2 images, but 1 are given");
        assert_eq!(error("", 1), "the prompt has places for 0 images, but 1 are given");
        assert!(error("<im_start><im_patch><im_end>", 1).contains("2 <im_patch>"));
        assert!(error("<im_start>", 1).contains("2 <im_patch>"));
    }

    #[test]
    fn pictures_without_a_place_stand_in_front() {
        assert_eq!(place_images("two dogs", 2), "<image><image>two dogs");
        assert_eq!(place_images("a <image> b", 1), "a <image> b");
        assert_eq!(place_images("none", 0), "none");
    }

    #[test]
    fn dreams_are_filled_with_the_patch_token() {
        let special = SpecialTokens::new(&tiny()).unwrap();
        assert_eq!(dream_block(&special, 3), [515, 516, 516, 516, 514]);
    }
}
