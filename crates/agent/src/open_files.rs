//! How many files the agent may open: sockets, mostly.
//!
//! Never: a limit that is lowered.

use anyhow::{Context, Result, ensure};
use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// An agent has some 25 files open, and one for each connection to its pages.
const NEEDED: u64 = 64;

/// Raises the limit as far as the system lets this process (getrlimit(2)).
///
/// # Errors
/// The agent cannot work with what it may open.
pub fn raise_limit() -> Result<()> {
    let limit = Resource::RLIMIT_NOFILE;
    let (now, most) = getrlimit(limit).context("ask how many files may be opened")?;
    // What is there may be enough.
    let allowed = setrlimit(limit, most, most).map_or(now, |()| most);
    ensure!(
        allowed >= NEEDED,
        "the agent may open {allowed} files at once and needs {NEEDED}: raise the limit \
         (`ulimit -n`, LimitNOFILE= of a systemd unit)"
    );
    Ok(())
}
