//! Errors, one variant for each reaction of the caller.

use std::fmt;
use std::io;

pub use nix::errno::Errno;
use ruleset::{Batch, Name, Op};

/// No socket to the kernel could be opened.
#[derive(Debug, thiserror::Error)]
#[error("open an nfnetlink socket: {0}")]
pub struct OpenError(#[source] pub io::Error);

/// The ruleset could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// `CAP_NET_ADMIN` is missing. Give up.
    #[error("read the ruleset: not permitted (CAP_NET_ADMIN is needed)")]
    Permission,
    /// Others committed during every attempt. Try again later.
    #[error("read the ruleset: it kept changing during {0} attempts")]
    KeepsChanging(u32),
    /// The socket failed.
    #[error("read the ruleset: {0}")]
    Io(#[source] io::Error),
    /// The kernel sent something that no known kernel sends.
    #[error("read the ruleset: cannot understand the kernel: {0}")]
    Malformed(&'static str),
}

/// A batch was not committed, or its result is unknown.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// The kernel refused these operations, and therefore the whole batch. Nothing
    /// was applied. Leave out the objects at fault, unless
    /// [`Self::is_transient`].
    #[error("commit: {}", listed(.0))]
    Refused(Vec<Refusal>),
    /// The kernel refused the batch for a reason that belongs to no single
    /// operation, such as a loop of jumps. Nothing was applied.
    #[error("commit: the batch as a whole was refused: {0}")]
    RefusedWhole(Errno),
    /// Others committed after the expected generation. Read again.
    #[error("commit: the ruleset changed since it was read")]
    GenerationMoved,
    /// `CAP_NET_ADMIN` is missing. Give up.
    #[error("commit: not permitted (CAP_NET_ADMIN is needed)")]
    Permission,
    /// Another process owns the table, so that only it can change or delete it. Nothing
    /// was applied.
    #[error(
        "commit: another process owns the table, and only that process can change it (netlink \
         port {port}, mostly its process id; the first column of /proc/net/netlink is its \
         socket): stop that process"
    )]
    Owned {
        /// The port of the owner's socket (netlink(7), `nl_pid`). The kernel chooses the
        /// process id where that is free.
        port: u32,
    },
    /// The batch was sent, the kernel's answer was lost, and the generation moved.
    /// Read the table to learn what is in force.
    #[error("commit: the kernel's answer was lost, the batch may or may not be in force")]
    Unknown,
    /// The socket failed. Nothing was applied.
    #[error("commit: {0}")]
    Io(#[source] io::Error),
}

impl SendError {
    /// Whether the node ran short of memory or another resource. Nothing was
    /// applied, no object is at fault, and the same batch may pass later.
    ///
    /// One such refusal among several is enough. The kernel processes the
    /// rest of the batch (`nfnetlink_rcv_batch`, net/netfilter/nfnetlink.c), so later
    /// operations fail because of the first: a rule gets `ENOENT` if its set
    /// could not be made.
    ///
    /// False for [`Self::GenerationMoved`] and [`Self::Unknown`]: they ask for
    /// a new read.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Refused(refusals) => refusals.iter().any(Refusal::is_transient),
            Self::RefusedWhole(errno) => is_shortage(*errno),
            Self::Io(error) => {
                error.raw_os_error().is_some_and(|code| is_shortage(Errno::from_raw(code)))
            }
            Self::GenerationMoved | Self::Permission | Self::Owned { .. } | Self::Unknown => false,
        }
    }
}

/// One operation that the kernel refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Index in [`ruleset::Batch::ops`].
    pub op: usize,
    /// What the operation does, such as `create set`.
    pub action: &'static str,
    /// The chain, set or map that it concerns.
    pub object: Option<Name>,
    /// The kernel's reason.
    pub errno: Errno,
    /// The kernel's reason in words, if it gives one.
    pub message: Option<String>,
}

/// What an error of the kernel is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// What was asked: a value, a length or an expression that this kernel does
    /// not take.
    Object,
    /// The node: it lacks memory, room or time.
    Shortage,
    /// What else is in the table.
    TableState,
}

impl Refusal {
    /// What the error is about, with the operation of the batch.
    #[must_use]
    pub fn cause(&self, batch: &Batch) -> Cause {
        cause(self.errno, batch.ops.get(self.op))
    }

    /// Whether the node ran short of memory or another resource. The object is
    /// not at fault, and the same operation may pass later.
    #[must_use]
    pub const fn is_transient(&self) -> bool {
        is_shortage(self.errno)
    }
}

/// What an error is about; `None` for a batch as a whole. This is the only table
/// of errors. Files are of net/netfilter, Linux 6.18.
///
/// | errno | operation | cause |
/// |---|---|---|
/// | see [`is_shortage`] | any | shortage |
/// | EPERM, EACCES, EBUSY | any | table state: EBUSY is a chain or set that is in use |
/// | EEXIST | add elements | object: ranges overlap (`nft_add_set_elem`, nf_tables_api.c, turns ENOTEMPTY of a set into it; equal elements are no error) |
/// | ENOENT | add a rule | object: an expression without a module (`nft_expr_type_get`, nf_tables_api.c) |
/// | EEXIST, ENOENT | others | table state: it is there already, or missing |
/// | others, such as EINVAL, ERANGE, E2BIG, EMSGSIZE, EMLINK, EOPNOTSUPP, EAFNOSUPPORT, ELOOP | that add or create | object |
/// | others | that delete; the batch as a whole | table state |
fn cause(errno: Errno, op: Option<&Op>) -> Cause {
    match (errno, op) {
        _ if is_shortage(errno) => Cause::Shortage,
        (Errno::EPERM | Errno::EACCES | Errno::EBUSY, _) => Cause::TableState,
        (Errno::EEXIST, Some(Op::AddElements(..))) | (Errno::ENOENT, Some(Op::AddRule(..))) => {
            Cause::Object
        }
        (Errno::EEXIST | Errno::ENOENT, _) => Cause::TableState,
        (_, Some(op)) if adds(op) => Cause::Object,
        _ => Cause::TableState,
    }
}

/// Whether an operation adds or creates something.
const fn adds(op: &Op) -> bool {
    match op {
        Op::CreateTable
        | Op::CreateSet(..)
        | Op::AddElements(..)
        | Op::CreateMap(..)
        | Op::AddEntries(..)
        | Op::CreateChain(..)
        | Op::AddRule(..) => true,
        Op::DeleteSet(_)
        | Op::DeleteElements(..)
        | Op::DeleteMap(_)
        | Op::DeleteEntries(..)
        | Op::FlushChain(_)
        | Op::DeleteChain(_) => false,
    }
}

/// Whether an error is about the node's state and not about what was asked.
///
/// * `ENOMEM`: an allocation failed. The kernel also answers a whole batch so
///   when it cannot store an error (`nfnetlink_rcv_batch`,
///   net/netfilter/nfnetlink.c).
/// * `ENOBUFS`: no buffer for the request (`netlink_sendmsg`,
///   net/netlink/af_netlink.c), or the receive buffer overflowed.
/// * `ENFILE`: no file left on the node, or a set reached its size
///   (`nft_add_set_elem`, net/netfilter/nf_tables_api.c). We state a size only
///   for the sets of log statements, which packets fill.
/// * `EMFILE`: no file descriptor left in the process, or a use counter is full
///   (`nft_use_inc`, net/netfilter/nf_tables_api.c, Linux 6.5).
/// * `ENOSPC`: a set has no room left (`nft_pipapo_insert`,
///   net/netfilter/nft_set_pipapo.c).
/// * `EINTR`: a signal interrupted the work (`nft_chain_validate`, same file).
/// * `EAGAIN`: the kernel loaded a module meanwhile. It usually repeats the
///   batch by itself (`NFNL_BATCH_REPLAY`, net/netfilter/nfnetlink.c).
const fn is_shortage(errno: Errno) -> bool {
    matches!(
        errno,
        Errno::ENOMEM
            | Errno::ENOBUFS
            | Errno::ENFILE
            | Errno::EMFILE
            | Errno::ENOSPC
            | Errno::EINTR
            | Errno::EAGAIN
    )
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.action)?;
        if let Some(object) = &self.object {
            write!(f, " {object}")?;
        }
        write!(f, " (operation {}): {}", self.op, self.errno.desc())?;
        match &self.message {
            Some(message) => write!(f, " ({message})"),
            None => Ok(()),
        }
    }
}

/// What an operation does, in words.
pub(crate) const fn action(op: &Op) -> &'static str {
    match op {
        Op::CreateTable => "create the table",
        Op::CreateSet(..) => "create set",
        Op::DeleteSet(_) => "delete set",
        Op::AddElements(..) => "add elements to set",
        Op::DeleteElements(..) => "delete elements of set",
        Op::CreateMap(..) => "create map",
        Op::DeleteMap(_) => "delete map",
        Op::AddEntries(..) => "add entries to map",
        Op::DeleteEntries(..) => "delete entries of map",
        Op::CreateChain(..) => "create chain",
        Op::FlushChain(_) => "flush chain",
        Op::DeleteChain(_) => "delete chain",
        Op::AddRule(..) => "add a rule to chain",
    }
}

/// The first refusals on one line.
fn listed(refusals: &[Refusal]) -> String {
    const SHOWN: usize = 3;
    let mut text: Vec<String> = refusals.iter().take(SHOWN).map(Refusal::to_string).collect();
    if refusals.len() > SHOWN {
        text.push(format!("and {} more", refusals.len() - SHOWN));
    }
    text.join("; ")
}

#[cfg(test)]
mod tests;
