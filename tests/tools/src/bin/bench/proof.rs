//! The cost of proving a table against the specification. No kernel is involved.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use compiler::Options;
use policy::{NodeNetwork, Snapshot};
use samples::from_scratch::compiled;
use verify::{Counts, verify};

use samples::large::NODE;

/// How long each run took, and what was compared.
///
/// # Errors
/// When the table is not what the specification says.
pub fn times(snapshot: &Snapshot, runs: usize) -> Result<(Vec<Duration>, Counts)> {
    let options = Options { node: Some(NODE.to_owned()), ..Options::default() };
    let table = compiled(snapshot, &options).ruleset;
    let mut times = Vec::new();
    let mut counts = Counts::default();
    for _ in 0..runs {
        let start = Instant::now();
        let network = NodeNetwork::default();
        let report = verify(snapshot, Some(NODE), &BTreeSet::new(), &network, &table, None)?;
        times.push(start.elapsed());
        ensure!(report.is_equal(), "the table differs: {}", report.differences[0]);
        counts = report.counts;
    }
    Ok((times, counts))
}
