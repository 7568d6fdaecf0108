//! `kubectl nftpol`: the commands of policies' authors, and those that ask agents, without
//! root and without a kernel.

use std::process::ExitCode;

use author::command::{CANNOT_TELL, Command, Elsewhere};
use clap::{CommandFactory, Parser};

/// Understand Kubernetes NetworkPolicies before they are enforced.
#[derive(Debug, Parser)]
#[command(name = "kubectl-nftpol", bin_name = "kubectl nftpol", version, max_term_width = 100)]
struct Cli {
    /// What to do.
    #[command(subcommand)]
    command: Command,
}

fn main() -> ExitCode {
    let Cli { command } = Cli::parse();
    command.run(Cli::command(), &Elsewhere).unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::from(CANNOT_TELL)
    })
}
