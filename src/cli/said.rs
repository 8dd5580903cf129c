//! Standard output. A reader that went away, as in `dreamllm … | head`, is no error; a full disk behind it is one.

use crate::{Error, Result};
use std::fmt::Arguments;
use std::io::{ErrorKind, Write, stdout};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

/// Whether the reader went away.
static GONE: AtomicBool = AtomicBool::new(false);
/// The first line that could not be written.
static WRONG: OnceLock<Error> = OnceLock::new();

/// A line, by `say!`. What goes wrong is told when the command has done its work.
pub(super) fn line(text: Arguments<'_>) {
    if let Err(error) = heard(writeln!(stdout(), "{text}")) {
        let _ = WRONG.set(error); // the first one is told
    }
}

/// Words, as they come.
pub(super) fn print(text: &str) -> Result<()> {
    if text.is_empty() {
        return Ok(());
    }
    let mut out = stdout();
    heard(out.write_all(text.as_bytes()).and_then(|()| out.flush()))
}

/// What became of something that was written.
pub(super) fn heard(written: std::io::Result<()>) -> Result<()> {
    match written {
        Err(e) if e.kind() == ErrorKind::BrokenPipe => {
            GONE.store(true, Ordering::SeqCst);
            Ok(())
        }
        Err(e) => Err(Error::Input(format!("standard output: {e}"))),
        Ok(()) => Ok(()),
    }
}

/// Whether nobody reads any more.
pub(super) fn is_unheard() -> bool {
    GONE.load(Ordering::SeqCst)
}

/// Why a line could not be written, if one could not.
pub(super) fn wrong() -> Option<&'static Error> {
    WRONG.get()
}
