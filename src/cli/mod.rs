//! The command line: parses, calls the library, prints.

/// A line on standard output; see [`said`] for what goes wrong with it.
macro_rules! say {
    () => { $crate::cli::said::line(format_args!("")) };
    ($($part:tt)*) => { $crate::cli::said::line(format_args!($($part)*)) };
}

/// A line on standard error.
macro_rules! note {
    ($($part:tt)*) => {{
        use std::io::Write;
        let _ = writeln!(std::io::stderr(), $($part)*);
    }};
}

mod ask;
mod bench;
mod chat;
mod compose;
mod convert;
mod data;
mod device;
mod doctor;
mod drawing;
mod dream;
mod eval;
mod info;
mod init;
mod line_editor;
mod manual;
mod progress;
mod said;
mod show;
mod synergy;
mod train;
mod verify;

use crate::image::{RgbImage, Terminal};
use crate::{Error, Result};
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};

/// One model that understands and creates images, on any GPU.
#[derive(Parser)]
#[command(name = "dreamllm", version, max_term_width = 100, propagate_version = true, after_help = EXAMPLES)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    device: device::DeviceArguments,
    /// Say nothing but the result: no progress, no pictures in the terminal.
    #[arg(short, long, global = true, help_heading = "Output")]
    quiet: bool,
    /// Print the result as JSON on standard output, for scripts.
    #[arg(long, global = true, help_heading = "Output")]
    json: bool,
}

const EXAMPLES: &str = "\
CHECKPOINT is a folder as DreamLLM publishes it, such as tests/reference/tiny in the source tree.

Examples:
  dreamllm dream \"A photo of a dog.\" -m CHECKPOINT -o dog.png
  dreamllm ask \"What is on the sofa?\" --image room.jpg -m CHECKPOINT
  dreamllm help dream";

#[derive(Subcommand)]
enum Command {
    /// Draw pictures from words, and from pictures among them.
    Dream(Box<dream::DreamArguments>),
    /// Answer a question, about pictures or without.
    Ask(ask::AskArguments),
    /// Talk about pictures, and have some drawn.
    Chat(Box<chat::ChatArguments>),
    /// Write a document with pictures.
    Compose(Box<compose::ComposeArguments>),
    /// Write a checkpoint as one folder, smaller if you like, or back as the official files.
    Convert(convert::ConvertArguments),
    /// Show what a checkpoint holds, and the memory it takes.
    Info(info::InfoArguments),
    /// Make a new model with random weights from configs, to be trained.
    Init(init::InitArguments),
    /// Make training data.
    Data(data::DataArguments),
    /// Recompute what was recorded with a checkpoint, stage by stage.
    Verify(verify::VerifyArguments),
    /// Ask a checkpoint to draw and to answer in the world of shapes, and count what is right.
    Eval(Box<eval::EvalArguments>),
    /// Find out whether creating helps understanding: train and compare models that learn one or both.
    Synergy(synergy::SynergyArguments),
    /// Show the adapter and the kernels it gets, and check every op on it.
    Doctor(doctor::DoctorArguments),
    /// Measure speed.
    Bench(bench::BenchArguments),
    /// Train a checkpoint further, from a config file.
    Train(train::TrainArguments),
    /// Print the completions of a shell.
    Completions(manual::CompletionArguments),
    /// Write the manual pages.
    Man(manual::ManArguments),
}

/// What every command is told.
struct Output {
    quiet: bool,
    json: bool,
    /// How standard output shows pictures.
    pictures: Option<Terminal>,
}

impl Output {
    /// A picture for a person, on standard output.
    fn show(&self, picture: &RgbImage) -> Result<()> {
        show::print(picture, self.pictures.filter(|_| !self.quiet && !self.json))
    }

    /// A line for a person, on standard error.
    fn say(&self, line: &str) {
        if !self.quiet {
            note!("{line}");
        }
    }
}

/// Parses the arguments and runs the command. 0: done; 1: an error, or a verification or examination that failed; 2: wrong arguments;
/// 130: interrupted.
pub fn run() -> ExitCode {
    let parsed = command().try_get_matches().and_then(|mut matches| Arguments::from_arg_matches_mut(&mut matches));
    let arguments = match parsed {
        Ok(arguments) => arguments,
        Err(error) => return refuse(&error),
    };
    if let Err(error) = ctrlc::set_handler(interrupt) {
        note!("warning: Ctrl-C will not be handled: {error}");
    }
    let outcome = show::detect().and_then(|pictures| {
        let output = Output { quiet: arguments.quiet, json: arguments.json, pictures };
        pollster::block_on(arguments.command.run(&arguments.device, &output))
    });
    match outcome {
        Ok(code) => match said::wrong() {
            Some(error) => fail(error),
            None => code,
        },
        // Nobody reads what was to be said.
        Err(Error::Cancelled) if said::is_unheard() && check_interrupt().is_ok() => ExitCode::SUCCESS,
        Err(Error::Cancelled) => {
            note!("interrupted; the result was not written");
            ExitCode::from(130)
        }
        Err(error) => fail(&error),
    }
}

/// An error is one line.
fn fail(error: &Error) -> ExitCode {
    note!("error: {}", error.to_string().replace('\n', " "));
    ExitCode::FAILURE
}

/// All commands. A number may be negative in every option, so that the option says what is wrong with it.
fn command() -> clap::Command {
    fn with_negative_numbers(command: clap::Command) -> clap::Command {
        let is_option = |a: &clap::Arg| a.get_long().is_some() && a.get_action().takes_values();
        command
            .mut_args(|a| if is_option(&a) { a.allow_negative_numbers(true) } else { a })
            .mut_subcommands(with_negative_numbers)
    }
    with_negative_numbers(Arguments::command())
}

impl Command {
    async fn run(&self, device: &device::DeviceArguments, output: &Output) -> Result<ExitCode> {
        let verdict = |passed| if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE };
        let done = |()| ExitCode::SUCCESS;
        match self {
            Command::Dream(dream) => dream.run(device, output).await.map(done),
            Command::Ask(ask) => ask.run(device, output).await.map(done),
            Command::Chat(chat) => chat.run(device, output).await.map(done),
            Command::Compose(compose) => compose.run(device, output).await,
            Command::Convert(convert) => convert.run(device, output).await.map(done),
            Command::Info(info) => info.run(output).await.map(done),
            Command::Init(init) => init.run(device, output).await.map(done),
            Command::Data(data) => data.run(output).map(done),
            Command::Train(train) => train.run(device, output).await,
            Command::Verify(verify) => verify.run(device, output).await.map(verdict),
            Command::Eval(eval) => eval.run(device, output).await.map(done),
            Command::Synergy(synergy) => synergy.run(device, output).await.map(done),
            Command::Doctor(doctor) => doctor.run(device, output).await.map(verdict),
            Command::Bench(bench) => bench.run(device, output).await.map(done),
            Command::Completions(completions) => completions.run(Arguments::command()).map(done),
            Command::Man(man) => man.run(Arguments::command()).map(done),
        }
    }
}

/// Wrong arguments are one line too; help and the version are printed as they are.
fn refuse(error: &clap::Error) -> ExitCode {
    let said = error.to_string();
    if !said.starts_with("error:") {
        return match said::heard(error.print()) {
            Ok(()) => ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2)),
            Err(error) => fail(&error),
        };
    }
    let reason = said.split("\nUsage:").next().unwrap_or_default().split("\nFor more information").next();
    let words: Vec<&str> = reason.unwrap_or_default().split_whitespace().collect();
    note!("{} (--help tells more)", words.join(" "));
    ExitCode::from(2)
}

static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// The first Ctrl-C lets the work stop at its next step, the second one does not wait.
fn interrupt() {
    if INTERRUPTED.swap(true, Ordering::SeqCst) {
        std::process::exit(130);
    }
}

/// An error once Ctrl-C was pressed.
fn check_interrupt() -> Result<()> {
    if INTERRUPTED.load(Ordering::SeqCst) { Err(Error::Cancelled) } else { Ok(()) }
}

/// Goes on after Ctrl-C, where a command has something to go on with.
fn take_interrupt() {
    INTERRUPTED.store(false, Ordering::SeqCst);
}

#[cfg(test)]
mod tests;
