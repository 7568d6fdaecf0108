//! `nftpol cleanup`: the only command that removes the rules.

use std::path::Path;
use std::process::ExitCode;

use agent::pods::{all_namespaces, is_of_network};
use anyhow::{Context, Result, bail};
use nft::Namespace;

use super::open;
use crate::cli::Cleanup;
use crate::lock::Lock;
use agent::{cluster_mark, report};

/// Removes our tables of both families, those of other versions included.
///
/// # Errors
/// The kernel cannot be read, or refuses. The other tables are still removed.
pub fn cleanup(cleanup: &Cleanup) -> Result<ExitCode> {
    let code = if cleanup.pods { remove_in_pods(&cleanup.proc)? } else { remove()? };
    if cleanup.stay && code == ExitCode::SUCCESS {
        report::print("this node has no rules of nftpol; this process waits to be ended\n")?;
        // Without the lock: an agent may be installed again.
        loop {
            std::thread::park();
        }
    }
    Ok(code)
}

/// Removes our tables in the network namespaces that processes of pods are in.
fn remove_in_pods(proc: &Path) -> Result<ExitCode> {
    let Some(_lock) = Lock::try_acquire_of_pods()? else {
        bail!(
            "`nftpol pod-agent` enforces in the pods' network namespaces of this node (it holds \
             the socket @nftpol-pods); stop it first, or it makes the tables again"
        );
    };
    let own = Namespace::own().context("look at this network namespace")?.id();
    let all = all_namespaces(proc, own).context("list processes")?;
    let (mut code, mut removed) = (ExitCode::SUCCESS, 0);
    for namespace in all {
        let result = namespace.inside(|| -> Result<usize> {
            let mut kernel = open()?;
            let mut tables = kernel.tables().context("list tables")?;
            tables.extend(kernel.tables_named(is_of_network).context("list tables")?);
            for table in &tables {
                kernel.delete_table(table).with_context(|| format!("delete table {table}"))?;
            }
            Ok(tables.len())
        });
        match result.context("enter a network namespace").and_then(|result| result) {
            Ok(count) => removed += count,
            Err(error) => {
                report::error(&error);
                code = ExitCode::FAILURE;
            }
        }
    }
    report::print(&format!("{removed} tables of nftpol deleted in network namespaces of pods\n"))?;
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
