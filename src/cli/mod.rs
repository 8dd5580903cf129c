//! The command line: parses, calls the library, prints.

/// A line on standard output. A reader that went away, as in `dreamllm … | head`, is no error.
macro_rules! say {
    ($($part:tt)*) => {{
        use std::io::Write;
        let _ = writeln!(std::io::stdout(), $($part)*);
    }};
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
mod device;
mod doctor;
mod drawing;
mod dream;
mod info;
mod progress;
mod verify;

use crate::{Error, Result};
use clap::{Parser, Subcommand};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};

/// One model that understands and creates images, on any GPU.
#[derive(Parser)]
#[command(name = "dreamllm", version, max_term_width = 100, propagate_version = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    device: device::DeviceArguments,
    /// Say nothing but the result.
    #[arg(short, long, global = true)]
    quiet: bool,
    /// Print the result as JSON on standard output.
    #[arg(long, global = true)]
    json: bool,
}

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
    /// Recompute what was recorded with a checkpoint, stage by stage.
    Verify(verify::VerifyArguments),
    /// Show the adapter and the kernels it gets, and check every op on it.
    Doctor(doctor::DoctorArguments),
    /// Measure speed.
    Bench(bench::BenchArguments),
}

/// What every command is told.
struct Output {
    quiet: bool,
    json: bool,
}

impl Output {
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
    let arguments = Arguments::parse();
    let output = Output { quiet: arguments.quiet, json: arguments.json };
    if let Err(error) = ctrlc::set_handler(interrupt) {
        note!("warning: Ctrl-C will not be handled: {error}");
    }
    let outcome = pollster::block_on(async {
        match &arguments.command {
            Command::Dream(dream) => dream.run(&arguments.device, &output).await.map(|()| true),
            Command::Ask(ask) => ask.run(&arguments.device, &output).await.map(|()| true),
            Command::Chat(chat) => chat.run(&arguments.device, &output).await.map(|()| true),
            Command::Compose(compose) => compose.run(&arguments.device, &output).await.map(|()| true),
            Command::Convert(convert) => convert.run(&arguments.device, &output).await.map(|()| true),
            Command::Info(info) => info.run(&output).await.map(|()| true),
            Command::Verify(verify) => verify.run(&arguments.device, &output).await,
            Command::Doctor(doctor) => doctor.run(&arguments.device, &output).await,
            Command::Bench(bench) => bench.run(&arguments.device, &output).await.map(|()| true),
        }
    });
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(Error::Cancelled) => {
            note!("interrupted; the result was not written");
            ExitCode::from(130)
        }
        Err(error) => {
            note!("error: {}", error.to_string().replace('\n', " "));
            ExitCode::FAILURE
        }
    }
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
