//! Compile, compare with the kernel, send. All commands share these steps,
//! except the last one.
//!
//! In: a snapshot, the node's network. Out: a kernel that enforces it, with the
//! fewest changes. Never: a gap in which no table enforces; a refused policy that
//! stops the others; a table that waits for the other one.
//!
//! ```text
//! snapshot ─┐                    ┌─▶ OwnTable inet nftpol ────┐
//!           ├─▶ engine ─▶ proof ─┤                            ├─▶ kernel
//! network  ─┘                    └─▶ OwnTable bridge nftpol ──┘
//! ```
//!
//! `bridge nftpol` exists only while a bound pod is on a bridge. Each table only
//! drops, and a packet that is honest passes each of them in every state on the
//! way. So what stops one does not stop the other. Their order matters to packets that one
//! of them denies before a change and the other after it, and to multicast and broadcast,
//! which the `inet` table leaves to the guards of isolated pods' ports (`guards`).

mod attempt;
mod batch_spacing;
mod blame;
mod change;
mod fingerprint;
mod guards;
mod kernel_table;
mod outcome;
mod own_table;
mod pace;
mod persist;
mod progress;
mod proof;
mod read;
mod refusals;
mod replace;
mod set_aside;

pub use outcome::{Committed, Difference, Outcome, SyncError, SyncFailed, TableOutcome};
pub use proof::{Proofs, Unproved, Verify};
pub use read::{InForce, TableDifference};
pub(crate) use replace::STAND_IN;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use compiler::budget::Budgets;
use compiler::signature::Signature;
use compiler::{Compiled, Engine, Options, Place, SharedAddress, Usage, scaffold};
use imbl::OrdMap;
use nft::ReadError;
use policy::{Diagnostic, NodeNetwork, ObjectKey, Snapshot};
use ruleset::plan::Budget;
use ruleset::{Name, TableFamily, TableId};

use crate::Sink;
use crate::clock::{Clock, SystemClock};
use attempt::Interrupt;
use change::errors;
use own_table::OwnTable;
use pace::Pace;
use proof::Prover;
use set_aside::SetAside;

/// How often to start over after others changed the ruleset in between.
const MAX_ATTEMPTS: usize = 10;
/// The families of our tables, in the order in which they are changed but for
/// [`compiler::Layout::bridge_goes_first`].
pub(crate) const FAMILIES: [TableFamily; 2] = [TableFamily::Inet, TableFamily::Bridge];

/// The pipeline from snapshot to kernel.
#[derive(Debug)]
pub struct Pipeline<S> {
    sink: S,
    clock: Arc<dyn Clock>,
    engine: Engine,
    /// What the next change binds.
    network: NodeNetwork,
    tables: Tables,
    set_aside: SetAside,
    /// `Some` if each table must be proved before it is sent.
    prover: Option<Prover>,
}

/// Our tables.
#[derive(Debug)]
struct Tables {
    inet: OwnTable,
    bridge: OwnTable,
}

impl Tables {
    fn of(&mut self, family: TableFamily) -> &mut OwnTable {
        match family {
            TableFamily::Inet => &mut self.inet,
            TableFamily::Bridge => &mut self.bridge,
        }
    }

    fn other(&mut self, family: TableFamily) -> &mut OwnTable {
        match family {
            TableFamily::Inet => &mut self.bridge,
            TableFamily::Bridge => &mut self.inet,
        }
    }

    fn each(&mut self) -> [&mut OwnTable; 2] {
        [&mut self.inet, &mut self.bridge]
    }
}

/// What there is to do about the kernel's table, by a look that costs
/// microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Check {
    /// Nothing: nobody committed since our own last commit.
    Nothing,
    /// Sync: policies that were set aside are due to be tried again.
    RetryRefused,
    /// [`Pipeline::distrust`] and sync, as often as a read can be afforded:
    /// others committed. Our table and its base chain are still those that we
    /// made, with as many parts, but what is in the parts was not looked at.
    ReadWhenAffordable,
    /// Sync: the table was made again by others, switched off or lost parts, or
    /// was never read.
    Restore,
}

impl<S: Sink> Pipeline<S> {
    /// A pipeline that takes over the tables it finds on the node.
    pub fn new(sink: S, options: Options) -> Self {
        Self::at(Place::forward(), sink, options)
    }

    /// One for another place. The sink is the kernel of that network namespace.
    pub fn at(place: Place, sink: S, options: Options) -> Self {
        let inet = TableId { family: TableFamily::Inet, name: place.table.clone() };
        let bridge = TableId { family: TableFamily::Bridge, name: place.table.clone() };
        let chains = place.chains();
        Self {
            sink,
            clock: Arc::new(SystemClock),
            engine: Engine::at(place, options),
            network: NodeNetwork::default(),
            tables: Tables {
                inet: OwnTable::new(inet, chains),
                bridge: OwnTable::new(
                    bridge,
                    vec![scaffold::bridge::from_chain(), scaffold::bridge::to_chain()],
                ),
            },
            set_aside: SetAside::default(),
            prover: None,
        }
    }

    /// Takes the time from this clock, and not from the system's.
    #[must_use]
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Sends pieces of this size, however long the kernel takes for them. For tests.
    #[must_use]
    pub fn in_pieces_of(mut self, budget: Budget) -> Self {
        self.tables.each().into_iter().for_each(|table| table.pace = Pace::fixed(budget));
        self
    }

    /// The kernel.
    pub fn sink(&mut self) -> &mut S {
        &mut self.sink
    }

    /// The next change binds these addresses to these interfaces. Until this is
    /// called, none.
    pub fn bind(&mut self, network: NodeNetwork) {
        let guards_pending = self.network.guards_pending;
        self.network = NodeNetwork { guards_pending, ..network };
    }

    /// What the next change binds.
    pub fn network(&self) -> &NodeNetwork {
        &self.network
    }

    /// Looks whether others touched a table.
    ///
    /// # Errors
    /// The kernel cannot be asked.
    pub fn check(&mut self) -> Result<Check, ReadError> {
        // First, since on some nodes others commit before each look.
        if self.set_aside.is_due(self.clock.now()) {
            return Ok(Check::RetryRefused);
        }
        let generation = self.sink.generation()?;
        let mut check = Check::Nothing;
        for table in self.tables.each() {
            if table.kernel.is_exact_at(generation) {
                continue;
            }
            table.compare_if_remembered(&mut self.sink, generation)?;
            if !table.kernel.is_remembered() {
                check = Check::Restore;
            } else if check == Check::Nothing && !table.kernel.is_exact_at(generation) {
                check = Check::ReadWhenAffordable;
            }
        }
        Ok(check)
    }

    /// Makes the next change read the tables, unless others commit too fast for
    /// that.
    pub fn distrust(&mut self) {
        self.tables.each().into_iter().for_each(|table| table.kernel.distrust());
    }

    /// Whether a policy isolates a local pod, as of the last change.
    pub fn isolates(&self, policy: &ObjectKey) -> bool {
        self.engine.compiled().isolates(policy)
    }

    /// What is used of the budgets, as of the last change.
    pub fn usage(&self) -> Usage {
        self.engine.usage()
    }

    /// The budgets.
    pub fn budgets(&self) -> Budgets {
        self.engine.options().budgets
    }

    /// The chains of the last change, and the policies behind each.
    pub fn signatures(&self) -> &OrdMap<Name, Arc<Signature>> {
        &self.engine.compiled().signatures
    }

    /// The addresses of this node that several pods report, as of the last change.
    pub fn shared_addresses(&self) -> Vec<SharedAddress> {
        self.engine.shared_addresses()
    }

    /// Compiles without touching the kernel.
    pub fn compile(&self, snapshot: &Snapshot) -> Compiled {
        self.compiled_by(snapshot).compiled().clone()
    }

    /// Compiles without touching the kernel, by an engine that knows what each set is.
    pub fn compiled_by(&self, snapshot: &Snapshot) -> Engine {
        let (place, options) = (self.engine.place(), self.engine.options());
        let mut engine = Engine::at(place.clone(), options.clone());
        let network = NodeNetwork { guards_pending: false, ..self.network.clone() };
        engine.update(snapshot, &network);
        engine
    }

    /// Makes the kernel enforce the snapshot.
    ///
    /// # Errors
    /// See [`SyncError`]. The kernel then enforces what it did before, or a
    /// state on the way, as the difference orders it; [`SyncFailed`] says which.
    /// A table that can be changed is changed, whatever happens to the other.
    pub fn sync(&mut self, snapshot: &Snapshot) -> Result<Outcome, SyncFailed> {
        self.sync_until(snapshot, &mut || false)
    }

    /// As [`Self::sync`]. Ends between two commits if something is more urgent than
    /// the rest of this change. That is asked once the commits have taken as long as the
    /// proof and the plan before them, so that a change reaches its end however often
    /// something is urgent.
    ///
    /// # Errors
    /// As [`Self::sync`], and [`SyncError::Interrupted`]. The kernel then enforces a
    /// state on the way, and the next change starts from it.
    pub fn sync_until(
        &mut self,
        snapshot: &Snapshot,
        is_urgent: &mut dyn FnMut() -> bool,
    ) -> Result<Outcome, SyncFailed> {
        let mut interrupt = Interrupt { proving: Duration::ZERO, is_urgent };
        self.compile_with_guards(snapshot);
        let mut results = Vec::new();
        for family in self.order() {
            let result = self.attempts(family, snapshot, &mut interrupt);
            let is_interrupted = matches!(result, Err(SyncError::Interrupted));
            results.push(result);
            if is_interrupted {
                break;
            }
        }
        let is_interrupted = matches!(results.last(), Some(Err(SyncError::Interrupted)));
        if !is_interrupted && self.guards_changed(snapshot) {
            results.push(self.attempts(TableFamily::Inet, snapshot, &mut interrupt));
        }
        match errors(results) {
            None => Ok(self.finished()),
            Some(errors) => Err(self.failed(errors)),
        }
    }

    /// Compiles a snapshot. A policy that is set aside stays so until its own
    /// object changes or it is due. Other objects change all the time, and what
    /// was refused a moment ago would stop their changes.
    fn compile_next(&mut self, snapshot: &Snapshot) {
        let diff = self.engine.snapshot().diff(snapshot);
        let is_due = self.set_aside.is_due(self.clock.now());
        if diff.is_empty() && !is_due && *self.engine.network() == self.network {
            return;
        }
        self.forget_proof();
        let mut keep = match is_due {
            true => BTreeSet::new(),
            false => self.engine.options().set_aside.clone(),
        };
        keep.retain(|policy| !diff.policies.contains(policy));
        self.set_aside.keep(&keep);
        self.engine.set_aside(keep);
        self.engine.update(snapshot, &self.network);
    }

    fn finished(&mut self) -> Outcome {
        let [inet, bridge] = FAMILIES.map(|family| {
            let wanted = self.wanted(family);
            let table = self.tables.of(family);
            table.finish(wanted)
        });
        self.enforced();
        Outcome {
            before: inet.1.before,
            after: inet.1.after,
            tables: [inet.0, bridge.0],
            diagnostics: self.diagnostics(),
            set_aside: self.engine.options().set_aside.clone(),
            over_budget: Arc::clone(&self.engine.compiled().over_budget),
        }
    }

    /// What the bridge's table went through is reported with the next success.
    fn failed(&mut self, errors: (SyncError, Option<SyncError>)) -> SyncFailed {
        let (error, also) = errors;
        SyncFailed {
            error,
            also: also.map(Box::new),
            diagnostics: self.diagnostics().into(),
            set_aside: self.engine.options().set_aside.clone(),
            over_budget: Arc::clone(&self.engine.compiled().over_budget),
            committed: self.tables.inet.progress.interrupt().map(Box::new),
        }
    }

    /// Of the compiler, and about the policies that are set aside.
    fn diagnostics(&self) -> Vec<Diagnostic> {
        let compiled = self.engine.compiled().diagnostics.iter();
        compiled.chain(self.set_aside.diagnostics()).cloned().collect()
    }
}
