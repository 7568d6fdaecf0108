//! The commands, a file each. `nftpol` and `kubectl-nftpol` have the same.
//!
//! Exit codes: 0 as hoped, 1 findings or a difference, 2 it cannot be told.

mod check;
mod completion;
mod explain;
mod live;
mod matrix;
mod network;
mod plugin;
mod reference;
mod version;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Subcommand, ValueEnum};

pub use live::{Elsewhere, Here, Lines};

/// The commands that need no kernel.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Find what is wrong in manifests, and what is valid and surely not meant.
    Check(Box<check::Check>),
    /// Say whether a connection is allowed, and why; exit 0 allowed, 1 denied, 2 cannot tell.
    Explain(explain::Explain),
    /// Print a script that completes the command in a shell.
    Completion(completion::Completion),
    /// Show who reaches whom on which ports, and with --diff what a change opens and closes.
    Matrix(Box<matrix::Matrix>),
    /// Show packets that policies deny, on this node or on all, as they are dropped.
    Monitor(Box<live::Monitor>),
    /// Show which nodes enforce, or whether a policy is in force on all; exit 0 yes, 1 no, 2 error.
    Status(live::Status),
    /// Write a file with all that helps to understand what nodes do, without secrets.
    SupportBundle(live::SupportBundle),
    /// Print the version.
    Version(version::Version),
    /// Write cli.md, manual pages and completions.
    #[command(hide = true)]
    Reference(reference::Reference),
    /// What kubectl asks a plugin.
    #[command(name = "__complete", hide = true)]
    Plugin(plugin::Plugin),
}

/// `--output` of commands that have no other forms.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people.
    #[default]
    Text,
    /// An object with the same content.
    Json,
}

impl Command {
    /// Runs a command of a program. What it answers is on stdout. `agent`: who asks the agent
    /// of this node, if this program can.
    ///
    /// # Errors
    /// The question has no answer: exit with [`CANNOT_TELL`].
    pub fn run(&self, program: clap::Command, here: &dyn Here) -> Result<ExitCode> {
        match self {
            Self::Check(check) => check.run(),
            Self::Explain(explain) => explain.run(here),
            Self::Completion(completion) => completion.run(program),
            Self::Matrix(matrix) => matrix.run(),
            Self::Monitor(monitor) => monitor.run(here),
            Self::Status(status) => status.run(here),
            Self::SupportBundle(bundle) => bundle.run(here),
            Self::Version(version) => version.run(),
            Self::Reference(reference) => reference.run(&program),
            Self::Plugin(plugin) => plugin.run(program),
        }
    }
}

/// The exit code where a question has no answer.
pub const CANNOT_TELL: u8 = 2;
