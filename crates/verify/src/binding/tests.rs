//! The comparison finds nothing in right tables, and every mistake in others.

mod network;
mod table;

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use policy::{InterfaceIndex, NodeNetwork, ObjectKey, TunnelSources};
use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::RngSeed;
use ruleset::simulator::simulate_at;
use ruleset::{Finish, Verdict};

use super::*;

/// A node, with all that the specification knows of it.
#[derive(Clone, Debug)]
struct Node {
    network: NodeNetwork,
    isolated: BTreeSet<ObjectKey>,
    nodes: BTreeSet<IpAddr>,
}

impl Node {
    fn binding(&self) -> Binding<'_> {
        Binding { network: &self.network, isolated: &self.isolated, nodes: &self.nodes }
    }

    fn tables(&self) -> [Ruleset; 2] {
        [table::inet(&self.binding()), table::bridge(&self.binding())]
    }

    fn differences(&self, tables: &[Ruleset]) -> Vec<BoundDifference> {
        let tables: Vec<&Ruleset> = tables.iter().collect();
        let (counts, found) = compare(&self.binding(), &tables).expect("complete tables");
        assert_eq!(counts.ports, self.network.ports.len());
        for one in &found {
            self.confirm(&tables, one);
        }
        found
    }

    /// The simulator and the specification must say the same of a difference.
    fn confirm(&self, tables: &[&Ruleset], one: &BoundDifference) {
        let table = tables.iter().find(|table| table.family == one.table).expect("a table");
        let seen = simulate_at(table, one.hook, &one.packet).expect("a complete table");
        assert_eq!((seen.outcome, &seen.decided_by), (one.got, &one.place), "{one}");
        let said = said::said(&self.binding(), (one.table, one.hook), &one.packet);
        assert_eq!((said.err(), one.got == Outcome::Drop), (one.refusal, one.refusal.is_none()));
    }
}

fn shown(differences: &[BoundDifference]) -> String {
    differences.iter().map(|one| format!("{one}\n")).collect()
}

#[test]
fn right_tables_do_not_differ() {
    for node in network::some() {
        let tables = node.tables();
        let found = node.differences(&tables);
        assert!(found.is_empty(), "{}{}", table_text(&tables), shown(&found));
    }
}

fn table_text(tables: &[Ruleset; 2]) -> String {
    tables.iter().map(text::ruleset).collect()
}

/// Rules that change nothing: what they accept at once would also pass further on.
const SHORT_CUTS: [(&str, usize); 3] = [("bind", 0), ("bind", 1), ("from", 1)];

#[test]
fn a_missing_rule_is_noticed() {
    let node = network::full();
    let right = node.tables();
    let mut missed = Vec::new();
    for at in 0..2 {
        for (name, chain) in &right[at].chains {
            for rule in 0..chain.rules.len() {
                let mut wrong = right.clone();
                let of = wrong[at].chains.get_mut(name).expect("the same chain");
                Arc::make_mut(of).rules.remove(rule);
                if node.differences(&wrong[at..=at]).is_empty() {
                    missed.push((name.as_str(), rule));
                }
            }
        }
    }
    assert_eq!(missed, SHORT_CUTS);
}

#[test]
fn a_missing_element_is_noticed() {
    let node = network::full();
    let right = node.tables();
    let mut missed = Vec::new();
    for at in 0..2 {
        for (name, set) in &right[at].sets {
            for element in &set.elements {
                let mut wrong = right.clone();
                wrong[at].sets.get_mut(name).expect("the same set").elements.remove(element);
                if node.differences(&wrong[at..=at]).is_empty() {
                    missed.push(format!("{} {name}: {element:?}", right[at].family));
                }
            }
        }
    }
    assert!(missed.is_empty(), "{missed:#?}");
}

#[test]
fn a_missing_table_is_noticed() {
    let node = network::full();
    let mut wrong = node.tables();
    wrong[1] = Ruleset::bridge(table::name("nftpol"));
    let found = node.differences(&wrong);
    assert!(!found.is_empty());
    assert!(found[0].to_string().starts_with("bridge prerouting, from interface "), "{}", found[0]);
}

/// A chain at a hook where the specification drops nothing.
#[test]
fn a_chain_that_drops_at_another_hook_is_noticed() {
    let node = network::full();
    let mut wrong = node.tables();
    let chain = ruleset::Chain {
        base: Some(ruleset::BaseChain::new(Hook::Postrouting, 0)),
        comment: None,
        rules: vec![ruleset::Rule::new([ruleset::Match::IcmpType(11)], Verdict::Drop)],
    };
    wrong[0].chains.insert(table::name("late"), chain.into());
    assert_eq!(node.differences(&wrong).len(), 1);
}

/// A small mistake. Each index picks one of the objects that exist.
#[derive(Clone, Debug)]
enum Mistake {
    Rule(Index),
    Order(Index),
    Match(Index, Index),
    Verdict(Index, Verdict),
    Gone(Index),
    Too(Index, Index),
}

fn mistake() -> impl Strategy<Value = Mistake> {
    let verdict = prop::sample::select(vec![Verdict::Accept, Verdict::Drop, Verdict::Return]);
    let index = any::<Index>;
    prop_oneof![
        index().prop_map(Mistake::Rule),
        index().prop_map(Mistake::Order),
        (index(), index()).prop_map(|(rule, at)| Mistake::Match(rule, at)),
        (index(), verdict).prop_map(|(at, verdict)| Mistake::Verdict(at, verdict)),
        index().prop_map(Mistake::Gone),
        (index(), index()).prop_map(|(of, to)| Mistake::Too(of, to)),
    ]
}

impl Mistake {
    fn make(&self, table: &mut Ruleset) -> Option<()> {
        match self {
            Self::Rule(at) | Self::Order(at) | Self::Match(at, _) | Self::Verdict(at, _) => {
                let chains = table.chains.iter();
                let all: Vec<_> = chains
                    .flat_map(|(name, chain)| (0..chain.rules.len()).map(|at| (name.clone(), at)))
                    .collect();
                let (name, rule) = all.get(at.index(all.len().max(1)))?;
                let rules = &mut Arc::make_mut(table.chains.get_mut(name)?).rules;
                let next = (rule + 1).min(rules.len() - 1);
                match self {
                    Self::Rule(_) => drop(rules.remove(*rule)),
                    Self::Order(_) => rules.swap(*rule, next),
                    Self::Verdict(_, verdict) => {
                        rules[*rule].finish = Some(Finish::Verdict(verdict.clone()));
                    }
                    Self::Match(_, at) => {
                        let matches = &mut rules[*rule].matches;
                        if !matches.is_empty() {
                            matches.remove(at.index(matches.len()));
                        }
                    }
                    Self::Gone(_) | Self::Too(..) => {}
                }
            }
            Self::Gone(at) | Self::Too(at, _) => {
                let sets = table.sets.iter();
                let all: Vec<_> = sets
                    .flat_map(|(name, set)| set.elements.iter().map(|one| (name.clone(), *one)))
                    .collect();
                let (name, element) = all.get(at.index(all.len().max(1)))?;
                let set_type = table.sets.get(name)?.set_type;
                if let Self::Too(_, to) = self {
                    let alike = table.sets.iter().filter(|(_, set)| set.set_type == set_type);
                    let others: Vec<_> = alike.map(|(name, _)| name.clone()).collect();
                    let to = &others[to.index(others.len())];
                    table.sets.get_mut(to)?.elements.insert(*element);
                } else {
                    table.sets.get_mut(name)?.elements.remove(element);
                }
            }
        }
        Some(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 30, failure_persistence: None, rng_seed: RngSeed::Fixed(1),
        ..ProptestConfig::default()
    })]

    /// Nothing in right tables; if nothing in wrong ones, no frame between any values
    /// differs in the simulator.
    #[test]
    fn the_simulator_agrees(
        node in network::random(),
        wrong in prop::option::of((0..2_usize, mistake())),
        frames in prop::collection::vec(network::packet(), 200),
    ) {
        let mut tables = node.tables();
        if let Some((at, mistake)) = &wrong {
            mistake.make(&mut tables[*at]);
        }
        let found = node.differences(&tables);
        prop_assert!(wrong.is_some() || found.is_empty(), "{}", shown(&found));
        if !found.is_empty() {
            return Ok(());
        }
        for (table, hook) in tables.iter().flat_map(|table| HOOKS.map(|hook| (table, hook))) {
            for frame in &frames {
                let packet = network::at(table.family, hook, *frame);
                if table.family == TableFamily::Inet && !network::is_ip(&packet) {
                    continue;
                }
                let seen = simulate_at(table, hook, &packet).expect("a complete table");
                let said = said::said(&node.binding(), (table.family, hook), &packet);
                prop_assert_eq!(
                    seen.outcome == Outcome::Drop, said.is_err(),
                    "{:?} at {} {}: {:?}, {:?}", packet, table.family, hook, said, wrong
                );
            }
        }
    }
}

#[test]
fn alike_interfaces_are_tried_once() {
    let mut node = network::full();
    let (index, port) = node.network.ports.iter().next().expect("a port");
    let (index, port) = (*index, port.clone());
    for more in 0..20_u8 {
        let mut another = port.clone();
        another.mac.0[4] = more + 1;
        another.addresses =
            [IpAddr::from([10, 9, 9, more]), IpAddr::from([0xfd09, 0, 0, 0, 0, 0, 0, more.into()])]
                .into();
        node.network.ports.insert(InterfaceIndex(1000 + u32::from(more)), another);
    }
    let tables = node.tables();
    let looks = Looks::new(&tables[1], Hook::Prerouting);
    let binding = node.binding();
    let classes = Classes::new(&binding, &looks);
    let shapes = (1000..1020).map(|input| classes.on(Way { input, output: 0, by: input }).shape);
    assert_eq!(shapes.collect::<std::collections::HashSet<_>>().len(), 1, "{index:?}");
    node.network.tunnel_sources = TunnelSources::Any;
    assert!(node.differences(&node.tables()).is_empty());
}
