//! The cost of enforcing policies, compared with `nft -f`.
//!
//! Takes the number of rounds (default 7). Prints a Markdown table: the median and,
//! in brackets, the minimum and the maximum, in milliseconds. It sets no limits,
//! because times depend on the machine.

mod measure;
mod proof;

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use policy::{ObjectKey, Snapshot};
use samples::large;

use measure::{Node, Times};

fn main() -> Result<()> {
    let runs = match std::env::args().nth(1) {
        None => 7,
        Some(runs) => runs.parse().context("the number of rounds")?,
    };
    ensure!(runs > 0, "measure at least once");
    println!(
        "| | compile | difference | send | together | `nft -f`, whole table | ratio | `nft -f`, \
         operations alone |"
    );
    println!("|---|---:|---:|---:|---:|---:|---:|---:|");
    let large = large::large()?;
    cold("10,000 pods, 1,000 policies, 250 local pods, cold", &large, runs)?;
    cold("one policy of 10,000 rules, cold", &large::many_rules()?, runs)?;
    let mut node = Node::new()?;
    node.enforce(&large)?;
    change("10,000 pods: a remote pod relabelled", &mut node, &large, large::remote_pod(), runs)?;
    change("10,000 pods: a local pod relabelled", &mut node, &large, large::local_pod(), runs)?;
    println!("\n| | `verify` | compared |");
    println!("|---|---:|---|");
    proof("10,000 pods, 1,000 policies, 250 local pods", &large, runs)?;
    proof("one policy of 10,000 rules", &large::many_rules()?, runs)
}

/// Measures the exact comparison of the table with the specification.
fn proof(name: &str, snapshot: &Snapshot, runs: usize) -> Result<()> {
    let (times, counts) = proof::times(snapshot, runs)?;
    println!("| {name} | {} | {counts} |", spread(times));
    Ok(())
}

/// Measures into an empty kernel, a new one for each run.
fn cold(name: &str, snapshot: &Snapshot, runs: usize) -> Result<()> {
    let mut times = Vec::new();
    let mut size = (0, 0);
    for _ in 0..runs {
        let mut node = Node::new()?;
        times.push(node.enforce(snapshot)?);
        size = node.size();
    }
    let (elements, rules) = size;
    row(&format!("{name} ({elements} elements, {rules} rules)"), &times);
    Ok(())
}

/// One pod gets other labels, and then its own labels again.
fn change(
    name: &str,
    node: &mut Node,
    large: &Snapshot,
    key: ObjectKey,
    runs: usize,
) -> Result<()> {
    let pod = large.pods.get(&key).context("no such pod")?;
    let mut changed = large.clone();
    changed.pods.insert(key, Arc::new(large::relabelled(pod)));
    let mut times = Vec::new();
    for _ in 0..runs {
        times.push(node.enforce(&changed)?);
        times.push(node.enforce(large)?);
    }
    row(name, &times);
    Ok(())
}

fn row(name: &str, times: &[Times]) {
    let together = |times: &Times| times.compile + times.difference + times.send;
    let column = |of: &dyn Fn(&Times) -> Duration| spread(times.iter().map(of).collect::<Vec<_>>());
    let ratio = median(times.iter().map(|times| times.table).collect()).as_secs_f64()
        / median(times.iter().map(together).collect()).as_secs_f64();
    println!(
        "| {name} | {} | {} | {} | {} | {} | {ratio:.1} | {} |",
        column(&|times| times.compile),
        column(&|times| times.difference),
        column(&|times| times.send),
        column(&together),
        column(&|times| times.table),
        spread(times.iter().filter_map(|times| times.operations).collect()),
    );
}

/// `median (least-most)` in milliseconds, or nothing without times.
fn spread(times: Vec<Duration>) -> String {
    if times.is_empty() {
        return String::new();
    }
    let ms = |time: Option<&Duration>| time.map_or(0.0, |time| time.as_secs_f64() * 1e3);
    let (least, most) = (ms(times.iter().min()), ms(times.iter().max()));
    format!("{:.2} ({least:.2}-{most:.2})", ms(Some(&median(times))))
}

/// The middle value, or the later of the two middle values.
fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}
