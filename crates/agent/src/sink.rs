//! Where batches go: the kernel, or a model of it in tests.

use nft::{Dump, Generation, Kernel, ReadError, SendError, TableFingerprint};
use ruleset::{Batch, Name, TableId};

/// What the pipeline needs of a kernel.
pub trait Sink {
    /// See [`Kernel::generation`].
    ///
    /// # Errors
    /// As there.
    fn generation(&mut self) -> Result<Generation, ReadError>;

    /// See [`Kernel::dump`].
    ///
    /// # Errors
    /// As there.
    fn dump(&mut self, table: &TableId) -> Result<Option<Dump>, ReadError>;

    /// See [`Kernel::send`].
    ///
    /// # Errors
    /// As there.
    fn send(
        &mut self,
        table: &TableId,
        batch: &Batch,
        expected: Option<Generation>,
    ) -> Result<(), SendError>;

    /// See [`Kernel::fingerprint`].
    ///
    /// # Errors
    /// As there.
    fn fingerprint(
        &mut self,
        table: &TableId,
        chain: &Name,
    ) -> Result<Option<TableFingerprint>, ReadError>;

    /// See [`Kernel::tables`].
    ///
    /// # Errors
    /// As there.
    fn tables(&mut self) -> Result<Vec<TableId>, ReadError>;

    /// See [`Kernel::delete_table`].
    ///
    /// # Errors
    /// As there.
    fn delete_table(&mut self, table: &TableId) -> Result<bool, SendError>;
}

impl Sink for Kernel {
    fn generation(&mut self) -> Result<Generation, ReadError> {
        Self::generation(self)
    }

    fn dump(&mut self, table: &TableId) -> Result<Option<Dump>, ReadError> {
        Self::dump(self, table)
    }

    fn send(
        &mut self,
        table: &TableId,
        batch: &Batch,
        expected: Option<Generation>,
    ) -> Result<(), SendError> {
        Self::send(self, table, batch, expected)
    }

    fn fingerprint(
        &mut self,
        table: &TableId,
        chain: &Name,
    ) -> Result<Option<TableFingerprint>, ReadError> {
        Self::fingerprint(self, table, chain)
    }

    fn tables(&mut self) -> Result<Vec<TableId>, ReadError> {
        Self::tables(self)
    }

    fn delete_table(&mut self, table: &TableId) -> Result<bool, SendError> {
        Self::delete_table(self, table)
    }
}
