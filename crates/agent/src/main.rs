//! The `nftpol` command: Kubernetes NetworkPolicy, enforced with nftables.
//!
//! In: arguments, manifests. Out: results on stdout, everything else on stderr,
//! an exit code. Never: another program started.

mod api_client;
mod bridge;
mod cli;
mod commands;
mod daemon;
mod difference_text;
mod follow;
mod input;
mod lock;
mod node;
mod open_files;

use std::io::IsTerminal;
use std::process::ExitCode;

use agent::report;
use clap::Parser;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::EnvFilter;

use cli::{Cli, Command};

/// It gives back what a list of all pods left behind: with 100,000 pods the C library's
/// allocator keeps 80 MiB more. `.cargo/config.toml` has its settings.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let Cli { command } = Cli::parse();
    if enforces_as_long_as_it_runs(&command)
        && let Err(error) = report::never_wait()
    {
        report::error(&error);
        return ExitCode::FAILURE;
    }
    // A command has output of its own; an agent has only its log.
    let level = match command {
        Command::Agent(_) => LevelFilter::INFO,
        _ => LevelFilter::WARN,
    };
    let filter = EnvFilter::builder().with_default_directive(level.into()).from_env_lossy();
    // kube_client logs each failed request, which the watches log anyway.
    let filter = match "kube_client=off".parse() {
        Ok(quiet) if std::env::var_os(EnvFilter::DEFAULT_ENV).is_none() => {
            filter.add_directive(quiet)
        }
        _ => filter,
    };
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(report::LogLine::default)
        .with_ansi(
            std::io::stderr().is_terminal()
                && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()),
        )
        // Such an error goes to stderr, and panics where that is closed.
        .log_internal_errors(false)
        .init();
    let (result, failure) = match &command {
        Command::Agent(args) => (commands::agent(args), 1),
        Command::Render(args) => (commands::render(args), 1),
        Command::Apply(args) => (commands::apply(args), 1),
        Command::Diff(args) => (commands::diff(args), 2),
        Command::Verify(args) => (commands::verify(args), 2),
        Command::Cleanup(args) => (commands::cleanup(args), 1),
        Command::Author(command) => (command.run(), author::command::CANNOT_TELL),
    };
    let code = result.unwrap_or_else(|error| {
        report::error(&error);
        ExitCode::from(failure)
    });
    report::finish();
    code
}

/// Such a process must not stop because nobody reads what it says.
fn enforces_as_long_as_it_runs(command: &Command) -> bool {
    match command {
        Command::Agent(_) => true,
        Command::Apply(args) => args.watch,
        Command::Render(_)
        | Command::Diff(_)
        | Command::Verify(_)
        | Command::Cleanup(_)
        | Command::Author(_) => false,
    }
}
