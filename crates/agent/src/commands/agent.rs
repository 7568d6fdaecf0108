//! `nftpol agent`: the DaemonSet's process.

use std::process::ExitCode;

use anyhow::Result;

use crate::cli::Agent;
use crate::daemon;

/// Enforces the API server's policies until SIGTERM. The rules stay.
///
/// # Errors
/// The configuration names no API server, or a thread died.
pub fn agent(args: &Agent) -> Result<ExitCode> {
    daemon::run(args)?;
    Ok(ExitCode::SUCCESS)
}
