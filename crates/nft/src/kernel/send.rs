//! Sends batches to the kernel.
//!
//! In: batches. Out: a commit, or what the kernel refused and why.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::io;
use std::time::Duration;

use nix::errno::Errno;
use ruleset::{Batch, Name, NameError, Op, TableId};

use super::Kernel;
use crate::error::{ReadError, Refusal, SendError, action};
use crate::generation::Generation;
use crate::membarrier::membarrier;
use crate::netlink;
use crate::ownership::{DORMANT, OWNER, PERSIST, TableState, wanted_flags};
use crate::read::chains;
use crate::write::{Encoded, Sharing};

/// How long to wait until packets have left a table, without membarrier(2).
const NO_BARRIER: Duration = Duration::from_secs(1);

/// Looks for the owner of a table while it ends.
const OWNER_TRIES: u32 = 50;
/// How often to try what is never committed while the kernel lacks memory.
const REHEARSALS: u32 = 10;
/// The time between two looks or tries.
const PAUSE: Duration = Duration::from_millis(20);

impl Kernel {
    /// Commits a batch, all or nothing. With `expected`, the kernel refuses it if
    /// others have committed since that generation.
    ///
    /// # Errors
    /// See [`SendError`].
    pub fn send(
        &mut self,
        table: &TableId,
        batch: &Batch,
        expected: Option<Generation>,
    ) -> Result<(), SendError> {
        let flags = match batch.ops.contains(&Op::CreateTable) {
            true => wanted_flags(self.state(table)?, self.owner.is_some()),
            false => 0,
        };
        let encode = |first, sharing| {
            Encoded::new(table, batch, expected, first, (flags, sharing))
                .map_err(|op| SendError::Refused(vec![too_long(op, batch)]))
        };
        let encoded = encode(self.client.next_number(), Sharing::Allowed)?;
        match self.transact(&encoded, batch) {
            // Nothing was applied, and a refusal may be about any operation of a message.
            Err(error @ SendError::Refused(_)) if is_vague(&error, &encoded) => {
                let apart = encode(self.client.next_number(), Sharing::Forbidden)?;
                self.transact(&apart, batch)
            }
            Err(SendError::Permission) => Err(self.not_permitted(table)),
            answer => answer,
        }
    }

    /// From now on the tables that this makes, or creates again, belong to this socket:
    /// no other program can change or delete them while it is open, and `nft flush
    /// ruleset` passes over them. They stay when it is closed. `false` if this kernel
    /// cannot do that (before Linux 6.9); then nothing changes. Takes 10 to 20 ms, and up
    /// to a second more while a process that ends still has its socket.
    ///
    /// # Errors
    /// See [`SendError`].
    pub fn own_tables(&mut self) -> Result<bool, SendError> {
        self.own(Self::any_is_owned)
    }

    /// As [`Self::own_tables`]. Waits for the end of another owner of this table alone: other
    /// tables of ours may belong to other sockets of this process.
    ///
    /// # Errors
    /// See [`SendError`].
    pub fn own_table(&mut self, table: &TableId) -> Result<bool, SendError> {
        self.own(|kernel| kernel.is_owned(table))
    }

    fn own(
        &mut self,
        is_owned: impl Fn(&mut Self) -> Result<bool, SendError>,
    ) -> Result<bool, SendError> {
        let odd = |error: NameError| SendError::Io(io::Error::other(error));
        let table = TableId::inet(Name::new("nftpol-probe").map_err(odd)?);
        let none = Batch::default();
        let flags = OWNER | PERSIST;
        if !self.tried(&none, |first| Encoded::rehearsed_table(&table, flags, first))? {
            return Ok(false);
        }
        self.owner = Some(self.client.port().map_err(SendError::Io)?);
        for _ in 0..OWNER_TRIES {
            if !is_owned(self)? {
                break;
            }
            std::thread::sleep(PAUSE);
        }
        Ok(true)
    }

    /// Whether another socket owns one of our tables.
    fn any_is_owned(&mut self) -> Result<bool, SendError> {
        for table in self.tables().map_err(unread)? {
            if self.is_owned(&table)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether another socket owns a table.
    fn is_owned(&mut self, table: &TableId) -> Result<bool, SendError> {
        let owner = self.state(table)?.and_then(|state| state.owner);
        Ok(owner.is_some() && owner != self.owner)
    }

    /// The state of a table, if it exists.
    fn state(&mut self, table: &TableId) -> Result<Option<TableState>, SendError> {
        self.settled(|kernel| TableState::find(&mut kernel.client, table)).map_err(unread)
    }

    /// Why a change of a table is not permitted.
    fn not_permitted(&mut self, table: &TableId) -> SendError {
        let Ok(port) = self.client.port() else { return SendError::Permission };
        match self.state(table) {
            Ok(Some(TableState { owner: Some(owner), .. })) if owner != port => {
                SendError::Owned { port: owner }
            }
            _ => SendError::Permission,
        }
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
    pub fn delete_table(&mut self, table: &TableId) -> Result<bool, SendError> {
        // Switching off a table that does not exist would create it.
        let Some(state) = self.state(table)? else { return Ok(false) };
        match state.owner {
            // The kernel refuses other flags for a table with an owner
            // (`nf_tables_updtable`, net/netfilter/nf_tables_api.c, Linux 6.18).
            Some(_) => {
                let chains = self.base_chains(table)?;
                let delete = |first| Encoded::chain_deletion(table, &chains, first);
                self.on_table(table, delete)?;
            }
            None => {
                let flags = DORMANT | (state.flags & PERSIST);
                self.on_table(table, |first| Encoded::table_with(table, flags, first))?;
            }
        }
        if membarrier().is_err() {
            std::thread::sleep(NO_BARRIER);
        }
        self.on_table(table, |first| Encoded::deletion(table, first))
    }

    /// The names of a table's base chains, also of those that others made.
    fn base_chains(&mut self, table: &TableId) -> Result<Vec<CString>, SendError> {
        let found = self.of_one_generation(|client, _| chains::on_hooks(client, table));
        found.map(Option::unwrap_or_default).map_err(unread)
    }

    /// Commits one operation on a table. `false` if the table does not exist.
    fn on_table(
        &mut self,
        table: &TableId,
        encode: impl FnOnce(u32) -> Result<Encoded, usize>,
    ) -> Result<bool, SendError> {
        let none = Batch::default();
        let encoded = encode(self.client.next_number())
            .map_err(|op| SendError::Refused(vec![too_long(op, &none)]))?;
        match self.transact(&encoded, &none) {
            Ok(()) => Ok(true),
            Err(SendError::Permission) => Err(self.not_permitted(table)),
            Err(SendError::Refused(refusals))
                if refusals.iter().all(|refusal| refusal.errno == Errno::ENOENT) =>
            {
                Ok(false)
            }
            Err(other) => Err(other),
        }
    }

    /// Whether the kernel would accept batches for tables that do not exist.
    /// Nothing is committed, and the generation stays the same. Takes 10 to 20 ms,
    /// whatever the batches hold: an abort waits until no packet sees the new
    /// objects (`nf_tables_abort`, net/netfilter/nf_tables_api.c, Linux 6.18).
    pub(crate) fn rehearse(&mut self, tables: &[(TableId, Batch)]) -> Result<bool, SendError> {
        let all = tables.iter().flat_map(|(_, batch)| batch.ops.iter().cloned());
        let all = Batch { ops: all.collect() };
        self.tried(&all, |first| Encoded::rehearsal(tables, first))
    }

    /// Whether the kernel accepts what is never committed. Tries again where it lacks
    /// memory.
    fn tried(
        &mut self,
        batch: &Batch,
        encode: impl Fn(u32) -> Result<Encoded, usize>,
    ) -> Result<bool, SendError> {
        let mut tries = 1;
        loop {
            let encoded = encode(self.client.next_number())
                .map_err(|op| SendError::Refused(vec![too_long(op, batch)]))?;
            match accepts(self.transact(&encoded, batch)) {
                Err(error) if error.is_transient() && tries < REHEARSALS => tries += 1,
                answer => return answer,
            }
            std::thread::sleep(PAUSE);
        }
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

/// Whether a refusal does not tell which operation is at fault.
fn is_vague(error: &SendError, encoded: &Encoded) -> bool {
    let SendError::Refused(refusals) = error else { return false };
    !error.is_transient() && refusals.iter().any(|refusal| encoded.shares(refusal.op))
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
}
