//! `completion`.

use std::io::Write;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Args;
use clap_complete::Shell;

const EXAMPLES: &str = "\
Examples:
  source <(nftpol completion bash)                                        in this shell
  nftpol completion zsh > \"${fpath[1]}/_nftpol\"                           in each zsh
  nftpol completion fish > ~/.config/fish/completions/nftpol.fish         in each fish
For `kubectl nftpol`, put the file dist/kubectl_complete-nftpol into a folder of $PATH.";

/// `nftpol completion`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Completion {
    /// The shell.
    #[arg(value_enum)]
    shell: Shell,
}

impl Completion {
    /// Prints the script for a program.
    ///
    /// # Errors
    /// Standard output cannot be written.
    pub fn run(&self, mut program: clap::Command) -> Result<ExitCode> {
        let name = program.get_name().to_owned();
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut program, name, &mut script);
        std::io::stdout().write_all(&script).context("write to standard output")?;
        Ok(ExitCode::SUCCESS)
    }
}
