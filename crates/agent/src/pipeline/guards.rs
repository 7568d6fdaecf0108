//! Whether the guards of isolated pods' ports are in force, and which table goes first.
//!
//! In: the `bridge` table in force, and the one that shall be. Out: what the `inet` table
//! is compiled for, and the order of the two.
//! Never: a guess. A table that cannot be read has no guard.
//!
//! The `inet` table lets multicast and broadcast pass where each isolated pod's port is
//! guarded, and the guards of bridges' ports are in the other table. So:
//!
//! | | the `inet` table | the `bridge` table | the `inet` table again |
//! |---|---|---|---|
//! | a pod becomes isolated | leaves groups to the guards | has its guard | |
//! | the guards of pods come that were isolated without | shuts groups for all, still | has them | leaves groups to them |
//! | a pod becomes isolated, another one ceases to be | shuts groups for all | has its guard | leaves groups to them |
//! | guards go, and the pods stay isolated | shuts groups for all | loses them | |
//! | the `bridge` table fails | as before | lacks them | shuts groups for all |

use std::sync::Arc;

use compiler::Layout;
use nft::ForeignKind;
use policy::Snapshot;
use ruleset::{Ruleset, TableFamily};

use super::change::table;
use super::{FAMILIES, Pipeline};
use crate::Sink;

impl<S: Sink> Pipeline<S> {
    /// Compiles a snapshot for the guards that are in force before any change.
    pub(super) fn compile_with_guards(&mut self, snapshot: &Snapshot) {
        self.compile_next(snapshot);
        let pending = self.lacks_guards() && {
            let (inet, bridge) =
                (self.table_in_force(TableFamily::Inet), self.table_in_force(TableFamily::Bridge));
            let wanted = self.engine.compiled();
            let wanted = (&wanted.ruleset, wanted.bridge.as_ref());
            Layout::waits_for_guards([inet.as_deref(), bridge.as_deref()], wanted)
        };
        self.compile_for(pending, snapshot);
    }

    /// After a change of the `bridge` table: compiles again if other guards are in force
    /// than the `inet` table was compiled for. Returns whether that is so.
    pub(super) fn guards_changed(&mut self, snapshot: &Snapshot) -> bool {
        let pending = self.lacks_guards();
        self.compile_for(pending, snapshot)
    }

    fn compile_for(&mut self, pending: bool, snapshot: &Snapshot) -> bool {
        let changed = pending != self.network.guards_pending;
        if changed {
            self.network.guards_pending = pending;
            self.compile_next(snapshot);
        }
        changed
    }

    /// The order in which the tables are changed.
    pub(super) fn order(&mut self) -> [TableFamily; 2] {
        let [inet, bridge] = FAMILIES;
        if self.engine.compiled().bridge.is_none() {
            return [inet, bridge];
        }
        let in_force = self.table_in_force(TableFamily::Bridge);
        let wanted = table(self.engine.compiled(), TableFamily::Bridge);
        match Layout::bridge_goes_first(in_force.as_deref(), wanted) {
            true => [bridge, inet],
            false => [inet, bridge],
        }
    }

    fn lacks_guards(&mut self) -> bool {
        let wants_any = |table| Layout::lacks_guards(table, None);
        if !wants_any(table(self.engine.compiled(), TableFamily::Bridge)) {
            return false;
        }
        let in_force = self.table_in_force(TableFamily::Bridge);
        let wanted = table(self.engine.compiled(), TableFamily::Bridge);
        Layout::lacks_guards(wanted, in_force.as_deref())
    }

    /// A table of ours, if it enforces anything.
    fn table_in_force(&mut self, family: TableFamily) -> Option<Arc<Ruleset>> {
        let start = self.tables.of(family).start(&mut self.sink).ok()?;
        let is_off = start.foreign.iter().any(|one| one.kind == ForeignKind::Table);
        start.ruleset.filter(|_| !is_off)
    }
}
