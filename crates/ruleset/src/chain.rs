//! Chains.

use std::fmt;

use crate::{Comment, Rule};

/// A chain and its rules, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Chain {
    /// Its hook and priority. `None` for a chain that is only jumped to.
    pub base: Option<BaseChain>,
    /// For people.
    pub comment: Option<Comment>,
    /// Its rules.
    pub rules: Vec<Rule>,
}

/// `type filter hook HOOK priority N; policy accept;`, the only kind of base
/// chain that nftpol makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BaseChain {
    /// The hook whose packets it sees.
    pub hook: Hook,
    /// Hook priority; `filter` is 0 (nft(8), "Standard priority names").
    pub priority: i32,
}

/// A hook of the `inet` or `bridge` family (nft(8), "Address families").
///
/// To add a hook, add a variant. The writers, the simulator and `verify` match on
/// it without a default, so nothing compiles until each handles the new hook. The
/// reader of the kernel's table reports a base chain of any other hook as foreign.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Hook {
    /// All packets that come in, before it is known where they go.
    Prerouting,
    /// Packets for the host itself.
    Input,
    /// Packets that the host passes on.
    Forward,
    /// Packets that the host itself sends.
    Output,
    /// All packets that go out.
    Postrouting,
}

impl BaseChain {
    /// A base chain on a hook.
    pub const fn new(hook: Hook, priority: i32) -> Self {
        Self { hook, priority }
    }

    /// A base chain on the forward hook.
    pub const fn forward(priority: i32) -> Self {
        Self::new(Hook::Forward, priority)
    }
}

/// nft's word.
impl fmt::Display for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Prerouting => "prerouting",
            Self::Input => "input",
            Self::Forward => "forward",
            Self::Output => "output",
            Self::Postrouting => "postrouting",
        })
    }
}

impl fmt::Display for BaseChain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "type filter hook {} priority {}; policy accept", self.hook, self.priority)
    }
}
