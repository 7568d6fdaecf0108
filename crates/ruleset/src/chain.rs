//! Chains.

use crate::{Comment, Rule};

/// A chain and its rules, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Chain {
    /// Where it hangs; `None` for one that is only jumped to.
    pub base: Option<BaseChain>,
    /// For people.
    pub comment: Option<Comment>,
    /// Its rules.
    pub rules: Vec<Rule>,
}

/// `type filter hook forward priority N; policy accept;`, the only kind of
/// base chain that we make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BaseChain {
    /// Hook priority; `filter` is 0 (nft(8), "Standard priority names").
    pub priority: i32,
}
