//! Addresses that are dropped unless they are known.

use super::{Table, in_set, name, plan};
use crate::{
    AddressRange, AddressTest, Chain, Element, Family, Field, Match, Op, Rule, Ruleset, Set,
    SetType, Verdict, text,
};

/// Ingress of IPv4 as in [`Table`]. What no gate has must be known.
fn with_known(table: &Table<'_>, known: &[&str]) -> Ruleset {
    let mut ruleset = table.ruleset();
    let elements = known.iter().map(|text| Element::Address(text.parse().unwrap()));
    let set = Set::new(SetType::Address(Family::V4), None).with(elements);
    ruleset.sets.insert(name("known"), set);
    let rules = vec![
        Rule::new([in_set(Field::Destination, "known")], Verdict::Return),
        Rule::new([], Verdict::Drop),
    ];
    ruleset.chains.insert(name("ask"), Chain { rules, ..Chain::default() }.into());
    let (first, last) = ("10.0.0.0".parse().unwrap(), "10.0.0.254".parse().unwrap());
    let range = AddressTest::In(AddressRange::new(first, last).unwrap());
    let to_ask = Rule::new([Match::Address(Field::Destination, range)], Verdict::Jump(name("ask")));
    let mut forward = Chain::clone(&ruleset.chains[&name("forward")]);
    forward.rules.push(to_ask);
    ruleset.chains.insert(name("forward"), forward.into());
    ruleset
}

fn batches(old: &Ruleset, new: &Ruleset) -> Vec<String> {
    let line = |op: &Op| text::op(&new.id(), op).replace(" inet t", "");
    let plan = plan(Some(old), new).unwrap().into_iter();
    plan.map(|batch| batch.ops.iter().map(line).collect::<Vec<_>>().join("; ")).collect()
}

fn check(old: &Ruleset, new: &Ruleset, expected: &[&str]) {
    let seen = batches(old, new);
    assert_eq!(seen, expected, "\n{}", seen.join("\n"));
}

const SETS: &[(&str, &[&str])] = &[("x", &["10.0.0.8"])];
const WITHOUT: Table<'static> =
    Table { pods: &[("10.0.0.1", "i.a")], chains: &[("i.a", &["x"])], sets: SETS };
const WITH: Table<'static> =
    Table { pods: &[("10.0.0.1", "i.a"), ("10.0.0.2", "i.a")], chains: WITHOUT.chains, sets: SETS };

/// It is never free, whichever of its two look-ups a packet makes when.
#[test]
fn an_address_is_isolated_before_it_is_known_and_until_it_is_not() {
    let unknown = with_known(&WITHOUT, &["10.0.0.1"]);
    let isolated = with_known(&WITH, &["10.0.0.1", "10.0.0.2"]);
    check(
        &unknown,
        &isolated,
        &[
            "add element map { 10.0.0.2 : goto i.a }; add element gate { 10.0.0.2 }",
            "add element known { 10.0.0.2 }",
        ],
    );
    check(
        &isolated,
        &unknown,
        &[
            "delete element gate { 10.0.0.2 }; delete element known { 10.0.0.2 }",
            "delete element map { 10.0.0.2 }",
        ],
    );
}

/// An address that goes is not there when another comes: no packet between the two has
/// both ends known.
#[test]
fn an_address_is_forgotten_before_another_one_is_known() {
    let before = with_known(&WITHOUT, &["10.0.0.1", "10.0.0.5"]);
    let after = with_known(&WITHOUT, &["10.0.0.1", "10.0.0.6"]);
    check(
        &before,
        &after,
        &["delete element known { 10.0.0.5 }", "add element known { 10.0.0.6 }"],
    );
}

const WITH_PEER: &[(&str, &[&str])] = &[("x", &["10.0.0.8", "10.0.0.9"])];

/// Its policies accept without asking whether it is known, and so would accept a peer that
/// goes.
#[test]
fn an_unknown_address_is_isolated_once_the_peers_are_gone() {
    let unknown = with_known(&Table { sets: WITH_PEER, ..WITHOUT }, &["10.0.0.1"]);
    let isolated = with_known(&WITH, &["10.0.0.1", "10.0.0.2"]);
    check(
        &unknown,
        &isolated,
        &[
            "delete element x { 10.0.0.9 }",
            "add element map { 10.0.0.2 : goto i.a }; add element gate { 10.0.0.2 }",
            "add element known { 10.0.0.2 }",
        ],
    );
}

/// The same, the other way round.
#[test]
fn a_forgotten_address_has_no_gate_any_more_when_peers_come() {
    let isolated = with_known(&WITH, &["10.0.0.1", "10.0.0.2"]);
    let unknown = with_known(&Table { sets: WITH_PEER, ..WITHOUT }, &["10.0.0.1"]);
    check(
        &isolated,
        &unknown,
        &[
            "delete element gate { 10.0.0.2 }; delete element known { 10.0.0.2 }",
            "add element x { 10.0.0.9 }",
            "delete element map { 10.0.0.2 }",
        ],
    );
}

/// Nothing shuts it before.
#[test]
fn an_address_that_was_free_is_isolated_first_although_peers_go() {
    let free = Table { sets: WITH_PEER, ..WITHOUT }.ruleset();
    let isolated = with_known(&WITH, &["10.0.0.1", "10.0.0.2"]);
    let seen = batches(&free, &isolated);
    let place = |what: &str| seen.iter().position(|batch| batch.contains(what)).unwrap();
    assert!(place("gate { 10.0.0.2 }") < place("delete element x { 10.0.0.9 }"), "{seen:#?}");
    assert!(place("gate { 10.0.0.2 }") < place("flush chain forward"), "{seen:#?}");
}

/// What policies take goes before what becomes known, and what they give comes after what
/// is forgotten.
#[test]
fn policies_change_between_what_is_forgotten_and_what_becomes_known() {
    let allows = Table { chains: &[("i.a", &["x", "80"])], ..WITHOUT };
    let before = with_known(&WITHOUT, &["10.0.0.1", "10.0.0.5"]);
    let after = with_known(&allows, &["10.0.0.1", "10.0.0.6"]);
    check(
        &before,
        &after,
        &[
            "delete element known { 10.0.0.5 }",
            "flush chain i.a; add rule i.a ip saddr @x accept; add rule i.a tcp dport 80 accept; \
             add rule i.a drop",
            "add element known { 10.0.0.6 }",
        ],
    );
}

/// A switch in one step is for a pod that changes alone.
#[test]
fn a_switch_to_more_waits_until_an_address_is_forgotten() {
    let pods = |first| [("10.0.0.1", first), ("10.0.0.2", "i.b"), ("10.0.0.3", "i.a")];
    let (before, after) = (pods("i.a"), pods("i.b"));
    let chains: &[(&str, &[&str])] = &[("i.a", &["x", "80"]), ("i.b", &["x", "443"])];
    let table = |pods| Table { pods, chains, sets: SETS };
    let old = with_known(&table(&before), &["10.0.0.5"]);
    let alone = batches(&old, &with_known(&table(&after), &["10.0.0.5"]));
    let seen = batches(&old, &with_known(&table(&after), &["10.0.0.6"]));
    let place = |what: &str| seen.iter().position(|batch| batch.contains(what)).unwrap();
    let switch = place("add element map { 10.0.0.1 : goto i.b }");
    assert!(place("delete element known { 10.0.0.5 }") < switch, "{seen:#?}");
    assert!(place("delete element map { 10.0.0.1 }") < place("add element known"), "{seen:#?}");
    assert!(seen.len() > alone.len() + 2, "{alone:#?}, {seen:#?}");
}
