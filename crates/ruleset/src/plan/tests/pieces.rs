//! Large plans in pieces, and what comes first in them.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use proptest::prelude::{Just, ProptestConfig, Strategy, prop_assert_eq, prop_oneof, proptest};

use super::{Table, in_set, name};
use crate::plan::{Budget, Piece, Planner, plan, plan_within};
use crate::simulator::{Packet, possible_outcomes, simulate};
use crate::{Chain, Element, Family, Field, Op, Rule, Ruleset, Set, SetType, Transport, Verdict};

/// Pods of this node, each with a chain of its own, and the size of the set that the
/// chain looks into.
struct Cluster {
    pods: Vec<(Ipv4Addr, usize)>,
}

impl Cluster {
    fn of(sizes: &[usize]) -> Self {
        let pods = sizes.iter().enumerate();
        Self {
            pods: pods
                .map(|(pod, size)| (Ipv4Addr::from(0x0a00_0001 + pod as u32), *size))
                .collect(),
        }
    }

    fn ruleset(&self) -> Ruleset {
        let pods: Vec<(String, String, String)> = self
            .pods
            .iter()
            .map(|(pod, _)| (pod.to_string(), format!("i.{pod}"), format!("x.{pod}")))
            .collect();
        let entries: Vec<(&str, &str)> =
            pods.iter().map(|(pod, chain, _)| (pod.as_str(), chain.as_str())).collect();
        let grants: Vec<[&str; 1]> = pods.iter().map(|(_, _, set)| [set.as_str()]).collect();
        let chains: Vec<(&str, &[&str])> = pods
            .iter()
            .zip(&grants)
            .map(|((_, chain, _), grants)| (chain.as_str(), grants.as_slice()))
            .collect();
        let mut ruleset = Table { pods: &entries, chains: &chains, sets: &[] }.ruleset();
        for ((_, size), (_, _, set)) in self.pods.iter().zip(&pods) {
            ruleset.sets.insert(name(set), peers(*size));
        }
        ruleset
    }
}

fn peers(size: usize) -> Set {
    let peers =
        (0..size as u32).map(|peer| Element::Address(Ipv4Addr::from(0x0b00_0000 + peer).into()));
    Set::new(SetType::Address(Family::V4), None).with(peers)
}

fn pieces(old: Option<&Ruleset>, new: &Ruleset, budget: Budget) -> Vec<Piece> {
    let mut pieces = Planner::default().pieces(old, new, budget).unwrap();
    let all: Vec<Piece> = std::iter::from_fn(|| pieces.next(budget)).collect();
    assert!(pieces.is_empty());
    all
}

/// In which piece each address becomes isolated.
fn isolated(pieces: &[Piece]) -> BTreeMap<IpAddr, usize> {
    let mut found = BTreeMap::new();
    for (index, piece) in pieces.iter().enumerate() {
        for op in &piece.batch.ops {
            let Op::AddElements(set, _, elements) = op else { continue };
            if set.as_str() == "gate" {
                found.extend(elements.iter().flat_map(Element::addresses).map(|one| (one, index)));
            }
        }
    }
    found
}

fn states(old: Option<&Ruleset>, new: &Ruleset, budget: Budget) -> Vec<Ruleset> {
    let mut states = vec![old.cloned().unwrap_or_else(|| Ruleset::of(new.id()))];
    for batch in plan_within(old, new, budget).unwrap() {
        let mut next = states.last().unwrap().clone();
        next.apply(&batch).unwrap();
        states.push(next);
    }
    states
}

fn from(source: u32, destination: IpAddr) -> Packet {
    Packet::to_port(Ipv4Addr::from(source).into(), destination, Transport::Tcp, 80)
}

const BUDGET: Duration = Duration::from_millis(2);

/// A table with twice as much in it takes twice as many pieces, none of
/// them larger. A base chain and its rules come together, whatever they cost.
#[test]
fn no_piece_of_a_large_table_is_over_the_budget_and_their_number_is_linear() {
    let count = |elements: usize| {
        let new = Cluster::of(&[elements, elements, 10, 10]).ruleset();
        let pieces = pieces(None, &new, Budget::of(BUDGET));
        let over: Vec<&Piece> = pieces.iter().filter(|piece| piece.estimate > BUDGET).collect();
        assert!(over.is_empty(), "{over:#?}");
        let operations: usize = pieces.iter().map(|piece| operations(&piece.batch.ops)).sum();
        assert!(operations > 2 * elements);
        pieces.len()
    };
    let (small, large) = (count(20_000), count(40_000));
    // 2 us an element.
    assert!((40..50).contains(&small) && (80..90).contains(&large), "{small}, {large}");
}

/// Elements and entries count one by one.
fn operations(ops: &[Op]) -> usize {
    let of = |op: &Op| match op {
        Op::AddElements(_, _, list) | Op::DeleteElements(_, _, list) => list.len(),
        Op::AddEntries(_, _, list) => list.len(),
        Op::DeleteEntries(_, _, list) => list.len(),
        _ => 1,
    };
    ops.iter().map(of).sum()
}

#[test]
fn the_smallest_pieces_have_one_operation_unless_packets_must_meet_several_together() {
    let (old, new) = (Cluster::of(&[3, 3, 3]).ruleset(), Cluster::of(&[5, 1, 3, 4]).ruleset());
    for piece in pieces(Some(&old), &new, Budget::SMALLEST) {
        let is_isolation = piece.batch.ops.iter().any(|op| op.object() == Some(&name("gate")));
        let count = operations(&piece.batch.ops);
        assert_eq!(count, if is_isolation { 2 } else { 1 }, "{piece:#?}");
    }
}

#[test]
fn a_pod_is_isolated_before_what_its_chain_does_not_need() {
    let old = Cluster::of(&[10, 10]).ruleset();
    let mut new = Cluster::of(&[10, 10, 10]).ruleset();
    // 100 ms for another chain.
    new.sets.insert(name("z"), peers(50_000));
    let chain = Chain {
        rules: vec![Rule::new([in_set(Field::Source, "z")], Verdict::Accept)],
        ..Chain::default()
    };
    new.chains.insert(name("i.10.0.0.1"), chain.into());
    let pieces = pieces(Some(&old), &new, Budget::of(BUDGET));
    assert!(pieces.len() > 40, "{}", pieces.len());
    assert_eq!(isolated(&pieces), BTreeMap::from([(Ipv4Addr::new(10, 0, 0, 3).into(), 1)]));
}

/// A new table: who needs the least is isolated first, long before the end.
#[test]
fn in_a_new_table_pods_are_isolated_one_after_the_other() {
    let new = Cluster::of(&[30_000, 10, 20_000, 20]).ruleset();
    let pieces = pieces(None, &new, Budget::of(BUDGET));
    let isolated = isolated(&pieces);
    let when = |pod: u8| isolated[&Ipv4Addr::new(10, 0, 0, pod).into()];
    let [large, small, medium, also_small] = [when(1), when(2), when(3), when(4)];
    assert!(small <= also_small && also_small < medium && medium < large, "{isolated:?}");
    // What they need waits for a group that is worth a commit of its own.
    assert!(large + 1 >= pieces.len() && medium < pieces.len() / 2, "{isolated:?}");
}

/// A table with a map that no gate protects has no first stage, since the map would
/// drop what it misses.
#[test]
fn a_table_whose_map_drops_what_it_misses_is_made_whole() {
    let mut new = Cluster::of(&[5_000, 5_000]).ruleset();
    let ungated = Rule::new([], Verdict::Jump(name("dispatch")));
    let forward = Chain { rules: vec![ungated], ..Chain::clone(&new.chains[&name("forward")]) };
    new.chains.insert(name("forward"), forward.into());
    for state in states(None, &new, Budget::of(BUDGET)) {
        let hooked =
            state.chains.get(&name("forward")).is_some_and(|chain| !chain.rules.is_empty());
        assert!(!hooked || state.maps[&name("map")].entries.len() == 2);
    }
}

fn budget() -> impl Strategy<Value = Budget> {
    let few = (5..200_u64).prop_map(|many| Budget::of(Duration::from_micros(many)));
    prop_oneof![Just(Budget::SMALLEST), few, Just(Budget::default())]
}

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::with_cases(100)
    })]

    /// Wherever a change is interrupted, another one leads to its own end, and no
    /// packet passes meanwhile that is denied in all three tables, or is dropped that
    /// passes in all three.
    #[test]
    fn a_change_that_is_interrupted_anywhere_gives_way_to_another(
        sizes in proptest::collection::vec(proptest::collection::vec(1..6_usize, 0..5), 3),
        (at, budgets) in (proptest::prelude::any::<proptest::sample::Index>(), (budget(), budget())),
    ) {
        let tables: Vec<Ruleset> = sizes.iter().map(|sizes| Cluster::of(sizes).ruleset()).collect();
        let [first, second, third] = &tables[..] else { unreachable!() };
        let mut history = states(Some(first), second, budgets.0);
        history.truncate(1 + at.index(history.len()));
        let interrupted = history.last().unwrap().clone();
        history.extend(states(Some(&interrupted), third, budgets.1).into_iter().skip(1));
        prop_assert_eq!(history.last().unwrap(), third);
        for pod in 0..5_u32 {
            for peer in 0..6_u32 {
                let packet = from(0x0b00_0000 + peer, Ipv4Addr::from(0x0a00_0001 + pod).into());
                let mut outcomes = tables.iter().map(|table| {
                    simulate(table, &packet).unwrap().outcome
                });
                let outcome = outcomes.next().unwrap();
                if outcomes.all(|other| other == outcome) {
                    let possible = possible_outcomes(&history, &packet).unwrap();
                    prop_assert_eq!(possible.always(outcome), true, "{:?} {:?}", packet, possible);
                }
            }
        }
    }

    /// Equal pieces, whatever was planned before.
    #[test]
    fn a_planner_that_was_interrupted_plans_as_a_new_one(
        sizes in proptest::collection::vec(proptest::collection::vec(1..6_usize, 0..5), 2..5),
        at in proptest::prelude::any::<proptest::sample::Index>(),
    ) {
        let mut planner = Planner::default();
        let mut live: Option<Ruleset> = None;
        for sizes in &sizes {
            let new = Cluster::of(sizes).ruleset();
            let planned = planner.plan(live.as_ref(), &new).unwrap();
            prop_assert_eq!(&planned, &plan(live.as_ref(), &new).unwrap());
            let mut table = live.take().unwrap_or_else(|| Ruleset::of(new.id()));
            let count = at.index(planned.len() + 1);
            planned.iter().take(count).for_each(|batch| table.apply(batch).unwrap());
            live = (count > 0).then_some(table);
        }
    }
}
