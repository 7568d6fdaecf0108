//! Tables of other versions.

use std::thread::sleep;
use std::time::Duration;

use anyhow::Result;
use nft::Kernel;
use ruleset::Name;

/// Removes tables of other versions once ours enforces; packets that still
/// look into the old one are waited for. Which ones were removed.
///
/// # Errors
/// The kernel cannot be read or refuses.
pub fn remove_others(kernel: &mut Kernel) -> Result<Vec<Name>> {
    let ours = compiler::scaffold::table();
    let others: Vec<_> = kernel.tables()?.into_iter().filter(|table| *table != ours).collect();
    if others.is_empty() {
        return Ok(others);
    }
    if nft::membarrier().is_err() {
        sleep(Duration::from_secs(1));
    }
    for table in &others {
        kernel.delete_table(table)?;
    }
    Ok(others)
}
