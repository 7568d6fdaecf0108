//! Mistakes on the output hook, on a node with IPVS.

use std::net::IpAddr;

use anyhow::{Result, ensure};
use policy::{NodeNetwork, Tunnel, TunnelSources};
use ruleset::{Hook, Match, Name, Rule, Ruleset, Verdict};
use samples::from_scratch::compiled_on;

use super::cluster;
use super::{Mistake, all_caught, options, verify_on};

const MISTAKES: &[Mistake<Ruleset>] = &[
    mistake("what IPVS forwards is not judged", |table| {
        table.chains.remove(&name("ipvs")).map(drop)
    }),
    mistake("the chain is on another hook", |table| {
        chain(table)?.base.as_mut().map(|base| base.hook = Hook::Postrouting)
    }),
    mistake("what the node sends is judged", |table| {
        forget(table, |rule| rule.matches == [Match::SourceIsLocal])
    }),
    mistake("what comes from nobody is judged", |table| {
        forget(table, |rule| matches!(&*rule.matches, [Match::Address(..)]) && is_accept(rule))
    }),
    mistake("IPv6 is not judged", |table| {
        forget(table, |rule| rule.target() == Some(&name("six")))
    }),
    mistake("sources are not asked", |table| {
        forget(table, |rule| rule.target() == Some(&name("egress4")))
    }),
    mistake("destinations are not asked", |table| {
        forget(table, |rule| rule.target() == Some(&name("ingress4")))
    }),
    mistake("known flows are judged again", |table| {
        forget(table, |rule| matches!(&*rule.matches, [Match::CtState(_)]) && is_accept(rule))
    }),
    mistake("a Service leads into a tunnel", |table| {
        forget(table, |rule| rule.target() == Some(&name("ipvs.tunnels")))
    }),
    mistake("everything is the node's own", |table| {
        chain(table)?.rules.insert(0, Rule::new([], Verdict::Accept));
        Some(())
    }),
];

const fn mistake(name: &'static str, plant: fn(&mut Ruleset) -> Option<()>) -> Mistake<Ruleset> {
    Mistake { name, line: "IPVS", plant }
}

#[test]
fn a_mistake_about_ipvs_is_caught() -> Result<()> {
    let snapshot = cluster::snapshot()?;
    let tunnels = [(Tunnel::Udp(8472), TunnelSources::Nodes)].into_iter().collect();
    let tunnel_peers = ["192.0.2.7".parse::<IpAddr>()?].into_iter().collect();
    let network = NodeNetwork { ipvs: true, tunnels, tunnel_peers, ..NodeNetwork::default() };
    let right = compiled_on(&snapshot, &network, &options()).ruleset;
    all_caught(&snapshot, &network, &right, MISTAKES)?;
    let without = NodeNetwork { ipvs: false, ..network };
    ensure!(
        !verify_on(&snapshot, &without, &right)?.is_equal(),
        "rules that nobody needs are found"
    );
    Ok(())
}

fn chain(table: &mut Ruleset) -> Option<&mut ruleset::Chain> {
    table.chains.get_mut(&name("ipvs")).map(std::sync::Arc::make_mut)
}

fn forget(table: &mut Ruleset, is_meant: impl Fn(&Rule) -> bool) -> Option<()> {
    let rules = &mut chain(table)?.rules;
    let before = rules.len();
    rules.retain(|rule| !is_meant(rule));
    (rules.len() < before).then_some(())
}

fn is_accept(rule: &Rule) -> bool {
    rule.finish == Some(ruleset::Finish::Verdict(Verdict::Accept))
}

fn name(text: &str) -> Name {
    Name::new(text).expect("a name of a test")
}
