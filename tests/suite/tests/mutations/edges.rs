//! Mistakes about multicast, broadcast and link-local addresses on a node whose isolated
//! pods are all behind guarded ports.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use policy::spec::edges::{AtEdges, Edges};
use policy::{BoundBridge, BoundPort, InterfaceIndex, Mac, NodeNetwork, Snapshot};
use ruleset::simulator::simulate;
use ruleset::{AddressTest, Element, Field, Finish, Match, Name, Rule, Ruleset, Verdict};
use samples::from_scratch::compiled_on;

use super::cluster::{self, NODE};
use super::{Mistake, missed, options};

const MISTAKES: &[Mistake<Ruleset>] = &[
    mistake("an isolated pod sends to groups", |table| {
        forget(table, |one| asks(one, Field::Source, "isolated.i4"))
    }),
    mistake("an isolated pod sends to groups from its link-local address", |table| {
        forget(table, |one| asks(one, Field::Source, "muted6"))
    }),
    mistake("a link-local address of an isolated pod is not muted", |table| {
        let own = Element::Address(ip("fe80::1"));
        table.sets.get_mut("muted6")?.elements.remove(&own).map(|_| ())
    }),
    mistake("a pod that nobody isolates is muted", |table| {
        let other = Element::Address(ip("fe80::99"));
        table.sets.get_mut("muted6")?.elements.insert(other).is_none().then_some(())
    }),
    mistake("link-local addresses reach each other", |table| {
        let is = |one: &Match| {
            matches!(one, Match::Address(Field::Destination, AddressTest::In(range))
                if range.contains(ip("fe80::1")))
        };
        forget(table, is)
    }),
    mistake("packets from link-local addresses pass", |table| {
        let is = |one: &Match| {
            matches!(one, Match::Address(Field::Source, AddressTest::In(range))
                if range.contains(ip("fe80::1")))
        };
        forget(table, is)
    }),
    mistake("IPv6 groups are dropped", |table| {
        let is = |one: &Match| {
            matches!(one, Match::Address(Field::Destination, AddressTest::In(range))
                if range.contains(ip("ff02::1")))
        };
        forget(table, is)
    }),
    mistake("groups are shut for all", |table| {
        edges(table)?.push(Rule::new([], Verdict::Drop));
        Some(())
    }),
    mistake("groups pass whatever else is to be asked", |table| {
        let rule = edges(table)?.iter_mut().find(|rule| is_return(rule))?;
        *rule = Rule::new(rule.matches.clone(), Verdict::Accept);
        Some(())
    }),
    mistake("groups are routed to an isolated pod", |table| {
        let guarded = &mut table.sets.get_mut("guarded")?.elements;
        let first = guarded.iter().next().copied()?;
        guarded.remove(&first).map(|_| ())
    }),
];

const fn mistake(name: &'static str, plant: fn(&mut Ruleset) -> Option<()>) -> Mistake<Ruleset> {
    Mistake { name, line: "29", plant }
}

#[test]
fn a_mistake_about_groups_is_caught() -> Result<()> {
    let snapshot = cluster::snapshot()?;
    let network = network(&snapshot);
    let edges = AtEdges::of(&snapshot, &network, Some(NODE)).edges;
    ensure!(edges == Edges::Guarded, "{edges:?}");
    let right = compiled_on(&snapshot, &network, &options());
    let verify = |table: &Ruleset, bridge: Option<&Ruleset>| {
        verify::verify(&snapshot, Some(NODE), &BTreeSet::new(), &network, table, bridge)
    };
    let report = verify(&right.ruleset, right.bridge.as_ref())?;
    ensure!(report.is_equal(), "{:?}", report.differences.first());
    let missed = missed(MISTAKES, |one| {
        let mut wrong = right.ruleset.clone();
        (one.plant)(&mut wrong).context("there is nowhere to plant it")?;
        let report = verify(&wrong, right.bridge.as_ref())?;
        ensure!(!report.differences.is_empty(), "it is not found");
        for difference in &report.differences {
            let seen = simulate(&wrong, &difference.packet)?;
            ensure!(seen.outcome == difference.got, "the simulator says {seen:?}: {difference}");
        }
        Ok(())
    });
    ensure!(missed.is_empty(), "{missed:#?}");
    let mut bridge = right.bridge.clone().context("pods are on a bridge")?;
    bridge.sets.get_mut("guarded").context("the set")?.elements.clear();
    let report = verify(&right.ruleset, Some(&bridge))?;
    ensure!(!report.bound_differences.is_empty(), "a guard that is not there is found");
    Ok(())
}

/// Each pod of the node is behind a port. Every second one is a bridge's.
fn network(snapshot: &Snapshot) -> NodeNetwork {
    let bridge = InterfaceIndex(3);
    let pods = snapshot.pods.values().filter(|pod| pod.is_subject() && pod.is_on(Some(NODE)));
    let ports = pods.zip(0_u8..).map(|(pod, number)| {
        let link_local = ip(&format!("fe80::{}", number + 1));
        let port = BoundPort {
            pod: pod.key.clone(),
            bridge: number.is_multiple_of(2).then_some(bridge),
            mac: Mac([2, 0, 0, 0, 0, number + 1]),
            addresses: pod.addresses.iter().copied().chain([link_local]).collect(),
        };
        (InterfaceIndex(u32::from(number) + 7), port)
    });
    let gateway = BoundBridge {
        mac: Mac([2, 0, 0, 0, 1, 0]),
        addresses: [ip("10.0.0.254")].into(),
        only_pods: true,
    };
    NodeNetwork {
        ports: ports.collect(),
        bridges: [(bridge, gateway)].into_iter().collect(),
        ..NodeNetwork::default()
    }
}

fn is_return(rule: &Rule) -> bool {
    matches!(rule.finish, Some(Finish::Verdict(Verdict::Return)))
}

fn edges(table: &mut Ruleset) -> Option<&mut Vec<Rule>> {
    let name = Name::new("edges").ok()?;
    table.chains.get_mut(&name).map(|chain| &mut Arc::make_mut(chain).rules)
}

/// Removes the rules of the edges that have such a match.
fn forget(table: &mut Ruleset, is: impl Fn(&Match) -> bool) -> Option<()> {
    let rules = edges(table)?;
    let before = rules.len();
    rules.retain(|rule| !rule.matches.iter().any(&is));
    (rules.len() < before).then_some(())
}

fn asks(one: &Match, field: Field, name: &str) -> bool {
    matches!(one, Match::Address(of, AddressTest::Set(_, set))
        if *of == field && set.as_str() == name)
}

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}
