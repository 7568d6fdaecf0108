//! The number of the ruleset in force in a network namespace.

/// A number that grows with every commit in the network namespace, ours and
/// others'.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Generation(pub u32);

impl Generation {
    /// The generation after one more commit. The kernel skips 0
    /// (`nf_tables_commit`, net/netfilter/nf_tables_api.c).
    #[must_use]
    pub const fn next(self) -> Self {
        match self.0.wrapping_add(1) {
            0 => Self(1),
            number => Self(number),
        }
    }
}
