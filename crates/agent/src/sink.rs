//! Where batches go.

use nft::{Dump, Generation, Kernel, ReadError, SendError, Signs};
use ruleset::{Batch, Name};

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
    fn dump(&mut self, table: &Name) -> Result<Option<Dump>, ReadError>;

    /// See [`Kernel::send`].
    ///
    /// # Errors
    /// As there.
    fn send(
        &mut self,
        table: &Name,
        batch: &Batch,
        expected: Option<Generation>,
    ) -> Result<(), SendError>;

    /// See [`Kernel::signs`].
    ///
    /// # Errors
    /// As there.
    fn signs(&mut self, table: &Name, chain: &Name) -> Result<Option<Signs>, ReadError>;

    /// See [`Kernel::delete_table`].
    ///
    /// # Errors
    /// As there.
    fn delete_table(&mut self, table: &Name) -> Result<bool, SendError>;
}

impl Sink for Kernel {
    fn generation(&mut self) -> Result<Generation, ReadError> {
        Self::generation(self)
    }

    fn dump(&mut self, table: &Name) -> Result<Option<Dump>, ReadError> {
        Self::dump(self, table)
    }

    fn send(
        &mut self,
        table: &Name,
        batch: &Batch,
        expected: Option<Generation>,
    ) -> Result<(), SendError> {
        Self::send(self, table, batch, expected)
    }

    fn signs(&mut self, table: &Name, chain: &Name) -> Result<Option<Signs>, ReadError> {
        Self::signs(self, table, chain)
    }

    fn delete_table(&mut self, table: &Name) -> Result<bool, SendError> {
        Self::delete_table(self, table)
    }
}
