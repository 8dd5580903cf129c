//! `dreamllm completions` and `dreamllm man`: what shells and `man` know about the commands, from the same source as `--help`.

use super::device;
use crate::Result;
use crate::image::replace_file;
use clap::{Args, Command};
use clap_complete::Shell;
use std::path::PathBuf;

const COMPLETION_EXAMPLES: &str = "\
Examples:
  dreamllm completions bash > ~/.local/share/bash-completion/completions/dreamllm
  dreamllm completions zsh > ~/.zfunc/_dreamllm
  dreamllm completions fish > ~/.config/fish/completions/dreamllm.fish";

const MAN_EXAMPLES: &str = "\
Examples:
  dreamllm man -o ~/.local/share/man/man1
  dreamllm man -o pages && man pages/dreamllm-dream.1";

#[derive(Args)]
#[command(after_help = COMPLETION_EXAMPLES)]
pub(super) struct CompletionArguments {
    /// The shell that will read the script.
    shell: Shell,
}

#[derive(Args)]
#[command(after_help = MAN_EXAMPLES)]
pub(super) struct ManArguments {
    /// The folder to write dreamllm.1 and a page for every command to; made if there is none.
    #[arg(short, long, value_name = "FOLDER")]
    output: PathBuf,
}

impl CompletionArguments {
    pub fn run(&self, mut command: Command) -> Result<()> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut command, "dreamllm", &mut script);
        super::said::print(&String::from_utf8_lossy(&script))
    }
}

impl ManArguments {
    pub fn run(&self, mut command: Command) -> Result<()> {
        device::make_folder(&self.output)?;
        command.build();
        self.pages(command, "dreamllm".to_string())
    }

    /// The page of a command, named by its way from the program, and those of the commands in it.
    fn pages(&self, command: Command, name: String) -> Result<()> {
        for inner in command.get_subcommands().filter(|inner| inner.get_name() != "help") {
            self.pages(inner.clone(), format!("{name}-{}", inner.get_name()))?;
        }
        let file = self.output.join(format!("{name}.1"));
        let mut page = Vec::new();
        let written = clap_mangen::Man::new(command.name(name)).render(&mut page);
        written.map_err(|e| crate::Error::file(&file, e))?;
        replace_file(&file, &page)?;
        say!("{}", file.display());
        Ok(())
    }
}
