//! Named mistakes, each of which the exact comparison must find.
//!
//! A mistake is in the compiler's input or in its table, and it must change the
//! table. The comparison must show a packet that reveals the mistake, and the
//! simulator and the specification must confirm the packet. `--nocapture` prints the
//! table of all mistakes.

mod bound;
mod cluster;
mod edges;
mod ipvs;
mod model;
mod table;
mod unknown;

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use compiler::Options;
use policy::{NodeNetwork, ObjectKey, Snapshot, spec};
use ruleset::Ruleset;
use ruleset::simulator::{Outcome, simulate, simulate_at};
use samples::from_scratch::compiled;
use samples::judge::{self, NodeVerdict};
use verify::{Difference, Reason, Report, VerifyError};

use cluster::NODE;

/// A mistake: its name, the line of the semantics that it breaks, and the change.
struct Mistake<T> {
    name: &'static str,
    line: &'static str,
    plant: fn(&mut T) -> Option<()>,
}

/// The comparison without a network.
fn verify(
    snapshot: &Snapshot,
    node: Option<&str>,
    set_aside: &BTreeSet<ObjectKey>,
    table: &Ruleset,
) -> Result<Report, VerifyError> {
    verify::verify(snapshot, node, set_aside, &NodeNetwork::default(), table, None)
}

/// The comparison on a node with this network.
fn verify_on(
    snapshot: &Snapshot,
    network: &NodeNetwork,
    table: &Ruleset,
) -> Result<Report, VerifyError> {
    verify::verify(snapshot, Some(NODE), &BTreeSet::new(), network, table, None)
}

/// On a node with this network nothing differs, and each of these mistakes is found by packets
/// that the simulator confirms.
fn all_caught(
    snapshot: &Snapshot,
    network: &NodeNetwork,
    right: &Ruleset,
    mistakes: &[Mistake<Ruleset>],
) -> Result<()> {
    let report = verify_on(snapshot, network, right)?;
    ensure!(report.is_equal(), "{:?}", report.differences.first());
    let missed = missed(mistakes, |one| {
        let mut wrong = right.clone();
        (one.plant)(&mut wrong).context("there is nowhere to plant it")?;
        let report = verify_on(snapshot, network, &wrong)?;
        ensure!(!report.differences.is_empty(), "it is not found");
        for difference in &report.differences {
            let seen = simulate_at(&wrong, difference.hook, &difference.packet)?;
            ensure!(seen.outcome == difference.got, "the simulator says {seen:?}: {difference}");
        }
        Ok(())
    });
    ensure!(missed.is_empty(), "{missed:#?}");
    Ok(())
}

fn options() -> Options {
    Options { node: Some(NODE.to_owned()), ..Options::default() }
}

#[test]
fn without_a_mistake_there_is_no_difference() -> Result<()> {
    let snapshot = cluster::snapshot()?;
    let table = compiled(&snapshot, &options()).ruleset;
    let report = verify(&snapshot, Some(NODE), &BTreeSet::new(), &table)?;
    ensure!(report.is_equal(), "{}", report.differences[0]);
    println!("{}", report.counts);
    Ok(())
}

#[test]
fn a_mistake_in_the_table_is_caught() -> Result<()> {
    let snapshot = cluster::snapshot()?;
    let right = compiled(&snapshot, &options()).ruleset;
    head();
    let missed = missed(table::MISTAKES, |Mistake { name, line, plant }| {
        let mut wrong = right.clone();
        plant(&mut wrong).context("there is nowhere to plant it")?;
        ensure!(wrong != right, "it changes nothing");
        caught(name, line, &snapshot, &wrong)
    });
    ensure!(missed.is_empty(), "{missed:#?}");
    Ok(())
}

#[test]
fn a_mistake_about_the_objects_is_caught() -> Result<()> {
    let snapshot = cluster::snapshot()?;
    let right = compiled(&snapshot, &options()).ruleset;
    head();
    let missed = missed(model::MISTAKES, |Mistake { name, line, plant }| {
        let mut misread = snapshot.clone();
        plant(&mut misread).context("there is nowhere to plant it")?;
        let wrong = compiled(&misread, &options()).ruleset;
        ensure!(wrong != right, "it changes nothing");
        caught(name, line, &snapshot, &wrong)
    });
    ensure!(missed.is_empty(), "{missed:#?}");
    Ok(())
}

#[test]
fn another_nodes_table_is_caught() -> Result<()> {
    let snapshot = cluster::snapshot()?;
    let options = Options { node: Some("n2".to_owned()), ..options() };
    head();
    caught("the table of another node", "DESIGN", &snapshot, &compiled(&snapshot, &options).ruleset)
}

/// A policy that is set aside still isolates. A forgotten policy does not.
#[test]
fn a_policy_set_aside_is_not_forgotten() -> Result<()> {
    let snapshot = cluster::snapshot()?;
    let aside: BTreeSet<_> = snapshot.policies.keys().take(1).cloned().collect();
    let with = Options { set_aside: aside.clone(), ..options() };
    let table = compiled(&snapshot, &with).ruleset;
    ensure!(verify(&snapshot, Some(NODE), &aside, &table)?.is_equal());
    ensure!(!verify(&snapshot, Some(NODE), &BTreeSet::new(), &table)?.is_equal());
    let mut forgotten = snapshot.clone();
    for key in &aside {
        forgotten.policies.remove(key);
    }
    let table = compiled(&forgotten, &options()).ruleset;
    ensure!(!verify(&snapshot, Some(NODE), &aside, &table)?.is_equal());
    Ok(())
}

/// The mistakes that the comparison did not find as it must, and why.
fn missed<T>(
    mistakes: &[Mistake<T>],
    check: impl Fn(&Mistake<T>) -> Result<()>,
) -> Vec<(&str, String)> {
    let missed = |one: &Mistake<T>| Some((one.name, check(one).err()?.root_cause().to_string()));
    mistakes.iter().filter_map(missed).collect()
}

fn head() {
    println!("| mistake | line | caught by | counter-example |\n|---|---|---|---|");
}

/// Checks that the comparison finds the table wrong, with packets that the simulator
/// and the specification confirm.
fn caught(name: &str, line: &str, snapshot: &Snapshot, wrong: &Ruleset) -> Result<()> {
    let report = verify(snapshot, Some(NODE), &BTreeSet::new(), wrong)?;
    let first = report.differences.first().context("it is not found")?;
    let owners = spec::owners(snapshot);
    for difference in &report.differences {
        let seen = simulate(wrong, &difference.packet)?;
        ensure!(seen.outcome == difference.got, "the simulator says {seen:?}: {difference}");
        ensure!(seen.decided_by == difference.place, "the simulator says {seen:?}: {difference}");
        if matches!(difference.reason, Reason::Policies { .. }) {
            let packet = judge::in_the_specification(&difference.packet);
            let said = NodeVerdict::of(snapshot, &owners, Some(NODE), &packet);
            let passes = difference.expected == Outcome::Accept;
            ensure!(said.passes() == passes, "the specification says {said:?}: {difference}");
        }
        ensure!(difference.got != difference.expected);
    }
    let text = first.to_string();
    println!("| {name} | {line} | {} | {} |", by(first), text.lines().next().unwrap_or_default());
    Ok(())
}

fn by(difference: &Difference) -> String {
    let end = match difference.direction {
        Some(direction) => format!("{direction} of an isolated pod"),
        None => "around the pods".to_owned(),
    };
    let verb = match difference.got {
        Outcome::Accept => "passes",
        Outcome::Drop => "dropped",
    };
    let chain = difference.place.as_ref().map_or("no rule", |place| place.chain.as_str());
    let readable: String = chain.chars().take(24).collect();
    format!("{end}: {verb} by {readable}")
}
