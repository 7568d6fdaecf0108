//! What cannot be judged.

use ruleset::Name;
use ruleset::simulator::Place;

/// How deep jumps may go: `NFT_JUMP_STACK_SIZE`
/// (include/net/netfilter/nf_tables.h).
pub(crate) const MAX_LEVELS: u8 = 16;

/// Why a ruleset has no meaning that could be compared. The kernel would
/// refuse such a table, so nothing is said about it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    /// A jump, goto or map entry to a chain that is not there.
    #[error("{at}: there is no chain {chain}")]
    UnknownChain {
        /// The rule that goes there.
        at: Place,
        /// The missing chain.
        chain: Name,
    },
    /// A look-up in a set or map that is not there, or is of another type, or
    /// holds elements of another type.
    #[error("{at}: set or map {name} is not there or of another type")]
    UnknownSet {
        /// The rule that looks it up.
        at: Place,
        /// The set or map.
        name: Name,
    },
    /// More jumps and gotos than the kernel allows, or a loop.
    #[error("{at}: jumps deeper than {max} levels", max = MAX_LEVELS)]
    TooDeep {
        /// The rule that goes too deep.
        at: Place,
    },
    /// A rule whose verdict depends on how many packets came before.
    #[error("{at}: a log limit stands before a verdict")]
    LimitedVerdict {
        /// The rule.
        at: Place,
    },
}
