//! Pictures in the terminal, where a person looks.

use crate::image::{RgbImage, Terminal, to_terminal};
use crate::{Error, Result};
use std::io::IsTerminal;

/// The variable that says how, if the terminal is taken for another one.
const VARIABLE: &str = "DREAMLLM_PICTURES";

/// How standard output shows pictures; not at all if it is no terminal.
pub(super) fn detect() -> Result<Option<Terminal>> {
    let shown = choose(|name| std::env::var(name).ok().filter(|value| !value.is_empty()))?;
    Ok(shown.filter(|_| std::io::stdout().is_terminal()))
}

/// A choice by the environment. There is no way to ask a terminal that does not risk its answer in the shell's next line.
fn choose(variable: impl Fn(&str) -> Option<String>) -> Result<Option<Terminal>> {
    let blocks = || match variable("COLORTERM").as_deref() {
        Some("truecolor" | "24bit") => Terminal::TrueColour,
        _ => Terminal::Blocks,
    };
    match variable(VARIABLE).as_deref() {
        None => (),
        Some("none") => return Ok(None),
        Some("kitty") => return Ok(Some(Terminal::Kitty)),
        Some("iterm") => return Ok(Some(Terminal::Iterm)),
        Some("sixel") => return Ok(Some(Terminal::Sixel)),
        Some("blocks") => return Ok(Some(blocks())),
        Some(other) => {
            let known = "none, blocks, kitty, iterm or sixel";
            return Err(Error::Input(format!("{VARIABLE} is {other:?}, not {known}")));
        }
    }
    let (term, program) = (variable("TERM").unwrap_or_default(), variable("TERM_PROGRAM").unwrap_or_default());
    let of = |names: &[&str]| names.iter().any(|name| term.contains(name) || program.contains(name));
    // A multiplexer passes no pictures through unless it is asked to.
    let direct = variable("TMUX").is_none() && variable("STY").is_none();
    if term == "dumb" || variable("NO_COLOR").is_some() {
        return Ok(None);
    }
    let shown = if of(&["kitty", "ghostty"]) || variable("KITTY_WINDOW_ID").is_some() {
        Terminal::Kitty
    } else if of(&["iTerm", "WezTerm", "mintty"]) {
        Terminal::Iterm
    } else if of(&["foot", "mlterm", "contour", "sixel"]) {
        Terminal::Sixel
    } else {
        blocks()
    };
    Ok(Some(if direct { shown } else { blocks() }))
}

/// Prints a picture.
pub(super) fn print(image: &RgbImage, terminal: Option<Terminal>) -> Result<()> {
    let Some(terminal) = terminal else { return Ok(()) };
    let columns = terminal_size::terminal_size().map_or(80, |(width, _)| usize::from(width.0));
    super::said::print(&to_terminal(image, terminal, columns)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(variables: &[(&str, &str)]) -> Result<Option<Terminal>> {
        choose(|name| variables.iter().find(|(n, _)| *n == name).map(|(_, value)| value.to_string()))
    }

    #[test]
    fn terminals_are_known_by_their_variables() {
        let of = |variables: &[(&str, &str)]| with(variables).unwrap();
        assert_eq!(of(&[("TERM", "xterm-kitty")]), Some(Terminal::Kitty));
        assert_eq!(of(&[("TERM", "xterm-256color"), ("TERM_PROGRAM", "iTerm.app")]), Some(Terminal::Iterm));
        assert_eq!(of(&[("TERM", "foot")]), Some(Terminal::Sixel));
        assert_eq!(of(&[("TERM", "xterm-256color")]), Some(Terminal::Blocks));
        assert_eq!(of(&[("TERM", "xterm"), ("COLORTERM", "truecolor")]), Some(Terminal::TrueColour));
        assert_eq!(of(&[("TERM", "xterm-kitty"), ("TMUX", "1")]), Some(Terminal::Blocks));
        assert_eq!(of(&[("TERM", "dumb")]), None);
        assert_eq!(of(&[("TERM", "xterm"), ("NO_COLOR", "1")]), None);
        assert_eq!(of(&[("TERM", "xterm"), (VARIABLE, "kitty")]), Some(Terminal::Kitty));
        assert_eq!(of(&[("TERM", "xterm-kitty"), (VARIABLE, "none")]), None);
        assert!(with(&[(VARIABLE, "crayons")]).is_err());
    }
}
