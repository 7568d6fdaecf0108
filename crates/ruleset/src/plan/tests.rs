mod alone;
mod known;
mod pieces;

use std::net::IpAddr;

use super::delta::Delta;
use super::references::References;
use super::steps::Steps;
use super::{PlanError, plan};
use crate::{
    AddressTest, BaseChain, Chain, Element, Family, Field, Finish, Match, Name, Op, PortRange,
    Rule, Ruleset, Set, SetType, TableFamily, Transport, Verdict, VerdictMap, text,
};

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

/// A small version of our table: ingress of IPv4. `pods` map to chains, a chain
/// accepts what its sets contain and its ports, and sets contain addresses.
struct Table<'a> {
    pods: &'a [(&'a str, &'a str)],
    chains: &'a [(&'a str, &'a [&'a str])],
    sets: &'a [(&'a str, &'a [&'a str])],
}

impl Table<'_> {
    fn ruleset(&self) -> Ruleset {
        let mut ruleset = Ruleset::new(name("t"));
        let addresses = |texts: &[&str]| -> Vec<Element> {
            texts.iter().map(|text| Element::Address(text.parse().unwrap())).collect()
        };
        for (set, elements) in self.sets {
            let set_type = SetType::Address(Family::V4);
            ruleset.sets.insert(name(set), Set::new(set_type, None).with(addresses(elements)));
        }
        let isolated: Vec<&str> = self.pods.iter().map(|(address, _)| *address).collect();
        let gate = Set::new(SetType::Address(Family::V4), None).with(addresses(&isolated));
        ruleset.sets.insert(name("gate"), gate);
        let entries =
            self.pods.iter().map(|(pod, to)| (pod.parse::<IpAddr>().unwrap(), name(to))).collect();
        let map = VerdictMap { family: Family::V4, comment: None, entries };
        ruleset.maps.insert(name("map"), map);
        for (chain, grants) in self.chains {
            let mut rules: Vec<Rule> = grants
                .iter()
                .map(|grant| {
                    let port = |text: &str| text.parse::<u16>().ok();
                    let ports = match grant.split_once('-') {
                        Some((first, last)) => port(first).zip(port(last)),
                        None => port(grant).zip(port(grant)),
                    };
                    let condition = match ports {
                        Some((first, last)) => Match::Port(Transport::Tcp, PortRange(first, last)),
                        None => in_set(Field::Source, grant),
                    };
                    Rule::new([condition], Verdict::Accept)
                })
                .collect();
            rules.push(Rule::new([], Verdict::Drop));
            ruleset.chains.insert(name(chain), Chain { rules, ..Chain::default() }.into());
        }
        let look_up = Finish::Dispatch(Field::Destination, Family::V4, name("map"));
        let look_up = Rule { matches: vec![], log: None, finish: Some(look_up), comment: None };
        let rules = vec![look_up, Rule::new([], Verdict::Drop)];
        ruleset.chains.insert(name("dispatch"), Chain { rules, ..Chain::default() }.into());
        let to_dispatch =
            Rule::new([in_set(Field::Destination, "gate")], Verdict::Jump(name("dispatch")));
        let base = Some(BaseChain::forward(-1));
        let forward = Chain { base, comment: None, rules: vec![to_dispatch] };
        ruleset.chains.insert(name("forward"), forward.into());
        ruleset
    }
}

fn in_set(field: Field, set: &str) -> Match {
    Match::Address(field, AddressTest::Set(Family::V4, name(set)))
}

/// The batches. Each shows its operations in nft's words, without the table.
fn batches(old: Option<&Table<'_>>, new: &Table<'_>) -> Vec<String> {
    let (old, new) = (old.map(Table::ruleset), new.ruleset());
    let plan = plan(old.as_ref(), &new).unwrap();
    let mut state = old.unwrap_or_else(|| Ruleset::new(name("t")));
    for batch in &plan {
        state.apply(batch).unwrap();
    }
    assert_eq!(state, new, "the batches lead to another table");
    let line = |op: &Op| text::op(&Ruleset::new(name("t")).id(), op).replace(" inet t", "");
    plan.iter().map(|batch| batch.ops.iter().map(line).collect::<Vec<_>>().join("; ")).collect()
}

fn check(old: &Table<'_>, new: &Table<'_>, expected: &[&str]) {
    let seen = batches(Some(old), new);
    assert_eq!(seen, expected, "\n{}", seen.join("\n"));
}

const BEFORE: Table<'static> = Table {
    pods: &[("10.0.0.1", "i.a"), ("10.0.0.2", "i.b")],
    chains: &[("i.a", &["x"]), ("i.b", &["x", "y"])],
    sets: &[("x", &["10.0.0.8"]), ("y", &["10.0.0.9"])],
};

#[test]
fn equal_tables_need_nothing() {
    check(&BEFORE, &BEFORE, &[]);
}

#[test]
fn a_new_table_hangs_into_the_hook_last() {
    let batches = batches(None, &BEFORE);
    assert!(batches[0].starts_with("add table"), "{batches:#?}");
    let hook = batches.iter().position(|batch| batch.contains("hook forward"));
    assert_eq!(hook, Some(batches.len() - 1), "{batches:#?}");
}

#[test]
fn a_peer_that_moves_is_added_before_it_is_removed() {
    let after = Table { sets: &[("x", &[]), ("y", &["10.0.0.8", "10.0.0.9"])], ..BEFORE };
    check(&BEFORE, &after, &["add element y { 10.0.0.8 }", "delete element x { 10.0.0.8 }"]);
}

#[test]
fn a_pod_is_isolated_in_one_batch_after_its_chain_exists() {
    let after = Table {
        pods: &[("10.0.0.1", "i.a"), ("10.0.0.2", "i.b"), ("10.0.0.3", "i.c")],
        chains: &[("i.a", &["x"]), ("i.b", &["x", "y"]), ("i.c", &["y"])],
        ..BEFORE
    };
    check(
        &BEFORE,
        &after,
        &[
            "add chain i.c; add rule i.c ip saddr @y accept; add rule i.c drop",
            "add element map { 10.0.0.3 : goto i.c }; add element gate { 10.0.0.3 }",
        ],
    );
}

#[test]
fn a_pod_ceases_to_be_isolated_set_first_and_map_later() {
    let after = Table { pods: &[("10.0.0.2", "i.b")], chains: &[("i.b", &["x", "y"])], ..BEFORE };
    check(
        &BEFORE,
        &after,
        &[
            "delete element gate { 10.0.0.1 }",
            "delete element map { 10.0.0.1 }",
            "flush chain i.a; delete chain i.a",
        ],
    );
}

#[test]
fn a_switch_to_less_comes_before_a_membership_that_gives() {
    // The pod .2 is relabelled. It stops accepting y and becomes x for others.
    let after = Table {
        pods: &[("10.0.0.1", "i.a"), ("10.0.0.2", "i.a")],
        sets: &[("x", &["10.0.0.8", "10.0.0.2"]), ("y", &["10.0.0.9"])],
        ..BEFORE
    };
    check(
        &BEFORE,
        &after,
        &[
            "delete element map { 10.0.0.2 }; add element map { 10.0.0.2 : goto i.a }",
            "add element x { 10.0.0.2 }",
        ],
    );
}

#[test]
fn a_membership_that_takes_comes_before_a_switch_to_more() {
    let before =
        Table { sets: &[("x", &["10.0.0.8", "10.0.0.1"]), ("y", &["10.0.0.9"])], ..BEFORE };
    let after = Table { pods: &[("10.0.0.1", "i.b"), ("10.0.0.2", "i.b")], ..BEFORE };
    check(
        &before,
        &after,
        &[
            "delete element x { 10.0.0.1 }",
            "delete element map { 10.0.0.1 }; add element map { 10.0.0.1 : goto i.b }",
        ],
    );
}

/// Another address changes, too. So until the end, the pod accepts only what both
/// chains allow.
#[test]
fn a_switch_that_takes_and_gives_goes_by_way_of_both_chains() {
    let before = Table {
        pods: &[("10.0.0.1", "i.a"), ("10.0.0.2", "i.b"), ("10.0.0.3", "i.x")],
        chains: &[("i.a", &["80"]), ("i.b", &["81"]), ("i.x", &["x"])],
        sets: &[("x", &["10.0.0.1", "10.0.0.7"])],
    };
    let after = Table {
        pods: &[("10.0.0.1", "i.b"), ("10.0.0.2", "i.b"), ("10.0.0.3", "i.x")],
        chains: &[("i.b", &["81"]), ("i.x", &["x"])],
        sets: &[("x", &[])],
    };
    check(
        &before,
        &after,
        &[
            "add chain both0.i.a; add rule both0.i.a tcp dport 80 goto i.b; \
             add rule both0.i.a drop",
            "delete element map { 10.0.0.1 }; add element map { 10.0.0.1 : goto both0.i.a }",
            "delete element x { 10.0.0.1, 10.0.0.7 }",
            "delete element map { 10.0.0.1 }; add element map { 10.0.0.1 : goto i.b }",
            "flush chain i.a; flush chain both0.i.a; delete chain i.a; delete chain both0.i.a",
        ],
    );
}

#[test]
fn rules_of_all_chains_change_in_one_batch() {
    let after = Table { chains: &[("i.a", &["y"]), ("i.b", &["80"])], ..BEFORE };
    check(
        &BEFORE,
        &after,
        &["flush chain i.a; add rule i.a ip saddr @y accept; add rule i.a drop; \
           flush chain i.b; add rule i.b tcp dport 80 accept; add rule i.b drop"],
    );
}

#[test]
fn who_leaves_or_enters_a_chain_that_changes_goes_by_way_of_a_copy() {
    let after = Table {
        pods: &[("10.0.0.1", "i.b"), ("10.0.0.2", "i.a")],
        chains: &[("i.a", &["x"]), ("i.b", &["80"])],
        ..BEFORE
    };
    check(
        &BEFORE,
        &after,
        &[
            "add chain both1.i.a; add chain new.i.b; \
             add rule both1.i.a ip saddr @x goto new.i.b; add rule both1.i.a drop; \
             add rule new.i.b tcp dport 80 accept; add rule new.i.b drop",
            "delete element map { 10.0.0.1 }; add element map { 10.0.0.1 : goto both1.i.a }; \
             delete element map { 10.0.0.2 }; add element map { 10.0.0.2 : goto i.a }",
            "flush chain i.b; add rule i.b tcp dport 80 accept; add rule i.b drop",
            "delete element map { 10.0.0.1 }; add element map { 10.0.0.1 : goto new.i.b }",
            "delete element map { 10.0.0.1 }; add element map { 10.0.0.1 : goto i.b }",
            "flush chain both1.i.a; flush chain new.i.b; \
             delete chain both1.i.a; delete chain new.i.b",
        ],
    );
}

/// Ten pods join a chain and ten leave it, while its rules change.
#[test]
fn a_chain_is_copied_once_however_many_entries_use_the_copy() {
    let pods = |ports: &'static [&str], chain: [&'static str; 2]| -> Ruleset {
        let addresses: Vec<String> = (0..20).map(|pod| format!("10.0.0.{pod}")).collect();
        let pods: Vec<(&str, &str)> = addresses
            .iter()
            .enumerate()
            .map(|(index, address)| (address.as_str(), chain[index % 2]))
            .collect();
        let chains: &[(&str, &[&str])] = &[("a", ports), ("b", &["7"])];
        Table { pods: &pods, chains, sets: &[] }.ruleset()
    };
    let (old, new) = (pods(&["1", "2"], ["a", "b"]), pods(&["1", "3"], ["b", "a"]));
    let mut references = References::none(Ruleset::new(name("t")).id());
    let delta = Delta::between(&old, &new, &mut references).unwrap();
    let steps = Steps::of(&delta).unwrap();
    let rules: usize = steps.stand_ins.values().map(Vec::len).sum();
    assert_eq!((steps.settle.len(), steps.copied), (10, rules));
}

#[test]
fn when_rules_and_their_sets_change_together_what_is_taken_goes_first() {
    let after = Table {
        chains: &[("i.a", &["y"]), ("i.b", &["x", "y"])],
        sets: &[("x", &["10.0.0.9"]), ("y", &["10.0.0.8"])],
        ..BEFORE
    };
    check(
        &BEFORE,
        &after,
        &[
            "delete element x { 10.0.0.8 }; delete element y { 10.0.0.9 }",
            "flush chain i.a; add rule i.a ip saddr @y accept; add rule i.a drop",
            "add element x { 10.0.0.9 }; add element y { 10.0.0.8 }",
        ],
    );
}

#[test]
fn what_a_killed_run_left_behind_goes() {
    let before = Table {
        chains: &[("i.a", &["x"]), ("i.b", &["x", "y"]), ("old.i.a", &["x"])],
        sets: &[("x", &["10.0.0.8"]), ("y", &["10.0.0.9"]), ("z", &["10.0.0.7"])],
        ..BEFORE
    };
    check(&before, &BEFORE, &["flush chain old.i.a; delete chain old.i.a; delete set z"]);
}

#[test]
fn a_bulk_load_is_cut_where_nothing_is_reached_yet() {
    let mut large = BEFORE.ruleset();
    let peers =
        (0..50_000u32).map(|number| Element::Address((0x0b00_0000 + number).to_be_bytes().into()));
    large.sets.insert(name("z"), Set::new(SetType::Address(Family::V4), None).with(peers));
    let plan = plan(Some(&BEFORE.ruleset()), &large).unwrap();
    assert!(plan.len() > 2, "{} batches", plan.len());
}

#[test]
fn two_tables_are_not_one() {
    let before = BEFORE.ruleset();
    let renamed = Ruleset { table: name("u"), ..before.clone() };
    let bridge = Ruleset { family: TableFamily::Bridge, ..before.clone() };
    for other in [renamed, bridge] {
        let error = plan(Some(&before), &other).unwrap_err();
        assert_eq!(error, PlanError::OtherTable(before.id(), other.id()));
    }
}

#[test]
fn an_object_of_another_type_is_refused() {
    let mut other = BEFORE.ruleset();
    other.sets.insert(name("x"), Set::new(SetType::ProtocolPort, None));
    let error = plan(Some(&other), &BEFORE.ruleset()).unwrap_err();
    assert_eq!(error, PlanError::TypeChanged(name("x")));
}

mod stored;
