//! Tables of other versions of nftpol.

use nft::{ReadError, SendError};
use ruleset::TableId;

use crate::Sink;

/// A table of another version could not be removed.
#[derive(Debug, thiserror::Error)]
pub enum RemoveError {
    /// The tables could not be listed.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// One could not be deleted.
    #[error(transparent)]
    Send(#[from] SendError),
}

/// Removes tables of other versions once ours enforce. Returns what they were.
/// Ours are of both families; the pipeline itself removes a bridge table of ours
/// that is not needed.
///
/// # Errors
/// See [`RemoveError`].
pub fn remove(kernel: &mut impl Sink) -> Result<Vec<TableId>, RemoveError> {
    let ours = compiler::scaffold::table();
    let others: Vec<_> = kernel.tables()?.into_iter().filter(|table| table.name != ours).collect();
    for table in &others {
        kernel.delete_table(table)?;
    }
    Ok(others)
}
