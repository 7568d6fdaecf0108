//! `nftpol cleanup`: the only command that removes enforcement.

use std::process::ExitCode;

use anyhow::{Context, Result};

use super::open;
use crate::lock::Lock;
use agent::report;

/// Removes our tables, of whatever version.
///
/// # Errors
/// The kernel cannot be read or refuses; other tables are removed all the
/// same.
pub fn cleanup() -> Result<ExitCode> {
    let _lock = Lock::acquire()?;
    let mut kernel = open()?;
    let tables = kernel.tables().context("list tables")?;
    if tables.is_empty() {
        report::print("no table of nftpol is here\n")?;
    }
    let mut code = ExitCode::SUCCESS;
    for table in tables {
        let deleted = kernel
            .delete_table(&table)
            .with_context(|| format!("delete table inet {table}"))
            .and_then(|_| report::print(&format!("table inet {table} deleted\n")));
        if let Err(error) = deleted {
            report::error(&error);
            code = ExitCode::FAILURE;
        }
    }
    Ok(code)
}
