//! What is in the kernel, without a change to it.
//!
//! In: the kernel, a compiled table. Out: what a change would send; which
//! address was bound to which interface, and which were isolated. Never: a batch.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use compiler::{Compiled, Layout};
use nft::ReadError;
use policy::{Claims, NodeNetwork, ObjectKey};
use ruleset::plan::Pieces;
use ruleset::{Name, Ruleset, TableFamily, TableId};

use super::change::table;
use super::replace::STAND_IN;
use super::{Difference, FAMILIES, Pipeline, SyncError};
use crate::Sink;

/// How one table of the kernel differs from the wanted one.
#[derive(Clone, Debug)]
pub struct TableDifference {
    /// The table.
    pub id: TableId,
    /// What it should be; `None` if there should be none.
    pub wanted: Option<Arc<Ruleset>>,
    /// What a change would send. Nothing for a table that would be deleted.
    pub difference: Difference,
}

/// What the kernel's tables bind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InForce {
    /// What each interface was known to have.
    pub claims: Claims,
    /// What binds it again: all that the tables tell of the node's network.
    pub network: NodeNetwork,
    /// The addresses that are isolated in a direction.
    pub isolated: BTreeSet<IpAddr>,
}

impl<S: Sink> Pipeline<S> {
    /// What [`Self::sync`] would do to make the kernel's tables these.
    ///
    /// # Errors
    /// A table cannot be read, or cannot become what it should be step by step.
    pub fn differences(&mut self, compiled: &Compiled) -> Result<[TableDifference; 2], SyncError> {
        let [inet, bridge] = FAMILIES.map(|family| {
            let wanted = table(compiled, family).cloned().map(Arc::new);
            let own = self.tables.of(family);
            let start = own.start(&mut self.sink)?;
            let difference = match &wanted {
                Some(wanted) => own.between(start, wanted)?,
                None => Difference {
                    live: start.ruleset,
                    flags: None,
                    foreign: start.foreign,
                    generation: start.generation,
                    pieces: Pieces::default(),
                },
            };
            Ok::<_, SyncError>(TableDifference { id: own.id.clone(), wanted, difference })
        });
        Ok([inet?, bridge?])
    }

    /// What would make the kernel's table of this family and name this one.
    ///
    /// # Errors
    /// As [`Self::differences`].
    pub fn difference(&mut self, target: &Ruleset) -> Result<Difference, SyncError> {
        let own = self.tables.of(target.family);
        let start = own.start(&mut self.sink)?;
        own.between(start, target)
    }

    /// Which address and MAC the kernel's tables bind to which interface: what an
    /// agent before this one knew. It may have stopped while a stand-in replaced a
    /// table, and others may have deleted one.
    ///
    /// # Errors
    /// A table cannot be read.
    pub fn claims(&mut self) -> Result<Claims, ReadError> {
        Ok(self.in_force(|_| None)?.claims)
    }

    /// What the kernel's tables bind, stand-ins included. `pod_of` tells whose an
    /// address is now.
    ///
    /// # Errors
    /// A table cannot be read. [`ReadError::KeepsChanging`] only if there is one of
    /// ours, so that bindings may be in it.
    pub fn in_force(
        &mut self,
        pod_of: impl Fn(IpAddr) -> Option<ObjectKey>,
    ) -> Result<InForce, ReadError> {
        let own = FAMILIES.map(|family| self.tables.of(family).id.clone());
        let stand_ins = FAMILIES
            .into_iter()
            .filter_map(|family| Some(TableId { family, name: Name::new(STAND_IN).ok()? }));
        let ids: Vec<TableId> = own.iter().cloned().chain(stand_ins).collect();
        let dumps = match self.dumps(&ids) {
            Err(ReadError::KeepsChanging(tries)) => {
                let tables = self.sink.tables()?;
                return match ids.iter().any(|id| tables.contains(id)) {
                    true => Err(ReadError::KeepsChanging(tries)),
                    false => Ok(InForce::default()),
                };
            }
            dumps => dumps?,
        };
        let of = |family| own.iter().find(|id| id.family == family).and_then(|id| dumps.get(id));
        let bridge = of(TableFamily::Bridge);
        let network = of(TableFamily::Inet).map(|inet| Layout::network(inet, bridge, pod_of));
        let isolated = dumps.values().flat_map(|table| {
            let layout = Layout::of(table);
            Layout::sides().flat_map(move |(one, family)| layout.isolated(one, family))
        });
        Ok(InForce {
            claims: Layout::claims(dumps.values()),
            network: network.unwrap_or_default(),
            isolated: isolated.collect(),
        })
    }

    fn dumps(&mut self, ids: &[TableId]) -> Result<BTreeMap<TableId, Ruleset>, ReadError> {
        let mut found = BTreeMap::new();
        for id in ids {
            if let Some(dump) = self.sink.dump(id)? {
                found.insert(id.clone(), dump.ruleset);
            }
        }
        Ok(found)
    }
}
