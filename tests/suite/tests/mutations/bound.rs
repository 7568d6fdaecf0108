//! Mistakes at the forward hook of a node whose pods are bound.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use policy::{BoundPort, InterfaceIndex, Mac, NodeNetwork, ObjectKey};
use ruleset::simulator::simulate;
use ruleset::{AddressTest, Element, Family, FlowSide, Match, Rule, Ruleset, Verdict};
use samples::from_scratch::compiled_on;

use super::cluster::{self, NODE};
use super::{Mistake, missed, options};

const MISTAKES: &[Mistake<Ruleset>] = &[
    mistake("a pod speaks of others' flows", |table| forget(table, &is_owned(Family::V4))),
    mistake("a pod speaks of others' flows in IPv6", |table| forget(table, &is_owned(Family::V6))),
    mistake("nobody is asked whose flow it is", |table| {
        let rule = rule(table, "forward", &is_related)?;
        *rule = Rule::new(rule.matches.clone(), Verdict::Accept);
        Some(())
    }),
    mistake("a client cannot speak of its flow", |table| {
        forget(table, &is_side(FlowSide::Original))
    }),
    mistake("a server cannot speak of its flow", |table| forget(table, &is_side(FlowSide::Reply))),
    mistake("both sides are the client", |table| {
        let of_reply = rule(table, "related", &is_side(FlowSide::Reply))?;
        let Match::FlowSource(side, ..) = &mut of_reply.matches[0] else { return None };
        *side = FlowSide::Original;
        Some(())
    }),
    mistake("a pod is no end of its flows", |table| {
        let own = Element::AddressPair(ip("10.0.0.1"), ip("10.0.0.1"));
        table.sets.get_mut("ends4")?.elements.remove(&own).map(|_| ())
    }),
    mistake("a pod is an end of another's flows", |table| {
        let of_other = Element::AddressPair(ip("10.0.0.1"), ip("10.0.0.2"));
        table.sets.get_mut("ends4")?.elements.insert(of_other).is_none().then_some(())
    }),
    mistake("a pod is an end of the flows of an address that nobody has", |table| {
        let of_other = Element::AddressPair(ip("fd00::1"), ip("2001:db8::1"));
        table.sets.get_mut("ends6")?.elements.insert(of_other).is_none().then_some(())
    }),
    mistake("an address that is not bound is taken for a pod's", |table| {
        let other = Element::Address(ip("192.0.2.9"));
        table.sets.get_mut("owned4")?.elements.insert(other).is_none().then_some(())
    }),
    mistake("link-local addresses may speak of any flow", |table| {
        let test = |one: &Match| matches!(one, Match::Address(_, AddressTest::In(_)));
        forget(table, &test)
    }),
];

const fn mistake(name: &'static str, plant: fn(&mut Ruleset) -> Option<()>) -> Mistake<Ruleset> {
    Mistake { name, line: "P", plant }
}

#[test]
fn a_mistake_about_errors_of_bound_pods_is_caught() -> Result<()> {
    let (snapshot, network) = (cluster::snapshot()?, network());
    let right = compiled_on(&snapshot, &network, &options());
    let verify = |table: &Ruleset| {
        let none = BTreeSet::new();
        verify::verify(&snapshot, Some(NODE), &none, &network, table, right.bridge.as_ref())
    };
    let report = verify(&right.ruleset)?;
    ensure!(report.is_equal(), "{:?}", report.differences.first());
    let missed = missed(MISTAKES, |one| {
        let mut wrong = right.ruleset.clone();
        (one.plant)(&mut wrong).context("there is nowhere to plant it")?;
        let report = verify(&wrong)?;
        ensure!(!report.differences.is_empty(), "it is not found");
        for difference in &report.differences {
            let seen = simulate(&wrong, &difference.packet)?;
            ensure!(seen.outcome == difference.got, "the simulator says {seen:?}: {difference}");
            ensure!(difference.got != difference.expected);
        }
        Ok(())
    });
    ensure!(missed.is_empty(), "{missed:#?}");
    Ok(())
}

/// Two pods, each on a link of its own.
fn network() -> NodeNetwork {
    let port = |pod, last: u8| BoundPort {
        pod: ObjectKey::new("dev", pod),
        bridge: None,
        mac: Mac([2, 0, 0, 0, 0, last]),
        addresses: [format!("10.0.0.{last}"), format!("fd00::{last}")].map(|one| ip(&one)).into(),
    };
    let ports = [(InterfaceIndex(7), port("web", 1)), (InterfaceIndex(8), port("db", 2))];
    NodeNetwork { ports: ports.into_iter().collect(), ..NodeNetwork::default() }
}

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

fn is_related(one: &Match) -> bool {
    matches!(one, Match::CtState(states) if states.related)
}

fn is_owned(family: Family) -> impl Fn(&Match) -> bool {
    move |one| matches!(one, Match::Address(_, AddressTest::Set(of, _)) if *of == family)
}

fn is_side(side: FlowSide) -> impl Fn(&Match) -> bool {
    move |one| matches!(one, Match::FlowSource(of, ..) if *of == side)
}

fn rules<'a>(table: &'a mut Ruleset, chain: &str) -> Option<&'a mut Vec<Rule>> {
    table.chains.get_mut(chain).map(|chain| &mut Arc::make_mut(chain).rules)
}

/// The first rule of a chain with such a match.
fn rule<'a>(
    table: &'a mut Ruleset,
    chain: &str,
    wanted: &dyn Fn(&Match) -> bool,
) -> Option<&'a mut Rule> {
    rules(table, chain)?.iter_mut().find(|rule| rule.matches.iter().any(wanted))
}

/// Removes all rules about related packets that have such a match.
fn forget(table: &mut Ruleset, wrong: &dyn Fn(&Match) -> bool) -> Option<()> {
    let rules = rules(table, "related")?;
    let before = rules.len();
    rules.retain(|rule| !rule.matches.iter().any(wrong));
    (rules.len() < before).then_some(())
}
