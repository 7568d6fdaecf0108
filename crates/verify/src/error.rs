//! Rulesets that have no meaning to compare.

use ruleset::Name;
use ruleset::simulator::RulePosition;

/// The most nested jumps: `NFT_JUMP_STACK_SIZE`
/// (include/net/netfilter/nf_tables.h).
pub(crate) const MAX_LEVELS: u8 = 16;

/// Why a ruleset has no meaning to compare: the kernel would refuse such a
/// table.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    /// A jump, goto or map entry leads to a chain that does not exist.
    #[error("{at}: there is no chain {chain}")]
    UnknownChain {
        /// The rule with the jump.
        at: RulePosition,
        /// The missing chain.
        chain: Name,
    },
    /// A rule uses a set or map that does not exist, has another type, or holds
    /// elements of another type.
    #[error("{at}: set or map {name} does not exist or has another type")]
    UnknownSet {
        /// The rule with the look-up.
        at: RulePosition,
        /// The set or map.
        name: Name,
    },
    /// Jumps nest deeper than the kernel allows, or form a loop.
    #[error("{at}: jumps nest deeper than {max} levels", max = MAX_LEVELS)]
    TooDeep {
        /// The rule with the jump that is too deep.
        at: RulePosition,
    },
    /// A rule's verdict depends on how many packets came before.
    #[error("{at}: a log limit comes before a verdict")]
    LimitedVerdict {
        /// The rule.
        at: RulePosition,
    },
}
