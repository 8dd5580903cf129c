//! A picture with a caption, and a picture with a picture.

use super::{Objective, Sample, SampleBuilder};
use crate::Result;
use crate::data::Chance;
use crate::image::RgbImage;
use crate::ops::cross_entropy::IGNORED;

impl SampleBuilder {
    pub(super) fn pair(&self, picture: &RgbImage, text: &str, chance: &Chance) -> Result<Sample> {
        let creation = match self.objective {
            Objective::Joint => chance.creation(),
            Objective::Comprehension => false,
            Objective::Creation => true,
        };
        if creation { self.creation(picture, text, chance) } else { self.comprehension(picture, text) }
    }

    /// `<s>` image text `</s>`: the text is learned, `<s>` has its label too.
    fn comprehension(&self, picture: &RgbImage, text: &str) -> Result<Sample> {
        let block = self.image_block();
        let mut ids = self.caption(text, block.len());
        ids.splice(1.min(ids.len())..1.min(ids.len()), block);
        ids.push(self.special.eos);
        let labels = ids.iter().map(|&id| self.pair_label(id)).collect();
        Ok(Sample { ids, labels, images: vec![self.read(picture)?], dreams: vec![] })
    }

    /// `<s>` text dream `</s>`: nothing but the picture is learned.
    fn creation(&self, picture: &RgbImage, text: &str, chance: &Chance) -> Result<Sample> {
        let block = self.dream_block();
        let mut ids = self.caption(text, block.len());
        ids.extend(block);
        ids.push(self.special.eos);
        let labels = vec![IGNORED; ids.len()];
        Ok(Sample { ids, labels, images: vec![], dreams: vec![self.drawn(picture, chance, 0)?] })
    }

    /// `<s>` image dream `</s>`: nothing but the picture is learned.
    pub(super) fn picture_pair(&self, source: &RgbImage, target: &RgbImage, chance: &Chance) -> Result<Sample> {
        let (bos, eos) = (vec![self.special.bos], vec![self.special.eos]);
        let ids = [bos, self.image_block(), self.dream_block(), eos].concat();
        let (images, dreams) = (vec![self.read(source)?], vec![self.drawn(target, chance, 0)?]);
        Ok(Sample { labels: vec![IGNORED; ids.len()], ids, images, dreams })
    }

    /// `<s>` and the text, cut so that `block` tokens and `</s>` fit as well.
    fn caption(&self, text: &str, block: usize) -> Vec<u32> {
        let mut ids = self.tokenizer.encode(text);
        ids.truncate(self.max_length.saturating_sub(block + 1));
        ids
    }

    /// Unlike in documents, `<dream_end>` written in a caption is a word like others.
    fn pair_label(&self, id: u32) -> u32 {
        if id == self.special.dream_end { id } else { self.label(id) }
    }
}
