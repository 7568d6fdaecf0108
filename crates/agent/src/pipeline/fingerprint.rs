//! Whether others touched a table: a look that costs microseconds.
//!
//! In: the kernel, the names of base chains. Out: handles, flags and counts of
//! the table and of these chains. Never: rules or elements, which a read shows.

use std::collections::BTreeMap;

use nft::{ReadError, TableFingerprint};
use ruleset::{Name, Ruleset, TableId};

use crate::Sink;

/// Of a table with each of its base chains; `None` for a chain that is missing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Fingerprint(BTreeMap<Name, Option<TableFingerprint>>);

impl Fingerprint {
    /// Looks at these chains now.
    pub(super) fn take(
        sink: &mut impl Sink,
        table: &TableId,
        chains: impl IntoIterator<Item = Name>,
    ) -> Result<Self, ReadError> {
        let look = |chain| Ok((sink.fingerprint(table, &chain)?, chain));
        let found: Result<Vec<_>, ReadError> = chains.into_iter().map(look).collect();
        Ok(Self(found?.into_iter().map(|(found, chain)| (chain, found)).collect()))
    }

    /// What it is of.
    pub(super) fn chains(&self) -> impl Iterator<Item = Name> + use<> {
        self.0.keys().cloned().collect::<Vec<_>>().into_iter()
    }

    /// Whether all of the chains are there.
    pub(super) fn is_whole(&self) -> bool {
        !self.0.is_empty() && self.0.values().all(Option::is_some)
    }

    /// Whether none of the chains is there.
    pub(super) fn is_nothing(&self) -> bool {
        self.0.values().all(Option::is_none)
    }

    #[cfg(test)]
    pub(super) fn of(found: impl IntoIterator<Item = (Name, Option<TableFingerprint>)>) -> Self {
        Self(found.into_iter().collect())
    }
}

/// The base chains of a table.
pub(super) fn base_chains(ruleset: &Ruleset) -> impl Iterator<Item = Name> + use<'_> {
    let base = ruleset.chains.iter().filter(|(_, chain)| chain.base.is_some());
    base.map(|(name, _)| name.clone())
}
