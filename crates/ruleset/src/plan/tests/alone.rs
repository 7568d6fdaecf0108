//! A pod that changes alone: when its entries switch in one step.

use std::net::IpAddr;

use super::{in_set, name};
use crate::plan::plan;
use crate::simulator::{Outcome, Packet, possible_outcomes};
use crate::{
    BaseChain, Chain, Element, Family, Field, Finish, Match, Op, PortRange, Rule, Ruleset, Set,
    SetType, Transport, Verdict, VerdictMap, text,
};

/// The pod that changes.
const POD: &str = "10.0.0.1";
/// Its neighbours on the node: the one that asks the sets, and the one that asks none.
const ASKING: &str = "10.0.0.2";
const QUIET: &str = "10.0.0.3";

/// A condition of the pod's egress chain or of the asking neighbour's ingress chain:
/// the other end is in this set, and the port is this one.
type Grant = (Option<&'static str>, Option<u16>);

/// What the pod may send and where it is.
#[derive(Clone, Copy)]
struct State {
    /// The pod's egress chain, and what it allows.
    chain: (&'static str, &'static [Grant]),
    /// The sets that the pod is in.
    sets: &'static [&'static str],
}

/// Pods in sets of the sends: each neighbour is in one of its own.
fn table(state: State, asking: &[Grant]) -> Ruleset {
    let mut table = Ruleset::new(name("t"));
    let pods: [IpAddr; 3] = [POD, ASKING, QUIET].map(|pod| pod.parse().unwrap());
    let mut set = |set: &str, pods: &[IpAddr]| {
        let elements = pods.iter().copied().map(Element::Address);
        let found = Set::new(SetType::Address(Family::V4), None).with(elements);
        table.sets.insert(name(set), found);
    };
    set("asking", &pods[1..2]);
    set("quiet", &pods[2..]);
    set("out.gate", &pods[..1]);
    set("in.gate", &pods[1..]);
    for peers in ["x", "y"] {
        set(peers, if state.sets.contains(&peers) { &pods[..1] } else { &[] });
    }
    let mut map = |map: &str, entries: &[(IpAddr, &str)]| {
        let entries = entries.iter().map(|(pod, to)| (*pod, name(to))).collect();
        table.maps.insert(name(map), VerdictMap { entries, ..VerdictMap::new(Family::V4, None) });
    };
    map("out", &[(pods[0], state.chain.0)]);
    map("in", &[(pods[1], "asks"), (pods[2], "all")]);
    let mut chain = |chain: &str, base: Option<BaseChain>, rules: Vec<Rule>| {
        table.chains.insert(name(chain), Chain { base, comment: None, rules }.into());
    };
    chain(state.chain.0, None, rules(Field::Destination, state.chain.1, &Verdict::Return));
    chain("asks", None, rules(Field::Source, asking, &Verdict::Accept));
    chain("all", None, rules(Field::Source, &[(None, None)], &Verdict::Accept));
    let mut jumps = Vec::new();
    for (field, map) in [(Field::Source, "out"), (Field::Destination, "in")] {
        let dispatch = Finish::Dispatch(field, Family::V4, name(map));
        let dispatch = Rule { matches: vec![], log: None, finish: Some(dispatch), comment: None };
        chain(map, None, vec![dispatch, Rule::new([], Verdict::Drop)]);
        jumps.push(Rule::new([in_set(field, &format!("{map}.gate"))], Verdict::Jump(name(map))));
    }
    chain("forward", Some(BaseChain::forward(-1)), jumps);
    table
}

fn rules(field: Field, grants: &[Grant], verdict: &Verdict) -> Vec<Rule> {
    let port = |port| Match::Port(Transport::Tcp, PortRange(port, port));
    let allowing = grants.iter().map(|(set, number)| {
        let peers = set.map(|set| in_set(field, set));
        Rule::new(peers.into_iter().chain(number.map(port)), verdict.clone())
    });
    allowing.chain([Rule::new([], Verdict::Drop)]).collect()
}

/// Checks the batches without those that nobody meets. No packet meets a mixture.
fn check(old: State, new: State, asking: &[Grant], expected: &[&str]) {
    let (old, new) = (table(old, asking), table(new, asking));
    let mut states = vec![old.clone()];
    let mut seen = Vec::new();
    for batch in plan(Some(&old), &new).unwrap() {
        let mut next = states[states.len() - 1].clone();
        next.apply(&batch).unwrap();
        states.push(next);
        let line = |op: &Op| text::op(&new.id(), op).replace(" inet t", "");
        seen.push(batch.ops.iter().map(line).collect::<Vec<_>>().join("; "));
    }
    let unseen = |line: &String| line.starts_with("add chain") || line.starts_with("flush chain");
    seen.retain(|line| !unseen(line));
    assert_eq!(seen, expected, "\n{}", seen.join("\n"));
    for (to, port) in [ASKING, QUIET].into_iter().flat_map(|to| [(to, 80), (to, 81)]) {
        let (from, to) = (POD.parse().unwrap(), to.parse().unwrap());
        let packet = Packet::to_port(from, to, Transport::Tcp, port);
        let last = states.len() - 1;
        let [first, then] = [0, last].map(|state| {
            possible_outcomes(&states[state..=state], &packet).unwrap().accept.is_some()
        });
        let possible = possible_outcomes(&states, &packet).unwrap();
        let outcome = if first { Outcome::Accept } else { Outcome::Drop };
        assert!(first != then || possible.always(outcome), "{to} {port}: {possible:#?}");
    }
}

fn switch(to: &str) -> String {
    format!("delete element out {{ {POD} }}; add element out {{ {POD} : goto {to} }}")
}

/// Everybody may be sent to, at a port.
const TO_80: &[Grant] = &[(None, Some(80))];
const TO_81: &[Grant] = &[(None, Some(81))];

#[test]
fn who_changes_no_set_switches_in_one_step() {
    let [old, new] = [("a", TO_80), ("b", TO_81)].map(|chain| State { chain, sets: &["x"] });
    check(old, new, &[(Some("x"), None)], &[&switch("b")]);
}

#[test]
fn what_the_pod_may_send_waits_for_what_others_take() {
    let old = State { chain: ("a", TO_80), sets: &["x"] };
    let new = State { chain: ("b", TO_81), sets: &[] };
    let expected = ["delete element x { 10.0.0.1 }", &switch("b")];
    check(old, new, &[(Some("x"), None)], &expected);
}

#[test]
fn what_others_give_waits_for_what_the_pod_may_not_send() {
    let old = State { chain: ("a", TO_80), sets: &[] };
    let new = State { chain: ("b", TO_81), sets: &["x"] };
    let expected = [&switch("b"), "add element x { 10.0.0.1 }"];
    check(old, new, &[(Some("x"), None)], &expected);
}

#[test]
fn who_meets_what_others_take_and_what_they_give_goes_by_way_of_both_chains() {
    let old = State { chain: ("a", TO_80), sets: &["x"] };
    let new = State { chain: ("b", TO_81), sets: &["y"] };
    let expected = [
        &switch("both0.a"),
        "add element y { 10.0.0.1 }",
        "delete element x { 10.0.0.1 }",
        &switch("b"),
    ];
    check(old, new, &[(Some("x"), None), (Some("y"), Some(80))], &expected);
}

#[test]
fn ports_that_others_do_not_ask_for_do_not_matter() {
    let old = State { chain: ("a", TO_80), sets: &["x"] };
    let new = State { chain: ("b", TO_81), sets: &["y"] };
    let expected = [&switch("b"), "add element y { 10.0.0.1 }", "delete element x { 10.0.0.1 }"];
    check(old, new, &[(Some("x"), Some(80)), (Some("y"), Some(81))], &expected);
}

#[test]
fn addresses_that_ask_no_set_do_not_matter() {
    const TO_OTHERS: &[Grant] = &[(Some("quiet"), None)];
    let old = State { chain: ("a", TO_OTHERS), sets: &["x"] };
    let new = State { chain: ("b", &[(Some("quiet"), Some(81))]), sets: &["y"] };
    let asking = [(Some("x"), None), (Some("y"), Some(80))];
    let steps = |to| {
        [
            switch(to),
            "add element y { 10.0.0.1 }".to_owned(),
            "delete element x { 10.0.0.1 }".to_owned(),
        ]
    };
    let both =
        State { chain: ("c", &[(Some("quiet"), Some(80)), (Some("quiet"), Some(81))]), ..new };
    let expected = steps("b");
    check(old, new, &asking, &expected.each_ref().map(String::as_str));
    let expected = steps("c");
    check(old, both, &asking, &expected.each_ref().map(String::as_str));
}
