//! `nftpol cleanup`: the only command that removes the rules.

use std::process::ExitCode;

use anyhow::{Context, Result};

use super::open;
use crate::cli::Cleanup;
use crate::lock::Lock;
use agent::{cluster_mark, report};

/// Removes our tables of both families, those of other versions included.
///
/// # Errors
/// The kernel cannot be read, or refuses. The other tables are still removed.
pub fn cleanup(cleanup: &Cleanup) -> Result<ExitCode> {
    let code = remove()?;
    if cleanup.stay && code == ExitCode::SUCCESS {
        report::print("this node has no rules of nftpol; this process waits to be ended\n")?;
        // Without the lock: an agent may be installed again.
        loop {
            std::thread::park();
        }
    }
    Ok(code)
}

fn remove() -> Result<ExitCode> {
    let _lock = Lock::acquire()?;
    let mut kernel = open()?;
    let mut tables = kernel.tables().context("list tables")?;
    if tables.is_empty() {
        report::print("no table of nftpol is here\n")?;
    }
    tables.extend(cluster_mark::marks(&mut kernel).context("list tables")?);
    let mut code = ExitCode::SUCCESS;
    for table in tables {
        let deleted = kernel
            .delete_table(&table)
            .with_context(|| format!("delete table {table}"))
            .and_then(|_| report::print(&format!("table {table} deleted\n")));
        if let Err(error) = deleted {
            report::error(&error);
            code = ExitCode::FAILURE;
        }
    }
    Ok(code)
}
