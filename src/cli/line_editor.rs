//! Lines that a person types, with the arrow keys for those of earlier days.

use crate::{Error, Result};
use rustyline::DefaultEditor;
use rustyline::error::ReadlineError;
use std::io::IsTerminal;
use std::path::PathBuf;

/// Lines from a terminal, or from a pipe.
pub(super) struct LineEditor {
    editor: DefaultEditor,
    /// The file that keeps the lines; none where they come from a pipe.
    history: Option<PathBuf>,
}

impl LineEditor {
    /// With the lines of earlier conversations. A history that cannot be read is no reason not to talk.
    pub fn new() -> Result<Self> {
        let mut editor = DefaultEditor::new().map_err(|e| Error::Input(format!("the terminal: {e}")))?;
        let history = Some(()).filter(|()| std::io::stdin().is_terminal()).and_then(|()| history_file());
        if let Some(file) = &history {
            let _ = editor.load_history(file); // there is none before the first conversation
        }
        Ok(Self { editor, history })
    }

    /// The next line; none at the end. Ctrl-C throws the line away that is being typed.
    pub fn next(&mut self) -> Result<Option<String>> {
        loop {
            match self.editor.readline("> ") {
                Ok(line) => {
                    self.keep(&line);
                    return Ok(Some(line));
                }
                Err(ReadlineError::Interrupted) => continue,
                Err(ReadlineError::Eof) => return Ok(None),
                // The line is read; the next one may be better.
                Err(ReadlineError::Io(e)) if e.kind() == std::io::ErrorKind::InvalidData => {
                    note!("error: a line that is not UTF-8 was left out");
                }
                Err(e) => return Err(Error::Input(format!("the terminal: {e}"))),
            }
        }
    }

    /// A line that is not kept is no loss, so errors are let go.
    fn keep(&mut self, line: &str) {
        let added = self.editor.add_history_entry(line).unwrap_or(false);
        let Some(file) = self.history.as_deref().filter(|_| added) else { return };
        if file.parent().is_some_and(|folder| std::fs::create_dir_all(folder).is_ok()) {
            let _ = self.editor.append_history(file);
        }
    }
}

/// `chat_history` in the user's folder for what programs remember.
fn history_file() -> Option<PathBuf> {
    let folder = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let state = folder("XDG_STATE_HOME")
        .or_else(|| folder("LOCALAPPDATA"))
        .or_else(|| folder("HOME").map(|home| home.join(".local/state")))?;
    Some(state.join("dreamllm/chat_history"))
}
