//! The world as folders in the training formats, for this and other programs.

use super::records::Theme;
use super::world::World;
use crate::data::record::{Document, Record, Turn};
use crate::image::{RgbImage, encode_png, replace_file};
use crate::{Error, Result};
use serde_json::{Value, json};
use std::path::Path;

/// What the folder says of itself.
const ABOUT: &str = "world.json";

/// What is written, besides `world.json`, which holds the world and the counts.
#[derive(Debug, Clone, PartialEq)]
pub struct Export {
    /// What the pictures are like.
    pub world: World,
    /// A folder for each of these.
    pub themes: Vec<Theme>,
    /// Records of each.
    pub count: u64,
}

impl Export {
    /// Writes `DIR/<theme>/metadata.jsonl` with its pictures beside it, as PNG files. The folder must be empty, or hold the same export,
    /// perhaps a part of it, which is then written again. `seen` is called after every record, with its
    /// theme and number, and may end the work by an error.
    pub fn write(&self, folder: &Path, mut seen: impl FnMut(Theme, u64) -> Result<()>) -> Result<()> {
        self.world.check()?;
        self.claim(folder)?;
        for &theme in &self.themes {
            let inside = folder.join(theme.name());
            std::fs::create_dir_all(&inside).map_err(|e| Error::file(&inside, e))?;
            let mut lines = String::new();
            for index in 0..self.count {
                let mut pictures = 0;
                let record = self.world.record(theme, index).try_map(|picture| {
                    let name = format!("{index:06}-{pictures}.png");
                    pictures += 1;
                    write_picture(&inside.join(&name), &picture).map(|()| name)
                });
                // No picture may be left out of a document.
                let (record, dropped) = record?;
                if let Some(error) = dropped.into_iter().next() {
                    return Err(error);
                }
                lines += &format!("{}\n", json_of(record));
                seen(theme, index)?;
            }
            replace_file(inside.join("metadata.jsonl"), lines.as_bytes())?;
        }
        Ok(())
    }

    /// Says in the folder what it will hold, unless it says so already. Whatever else is there is left alone.
    fn claim(&self, folder: &Path) -> Result<()> {
        let names: Vec<&str> = self.themes.iter().map(|theme| theme.name()).collect();
        let about = json!({ "world": self.world, "themes": names, "records_of_each": self.count });
        let (file, about) = (folder.join(ABOUT), format!("{about:#}\n"));
        if std::fs::read(&file).is_ok_and(|found| found == about.as_bytes()) {
            return Ok(());
        }
        std::fs::create_dir_all(folder).map_err(|e| Error::file(folder, e))?;
        let mut found = std::fs::read_dir(folder).map_err(|e| Error::file(folder, e))?;
        if found.next().is_some() {
            return Err(Error::file(folder, "is not empty and holds no export like this one; take another folder"));
        }
        replace_file(file, about.as_bytes())
    }
}

/// Not through a temporary file: there are thousands of them, and a broken export is simply written again.
fn write_picture(path: &Path, picture: &RgbImage) -> Result<()> {
    std::fs::write(path, encode_png(picture, &[])?).map_err(|e| Error::file(path, e))
}

/// A record with names of pictures, in the form that `parse` reads.
fn json_of(record: Record<String>) -> Value {
    match record {
        Record::Pair { picture, text } => json!({ "image": picture, "text": text }),
        Record::PicturePair { source, target } => json!({ "source": source, "target": target }),
        Record::Document(Document { instruction, texts, pictures, given }) => {
            let info = |(after, name)| json!({ "image_name": name, "matched_text_index": after });
            let info: Vec<Value> = pictures.into_iter().map(info).collect();
            let mut document = json!({ "text_list": texts, "image_info": info });
            if let Some(instruction) = instruction {
                document["instruction"] = instruction.into();
            }
            if given > 0 {
                document["given"] = given.into();
            }
            document
        }
        Record::Conversation(turns) => {
            let sides = ["human", "gpt"].into_iter().cycle();
            json!({ "conversations": turns.into_iter().zip(sides).map(|(turn, side)| message(turn, side)).collect::<Vec<_>>() })
        }
    }
}

/// A turn has either pictures to read or pictures to draw.
fn message(turn: Turn<String>, side: &str) -> Value {
    let place = if turn.text.contains("<dream>") { "<dream>" } else { "<image>" };
    let mut message = json!({ "from": side, "value": turn.text });
    if !turn.pictures.is_empty() {
        message["modal_info"] = json!({ place: ["image", turn.pictures] });
    }
    message
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::source::tests::read_all;
    use crate::data::{SourceConfig, shapes::ShapesConfig};

    #[test]
    fn exported_folders_are_read_back_as_the_records_they_were_made_of() {
        let folder = tempfile::tempdir().unwrap();
        let world = World { seed: 11, ..World::default() };
        let export = Export { world: world.clone(), themes: Theme::ALL.to_vec(), count: 12 };
        let mut records = 0;
        let count = |_, _| {
            records += 1;
            Ok(())
        };
        export.write(folder.path(), count).unwrap();
        assert_eq!(records, 12 * Theme::ALL.len());
        for theme in Theme::ALL {
            let want: Vec<Record<RgbImage>> = (0..12).map(|index| world.record(*theme, index)).collect();
            let path = folder.path().join(theme.name());
            let from_files = read_all(&SourceConfig { path, kind: theme.kind(), ..Default::default() });
            assert_eq!(from_files, want, "{}", theme.name());
            let shapes = ShapesConfig { world: world.clone(), themes: vec![*theme], records: 12 };
            let made = SourceConfig { shapes: Some(shapes), kind: theme.kind(), ..Default::default() };
            assert_eq!(read_all(&made), want, "{}", theme.name());
        }
    }

    #[test]
    fn an_export_can_be_ended_and_says_what_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let export = Export { world: World::default(), themes: vec![Theme::Captions], count: 3 };
        assert!(export.write(folder.path(), |_, _| Err(Error::Cancelled)).is_err());
        export.write(folder.path(), |_, _| Ok(())).unwrap();
        let about: Value = serde_json::from_slice(&std::fs::read(folder.path().join("world.json")).unwrap()).unwrap();
        assert_eq!(serde_json::from_value::<World>(about["world"].clone()).unwrap(), World::default());
        // Written again, with nothing beside it; but never over another one, or over what is none.
        export.write(folder.path(), |_, _| Ok(())).unwrap();
        let why = |export: &Export, folder: &Path| export.write(folder, |_, _| Ok(())).unwrap_err().to_string();
        assert!(why(&Export { count: 2, ..export.clone() }, folder.path()).contains("not empty"));
        assert!(why(&export, &folder.path().join("captions")).contains("not empty"));
        let bad = Export { world: World { side: 7, ..World::default() }, ..export };
        assert!(bad.write(folder.path(), |_, _| Ok(())).is_err());
    }
}
