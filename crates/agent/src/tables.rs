//! Tables of other versions.

use anyhow::Result;
use nft::Kernel;
use ruleset::Name;

/// Removes tables of other versions once ours enforces. Which ones were
/// removed.
///
/// # Errors
/// The kernel cannot be read or refuses.
pub fn remove_others(kernel: &mut Kernel) -> Result<Vec<Name>> {
    let ours = compiler::scaffold::table();
    let others: Vec<_> = kernel.tables()?.into_iter().filter(|table| *table != ours).collect();
    for table in &others {
        kernel.delete_table(table)?;
    }
    Ok(others)
}
