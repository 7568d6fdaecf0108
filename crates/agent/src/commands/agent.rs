//! `nftpol agent`: the DaemonSet's process.

use std::process::ExitCode;

use anyhow::Result;

use crate::cli::Agent;
use crate::daemon;

/// Enforces what the API server says, until SIGTERM; the rules stay.
///
/// # Errors
/// The configuration names no API server.
pub fn agent(args: &Agent) -> Result<ExitCode> {
    daemon::run(args)?;
    Ok(ExitCode::SUCCESS)
}
