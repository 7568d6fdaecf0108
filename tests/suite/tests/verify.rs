//! The exact comparison agrees with the simulator and the specification, on random
//! clusters and on slightly wrong tables. No kernel.

use std::collections::BTreeSet;
use std::sync::Arc;

use compiler::Options;
use policy::spec::owners;
use policy::{Snapshot, spec};
use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::RngSeed;
use ruleset::simulator::{Outcome, simulate};
use ruleset::{Finish, Name, Ruleset, Verdict};
use samples::from_scratch::compiled;
use samples::judge::{self, NodeVerdict, is_forwarded, on_the_wire};
use samples::random::{self, NODES};
use verify::{Reason, Report, verify};

/// As in `meaning.rs`: the same cases each time by default.
fn cases(cases: u32) -> ProptestConfig {
    let default = ProptestConfig { failure_persistence: None, ..ProptestConfig::default() };
    match std::env::var_os("PROPTEST_CASES") {
        Some(_) => default,
        None => ProptestConfig { cases, rng_seed: RngSeed::Fixed(1), ..default },
    }
}

fn table(snapshot: &Snapshot, node: Option<&str>) -> Ruleset {
    let options = Options { node: node.map(str::to_owned), ..Options::default() };
    compiled(snapshot, &options).ruleset
}

fn shown(report: &Report) -> String {
    report.differences.iter().map(|one| format!("{one}\n")).collect()
}

/// A small mistake. Each index picks one of the objects that exist.
#[derive(Clone, Debug)]
enum Mistake {
    /// A rule is missing.
    Rule(Index),
    /// Two neighbouring rules change places.
    Order(Index),
    /// A match of a rule is missing.
    Match(Index),
    /// A rule has another verdict.
    Verdict(Index, Verdict),
    /// An element of a set is missing.
    Gone(Index),
    /// An element of a set is also in another set of its type.
    Too(Index, Index),
    /// An entry of a map is missing.
    Entry(Index),
    /// Two entries of a map swap their targets.
    Entries(Index),
}

fn mistake() -> impl Strategy<Value = Mistake> {
    let verdict = prop::sample::select(vec![Verdict::Accept, Verdict::Drop, Verdict::Return]);
    let index = any::<Index>;
    prop_oneof![
        index().prop_map(Mistake::Rule),
        index().prop_map(Mistake::Order),
        index().prop_map(Mistake::Match),
        (index(), verdict).prop_map(|(at, verdict)| Mistake::Verdict(at, verdict)),
        index().prop_map(Mistake::Gone),
        (index(), index()).prop_map(|(of, to)| Mistake::Too(of, to)),
        index().prop_map(Mistake::Entry),
        index().prop_map(Mistake::Entries),
    ]
}

impl Mistake {
    /// Makes the mistake, or does nothing where no such object exists.
    fn make(&self, table: &mut Ruleset) -> Option<()> {
        match self {
            Self::Rule(at) | Self::Order(at) | Self::Match(at) | Self::Verdict(at, _) => {
                let chains = table.chains.iter();
                let all: Vec<(Name, usize)> = chains
                    .flat_map(|(name, chain)| {
                        (0..chain.rules.len()).map(move |rule| (name.clone(), rule))
                    })
                    .collect();
                let (name, rule) = all.get(at.index(all.len().max(1)))?;
                let rules = &mut Arc::make_mut(table.chains.get_mut(name)?).rules;
                let next = (rule + 1).min(rules.len() - 1);
                match self {
                    Self::Rule(_) => drop(rules.remove(*rule)),
                    Self::Order(_) => rules.swap(*rule, next),
                    Self::Verdict(_, verdict) if rules[*rule].log.is_none() => {
                        rules[*rule].finish = Some(Finish::Verdict(verdict.clone()));
                    }
                    _ => drop(rules[*rule].matches.pop()),
                }
            }
            Self::Gone(at) | Self::Too(at, _) => {
                let sets = table.sets.iter();
                let all: Vec<_> = sets
                    .flat_map(|(name, set)| {
                        set.elements.iter().map(|element| (name.clone(), *element))
                    })
                    .collect();
                let (name, element) = all.get(at.index(all.len().max(1)))?;
                let set_type = table.sets.get(name)?.set_type;
                match self {
                    Self::Too(_, to) => {
                        let others = table.sets.iter().filter(|(_, set)| set.set_type == set_type);
                        let others: Vec<Name> = others.map(|(name, _)| name.clone()).collect();
                        let to = &others[to.index(others.len())];
                        table.sets.get_mut(to)?.elements.insert(*element);
                    }
                    _ => drop(table.sets.get_mut(name)?.elements.remove(element)),
                }
            }
            Self::Entry(at) | Self::Entries(at) => {
                let maps = table.maps.iter().filter(|(_, map)| !map.entries.is_empty());
                let maps: Vec<Name> = maps.map(|(name, _)| name.clone()).collect();
                let map = table.maps.get_mut(maps.get(at.index(maps.len().max(1)))?)?;
                let first = map.entries.get_min().cloned()?;
                let last = map.entries.get_max().cloned()?;
                map.entries.remove(&first.0);
                if let Self::Entries(_) = self {
                    map.entries.insert(first.0, last.1);
                    map.entries.insert(last.0, first.1);
                }
            }
        }
        Some(())
    }
}

proptest! {
    #![proptest_config(cases(500))]

    #[test]
    fn a_compiled_table_is_what_the_specification_says(snapshot in random::snapshot()) {
        for node in NODES.iter().map(|(node, _)| Some(*node)).chain([None]) {
            let report = verify(&snapshot, node, &BTreeSet::new(), &table(&snapshot, node)).unwrap();
            prop_assert!(report.is_equal(), "{node:?}\n{}", shown(&report));
        }
    }
}

proptest! {
    #![proptest_config(cases(1_000))]

    /// Each packet that the report shows differs. If it shows none, no packet between
    /// the relevant addresses and ports differs.
    #[test]
    fn a_wrong_table_differs_where_it_is_said_to(
        snapshot in random::snapshot(), mistakes in prop::collection::vec(mistake(), 1..3),
    ) {
        let (node, node_address) = NODES[0];
        let mut wrong = table(&snapshot, Some(node));
        for mistake in &mistakes {
            mistake.make(&mut wrong);
        }
        let owners = owners(&snapshot);
        let says = |packet: &spec::Packet| NodeVerdict::of(&snapshot, &owners, Some(node), packet);
        let report = verify(&snapshot, Some(node), &BTreeSet::new(), &wrong).unwrap();
        for difference in &report.differences {
            let seen = simulate(&wrong, &difference.packet).unwrap();
            prop_assert_eq!(seen.outcome, difference.got, "{}", difference);
            prop_assert_eq!(&seen.decided_by, &difference.place, "{}", difference);
            prop_assert_ne!(difference.got, difference.expected, "{}", difference);
            if matches!(difference.reason, Reason::Policies { .. }) {
                let said = says(&judge::in_the_specification(&difference.packet)).passes();
                prop_assert_eq!(said, difference.expected == Outcome::Accept, "{}", difference);
            }
        }
        if report.is_equal() {
            for packet in random::packets(&[&snapshot]) {
                if is_forwarded(node_address, &packet) {
                    let seen = simulate(&wrong, &on_the_wire(&packet)).unwrap();
                    prop_assert_eq!(
                        seen.outcome == Outcome::Accept, says(&packet).passes(),
                        "{:?}: {:?}", packet, mistakes
                    );
                }
            }
        }
    }
}
