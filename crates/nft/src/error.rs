//! Errors, one variant for each reaction of the caller.

use std::fmt;
use std::io;

pub use nix::errno::Errno;
use ruleset::{Name, Op};

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
    /// `CAP_NET_ADMIN` is missing, or another process owns the table. Give up.
    #[error("commit: not permitted (CAP_NET_ADMIN is needed)")]
    Permission,
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
            Self::GenerationMoved | Self::Permission | Self::Unknown => false,
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

impl Refusal {
    /// Whether the node ran short of memory or another resource. The object is
    /// not at fault, and the same operation may pass later.
    #[must_use]
    pub const fn is_transient(&self) -> bool {
        is_shortage(self.errno)
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
mod tests {
    use super::*;

    fn refusal(errno: Errno) -> Refusal {
        Refusal { op: 0, action: "create set", object: None, errno, message: None }
    }

    const SHORTAGES: [Errno; 6] =
        [Errno::ENOMEM, Errno::ENOBUFS, Errno::ENFILE, Errno::EMFILE, Errno::EINTR, Errno::EAGAIN];
    const FAULTS: [Errno; 8] = [
        Errno::EPERM,
        Errno::ENOENT,
        Errno::EEXIST,
        Errno::EBUSY,
        Errno::EINVAL,
        Errno::EMLINK,
        Errno::EOPNOTSUPP,
        Errno::EMSGSIZE,
    ];

    #[test]
    fn a_shortage_is_transient_in_every_form() {
        for errno in SHORTAGES {
            assert!(refusal(errno).is_transient(), "{errno}");
            assert!(SendError::Refused(vec![refusal(errno)]).is_transient(), "{errno}");
            assert!(SendError::RefusedWhole(errno).is_transient(), "{errno}");
            assert!(SendError::Io(errno.into()).is_transient(), "{errno}");
        }
        for errno in FAULTS {
            assert!(!refusal(errno).is_transient(), "{errno}");
            assert!(!SendError::Refused(vec![refusal(errno)]).is_transient(), "{errno}");
            assert!(!SendError::RefusedWhole(errno).is_transient(), "{errno}");
            assert!(!SendError::Io(errno.into()).is_transient(), "{errno}");
        }
        for other in [SendError::GenerationMoved, SendError::Permission, SendError::Unknown] {
            assert!(!other.is_transient(), "{other}");
        }
        assert!(!SendError::Io(io::Error::other("no errno")).is_transient());
    }

    #[test]
    fn one_shortage_among_refusals_makes_the_batch_transient() {
        let refusals = vec![refusal(Errno::ENOMEM), refusal(Errno::ENOENT)];
        assert!(SendError::Refused(refusals).is_transient());
        assert!(!SendError::Refused(Vec::new()).is_transient());
    }
}
