//! What a cluster costs at the start, and what each kind of change costs, in clusters of
//! different sizes.
//!
//! Prints Markdown tables, in milliseconds. "Together" is compile, difference and send.

use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use policy::Snapshot;
use samples::large;

use crate::figures::{Cost, milliseconds, typical};
use crate::node::{Node, Times};

/// Pods of a namespace of the clusters.
const PODS_A_NAMESPACE: usize = 100;

/// What to measure.
pub struct Plan<'a> {
    pub rounds: usize,
    /// Numbers of pods, in hundreds. There is a policy for ten pods.
    pub sizes: &'a [usize],
    /// Rules of the cluster that is one policy.
    pub rules: u16,
}

/// What a kind of change costs in a cluster of this size, in milliseconds.
pub struct Figure {
    pub change: &'static str,
    pub pods: usize,
    pub cpu: f64,
    pub wall: f64,
    /// CPU time of sending the same bytes.
    pub kernel: f64,
}

/// All times of one kind of change, by number of pods.
struct Row {
    change: &'static str,
    pods: usize,
    times: Vec<Times>,
}

/// Measures all kinds of change in all sizes, and prints them.
pub fn measure(plan: &Plan<'_>) -> Result<Vec<Figure>> {
    ensure!(plan.rounds > 0, "measure at least once");
    cold_table(plan)?;
    let mut rows = Vec::new();
    for &namespaces in plan.sizes {
        let pods = namespaces * PODS_A_NAMESPACE;
        eprintln!("changes: {pods} pods, {} rounds", plan.rounds);
        rows.extend(in_a_cluster(&large::sized(namespaces)?, plan.rounds)?);
    }
    rows.sort_by_key(|row| (row.change, row.pods));
    table(&rows);
    growth(&rows, plan.sizes);
    Ok(rows.iter().map(Row::figure).collect())
}

/// Into an empty kernel, a new one for each round.
fn cold_table(plan: &Plan<'_>) -> Result<()> {
    println!(
        "| cold start, ms | elements, rules, sets | compile | difference | send | together | \
         CPU | the same bytes | `nft -f` |"
    );
    println!("|---|---|---:|---:|---:|---:|---:|---:|---:|");
    // A start takes long, and the last size takes longest.
    let rounds = plan.rounds.div_ceil(4);
    for &namespaces in plan.sizes {
        let cluster = large::sized(namespaces)?;
        let name = format!("{} pods, {} policies", cluster.pods.len(), cluster.policies.len());
        cold(&name, &cluster, rounds)?;
    }
    if let Some(&namespaces) = plan.sizes.last() {
        let mut cluster = large::sized(namespaces)?;
        let policy = large::everyone();
        cluster.policies.insert(policy.key.clone(), Arc::new(policy));
        let name = format!("{} pods, and a peer that is all of them", cluster.pods.len());
        cold(&name, &cluster, rounds)?;
    }
    let name = format!("one policy of {} rules", plan.rules);
    cold(&name, &large::many_rules(plan.rules)?, rounds)?;
    println!();
    Ok(())
}

fn cold(name: &str, cluster: &Snapshot, rounds: usize) -> Result<()> {
    eprintln!("cold start: {name}, {rounds} rounds");
    let mut times = Vec::new();
    let mut size = crate::node::Size::default();
    for _ in 0..rounds {
        let mut node = Node::new()?;
        times.push(node.enforce(cluster)?);
        size = node.size();
    }
    let wall = |of: fn(&Times) -> Cost| milliseconds(times.iter().map(|times| of(times).wall));
    println!(
        "| {name} | {}, {}, {} | {} | {} | {} | {} | {} | {} | {} |",
        size.elements,
        size.rules,
        size.sets,
        wall(|times| times.compile),
        wall(|times| times.difference),
        wall(|times| times.send),
        wall(Times::together),
        milliseconds(times.iter().map(|times| times.together().cpu)),
        wall(|times| times.raw),
        milliseconds(times.iter().map(|times| times.nft)),
    );
    Ok(())
}

/// Every kind of change, there and back.
fn in_a_cluster(cluster: &Snapshot, rounds: usize) -> Result<Vec<Row>> {
    let mut node = Node::new()?;
    node.enforce(cluster)?;
    let mut rows = Vec::new();
    for ([there, back], changed) in changes(cluster)? {
        let (mut first, mut second) = (Vec::new(), Vec::new());
        for _ in 0..rounds {
            first.push(node.enforce(&changed)?);
            second.push(node.enforce(cluster)?);
        }
        let row = |change, times| Row { change, pods: cluster.pods.len(), times };
        if there == back {
            first.extend(second);
            rows.push(row(there, first));
        } else {
            rows.extend([row(there, first), row(back, second)]);
        }
    }
    Ok(rows)
}

/// The names of a change and of the way back, and the cluster after it.
type Change = ([&'static str; 2], Snapshot);

fn changes(cluster: &Snapshot) -> Result<Vec<Change>> {
    let pod = |key| cluster.pods.get(&key).context("no such pod");
    let (local, remote) = (pod(large::local_pod())?, pod(large::remote_pod())?);
    let policy = cluster.policies.get(&large::local_policy()).context("no such policy")?;
    let pods = [
        (["a remote pod relabelled"; 2], large::relabelled(remote)),
        (["a local pod relabelled"; 2], large::relabelled(local)),
        (["a local pod appears", "a local pod goes"], large::newcomer(local)),
    ];
    let mut changes: Vec<Change> = pods
        .into_iter()
        .map(|(names, pod)| {
            let mut changed = cluster.clone();
            changed.pods.insert(pod.key.clone(), Arc::new(pod));
            (names, changed)
        })
        .collect();
    let mut changed = cluster.clone();
    changed.policies.insert(policy.key.clone(), Arc::new(large::edited(policy)));
    changes.push((["a policy edited"; 2], changed));
    let namespace = cluster.namespaces.values().next().context("no namespace")?;
    let mut changed = cluster.clone();
    let other = large::without_team(namespace);
    changed.namespaces.insert(other.name.clone(), Arc::new(other));
    changes.push((["a namespace of 100 pods relabelled"; 2], changed));
    Ok(changes)
}

fn table(rows: &[Row]) {
    println!(
        "| change, ms | pods | operations in batches | compile, CPU | difference, CPU | \
         send, CPU | together, CPU | together | the same bytes, CPU | the same bytes | `nft -f` |"
    );
    println!("|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|");
    for Row { change, pods, times } in rows {
        let cpu = |of: fn(&Times) -> Cost| milliseconds(times.iter().map(|times| of(times).cpu));
        let wall = |of: fn(&Times) -> Cost| milliseconds(times.iter().map(|times| of(times).wall));
        let most = |of: fn(&Times) -> usize| times.iter().map(of).max().unwrap_or_default();
        println!(
            "| {change} | {pods} | {} in {} | {} | {} | {} | {} | {} | {} | {} | {} |",
            most(|times| times.operations),
            most(|times| times.batches),
            cpu(|times| times.compile),
            cpu(|times| times.difference),
            cpu(|times| times.send),
            cpu(Times::together),
            wall(Times::together),
            cpu(|times| times.raw),
            wall(|times| times.raw),
            milliseconds(times.iter().map(|times| times.nft)),
        );
    }
    println!();
}

/// What a change costs in the largest cluster compared with one a tenth of its size.
fn growth(rows: &[Row], sizes: &[usize]) {
    let Some(&last) = sizes.last() else { return };
    let (large, small) = (last * PODS_A_NAMESPACE, last * PODS_A_NAMESPACE / 10);
    println!("| CPU time at {large} pods, compared with {small} | ratio |\n|---|---:|");
    let of = |change, pods| {
        let row = rows.iter().find(|row: &&Row| row.change == change && row.pods == pods)?;
        Some(row.figure().cpu)
    };
    for row in rows.iter().filter(|row| row.pods == large) {
        if let (Some(small), Some(large)) = (of(row.change, small), of(row.change, large)) {
            println!("| {} | {:.2} |", row.change, large / small);
        }
    }
    println!();
}

impl Row {
    fn figure(&self) -> Figure {
        let typical = |of: fn(&Times) -> f64| {
            typical(&self.times.iter().map(|times| of(times) * 1e3).collect::<Vec<_>>())
        };
        Figure {
            change: self.change,
            pods: self.pods,
            cpu: typical(|times| times.together().cpu.as_secs_f64()),
            wall: typical(|times| times.together().wall.as_secs_f64()),
            kernel: typical(|times| times.raw.cpu.as_secs_f64()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_sizes_in_small() {
        let figures = measure(&Plan { rounds: 1, sizes: &[1, 10], rules: 100 }).unwrap();
        let kinds: Vec<_> = figures.iter().filter(|one| one.pods == 1000).collect();
        assert_eq!((figures.len(), kinds.len()), (12, 6));
        for Figure { change, pods, cpu, wall, kernel } in &figures {
            assert!(*cpu > 0.0 && *wall > 0.0 && *kernel > 0.0, "{change} at {pods}");
        }
    }
}
