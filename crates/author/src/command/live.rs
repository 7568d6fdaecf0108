//! The commands that ask agents: `monitor`, `status` and `support-bundle`.
//!
//! In: the agent of this node, where the program can reach it ([`Here`]), or the agents of a
//! cluster by the API server. Out: what they tell.
//! Never: a change.

mod agents;
mod bundle;
mod monitor;
mod services;
mod status;
mod tar;

use std::fmt::Display;
use std::io::{self, ErrorKind, Write};

use anyhow::{Context, Result, bail};

use crate::live::protocol::Question;

pub use bundle::SupportBundle;
pub use monitor::Monitor;
pub use status::Status;

/// Lines of an answer, as they come.
pub type Lines = Box<dyn Iterator<Item = Result<String>>>;

/// What a program reaches where it runs.
pub trait Here {
    /// Whether the program can run beside an agent.
    fn reaches_kernel(&self) -> bool;

    /// Whether an agent of this network namespace can be asked.
    fn has_agent(&self) -> bool;

    /// Asks it.
    ///
    /// # Errors
    /// There is none, or it does not answer.
    fn ask(&self, question: &Question) -> Result<Lines>;

    /// Whether nobody reads standard output any longer.
    fn is_output_closed(&self) -> bool;
}

/// A program that asks through the API server alone.
#[derive(Clone, Copy, Debug)]
pub struct Elsewhere;

impl Here for Elsewhere {
    fn reaches_kernel(&self) -> bool {
        false
    }

    fn has_agent(&self) -> bool {
        false
    }

    fn ask(&self, _: &Question) -> Result<Lines> {
        bail!("this program asks agents through the API server; `nftpol` on a node asks its own")
    }

    fn is_output_closed(&self) -> bool {
        false
    }
}

/// Text on stdout. A reader that closed the pipe (`| head -1`) is no error.
fn print(text: &str) -> Result<()> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        result => result.context("write to standard output"),
    }
}

/// What a person wants to know who sees nothing else yet.
fn notice(text: impl Display) {
    // There is no other stream to report a failure to.
    let _ = io::stderr().lock().write_all(format!("notice: {text}\n").as_bytes());
}

/// Something is wrong but stops nothing.
fn warning(text: impl Display) {
    // There is no other stream to report a failure to.
    let _ = io::stderr().lock().write_all(format!("warning: {text}\n").as_bytes());
}
