//! Proves a table before it is sent.
//!
//! In: the snapshot, the node's network, the policies set aside, the tables
//! compiled from these.
//! Out: nothing, or the first packet that the table treats differently from the
//! specification. Then the last proved table stays in force.
//! Never: a proof of the states between two tables. The order of batches is
//! responsible for those. Never: a comparison of objects, which the engine relies
//! on. A proof holds for the very maps that it was made for, and for no others.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use compiler::{Compiled, Engine};
use policy::{NodeNetwork, ObjectKey, Snapshot};
use ruleset::Ruleset;
use verify::{Report, VerifyError};

use super::attempt::Interrupt;
use super::own_table::Wanted;
use super::{Check, FAMILIES, MAX_ATTEMPTS, Pipeline, SyncError};
use crate::Sink;

/// What [`verify::verify`] is.
pub type Verify = fn(
    &Snapshot,
    Option<&str>,
    &BTreeSet<ObjectKey>,
    &NodeNetwork,
    &Ruleset,
    Option<&Ruleset>,
) -> Result<Report, VerifyError>;

/// Tables that were proved or not, since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Proofs {
    /// Those that match the specification.
    pub equal: u64,
    /// Those that do not, or where this is not known. None was sent.
    pub failed: u64,
    /// Time for all of them.
    pub total: Duration,
}

/// Proves the engine's table, once.
#[derive(Debug)]
pub(super) struct Prover {
    verify: Verify,
    /// The last proof; `None` if the engine's present table has none yet. The
    /// same table gives the same result.
    found: Option<Proof>,
    /// What was proved and then committed, in the order of [`FAMILIES`].
    enforced: Option<[Wanted; 2]>,
    proofs: Proofs,
    /// The objects to prove by, if the tables are compiled from a part of them.
    whole: Option<Snapshot>,
}

/// The result for the engine's table and these objects.
#[derive(Debug)]
struct Proof {
    snapshot: Snapshot,
    network: NodeNetwork,
    result: Result<(), Unproved>,
}

/// Why a table is not sent.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Unproved {
    /// A packet would be treated wrongly.
    #[error(
        "the tables compiled from these objects differ from the specification in {ways} ways and \
         were not sent; the rules before it stay in force. This is a mistake of nftpol: please \
         report it with these objects. {first}"
    )]
    Differs {
        /// How many ways there are.
        ways: usize,
        /// The first: packet, expected, got.
        first: String,
    },
    /// It is not known what the table does.
    #[error(
        "the tables compiled from these objects were not sent, since no proof is possible: {0}"
    )]
    Unclear(#[from] VerifyError),
}

impl Prover {
    /// Fails if the engine's tables do not match the specification for this
    /// snapshot and network.
    fn prove(
        &mut self,
        engine: &Engine,
        snapshot: &Snapshot,
        network: &NodeNetwork,
    ) -> Result<(), Unproved> {
        let whole = self.whole.clone();
        let snapshot = whole.as_ref().unwrap_or(snapshot);
        if let Some(found) = self.found.as_ref().filter(|found| found.is_about(snapshot, network)) {
            return found.result.clone();
        }
        let start = Instant::now();
        let Compiled { ruleset, bridge, .. } = engine.compiled();
        let node = engine.options().node.as_deref();
        let aside = engine.without_rules();
        let report = (self.verify)(snapshot, node, &aside, network, ruleset, bridge.as_ref());
        let result = report.map_err(Unproved::from).and_then(judge);
        let proofs = &mut self.proofs;
        proofs.total += start.elapsed();
        *(if result.is_ok() { &mut proofs.equal } else { &mut proofs.failed }) += 1;
        let proof = Proof { snapshot: snapshot.clone(), network: network.clone(), result };
        self.found.insert(proof).result.clone()
    }
}

impl Proof {
    /// Whether these are the very objects that were proved. Equal copies are not.
    /// A comparison that overlooks a change hides it from the engine, too.
    fn is_about(&self, snapshot: &Snapshot, network: &NodeNetwork) -> bool {
        let Snapshot { policies, pods, namespaces, kept, multi_policies: _ } = &self.snapshot;
        policies.ptr_eq(&snapshot.policies)
            && pods.ptr_eq(&snapshot.pods)
            && namespaces.ptr_eq(&snapshot.namespaces)
            && kept.ptr_eq(&snapshot.kept)
            && self.network.ports.ptr_eq(&network.ports)
            && self.network.bridges.ptr_eq(&network.bridges)
            && self.network == *network
    }
}

fn judge(report: Report) -> Result<(), Unproved> {
    let mut all = report.ways();
    match all.next() {
        None => Ok(()),
        Some(first) => Err(Unproved::Differs { ways: 1 + all.count(), first }),
    }
}

impl<S: Sink> Pipeline<S> {
    /// Proves each table with this before it is sent. A proof takes seconds on a
    /// large node. A table without one is not sent.
    #[must_use]
    pub fn proving(mut self, verify: Verify) -> Self {
        self.prover = Some(Prover {
            verify,
            found: None,
            enforced: None,
            proofs: Proofs::default(),
            whole: None,
        });
        self
    }

    /// The snapshots of the next changes are a part of this one. The proof is about all of it.
    pub fn prove_by(&mut self, whole: &Snapshot) {
        if let Some(prover) = &mut self.prover {
            prover.whole = Some(whole.clone());
        }
    }

    /// What was proved so far.
    pub fn proofs(&self) -> Proofs {
        self.prover.as_ref().map(|prover| prover.proofs).unwrap_or_default()
    }

    /// The engine's table changed: its proof is void.
    pub(super) fn forget_proof(&mut self) {
        if let Some(prover) = &mut self.prover {
            prover.found = None;
        }
    }

    /// Fails if a proof is required and fails. The kernel then keeps the last
    /// proved table.
    pub(super) fn prove(&mut self, snapshot: &Snapshot) -> Result<(), SyncError> {
        let Some(prover) = &mut self.prover else { return Ok(()) };
        let found = prover.prove(&self.engine, snapshot, &self.network);
        if found.is_err() {
            self.restore_last_proved();
        }
        Ok(found?)
    }

    /// The engine's tables are in force.
    pub(super) fn enforced(&mut self) {
        let tables = FAMILIES.map(|family| self.wanted(family));
        if let Some(prover) = &mut self.prover {
            prover.enforced = Some(tables);
        }
    }

    /// Restores the last proved tables if others touched them. Nothing else does
    /// so while the next ones have no proof.
    fn restore_last_proved(&mut self) {
        let Some(last) = self.prover.as_ref().and_then(|prover| prover.enforced.clone()) else {
            return;
        };
        if matches!(self.check(), Ok(Check::ReadWhenAffordable)) {
            self.distrust();
        }
        for (family, last) in FAMILIES.into_iter().zip(&last) {
            let batches = self.tables.of(family).progress.batches();
            let mut never = Interrupt { proving: Duration::ZERO, is_urgent: &mut || false };
            let result = self.attempt(family, last, MAX_ATTEMPTS, &mut never);
            let table = self.tables.of(family);
            match result {
                Ok(()) if table.progress.batches() > batches => tracing::warn!(
                    "others changed table {}; the one that was proved last is back",
                    table.id
                ),
                Ok(()) => {}
                Err(_) => tracing::warn!(
                    "table {}, as it was proved last, cannot be restored now",
                    table.id
                ),
            }
        }
    }
}
