//! `nftpol pod-agent`: the opt-in DaemonSet's process.

use std::process::ExitCode;

use anyhow::Result;

use crate::cli::PodAgent;
use crate::daemon;

/// Enforces the API server's policies in pods' network namespaces until SIGTERM. The rules
/// stay.
///
/// # Errors
/// The configuration names no API server, or a thread died.
pub fn pod_agent(args: &PodAgent) -> Result<ExitCode> {
    daemon::pods::run(args)?;
    Ok(ExitCode::SUCCESS)
}
