//! `dreamllm chat`: a conversation with pictures from both sides.

use super::ask::WordArguments;
use super::drawing::DrawArguments;
use super::line_editor::LineEditor;
use super::{Output, check_interrupt, device, progress, said, take_interrupt};
use crate::diffusion::pipeline::DrawOptions;
use crate::image::{load, replace_file, write_png};
use crate::interleaved::Conversation;
use crate::models::dreamllm::LoadOptions;
use crate::models::preflight;
use crate::{Error, Result};
use clap::Args;
use std::path::{Path, PathBuf};

/// Tokens of an answer, unless the arguments say otherwise.
const TOKENS: usize = 256;

const HELP: &str = "\
/image FILE    show the model a picture, with the next question; several are shown together
/dream [TEXT]  draw a picture of the conversation, or of TEXT in it; it is kept as dream-N.png
/save FOLDER   write the conversation as FOLDER/conversation.md, with its pictures
/reset         forget everything that was said and shown
/help          this list
/quit          leave (also Ctrl-D)
Everything else is said to the model. Ctrl-C ends an answer or a picture early.";

const EXAMPLES: &str = "\
Examples:
  dreamllm chat -m CHECKPOINT
  dreamllm chat -m CHECKPOINT --temp 0.7 --top-p 0.9 --steps 30
  echo \"What is a dog?\" | dreamllm chat -m CHECKPOINT --no-dream -q

In the conversation, /help lists the commands: /image FILE, /dream [TEXT], /save FOLDER, /reset, /quit.
Lines typed at a terminal are kept in ~/.local/state/dreamllm/chat_history, for the arrow keys.";

#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct ChatArguments {
    #[command(flatten)]
    model: device::ModelArguments,
    /// Load no image generator: less memory, but no /dream.
    #[arg(long)]
    no_dream: bool,
    #[command(flatten)]
    words: WordArguments,
    #[command(flatten)]
    draw: DrawArguments,
}

/// A conversation and the folders it was saved to.
struct Talk<'m> {
    conversation: Conversation<'m>,
    saved: Vec<PathBuf>,
}

/// What a line asks for.
enum Line<'a> {
    Say(&'a str),
    Image(&'a str),
    Dream(&'a str),
    Save(&'a str),
    Reset,
    Help,
    Quit,
    Nothing,
}

impl Line<'_> {
    fn of(line: &str) -> Result<Line<'_>> {
        let line = line.trim();
        let (command, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        let rest = rest.trim();
        match (command, rest) {
            ("/image", "") => Err(Error::Input("/image needs a file".into())),
            ("/image", file) => Ok(Line::Image(file)),
            ("/dream", words) => Ok(Line::Dream(words)),
            ("/save", "") => Err(Error::Input("/save needs a folder".into())),
            ("/save", folder) => Ok(Line::Save(folder)),
            ("/reset", "") => Ok(Line::Reset),
            ("/help", "") => Ok(Line::Help),
            ("/quit" | "/exit", "") => Ok(Line::Quit),
            ("", _) => Ok(Line::Nothing),
            (command, _) if command.starts_with('/') => {
                Err(Error::Input(format!("there is no command {command}; /help lists them")))
            }
            _ => Ok(Line::Say(line)),
        }
    }
}

impl ChatArguments {
    pub async fn run(&self, device: &device::DeviceArguments, output: &Output) -> Result<()> {
        let options = self.words.options(TOKENS)?;
        let folder = self.model.open()?;
        let side = preflight::picture_side(&folder);
        let draw = self.draw.options(&folder.drawing, [side, side], options.seed, 1)?;
        preflight::check_drawing(&folder, &draw)?;
        preflight::check_prompt(&folder, &self.draw.negative_prompt, 0, 0)?;
        let gpu = device.open(output).await?;
        let parts =
            LoadOptions { format: device.format(), vision: true, diffusion: !self.no_dream, ..Default::default() };
        let model = self.model.load(&folder, &gpu, parts, output).await?;
        let mut talk = Talk { conversation: Conversation::new(&model, options)?, saved: Vec::new() };
        output.say("/help lists the commands");
        let mut lines = LineEditor::new()?;
        while let Some(line) = lines.next()? {
            // What goes wrong in a turn is told, and the conversation goes on.
            let turn = match Line::of(&line) {
                Ok(Line::Quit) => break,
                Ok(line) => self.turn(&mut talk, line, &draw, output).await,
                Err(e) => Err(e),
            };
            match turn {
                Err(Error::Cancelled) => take_interrupt(),
                Err(e) => note!("error: {e}"),
                Ok(()) => (),
            }
        }
        device.close(&gpu).await
    }

    async fn turn(&self, talk: &mut Talk<'_>, line: Line<'_>, draw: &DrawOptions, output: &Output) -> Result<()> {
        let conversation = &mut talk.conversation;
        match line {
            Line::Say(question) => {
                let on_text = |text: &str| check_interrupt().and_then(|()| said::print(text));
                let answered = conversation.ask(question, on_text).await;
                say!();
                answered.map(|_| ())
            }
            Line::Image(file) => load(file).map(|picture| conversation.show(picture)),
            Line::Dream(words) => self.dream(conversation, words, draw, output).await,
            Line::Save(folder) => talk.save(Path::new(folder)),
            Line::Reset => {
                conversation.reset();
                talk.saved.clear();
                Ok(())
            }
            Line::Help => {
                say!("{HELP}");
                Ok(())
            }
            Line::Quit | Line::Nothing => Ok(()),
        }
    }

    /// Draws, and writes the picture to the first free `dream-N.png` of the current folder.
    async fn dream(
        &self,
        conversation: &mut Conversation<'_>,
        words: &str,
        draw: &DrawOptions,
        output: &Output,
    ) -> Result<()> {
        let bar = progress::steps(output, draw.steps);
        let on_step = |done: usize, count: usize| {
            progress::step(&bar, done, count);
            check_interrupt()
        };
        let picture = conversation.dream(words, draw, &self.draw.negative_prompt, on_step).await?;
        bar.finish_and_clear();
        let free = |file: &PathBuf| !file.exists();
        let file = (1..).map(|n| PathBuf::from(format!("dream-{n}.png"))).find(free).unwrap_or_default();
        write_png(&file, &picture, &[])?;
        say!("{}", file.display());
        output.show(&picture)
    }
}

impl Talk<'_> {
    /// Writes the conversation to an empty folder, or once more, longer by now, to one that it was written to before.
    fn save(&mut self, folder: &Path) -> Result<()> {
        if !self.saved.contains(&device::place(folder)) {
            device::new_folder(folder)?;
            self.saved.push(device::place(folder));
        }
        let (said, name) = (self.conversation.said(), |number: usize| format!("picture-{number}.png"));
        for (i, picture) in said.pictures().enumerate() {
            write_png(folder.join(name(i + 1)), picture, &[])?;
        }
        let file = folder.join("conversation.md");
        replace_file(&file, said.to_markdown("", name).as_bytes())?;
        say!("{}", file.display());
        Ok(())
    }
}
