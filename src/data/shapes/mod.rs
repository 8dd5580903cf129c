//! A world that can be checked exactly: small pictures with known contents, and everything that can be said about them.
//!
//! Reading order: [`Scene`] (what a picture shows), [`World`] (scenes by seed and index), [`Scene::render`], [`caption`] and
//! [`Demand`] (what a text says), [`Split`] (compositions kept out of training).

mod caption;
mod composition;
mod demand;
mod dice;
mod edit;
#[cfg(feature = "cli")]
mod export;
mod heldout;
mod judge;
mod prompt;
mod question;
mod recognise;
mod records;
mod render;
mod scene;
mod several;
mod slots;
mod stamp;
mod story;
mod vocabulary;
mod world;

#[cfg(feature = "cli")]
pub use super::source::ShapesConfig;
pub use caption::{Caption, caption};
pub use composition::Composition;
pub use demand::{Demand, ObjectDemand};
pub use dice::Dice;
pub use edit::Edit;
#[cfg(feature = "cli")]
pub use export::Export;
pub use heldout::{Split, colors_are_heldout, heldout_page, pair_is_heldout, pattern_is_heldout, shapes_are_heldout};
pub use judge::{Judgement, Tally, shows_subject, subject_quarters};
pub use question::{Question, Topic};
pub use recognise::{ReadObject, Reading, recognise};
pub use records::{Theme, ToldRecord};
pub use scene::{Color, Ground, Object, Place, Relation, Scene, Shape, Size, Texture};
pub use slots::{SLOT_VALUES, SLOTS, Slots, scene_slots, slot_attribute, slots};
pub use story::Story;
pub use vocabulary::{SIGNS, shapes_tokenizer, vocabulary};
pub use world::World;
