//! Compares the search with every schedule, tried one by one, on random tables.

use std::collections::BTreeSet;
use std::ops::Range;

use proptest::prelude::{
    Just, ProptestConfig, Strategy, prop_assert, prop_assert_eq, prop_oneof, proptest,
};

use super::super::super::machine::{Halt, Question, Thread, contains};
use super::super::super::{base_chains, simulate};
use super::*;

const SETS: [&str; 2] = ["s", "t"];
const CHAINS: [&str; 3] = ["a", "b", "c"];

fn arbitrary_verdict(later: &'static [&'static str]) -> impl Strategy<Value = Verdict> {
    let plain = prop_oneof![Just(ACCEPT), Just(DROP), Just(RETURN)];
    if later.is_empty() {
        return plain.boxed();
    }
    let to = proptest::sample::select(later);
    prop_oneof![plain, to.clone().prop_map(jump), to.prop_map(goto)].boxed()
}

/// A rule that jumps only to later chains, so that there is no loop.
fn arbitrary_rule(later: &'static [&'static str]) -> impl Strategy<Value = Rule> {
    let matches = proptest::collection::vec(proptest::sample::select(&SETS[..]), 0..3)
        .prop_map(|sets| sets.into_iter().map(from_set).collect::<Vec<Match>>());
    prop_oneof![
        4 => (matches, arbitrary_verdict(later))
            .prop_map(|(matches, verdict)| Rule::new(matches, verdict)),
        1 => Just(if later.is_empty() { any(DROP) } else { dispatch(Field::Source, "m") }),
    ]
}

/// All tables of one history have the same sets, maps and first chains. Only their
/// contents differ.
fn arbitrary_table() -> impl Strategy<Value = Table> {
    let rules = |later| proptest::collection::vec(arbitrary_rule(later), 0..4);
    let chains = (rules(&CHAINS), rules(&CHAINS[1..]), rules(&CHAINS[2..]), rules(&[]));
    let member = || proptest::bool::ANY.prop_map(|is| if is { vec!["10.0.0.1"] } else { vec![] });
    let entry = proptest::option::of(Just("c"));
    (chains, member(), member(), entry, proptest::bool::weighted(0.8)).prop_map(
        |((forward, a, b, c), s, t, entry, has_base)| {
            let entries: Vec<_> = entry.map(|chain| ("10.0.0.1", chain)).into_iter().collect();
            let mut table = Table::new()
                .chain("forward", forward)
                .chain("a", a)
                .chain("b", b)
                .chain("c", c)
                .set("s", &s)
                .set("t", &t)
                .map("m", &entries);
            if !has_base {
                Arc::make_mut(table.0.chains.get_mut("forward").unwrap()).base = None;
            }
            table
        },
    )
}

/// All outcomes on a way through these tables, found by trying each moment for each
/// look-up.
fn brute_force(way: &[&[Ruleset]], commits: usize) -> BTreeSet<bool> {
    let mut outcomes = BTreeSet::new();
    let states = way[0].len();
    for start in 0..states {
        let end = states.min(start + commits + 1);
        let way: Vec<&[Ruleset]> = way.iter().map(|history| &history[..end]).collect();
        arrive(&way, start..start + 1, &mut outcomes);
    }
    outcomes
}

/// Reads the list of the first table's base chains at one of these moments.
fn arrive(way: &[&[Ruleset]], moments: Range<usize>, outcomes: &mut BTreeSet<bool>) {
    let Some((history, rest)) = way.split_first() else {
        outcomes.insert(true);
        return;
    };
    for list in moments {
        match base_chains(&history[list], Hook::Forward)[..] {
            [] => arrive(rest, list..history.len(), outcomes),
            [base, ..] => {
                for time in list..history.len() {
                    follow(way, Thread::at(base, time), time, outcomes);
                }
            }
        }
    }
}

fn follow<'a>(
    way: &[&'a [Ruleset]],
    mut thread: Thread<'a>,
    now: usize,
    outcomes: &mut BTreeSet<bool>,
) {
    let history = way[0];
    match thread.run(history, &web(), &mut Vec::new()).unwrap() {
        Halt::Ended(End::Dropped) => {
            outcomes.insert(false);
        }
        Halt::Ended(_) => arrive(&way[1..], now..history.len(), outcomes),
        Halt::Asks(Question::Member(set, element)) => {
            for (time, state) in history.iter().enumerate().skip(now) {
                let mut next = thread.clone();
                next.answer_member(contains(&state.sets[set], &element));
                follow(way, next, time, outcomes);
            }
        }
        Halt::Asks(Question::Entry(map, key)) => {
            for (time, state) in history.iter().enumerate().skip(now) {
                let mut next = thread.clone();
                next.answer_entry(state, state.maps[map].entries.get(&key)).unwrap();
                follow(way, next, time, outcomes);
            }
        }
        Halt::Asks(Question::Enter(entrance)) => {
            for time in now..history.len() {
                for generation in entrance.from..history.len() {
                    // The two lists of rules. One may already be of the next state.
                    let same_bit = generation % 2 == entrance.from % 2;
                    if same_bit && generation.abs_diff(time) <= 1 {
                        let mut next = thread.clone();
                        next.enter(&entrance, generation);
                        follow(way, next, time, outcomes);
                    }
                }
            }
        }
    }
}

fn found(possible: &Possible) -> BTreeSet<bool> {
    let accept = possible.accept.iter().map(|_| true);
    accept.chain(possible.drop.iter().map(|_| false)).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn the_search_finds_what_trying_everything_finds(
        tables in proptest::collection::vec(arbitrary_table(), 1..5),
    ) {
        let history = states(&tables);
        for commits in 0..4 {
            let possible = possible_outcomes_across(&history, &web(), commits).unwrap();
            prop_assert_eq!(found(&possible), brute_force(&[&history], commits), "{}", commits);
        }
    }

    #[test]
    fn the_search_along_tables_finds_what_trying_everything_finds(
        (ones, others) in (1..4_usize).prop_flat_map(|states| (
            proptest::collection::vec(arbitrary_table(), states),
            proptest::collection::vec(arbitrary_table(), states),
        )),
    ) {
        let (ones, others) = (states(&ones), states(&others));
        let passage = |history| Passage { history, hook: Hook::Forward, packet: web() };
        for commits in 0..3 {
            let possible = possible_outcomes_along(&[passage(&ones), passage(&others)], commits);
            let tried = brute_force(&[&ones, &others], commits);
            prop_assert_eq!(found(&possible.unwrap()), tried, "{}", commits);
        }
    }

    #[test]
    fn what_each_state_does_is_possible(
        tables in proptest::collection::vec(arbitrary_table(), 1..4),
    ) {
        let history = states(&tables);
        let possible = possible_outcomes(&history, &web()).unwrap();
        for state in &history {
            let found = match simulate(state, &web()).unwrap().outcome {
                Outcome::Accept => &possible.accept,
                Outcome::Drop => &possible.drop,
            };
            prop_assert!(found.is_some());
        }
        let alone = possible_outcomes(&history[..1], &web()).unwrap();
        prop_assert!(alone.always(simulate(&history[0], &web()).unwrap().outcome));
    }
}
