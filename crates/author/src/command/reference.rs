//! `reference`: the pages about the command line, from the arguments themselves.
//!
//! Out: `cli.md`, a manual page for each command, completions for each shell.
//! Never: a text about an option that is not the option's own.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Args, Command, Subcommand, ValueEnum};
use clap_complete::Shell;

/// Where the width of the terminal is otherwise.
const WIDTH: usize = 100;

/// `nftpol reference`.
#[derive(Debug, Args)]
pub struct Reference {
    /// Where the pages go.
    #[arg(value_name = "FOLDER")]
    folder: PathBuf,
}

impl Reference {
    /// Writes the pages about a program.
    ///
    /// # Errors
    /// The folder cannot be written.
    pub fn run(&self, program: &Command) -> Result<ExitCode> {
        let program = program.clone().term_width(WIDTH).disable_help_subcommand(true);
        let man = self.folder.join("man");
        let completions = self.folder.join("completions");
        for folder in [&man, &completions] {
            fs::create_dir_all(folder).with_context(|| format!("make {}", folder.display()))?;
        }
        write(&self.folder.join("cli.md"), &markdown(&program))?;
        clap_mangen::generate_to(program.clone(), &man)
            .with_context(|| format!("write manual pages to {}", man.display()))?;
        let name = program.get_name().to_owned();
        for &shell in Shell::value_variants() {
            clap_complete::generate_to(shell, &mut program.clone(), &name, &completions)
                .with_context(|| format!("write completions to {}", completions.display()))?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn write(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).with_context(|| format!("write {}", path.display()))
}

/// All commands with their help.
fn markdown(program: &Command) -> String {
    let mut program = program.clone();
    program.build();
    let name = program.get_name().to_owned();
    let authors = super::Command::augment_subcommands(Command::new("authors"));
    let shown: Vec<String> = authors
        .get_subcommands()
        .filter(|one| !one.is_hide_set())
        .map(|one| format!("`{}`", one.get_name()))
        .collect();
    let mut text = format!(
        "# The command line\n\n\
         The help of every command of `{name}`, made by `cargo xtask docs` from the arguments. \
         `kubectl nftpol` has those that need no kernel and no root: {}.\n",
        shown.join(", ")
    );
    section(&mut text, &mut program, &name, 2);
    text
}

fn section(text: &mut String, command: &mut Command, name: &str, level: usize) {
    let help = command.render_long_help().to_string();
    let help: Vec<&str> = help.lines().map(str::trim_end).collect();
    // Writing to a String does not fail.
    let _ = write!(
        text,
        "\n{} {name}\n\n```text\n{}\n```\n",
        "#".repeat(level),
        help.join("\n").trim_end()
    );
    let inner = command.get_subcommands_mut().filter(|one| !one.is_hide_set());
    for one in inner {
        let name = format!("{name} {}", one.get_name());
        section(text, one, &name, level + 1);
    }
}
