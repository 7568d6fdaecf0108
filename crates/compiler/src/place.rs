//! Where a node enforces.

use ruleset::{BaseChain, Name};

use crate::scaffold;

/// `filter - 1`: before other tables' forward chains. What we drop costs them
/// nothing, and they can still drop what we accept.
const FORWARD_PRIORITY: i32 = -1;

/// Where packets are judged: a base chain, in a table of its own.
///
/// Two places share no table, so each has its own sets in use, and a change of
/// one needs no order with the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The table, of family `inet`.
    pub table: Name,
    /// The base chain's name.
    pub chain: Name,
    /// Its hook and priority.
    pub base: BaseChain,
}

impl Place {
    /// The forward hook, on which the policies are judged.
    pub fn forward() -> Self {
        let base = BaseChain::forward(FORWARD_PRIORITY);
        Self { table: scaffold::table(), chain: scaffold::base_chain(), base }
    }
}
