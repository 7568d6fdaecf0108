//! The handle for all operations on nf_tables. `send` holds those that change
//! something.

mod send;

use std::fmt;
use std::time::Duration;

use ruleset::{Name, TableFamily, TableId};

use crate::chains_of_others::{self, ChainOfOthers};
use crate::changes::ChangeListener;
use crate::client::{Answer, NetlinkClient, Scope};
use crate::dump::Dump;
use crate::error::{OpenError, ReadError};
use crate::ffi::Body;
use crate::fingerprint::{self, TableFingerprint};
use crate::generation::Generation;
use crate::read::{self, ReadFailure};

/// An nfnetlink socket in the network namespace of the thread that opened it. Any
/// thread in any namespace may use it. It stays in its own.
pub struct Kernel {
    client: NetlinkClient,
    /// The port of the socket, if the tables that it makes belong to it.
    owner: Option<u32>,
}

/// Attempts at a read while others commit.
const READ_ATTEMPTS: u32 = 10;
/// The pause before the second attempt. It grows by the same amount each time.
const READ_PAUSE: Duration = Duration::from_millis(2);

impl Kernel {
    /// Opens a socket.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open() -> Result<Self, OpenError> {
        NetlinkClient::open().map(|client| Self { client, owner: None }).map_err(OpenError)
    }

    /// The current generation. Costs microseconds.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub fn generation(&mut self) -> Result<Generation, ReadError> {
        /// NFTA_GEN_ID of `enum nft_gen_attributes`, in network order.
        const NFTA_GEN_ID: u16 = 1;
        let mut number = None;
        let scope = Scope::One(TableFamily::Inet); // the kernel ignores the family here
        for _ in 0..READ_ATTEMPTS {
            let answer =
                self.client.request(libc::NFT_MSG_GETGEN, scope, Body::Empty, |message| {
                    let value =
                        message.attribute(NFTA_GEN_ID).and_then(|value| value.first_chunk());
                    number = value.map(|bytes| u32::from_be_bytes(*bytes));
                    Ok(())
                })?;
            // The kernel lacked memory for the answer.
            if answer != Answer::Interrupted {
                break;
            }
        }
        number.map(Generation).ok_or(ReadError::Malformed("no generation"))
    }

    /// The tables of both families that are ours by name: `nftpol`, and those of
    /// later schemas, such as `nftpol-2`.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub fn tables(&mut self) -> Result<Vec<TableId>, ReadError> {
        self.tables_named(is_ours)
    }

    /// The tables of both families whose names `wanted` accepts.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub fn tables_named(&mut self, wanted: fn(&str) -> bool) -> Result<Vec<TableId>, ReadError> {
        self.of_one_generation(|client, _| read::tables(client, wanted))
            .map(Option::unwrap_or_default)
    }

    /// Reads a table. `None` if it does not exist.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub fn dump(&mut self, table: &TableId) -> Result<Option<Dump>, ReadError> {
        let owner = self.owner;
        self.of_one_generation(|client, generation| {
            let (ruleset, foreign) = read::table(client, table, owner)?;
            Ok(Dump { ruleset, foreign, generation })
        })
    }

    /// The fingerprint of a table and one chain of it. `None` if either is
    /// missing. Costs microseconds, whatever the table holds. It tells of every
    /// commit that was counted in [`Self::generation`] before, and perhaps of
    /// later ones.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub fn fingerprint(
        &mut self,
        table: &TableId,
        chain: &Name,
    ) -> Result<Option<TableFingerprint>, ReadError> {
        self.settled(|kernel| {
            kernel.client.wait_for_commits()?;
            fingerprint::fingerprint(&mut kernel.client, table, chain)
        })
    }

    /// Chains in tables of others, in any family, of which the caller keeps those that it
    /// looks for.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub fn chains_of_others(
        &mut self,
        keeps: impl Fn(&ChainOfOthers) -> bool,
    ) -> Result<Vec<ChainOfOthers>, ReadError> {
        let read = |client: &mut NetlinkClient, _| {
            chains_of_others::chains_of_others(client, is_ours, &keeps)
        };
        self.of_one_generation(read).map(Option::unwrap_or_default)
    }

    /// Listens, in the network namespace of this thread, for others who change tables of ours.
    /// Drop it soon: it makes commits slower.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn changes(&self) -> Result<ChangeListener, OpenError> {
        ChangeListener::open(self.client.port().map_err(OpenError)?)
    }

    /// Reads what was in force at once, in one generation. Repeats a read until
    /// nothing was committed meanwhile. `None` if there is no table.
    ///
    /// Every list is read so. The kernel's flag (NLM_F_DUMP_INTR) is not enough. It
    /// compares the generations at the beginning of each datagram, so that it misses
    /// a commit during the last one. It also misses a list that begins when a
    /// commit's generation is already counted, but not everything is removed yet (`nl_dump_check_consistent`,
    /// include/net/netlink.h; `nf_tables_commit`, net/netfilter/nf_tables_api.c;
    /// Linux 6.18).
    fn of_one_generation<T>(
        &mut self,
        mut read: impl FnMut(&mut NetlinkClient, Generation) -> Result<T, ReadFailure>,
    ) -> Result<Option<T>, ReadError> {
        self.settled(|kernel| {
            let generation = kernel.generation()?;
            kernel.client.wait_for_commits()?;
            let value = read(&mut kernel.client, generation)?;
            if kernel.generation()? == generation { Ok(value) } else { Err(ReadFailure::Changed) }
        })
    }

    /// Repeats a read while others commit. `None` if there is no table.
    fn settled<T>(
        &mut self,
        mut read: impl FnMut(&mut Self) -> Result<T, ReadFailure>,
    ) -> Result<Option<T>, ReadError> {
        for attempt in 0..READ_ATTEMPTS {
            std::thread::sleep(READ_PAUSE * attempt);
            match read(self) {
                Ok(value) => return Ok(Some(value)),
                Err(ReadFailure::NoTable) => return Ok(None),
                Err(ReadFailure::Changed) => {}
                Err(ReadFailure::Error(error)) => return Err(error),
            }
        }
        Err(ReadError::KeepsChanging(READ_ATTEMPTS))
    }
}

impl fmt::Debug for Kernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kernel").finish_non_exhaustive()
    }
}

/// Whether a table is ours by its name. `nftpolicy` is not.
pub(crate) fn is_ours(table: &str) -> bool {
    match table.split_once('-') {
        None => table == "nftpol",
        Some((name, schema)) => {
            let digits = !schema.is_empty() && schema.bytes().all(|byte| byte.is_ascii_digit());
            name == "nftpol" && digits
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_ours_by_their_whole_name() {
        for name in ["nftpol", "nftpol-2", "nftpol-10"] {
            assert!(is_ours(name), "{name}");
        }
        for name in [
            "nftpolicy",
            "nftpol2",
            "nftpol-",
            "nftpol-x",
            "nftpol-2x",
            "nftpol-2-3",
            "nftpol--2",
            "nftpol-+2",
            "nftpol-\u{0662}",
            "nft",
            "my-nftpol",
            "",
        ] {
            assert!(!is_ours(name), "{name}");
        }
    }
}
