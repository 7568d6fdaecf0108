//! Completion of `kubectl nftpol`, which kubectl asks a plugin for.
//!
//! In: the words after `kubectl nftpol`; the last one is what is being typed. Out: a line
//! for each way to go on, and a line with a colon, as kubectl wants them from
//! `kubectl_complete-nftpol` (k8s.io/kubectl v0.36.3 `pkg/cmd/plugin/plugin_completion.go`,
//! `pluginCompletion` and `getPluginCompletions`: the last line, a colon and a number, is a
//! directive of github.com/spf13/cobra v1.10.2 `completions.go`, `ShellCompDirective`).
//! Never: a look into a cluster.

use std::fmt::Write as _;
use std::io::Write;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Arg, Args, Command};

/// cobra's `ShellCompDirectiveDefault`: complete file names where there is nothing else.
const FILES: u8 = 0;
/// cobra's `ShellCompDirectiveNoFileComp`.
const NO_FILES: u8 = 4;

/// `kubectl-nftpol __complete`.
#[derive(Debug, Args)]
pub struct Plugin {
    /// The words.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    words: Vec<String>,
}

impl Plugin {
    /// Prints the ways to go on.
    ///
    /// # Errors
    /// Standard output cannot be written.
    pub fn run(&self, mut program: Command) -> Result<ExitCode> {
        program.build();
        let answer = answer(&program, &self.words);
        std::io::stdout().write_all(answer.as_bytes()).context("write to standard output")?;
        Ok(ExitCode::SUCCESS)
    }
}

fn answer(program: &Command, words: &[String]) -> String {
    let (typed, before) = match words.split_last() {
        Some((typed, before)) => (typed.as_str(), before),
        None => ("", &[][..]),
    };
    let (mut command, mut option) = (program, None);
    for word in before {
        option = None;
        match command.find_subcommand(word) {
            Some(found) => command = found,
            None => option = argument(command, word),
        }
    }
    let mut lines = Vec::new();
    let mut directive = NO_FILES;
    if let Some(option) = option.filter(|one| one.get_action().takes_values()) {
        let values = option.get_possible_values();
        directive = if values.is_empty() { FILES } else { NO_FILES };
        lines.extend(values.iter().map(|one| line(one.get_name(), one.get_help())));
    } else if typed.starts_with('-') {
        let options = command.get_arguments().filter(|one| !one.is_hide_set());
        lines.extend(
            options.filter_map(|one| Some(line(&format!("--{}", one.get_long()?), one.get_help()))),
        );
    } else {
        let commands = command.get_subcommands().filter(|one| !one.is_hide_set());
        lines.extend(commands.map(|one| line(one.get_name(), one.get_about())));
        let values = command.get_positionals().flat_map(Arg::get_possible_values);
        lines.extend(values.map(|one| line(one.get_name(), one.get_help())));
    }
    let mut text = String::new();
    for one in lines.iter().filter(|one| one.starts_with(typed)) {
        text.push_str(one);
    }
    // Writing to a String does not fail.
    let _ = writeln!(text, ":{directive}");
    text
}

/// The option of this spelling.
fn argument<'c>(command: &'c Command, word: &str) -> Option<&'c Arg> {
    command.get_arguments().find(|one| match (word.strip_prefix("--"), word.strip_prefix('-')) {
        (Some(long), _) => one.get_long() == Some(long),
        (None, Some(short)) => one.get_short().is_some_and(|one| short == one.to_string()),
        (None, None) => false,
    })
}

fn line(name: &str, help: Option<&clap::builder::StyledStr>) -> String {
    let help = help.map(ToString::to_string).unwrap_or_default();
    let first = help.lines().next().unwrap_or_default();
    format!("{name}\t{first}\n")
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser};

    use super::*;

    #[derive(Parser)]
    #[command(name = "kubectl-nftpol")]
    struct Cli {
        #[command(subcommand)]
        _command: super::super::Command,
    }

    fn names(words: &[&str]) -> Vec<String> {
        let mut program = Cli::command();
        program.build();
        let words: Vec<String> = words.iter().map(|&word| word.to_owned()).collect();
        let answer = answer(&program, &words);
        answer.lines().map(|one| one.split('\t').next().unwrap_or_default().to_owned()).collect()
    }

    #[test]
    fn kubectl_is_told_how_to_go_on() {
        let commands = names(&[""]);
        assert!(commands.contains(&"explain".to_owned()), "{commands:?}");
        assert!(!commands.contains(&"__complete".to_owned()), "{commands:?}");
        assert_eq!(names(&["expl"]), ["explain", ":4"]);
        assert_eq!(names(&["explain", "--out"]), ["--output", ":4"]);
        assert_eq!(names(&["explain", "-o", "j"]), ["json", ":4"]);
        assert_eq!(names(&["explain", "-f", ""]), [":0"]);
        assert_eq!(names(&["completion", "ba"]), ["bash", ":4"]);
        assert_eq!(names(&["nonsense", "--"]).last().map(String::as_str), Some(":4"));
    }
}
