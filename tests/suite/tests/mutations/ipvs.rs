//! Mistakes on the output hook, on a node with IPVS.

use std::collections::BTreeSet;
use std::net::IpAddr;

use anyhow::{Context, Result, ensure};
use policy::{NodeNetwork, Tunnel, TunnelSources};
use ruleset::simulator::simulate_at;
use ruleset::{Hook, Match, Name, Rule, Ruleset, Verdict};
use samples::from_scratch::compiled_on;

use super::cluster::{self, NODE};
use super::{Mistake, missed, options};

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
    let verify = |network: &NodeNetwork, table: &Ruleset| {
        verify::verify(&snapshot, Some(NODE), &BTreeSet::new(), network, table, None)
    };
    let report = verify(&network, &right)?;
    ensure!(report.is_equal(), "{:?}", report.differences.first());
    let missed = missed(MISTAKES, |one| {
        let mut wrong = right.clone();
        (one.plant)(&mut wrong).context("there is nowhere to plant it")?;
        let report = verify(&network, &wrong)?;
        ensure!(!report.differences.is_empty(), "it is not found");
        for difference in &report.differences {
            let seen = simulate_at(&wrong, Hook::Output, &difference.packet)?;
            ensure!(seen.outcome == difference.got, "the simulator says {seen:?}: {difference}");
        }
        Ok(())
    });
    ensure!(missed.is_empty(), "{missed:#?}");
    let without = NodeNetwork { ipvs: false, ..network };
    ensure!(!verify(&without, &right)?.is_equal(), "rules that nobody needs are found");
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
