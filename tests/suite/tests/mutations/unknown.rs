//! Mistakes about addresses that no object names, on a node that drops what it does not
//! know.

use std::net::IpAddr;
use std::sync::Arc;

use anyhow::{Result, ensure};
use policy::{NodeNetwork, UnknownPods, pod_ranges};
use ruleset::{Element, Name, Ruleset, Set};
use samples::from_scratch::compiled_on;

use super::cluster;
use super::{Mistake, all_caught, options, verify_on};

const MISTAKES: &[Mistake<Ruleset>] = &[
    mistake("a pod is not known", |table| {
        known(table, "10.0.0.7")?.elements.remove(&Element::Address(ip("10.0.0.7"))).map(|_| ())
    }),
    mistake("a pod of another node is not known", |table| {
        known(table, "fd00::4")?.elements.remove(&Element::Address(ip("fd00::4"))).map(|_| ())
    }),
    mistake("an address without a pod is known", |table| {
        let other = Element::Address(ip("10.0.0.77"));
        known(table, "10.0.0.77")?.elements.insert(other).is_none().then_some(())
    }),
    mistake("the address of a pod that has ended is known", |table| {
        let ended = Element::Address(ip("fd00::5"));
        known(table, "fd00::5")?.elements.insert(ended).is_none().then_some(())
    }),
    mistake("what is not known is only logged", |table| drop_nothing(table, "unknown.from4")),
    mistake("what is not known is reached", |table| drop_nothing(table, "unknown.to6")),
    mistake("sources are not asked", |table| forget_jumps(table, "forward", "unknown.from4")),
    mistake("sources of IPv6 are not asked", |table| forget_jumps(table, "six", "unknown.from6")),
    mistake("destinations are not asked", |table| forget_jumps(table, "unknown", "unknown.to4")),
    mistake("sources are asked after ingress policies accepted", |table| {
        let rules = rules(table, "forward")?;
        let at = rules.iter().position(|rule| is_to(rule.target(), "unknown.from4"))?;
        let rule = rules.remove(at);
        rules.push(rule);
        Some(())
    }),
    mistake("sources outside the ranges are asked", |table| {
        let from = rules(table, "forward")?;
        let rule = from.iter_mut().find(|rule| is_to(rule.target(), "unknown.from4"))?;
        rule.matches.clear();
        Some(())
    }),
];

const fn mistake(name: &'static str, plant: fn(&mut Ruleset) -> Option<()>) -> Mistake<Ruleset> {
    Mistake { name, line: "31", plant }
}

#[test]
fn a_mistake_about_unknown_addresses_is_caught() -> Result<()> {
    let snapshot = cluster::snapshot()?;
    let network = NodeNetwork {
        pod_ranges: pod_ranges(["10.0.0.0/24".parse()?, "fd00::/64".parse()?]),
        unknown_pods: UnknownPods::Selected,
        ..NodeNetwork::default()
    };
    let right = compiled_on(&snapshot, &network, &options()).ruleset;
    all_caught(&snapshot, &network, &right, MISTAKES)?;
    let open = verify_on(&snapshot, &NodeNetwork::default(), &right)?;
    ensure!(!open.is_equal(), "a table that shuts too much is found");
    Ok(())
}

fn known<'t>(table: &'t mut Ruleset, address: &str) -> Option<&'t mut Set> {
    let prefix = if ip(address).is_ipv4() { "known4." } else { "known6." };
    let mut names = table.sets.keys().filter(|name| name.as_str().starts_with(prefix));
    let name = names.next()?.clone();
    table.sets.get_mut(&name)
}

fn rules<'t>(table: &'t mut Ruleset, chain: &str) -> Option<&'t mut Vec<ruleset::Rule>> {
    let chain = table.chains.get_mut(&Name::new(chain).ok()?)?;
    Some(&mut Arc::make_mut(chain).rules)
}

fn is_to(target: Option<&Name>, chain: &str) -> bool {
    target.is_some_and(|target| target.as_str() == chain)
}

fn drop_nothing(table: &mut Ruleset, chain: &str) -> Option<()> {
    rules(table, chain)?.pop().map(|_| ())
}

fn forget_jumps(table: &mut Ruleset, chain: &str, to: &str) -> Option<()> {
    let rules = rules(table, chain)?;
    let before = rules.len();
    rules.retain(|rule| !is_to(rule.target(), to));
    (rules.len() < before).then_some(())
}

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}
