//! The `nftpol` command: Kubernetes NetworkPolicy, enforced with nftables.
//!
//! In: arguments, manifests. Out: what the user asked for on stdout,
//! everything else on stderr, an exit code.
//! Never: another program started.

mod bridge;
mod changes;
mod cli;
mod commands;
mod follow;
mod input;
mod lock;
mod report;

use std::io::IsTerminal;
use std::process::ExitCode;

use clap::Parser;
use tracing_subscriber::EnvFilter;

use cli::{Cli, Command};

fn main() -> ExitCode {
    let filter = EnvFilter::builder()
        .with_default_directive(tracing::level_filters::LevelFilter::WARN.into())
        .from_env_lossy();
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(
            std::io::stderr().is_terminal()
                && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()),
        )
        // It would be said on stderr, and with a panic where that is closed.
        .log_internal_errors(false)
        .init();
    let Cli { command } = Cli::parse();
    let (result, failure) = match &command {
        Command::Render(args) => (commands::render(args), 1),
        Command::Apply(args) => (commands::apply(args), 1),
        Command::Diff(args) => (commands::diff(args), 2),
        Command::Cleanup => (commands::cleanup(), 1),
    };
    match result {
        Ok(code) => code,
        Err(error) => {
            report::error(&error);
            ExitCode::from(failure)
        }
    }
}
