//! A table proved before it is sent.
//!
//! In: the snapshot, the policies set aside, the table compiled from both.
//! Out: nothing, or the first packet with which that table would do other than
//! the specification says; then the table that was proved last stays in force.
//! Never: a proof of the states on the way from one table to the next; the
//! order of batches answers for those.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use compiler::Engine;
use policy::{ObjectKey, Snapshot};
use ruleset::Ruleset;
use verify::{Report, VerifyError};

use super::{Check, MAX_ATTEMPTS, Pipeline, SyncError};
use crate::Sink;

/// What [`verify::verify`] is.
pub type Verify =
    fn(&Snapshot, Option<&str>, &BTreeSet<ObjectKey>, &Ruleset) -> Result<Report, VerifyError>;

/// Tables that were proved or not, since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Proofs {
    /// Those that mean what the specification says.
    pub equal: u64,
    /// Those that do not, or of which that cannot be told. None was sent.
    pub failed: u64,
    /// Time for all of them.
    pub total: Duration,
}

/// Proves the engine's table, once.
#[derive(Debug)]
pub(super) struct Prover {
    verify: Verify,
    /// About the engine's present table; `None` before anybody asked. The same
    /// table would give the same answer.
    found: Option<Result<(), Unproved>>,
    /// What was proved and then committed.
    enforced: Option<Arc<Ruleset>>,
    proofs: Proofs,
}

/// Why a table is not sent.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Unproved {
    /// A packet would be treated wrongly.
    #[error(
        "the table compiled from these objects differs from the specification in {ways} ways and \
         was not sent; the rules before it stay in force. This is a mistake of nftpol: please \
         report it with these objects. {first}"
    )]
    Differs {
        /// How many ways there are.
        ways: usize,
        /// The first: packet, expected, got.
        first: String,
    },
    /// What the table does cannot be told.
    #[error("the table compiled from these objects was not sent, since no proof is possible: {0}")]
    Unclear(#[from] VerifyError),
}

impl Prover {
    /// Fails if the engine's table is not what the specification says of this
    /// snapshot.
    fn prove(&mut self, engine: &Engine, snapshot: &Snapshot) -> Result<(), Unproved> {
        if let Some(found) = &self.found {
            return found.clone();
        }
        let start = Instant::now();
        let options = engine.options();
        let table = &engine.compiled().ruleset;
        let report = (self.verify)(snapshot, options.node.as_deref(), &options.set_aside, table);
        let found = report.map_err(Unproved::from).and_then(judge);
        let proofs = &mut self.proofs;
        proofs.total += start.elapsed();
        *(if found.is_ok() { &mut proofs.equal } else { &mut proofs.failed }) += 1;
        self.found.insert(found).clone()
    }
}

fn judge(report: Report) -> Result<(), Unproved> {
    match report.differences.first() {
        None => Ok(()),
        Some(first) => {
            let ways = report.differences.len();
            Err(Unproved::Differs { ways, first: first.to_string() })
        }
    }
}

impl<S: Sink> Pipeline<S> {
    /// Proves each table by this before it is sent, which takes seconds on a
    /// large node; one without a proof is not sent.
    #[must_use]
    pub fn proving(mut self, verify: Verify) -> Self {
        self.prover =
            Some(Prover { verify, found: None, enforced: None, proofs: Proofs::default() });
        self
    }

    /// What was proved so far.
    pub fn proofs(&self) -> Proofs {
        self.prover.as_ref().map(|prover| prover.proofs).unwrap_or_default()
    }

    /// The engine's table is another one now.
    pub(super) fn reopen(&mut self) {
        if let Some(prover) = &mut self.prover {
            prover.found = None;
        }
    }

    /// Fails if there must be a proof and there is none; then the kernel has
    /// the table that was proved last.
    pub(super) fn prove(&mut self, snapshot: &Snapshot) -> Result<(), SyncError> {
        let Some(prover) = &mut self.prover else { return Ok(()) };
        let found = prover.prove(&self.engine, snapshot);
        if found.is_err() {
            self.keep();
        }
        Ok(found?)
    }

    /// The engine's table is in force.
    pub(super) fn enforced(&mut self, table: &Arc<Ruleset>) {
        if let Some(prover) = &mut self.prover {
            prover.enforced = Some(Arc::clone(table));
        }
    }

    /// Restores the table that was proved last if others touched it: nobody
    /// else looks after it while what shall take its place is not proved.
    fn keep(&mut self) {
        let Some(last) = self.prover.as_ref().and_then(|prover| prover.enforced.clone()) else {
            return;
        };
        if matches!(self.check(), Ok(Check::ReadWhenAffordable)) {
            self.distrust();
        }
        let batches = self.progress.batches();
        match self.attempt(&last, MAX_ATTEMPTS) {
            Ok(()) if self.progress.batches() > batches => {
                tracing::warn!("others changed the table; the one that was proved last is back");
            }
            Ok(()) => {}
            Err(_) => tracing::warn!("the table that was proved last cannot be restored now"),
        }
    }
}
