//! The handle for all operations on nf_tables.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::time::Duration;

use nix::errno::Errno;
use ruleset::{Batch, Name, Op};

use crate::client::{NetlinkClient, Scope};
use crate::dropping_chains::{self, DroppingChain};
use crate::dump::Dump;
use crate::error::{OpenError, ReadError, Refusal, SendError, action};
use crate::ffi::Body;
use crate::fingerprint::{self, TableFingerprint};
use crate::generation::Generation;
use crate::membarrier::membarrier;
use crate::netlink;
use crate::read::{self, ReadFailure};
use crate::write::Encoded;

/// An nfnetlink socket in the network namespace of the thread that opened it. Any
/// thread in any namespace may use it. It stays in its own.
pub struct Kernel {
    client: NetlinkClient,
}

/// Attempts at a read while others commit.
const READ_ATTEMPTS: u32 = 10;
/// The pause before the second attempt. It grows by the same amount each time.
const READ_PAUSE: Duration = Duration::from_millis(2);
/// How long to wait until packets have left a table, without membarrier(2).
const NO_BARRIER: Duration = Duration::from_secs(1);

impl Kernel {
    /// Opens a socket.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open() -> Result<Self, OpenError> {
        NetlinkClient::open().map(|client| Self { client }).map_err(OpenError)
    }

    /// The current generation. Costs microseconds.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub fn generation(&mut self) -> Result<Generation, ReadError> {
        /// NFTA_GEN_ID of `enum nft_gen_attributes`, in network order.
        const NFTA_GEN_ID: u16 = 1;
        let mut number = None;
        self.client.request(libc::NFT_MSG_GETGEN, Scope::One, Body::Empty, |message| {
            let value = message.attribute(NFTA_GEN_ID).and_then(|value| value.first_chunk());
            number = value.map(|bytes| u32::from_be_bytes(*bytes));
            Ok(())
        })?;
        number.map(Generation).ok_or(ReadError::Malformed("no generation"))
    }

    /// Commits a batch, all or nothing. With `expected`, the kernel refuses it if
    /// others have committed since that generation.
    ///
    /// # Errors
    /// See [`SendError`].
    pub fn send(
        &mut self,
        table: &Name,
        batch: &Batch,
        expected: Option<Generation>,
    ) -> Result<(), SendError> {
        let first = self.client.next_number();
        let encoded = Encoded::new(table, batch, expected, first)
            .map_err(|op| SendError::Refused(vec![too_long(op, batch)]))?;
        self.transact(&encoded, batch)
    }

    /// The `inet` tables that are ours by name: `nftpol`, and those of later
    /// schemas, such as `nftpol-2`.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub fn tables(&mut self) -> Result<Vec<Name>, ReadError> {
        self.settled(|kernel| read::tables(&mut kernel.client, is_ours))
            .map(Option::unwrap_or_default)
    }

    /// Reads a table. `None` if it does not exist.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub fn dump(&mut self, table: &Name) -> Result<Option<Dump>, ReadError> {
        self.settled(|kernel| {
            let generation = kernel.generation()?;
            let (ruleset, foreign) = read::table(&mut kernel.client, table)?;
            if kernel.generation()? != generation {
                return Err(ReadFailure::Changed);
            }
            Ok(Dump { ruleset, foreign, generation })
        })
    }

    /// The fingerprint of a table and one chain of it. `None` if either is
    /// missing. Costs microseconds, whatever the table holds.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub fn fingerprint(
        &mut self,
        table: &Name,
        chain: &Name,
    ) -> Result<Option<TableFingerprint>, ReadError> {
        self.settled(|kernel| fingerprint::fingerprint(&mut kernel.client, table, chain))
    }

    /// The former name of [`Self::fingerprint`].
    ///
    /// # Errors
    /// See [`ReadError`].
    #[doc(hidden)]
    pub fn signs(
        &mut self,
        table: &Name,
        chain: &Name,
    ) -> Result<Option<TableFingerprint>, ReadError> {
        self.fingerprint(table, chain)
    }

    /// Chains of others, in any family, whose policy drops forwarded packets. They
    /// also drop packets that our chains accept.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub fn dropping_chains(&mut self) -> Result<Vec<DroppingChain>, ReadError> {
        self.settled(|kernel| dropping_chains::dropping_chains(&mut kernel.client, is_ours))
            .map(Option::unwrap_or_default)
    }

    /// Repeats a read until nothing was committed meanwhile. `None` if there is
    /// no table.
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

    /// Deletes a table with everything in it. `false` if it does not exist.
    ///
    /// The kernel removes the entries of maps at the commit, even while packets
    /// use them (`nft_map_deactivate`, net/netfilter/nf_tables_api.c, since Linux
    /// 6.5). A packet inside the table would then miss its entry and be dropped.
    /// So this switches the table off first, and deletes it when no packet is in
    /// it any more. Takes 10 to 30 ms, or a second without membarrier(2).
    ///
    /// # Errors
    /// See [`SendError`]. The table may then be switched off.
    pub fn delete_table(&mut self, table: &Name) -> Result<bool, SendError> {
        // Switching off a table that does not exist would create it.
        let found = self.settled(|kernel| fingerprint::find_table(&mut kernel.client, table));
        if found.map_err(unread)?.is_none() {
            return Ok(false);
        }
        self.on_table(table, Encoded::dormancy)?;
        if membarrier().is_err() {
            std::thread::sleep(NO_BARRIER);
        }
        self.on_table(table, Encoded::deletion)
    }

    /// Commits one operation on a table. `false` if the table does not exist.
    fn on_table(
        &mut self,
        table: &Name,
        encode: fn(&Name, u32) -> Result<Encoded, usize>,
    ) -> Result<bool, SendError> {
        let none = Batch::default();
        let encoded = encode(table, self.client.next_number())
            .map_err(|op| SendError::Refused(vec![too_long(op, &none)]))?;
        match self.transact(&encoded, &none) {
            Ok(()) => Ok(true),
            Err(SendError::Refused(refusals))
                if refusals.iter().all(|refusal| refusal.errno == Errno::ENOENT) =>
            {
                Ok(false)
            }
            Err(other) => Err(other),
        }
    }

    /// Whether the kernel would accept a batch for a table that does not exist.
    /// Nothing is committed, and the generation stays the same.
    pub(crate) fn rehearse(&mut self, table: &Name, batch: &Batch) -> Result<bool, SendError> {
        let first = self.client.next_number();
        let encoded = Encoded::rehearsal(table, batch, first)
            .map_err(|op| SendError::Refused(vec![too_long(op, batch)]))?;
        accepts(self.transact(&encoded, batch))
    }

    fn transact(&mut self, encoded: &Encoded, batch: &Batch) -> Result<(), SendError> {
        self.client.numbers(encoded.numbers());
        let before = self.generation().map_err(unread)?;
        self.client.socket.send(encoded.bytes()).map_err(|error| match error.kind() {
            io::ErrorKind::PermissionDenied => SendError::Permission,
            _ => SendError::Io(error),
        })?;
        let answers = self.answers(encoded, batch)?;
        if let Some(error) = answers.error() {
            return Err(error);
        }
        if !answers.lost {
            return Ok(());
        }
        // Answers were lost. A commit would have moved the generation.
        match self.generation() {
            Ok(after) if after == before => Err(SendError::Io(Errno::ENOBUFS.into())),
            _ => Err(SendError::Unknown),
        }
    }

    /// The kernel's answers to a batch. All have arrived when `sendmsg` returns.
    fn answers(&mut self, encoded: &Encoded, batch: &Batch) -> Result<Answers, SendError> {
        let mut answers = Answers::default();
        loop {
            match self.client.socket.receive() {
                Ok(None) => return Ok(answers),
                Ok(Some(datagram)) => {
                    let failures = netlink::messages(datagram).filter_map(|one| one.failure());
                    for failure in failures.filter(|one| encoded.holds(one.sequence)) {
                        answers.add(failure, encoded, batch);
                    }
                }
                Err(Errno::ENOBUFS) => answers.lost = true,
                Err(_) => return Err(SendError::Unknown),
            }
        }
    }
}

/// Whether the kernel accepted a rehearsal. A shortage of resources is an error:
/// it does not tell whether the kernel would accept the batch.
fn accepts(answer: Result<(), SendError>) -> Result<bool, SendError> {
    match answer {
        Ok(()) => Ok(true),
        Err(error @ (SendError::Refused(_) | SendError::RefusedWhole(_)))
            if !error.is_transient() =>
        {
            Ok(false)
        }
        Err(error) => Err(error),
    }
}

impl fmt::Debug for Kernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kernel").finish_non_exhaustive()
    }
}

/// The kernel's answers to a batch.
#[derive(Default)]
struct Answers {
    /// The first refusal of each operation.
    refusals: BTreeMap<usize, Refusal>,
    /// The refusal of the batch as a whole.
    whole: Option<Errno>,
    /// Some answers did not fit the receive buffer.
    lost: bool,
}

impl Answers {
    fn add(&mut self, failure: netlink::Failure, encoded: &Encoded, batch: &Batch) {
        let Some(errno) = failure.errno else { return };
        match encoded.owner(failure.sequence) {
            None => self.whole = self.whole.or(Some(errno)),
            Some(op) => {
                let refusal = refusal(op, batch, errno, failure.text);
                self.refusals.entry(op).or_insert(refusal);
            }
        }
    }

    fn error(&self) -> Option<SendError> {
        if self.refusals.values().any(|refusal| refusal.errno != Errno::EPERM) {
            return Some(SendError::Refused(self.refusals.values().cloned().collect()));
        }
        match self.whole {
            _ if !self.refusals.is_empty() => Some(SendError::Permission),
            Some(Errno::ERESTART) => Some(SendError::GenerationMoved),
            Some(Errno::EPERM) => Some(SendError::Permission),
            Some(errno) => Some(SendError::RefusedWhole(errno)),
            None => None,
        }
    }
}

/// Whether a table is ours by its name. `nftpolicy` is not.
fn is_ours(table: &str) -> bool {
    match table.split_once('-') {
        None => table == "nftpol",
        Some((name, schema)) => {
            let digits = !schema.is_empty() && schema.bytes().all(|byte| byte.is_ascii_digit());
            name == "nftpol" && digits
        }
    }
}

fn refusal(op: usize, batch: &Batch, errno: Errno, message: Option<String>) -> Refusal {
    let (action, object) = match batch.ops.get(op) {
        Some(one) => (action(one), one.object().cloned()),
        None => ("delete the table", None),
    };
    Refusal { op, action, object, errno, message }
}

fn too_long(op: usize, batch: &Batch) -> Refusal {
    let message = batch.ops.get(op).map(|op| match op {
        Op::AddRule(..) => "the rule does not fit a netlink message",
        _ => "the operation does not fit a netlink message",
    });
    refusal(op, batch, Errno::EMSGSIZE, message.map(str::to_owned))
}

fn unread(error: ReadError) -> SendError {
    match error {
        ReadError::Permission => SendError::Permission,
        ReadError::Io(source) => SendError::Io(source),
        other => SendError::Io(io::Error::other(other)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shortage_does_not_say_that_the_kernel_lacks_a_feature() {
        for errno in [Errno::ENOMEM, Errno::ENOBUFS, Errno::ENFILE, Errno::EINTR, Errno::EAGAIN] {
            let refused = SendError::Refused(vec![refusal(0, &Batch::default(), errno, None)]);
            for answer in [refused, SendError::RefusedWhole(errno), SendError::Io(errno.into())] {
                assert!(accepts(Err(answer)).is_err_and(|error| error.is_transient()), "{errno}");
            }
        }
        for errno in [Errno::ENOENT, Errno::EINVAL, Errno::EOPNOTSUPP] {
            let refused = SendError::Refused(vec![refusal(0, &Batch::default(), errno, None)]);
            for answer in [refused, SendError::RefusedWhole(errno)] {
                assert!(!accepts(Err(answer)).unwrap_or(true), "{errno}");
            }
        }
        assert!(accepts(Ok(())).unwrap_or(false));
    }

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
