//! `dreamllm compose`: a document with pictures that the model writes and draws.

use super::ask::WordArguments;
use super::drawing::DrawArguments;
use super::{Output, check_interrupt, device, progress, said};
use crate::diffusion::parameters::{Provenance, parameters};
use crate::image::{load, replace_file, write_png};
use crate::interleaved::{ComposeOptions, Composed, Document, Event, compose};
use crate::models::dreamllm::LoadOptions;
use crate::models::preflight;
use crate::{Error, Result};
use clap::Args;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Tokens of text in a document, unless the arguments say otherwise.
const TOKENS: usize = 1024;

const EXAMPLES: &str = "\
Examples:
  dreamllm compose \"A story about winter.\" -m CHECKPOINT -o winter
  dreamllm compose \"A story about winter.\" -m CHECKPOINT -o longer --continue winter/document.md --pictures 2

Ctrl-C ends the document there: what was written so far is kept.";

#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct ComposeArguments {
    /// What the document is about, as an instruction.
    topic: String,
    #[command(flatten)]
    model: device::ModelArguments,
    /// The folder to write document.md, document.html and the pictures to; made if there is none. It must be empty, or that of the
    /// document given to --continue.
    #[arg(short, long, value_name = "FOLDER")]
    output: PathBuf,
    /// Go on with this Markdown document, pictures (![](file)) included.
    #[arg(long = "continue", value_name = "FILE")]
    given: Option<PathBuf>,
    /// Pictures to draw at most.
    #[arg(long, default_value_t = 4, value_name = "N")]
    pictures: usize,
    /// Draw a picture after N tokens of text at the latest, even if the model has not asked for one.
    #[arg(long, value_name = "N")]
    every: Option<usize>,
    #[command(flatten)]
    words: WordArguments,
    #[command(flatten)]
    draw: DrawArguments,
}

impl ComposeArguments {
    pub async fn run(&self, device: &device::DeviceArguments, output: &Output) -> Result<ExitCode> {
        let words = self.words.options(TOKENS)?;
        if self.every == Some(0) {
            return Err(Error::Input("--every must be at least 1".into()));
        }
        let given = self.given.as_deref().map(read).transpose()?.unwrap_or_default();
        let folder = self.model.open()?;
        let side = preflight::picture_side(&folder);
        let draw = self.draw.options(&folder.drawing, [side, side], words.seed, 1)?;
        preflight::check_drawing(&folder, &draw)?;
        preflight::check_prompt(&folder, &words.chat().ask(0, &self.topic).prompt(), 0, 1)?;
        preflight::check_prompt(&folder, &self.draw.negative_prompt, 0, 0)?;
        self.make_folder()?;
        device::check_output(&self.output.join("document.md"))?;
        let gpu = device.open(output).await?;
        let parts = LoadOptions { format: device.format(), vision: true, diffusion: true, ..Default::default() };
        let model = self.model.load(&folder, &gpu, parts, output).await?;
        let options = ComposeOptions {
            words,
            draw,
            negative_prompt: self.draw.negative_prompt.clone(),
            most_pictures: self.pictures,
            every: self.every,
        };
        let bar = progress::steps(output, options.draw.steps);
        // Standard output that fails ends the document as Ctrl-C does: what was written and drawn is kept.
        let mut wrong = None;
        let mut heard = |said: Result<()>| {
            said.map_err(|error| {
                wrong = Some(error);
                Error::Cancelled
            })
        };
        let on_event = |event: Event<'_>| {
            check_interrupt()?;
            match event {
                Event::Text(text) if !output.json => heard(said::print(text)),
                Event::Step(done, count) => {
                    progress::step(&bar, done, count);
                    Ok(())
                }
                Event::Picture(picture) if !output.json => {
                    let line = format!("\n[picture, {} x {}]\n", picture.width, picture.height);
                    heard(said::print(&line).and_then(|()| output.show(picture)))
                }
                _ => Ok(()),
            }
        };
        let Composed { document, complete } = compose(&model, &self.topic, &given.parts, &options, on_event).await?;
        bar.finish_and_clear();
        if !complete && document.parts.len() == given.parts.len() {
            return Err(wrong.unwrap_or(Error::Cancelled)); // there is nothing new to keep
        }
        let (name, adapter) = (self.model.name(), gpu.report().name.clone());
        let from = Provenance {
            prompt: &self.topic,
            negative_prompt: &self.draw.negative_prompt,
            model: &name,
            fingerprint: &model.fingerprint,
            adapter: &adapter,
        };
        let old = given.pictures().count();
        let text = |i: usize| (i >= old).then(|| parameters(&options.draw, None, from, i - old));
        let files = self.write(&document, text)?;
        if let Some(error) = wrong {
            let kept = self.output.display();
            return Err(Error::Input(format!("{error}; the document up to here was written to {kept}")));
        }
        if output.json {
            let pictures = document.pictures().count();
            let files: Vec<String> = files.iter().map(|file| file.display().to_string()).collect();
            say!("{}", serde_json::json!({ "files": files, "pictures": pictures, "complete": complete }));
        } else {
            say!("\n{}", self.output.join("document.html").display());
        }
        if complete {
            return device.close(&gpu).await.map(|()| ExitCode::SUCCESS);
        }
        note!("interrupted; the document up to here was written to {}", self.output.display());
        Ok(ExitCode::from(130))
    }

    /// Makes the folder. One that has something in it is refused, unless it is that of the document that goes on.
    fn make_folder(&self) -> Result<()> {
        let own = self.given.as_deref().and_then(|file| file.canonicalize().ok());
        let out = self.output.canonicalize().ok();
        let goes_on = own.as_deref().and_then(Path::parent).is_some_and(|folder| out.as_deref() == Some(folder));
        if goes_on { Ok(()) } else { device::new_folder(&self.output) }
    }

    /// Writes the document; `text` tells the settings of the pictures that were drawn.
    fn write(&self, document: &Document, text: impl Fn(usize) -> Option<String>) -> Result<Vec<PathBuf>> {
        let name = |number: usize| format!("picture-{number}.png");
        let mut files = Vec::new();
        for (i, picture) in document.pictures().enumerate() {
            files.push(self.output.join(name(i + 1)));
            let text = text(i);
            let texts: Vec<(&str, &str)> = text.iter().map(|text| ("parameters", text.as_str())).collect();
            write_png(&files[i], picture, &texts)?;
        }
        let texts = [
            ("document.md", document.to_markdown(&self.topic, name)),
            ("document.html", document.to_html(&self.topic)?),
        ];
        for (file, text) in texts {
            files.push(self.output.join(file));
            replace_file(self.output.join(file), text.as_bytes())?;
        }
        Ok(files)
    }
}

/// A document, with the pictures beside it.
fn read(path: &Path) -> Result<Document> {
    let text = std::fs::read_to_string(path).map_err(|e| Error::file(path, e))?;
    Document::from_markdown(&text, |file| load(path.with_file_name("").join(file)))
}
