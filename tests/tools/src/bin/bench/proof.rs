//! The cost of proving a table against the specification. No kernel is involved.

use std::collections::BTreeSet;

use anyhow::{Result, ensure};
use compiler::Options;
use policy::{NodeNetwork, Snapshot};
use samples::from_scratch::compiled;
use samples::large::{self, NODE};
use verify::verify;

use crate::figures::{measured, milliseconds};

/// Prints the table, for a cluster of this size in hundreds of pods, and for one policy
/// of this many rules.
pub fn measure(rounds: usize, namespaces: usize, rules: u16) -> Result<()> {
    println!("| ms | `verify` | CPU | compared |\n|---|---:|---:|---|");
    let cluster = large::sized(namespaces)?;
    let (pods, policies) = (cluster.pods.len(), cluster.policies.len());
    proof(&format!("{pods} pods, {policies} policies, 250 local pods"), &cluster, rounds)?;
    proof(&format!("one policy of {rules} rules"), &large::many_rules(rules)?, rounds)?;
    println!();
    Ok(())
}

fn proof(name: &str, snapshot: &Snapshot, rounds: usize) -> Result<()> {
    eprintln!("proof: {name}, {rounds} rounds");
    let options = Options { node: Some(NODE.to_owned()), ..Options::default() };
    let table = compiled(snapshot, &options).ruleset;
    let network = NodeNetwork::default();
    let mut costs = Vec::new();
    let mut counts = String::new();
    for _ in 0..rounds {
        let (report, cost) =
            measured(|| verify(snapshot, Some(NODE), &BTreeSet::new(), &network, &table, None))?;
        let report = report?;
        ensure!(report.is_equal(), "the table differs: {}", report.differences[0]);
        costs.push(cost);
        counts = report.counts.to_string();
    }
    println!(
        "| {name} | {} | {} | {counts} |",
        milliseconds(costs.iter().map(|cost| cost.wall)),
        milliseconds(costs.iter().map(|cost| cost.cpu)),
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_round_in_small() {
        measure(1, 1, 100).unwrap();
    }
}
