//! What `--help` says, for somebody who has never seen the project.

use super::*;
use clap::builder::ValueRange;

/// All commands, each with its way from the program.
fn commands() -> Vec<(String, clap::Command)> {
    fn add(command: &clap::Command, way: &str, all: &mut Vec<(String, clap::Command)>) {
        let way = format!("{way} {}", command.get_name()).trim().to_string();
        all.push((way.clone(), command.clone()));
        command.get_subcommands().filter(|inner| inner.get_name() != "help").for_each(|inner| add(inner, &way, all));
    }
    let mut top = Arguments::command();
    top.build();
    let mut all = Vec::new();
    add(&top, "", &mut all);
    all
}

#[test]
fn every_option_and_command_says_what_it_is() {
    for (way, command) in commands() {
        assert!(command.get_about().is_some(), "{way} says nothing");
        for argument in command.get_arguments() {
            let help = argument.get_help().map(ToString::to_string).unwrap_or_default();
            let name = argument.get_id();
            assert!(help.len() > 10, "{way} {name}: {help:?}");
            // A value has a name that is a unit or a kind, not the option's own name once more.
            let takes_value = argument.get_num_args().is_some_and(|n| n != ValueRange::EMPTY);
            if takes_value && argument.get_long().is_some() {
                let value = argument.get_value_names().map(|names| names[0].to_string()).unwrap_or_default();
                let own = name.as_str().to_uppercase();
                let choices = !argument.get_possible_values().is_empty();
                assert!(choices || value != own || value == "SECONDS", "{way} --{name} <{value}>");
            }
        }
    }
}

#[test]
fn every_command_has_an_example_that_parses() {
    for (way, command) in commands() {
        let after = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        let examples: Vec<&str> = after.lines().filter_map(|line| line.strip_prefix("  ")).collect();
        assert!(examples.iter().any(|line| line.contains(way.as_str())), "{way} has no example: {after}");
        for line in examples {
            // What stands before a pipe or behind a redirection is the shell's.
            let own = &line[line.find("dreamllm").unwrap_or(0)..];
            let own =
                own.split([" > ", " && "].iter().find(|mark| own.contains(**mark)).copied().unwrap_or("\0")).next();
            if let Err(error) = Arguments::try_parse_from(words(own.unwrap_or_default())) {
                let help = error.kind() == clap::error::ErrorKind::DisplayHelp;
                assert!(help, "{way}: {line}: {error}");
            }
        }
    }
}

/// A line as a shell splits it: at spaces outside double quotes.
fn words(line: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    for (i, part) in line.split('"').enumerate() {
        if i % 2 == 1 {
            words.push(part.to_string());
        } else {
            words.extend(part.split_whitespace().map(str::to_string));
        }
    }
    words
}

#[test]
fn defaults_are_shown() {
    for (way, mut command) in commands() {
        let help = command.render_help().to_string().split_whitespace().collect::<Vec<_>>().join(" ");
        for argument in command.get_arguments() {
            let default = argument.get_default_values().first().map(|value| value.to_string_lossy().into_owned());
            let Some(default) = default.filter(|d| !d.is_empty() && d != "false") else { continue };
            assert!(help.contains(&format!("[default: {default}]")), "{way} hides --{} {default}", argument.get_id());
        }
    }
}
