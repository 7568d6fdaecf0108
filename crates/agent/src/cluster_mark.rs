//! Which cluster the rules in the kernel are of.
//!
//! In: the kernel. Out: the uid that an agent before this one has left.
//! Never: a table with a chain, so that no packet ever meets it.
//!
//! The uid is in the name of an empty table, `inet nftpol-cluster-UID`. A reboot takes
//! it away with the rules. `nft flush ruleset` can take it alone; then the agent leaves it again.

use nft::{Kernel, ReadError, SendError};
use ruleset::{Batch, Name, Op, TableFamily, TableId};

const PREFIX: &str = "nftpol-cluster-";

/// It could not be left.
#[derive(Debug, thiserror::Error)]
pub enum MarkError {
    /// The tables cannot be listed.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// One could not be made or deleted.
    #[error(transparent)]
    Send(#[from] SendError),
}

/// The cluster of the rules in the kernel. `None` if there are no rules, or nobody
/// said.
///
/// # Errors
/// The kernel cannot be asked.
pub fn read(kernel: &mut Kernel) -> Result<Option<String>, ReadError> {
    if kernel.tables()?.is_empty() {
        return Ok(None);
    }
    let marks = marks(kernel)?;
    let [mark] = &marks[..] else { return Ok(None) };
    Ok(mark.name.as_str().strip_prefix(PREFIX).map(str::to_owned))
}

/// From now on the rules are of this cluster.
///
/// # Errors
/// See [`MarkError`].
pub fn keep(kernel: &mut Kernel, uid: &str) -> Result<(), MarkError> {
    let Ok(name) = Name::new(format!("{PREFIX}{uid}")) else { return Ok(()) };
    let wanted = TableId { family: TableFamily::Inet, name };
    let marks = marks(kernel)?;
    for other in marks.iter().filter(|mark| **mark != wanted) {
        kernel.delete_table(other)?;
    }
    if !marks.contains(&wanted) {
        kernel.send(&wanted, &Batch { ops: vec![Op::CreateTable] }, None)?;
    }
    Ok(())
}

/// The tables that say it.
///
/// # Errors
/// The kernel cannot be asked.
pub fn marks(kernel: &mut Kernel) -> Result<Vec<TableId>, ReadError> {
    kernel.tables_named(|name| name.starts_with(PREFIX))
}
