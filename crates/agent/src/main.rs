//! The `nftpol` command: Kubernetes NetworkPolicy, enforced with nftables.
//!
//! In: arguments, manifests. Out: results on stdout, everything else on stderr,
//! an exit code. Never: another program started, but for `git` where `matrix --diff`
//! compares revisions.

mod bridge;
mod cli;
mod commands;
mod daemon;
mod difference_text;
mod difference_words;
mod follow;
mod input;
mod lock;
mod log;
mod node;
mod open_files;

use std::process::ExitCode;

use agent::report;
use clap::{CommandFactory, Parser};

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
    log::start(&command);
    let (result, failure) = match &command {
        Command::Agent(args) => (commands::agent(args), 1),
        Command::Render(args) => (commands::render(args), 1),
        Command::Apply(args) => (commands::apply(args), 1),
        Command::Diff(args) => (commands::diff(args), 2),
        Command::Verify(args) => (commands::verify(args), 2),
        Command::Restore(args) => (commands::restore(args), 2),
        Command::InstallBoot(args) => (commands::install_boot(args), 1),
        Command::PodAgent(args) => (commands::pod_agent(args), 1),
        Command::Cleanup(args) => (commands::cleanup(args), 1),
        Command::Author(command) => {
            (command.run(Cli::command(), &commands::ThisNode), author::command::CANNOT_TELL)
        }
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
        Command::Agent(_) | Command::PodAgent(_) => true,
        Command::Apply(args) => args.watch,
        Command::Render(_)
        | Command::Diff(_)
        | Command::Verify(_)
        | Command::Restore(_)
        | Command::InstallBoot(_)
        | Command::Cleanup(_)
        | Command::Author(_) => false,
    }
}
