//! Text in and out: the tokenizer, the chat format and prompts with images in them.
//!
//! Reading order: [`Tokenizer`] (text to ids and back, as the official slow `LlamaTokenizer` with `legacy=True`),
//! [`DecodeStream`] (text while ids are still coming), [`SpecialTokens`] (the ids that the model itself must know),
//! [`tokenizer_json`] (a tokenizer from a list of words), [`Chat`] (the `vicuna_v1.1` template), [`Prompt`] (where the pictures go), [`Batch`] (rows of one width).

mod added;
mod batch;
mod bpe;
mod chat;
mod decode;
mod prompt;
mod protobuf;
mod sentencepiece;
mod special;
mod stop;
mod tokenizer;
mod tokenizer_json;
mod vocabulary;
mod words;

pub use added::{AddedTokens, added_tokens_from_config};
pub use batch::{Batch, PaddingSide};
pub use chat::{Chat, Role, SYSTEM};
pub use decode::DecodeStream;
pub use prompt::{Prompt, dream_block, image_block, place_images};
pub use special::SpecialTokens;
pub use stop::StopStrings;
pub use tokenizer::Tokenizer;
pub use words::tokenizer_json;
