//! What a dataset holds, before it becomes tokens.

use crate::{Error, Result};

/// One record. `P` is a picture: its name as the JSON says it, where it lies, or its pixels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Record<P> {
    /// A picture and its caption.
    Pair {
        /// The picture.
        picture: P,
        /// The caption.
        text: String,
    },
    /// A picture to read and one to draw.
    PicturePair {
        /// Read by the image encoder.
        source: P,
        /// Drawn by the image generator.
        target: P,
    },
    /// Text with pictures in it.
    Document(Document<P>),
    /// Questions and answers, the first one a question.
    Conversation(Vec<Turn<P>>),
}

/// Text with pictures in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document<P> {
    /// What the document is the answer to.
    pub instruction: Option<String>,
    /// Paragraphs.
    pub texts: Vec<String>,
    /// Pictures, each with the index of the paragraph it follows, ascending.
    pub pictures: Vec<(usize, P)>,
    /// How many of them, from the first on, are given: they are read, and never to be drawn. None in the official format.
    pub given: usize,
}

/// What one side says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Turn<P> {
    /// Text with a placeholder, `<image>` or `<dream>`, for every picture.
    pub text: String,
    /// Pictures in the order of their placeholders.
    pub pictures: Vec<P>,
}

impl<P> Record<P> {
    /// The same record with other pictures. In a document a picture that fails is left out, and its error is returned beside
    /// it; elsewhere, or if a document has none left, the record fails.
    pub fn try_map<Q>(self, mut f: impl FnMut(P) -> Result<Q>) -> Result<(Record<Q>, Vec<Error>)> {
        let mut dropped = Vec::new();
        let record = match self {
            Record::Pair { picture, text } => Record::Pair { picture: f(picture)?, text },
            Record::PicturePair { source, target } => Record::PicturePair { source: f(source)?, target: f(target)? },
            Record::Document(document) => Record::Document(document.try_map(f, &mut dropped)?),
            Record::Conversation(turns) => {
                let turn = |turn: Turn<P>| -> Result<Turn<Q>> {
                    Ok(Turn {
                        text: turn.text,
                        pictures: turn.pictures.into_iter().map(&mut f).collect::<Result<_>>()?,
                    })
                };
                Record::Conversation(turns.into_iter().map(turn).collect::<Result<_>>()?)
            }
        };
        Ok((record, dropped))
    }
}

impl<P> Document<P> {
    fn try_map<Q>(self, mut f: impl FnMut(P) -> Result<Q>, dropped: &mut Vec<Error>) -> Result<Document<Q>> {
        let (mut pictures, mut given) = (Vec::new(), self.given);
        for (n, (after, picture)) in self.pictures.into_iter().enumerate() {
            match f(picture) {
                Ok(picture) => pictures.push((after, picture)),
                Err(error) => {
                    given -= usize::from(n < self.given);
                    dropped.push(error);
                }
            }
        }
        match dropped.first() {
            Some(error) if pictures.is_empty() => Err(error.clone()),
            _ => Ok(Document { instruction: self.instruction, texts: self.texts, pictures, given }),
        }
    }
}
