//! A table proved before it is sent.
//!
//! In: the snapshot, the policies set aside, the table compiled from both.
//! Out: nothing, or the first packet with which that table would do other than
//! the specification says. Never: a proof of the states on the way from one
//! table to the next; the order of batches answers for those.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use compiler::Engine;
use policy::{ObjectKey, Snapshot};
use ruleset::Ruleset;
use verify::{Report, VerifyError};

use super::{Pipeline, SyncError};

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
    /// Fails if the engine's table is not what the specification says.
    fn prove(&mut self, engine: &Engine) -> Result<(), Unproved> {
        if let Some(found) = &self.found {
            return found.clone();
        }
        let start = Instant::now();
        let options = engine.options();
        let (snapshot, table) = (engine.snapshot(), &engine.compiled().ruleset);
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

impl<S> Pipeline<S> {
    /// Proves each table by this before it is sent, which takes seconds on a
    /// large node; one without a proof is not sent.
    #[must_use]
    pub fn proving(mut self, verify: Verify) -> Self {
        self.prover = Some(Prover { verify, found: None, proofs: Proofs::default() });
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

    /// Fails if there must be a proof and there is none.
    pub(super) fn prove(&mut self) -> Result<(), SyncError> {
        self.prover.as_mut().map_or(Ok(()), |prover| prover.prove(&self.engine))?;
        Ok(())
    }
}
