//! `dreamllm data shapes`: the world of shapes as folders of training data.

use super::{Output, check_interrupt};
use crate::data::shapes::{Export, Split, Theme, World};
use crate::{Error, Result};
use clap::{Args, Subcommand};
use std::path::PathBuf;

const EXAMPLES: &str = "\
Examples:
  dreamllm data shapes --out shapes --count 2000
  dreamllm data shapes --out heldout --split heldout --kinds captions,questions --seed 1";

#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct DataArguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Small pictures with known contents, and everything that can be said about them, in the training formats.
    Shapes(ShapesArguments),
}

#[derive(Args)]
#[command(after_help = EXAMPLES)]
struct ShapesArguments {
    /// Folder to write to; it gets a folder for each theme. It must be empty, or hold the same export, which is then written again.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Records of each theme.
    #[arg(long, default_value_t = 1000, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    count: u64,
    /// Seed of scenes and words.
    #[arg(long, default_value_t = 0, value_name = "N")]
    seed: u64,
    /// Pixels of a picture's side: 32 or 64.
    #[arg(long, default_value_t = 32, value_name = "PIXELS")]
    side: usize,
    /// train: without the compositions of docs/shapes-heldout.md; heldout: each with one of them; all.
    #[arg(long, default_value = "train", value_name = "NAME")]
    split: Split,
    /// What to write, of captions, questions, comparisons, instructions, edits, stories, compositions, lessons, descriptions, or pairs,
    /// conversations, documents.
    #[arg(long, value_delimiter = ',', value_name = "THEMES", default_value = "pairs,conversations,documents")]
    kinds: Vec<String>,
    /// How often a scene has one, two and three objects, relative to each other.
    #[arg(long, value_delimiter = ',', value_name = "WEIGHTS", default_value = "0.4,0.6,0")]
    objects: Vec<f32>,
    /// Objects may be striped or dotted.
    #[arg(long)]
    textures: bool,
    /// Objects may be of medium size (64 pixels only).
    #[arg(long)]
    medium: bool,
}

impl DataArguments {
    pub fn run(&self, output: &Output) -> Result<()> {
        let What::Shapes(shapes) = &self.what;
        let export = shapes.export()?;
        export.write(&shapes.out, |theme, index| {
            if index + 1 == export.count {
                output.say(&format!("{}: {} records", theme.name(), export.count));
            }
            check_interrupt()
        })?;
        if output.json {
            let names: Vec<&str> = export.themes.iter().map(|theme| theme.name()).collect();
            say!(
                "{}",
                serde_json::json!({ "folder": shapes.out.display().to_string(), "themes": names, "records_of_each": export.count })
            );
        }
        Ok(())
    }
}

impl ShapesArguments {
    fn export(&self) -> Result<Export> {
        let mut themes = Vec::new();
        for name in &self.kinds {
            let group =
                Theme::ALL.iter().copied().filter(|theme| format!("{:?}", theme.kind()).to_lowercase() == *name);
            let found: Vec<Theme> = Theme::from_name(name).into_iter().chain(group).collect();
            if found.is_empty() {
                let all: Vec<&str> = Theme::ALL.iter().map(|theme| theme.name()).collect();
                return Err(Error::Input(format!("\"{name}\" is none of {}", all.join(", "))));
            }
            themes.extend(found);
        }
        themes.sort_unstable();
        themes.dedup();
        let objects = <[f32; 3]>::try_from(self.objects.as_slice())
            .map_err(|_| Error::Input("--objects takes three weights, such as 0.4,0.6,0".into()))?;
        let world = World {
            side: self.side,
            seed: self.seed,
            split: self.split,
            objects,
            textures: self.textures,
            medium: self.medium,
        };
        world.check()?;
        Ok(Export { world, themes, count: self.count })
    }
}
