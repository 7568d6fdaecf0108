//! The engine and the planner work from differences. Their results equal those from
//! scratch, over random histories of a cluster.

use std::collections::BTreeSet;

use compiler::budget::Budgets;
use compiler::naming::Naming;
use compiler::price::{self, Amount, Form};
use compiler::signature::ResolvedPorts;
use compiler::{Engine, Options, grants};
use policy::{Direction, NodeNetwork, Protocol, Snapshot};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use ruleset::Ruleset;
use ruleset::plan::{Budget, Planner, plan, plan_within};
use samples::from_scratch::from_scratch_on;
use samples::random::{self, Edit, Wiring};
use verify::verify;

/// As in `meaning.rs`.
fn cases() -> ProptestConfig {
    let default = ProptestConfig { failure_persistence: None, ..ProptestConfig::default() };
    match std::env::var_os("PROPTEST_CASES") {
        Some(_) => default,
        None => ProptestConfig { cases: 2_000, rng_seed: RngSeed::Fixed(1), ..default },
    }
}

/// What happens to a cluster between two looks.
#[derive(Clone, Debug)]
enum Step {
    /// Objects change.
    Edits(Vec<Edit>),
    /// The same objects arrive again.
    Relist,
    /// All objects are replaced.
    Replace(Snapshot),
    /// The kernel refused these policies (by index) and no others.
    SetAside(BTreeSet<usize>),
    /// The interfaces are others; `None`: none is bound.
    Rewire(Option<Wiring>),
    /// The interfaces follow the pods.
    Look,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        10 => vec(random::upheaval(), 1..4).prop_map(Step::Edits),
        1 => Just(Step::Relist),
        1 => random::snapshot().prop_map(Step::Replace),
        2 => proptest::collection::btree_set(0usize..6, 0..3).prop_map(Step::SetAside),
        4 => proptest::option::weighted(0.9, random::wiring()).prop_map(Step::Rewire),
        4 => Just(Step::Look),
    ]
}

/// Mostly none, else so small that policies find no room.
fn budgets() -> impl Strategy<Value = Budgets> {
    let amount = |most: u64| {
        let amounts = (0..most, 0..most, 0..most);
        amounts.prop_map(|(sets, rules, elements)| Amount { sets, rules, elements })
    };
    let small = (amount(150), amount(60)).prop_map(|(node, namespace)| Budgets { node, namespace });
    prop_oneof![1 => Just(Budgets::default()), 2 => small]
}

/// A cluster and the network of a node, which lags behind.
struct State {
    snapshot: Snapshot,
    wiring: Option<Wiring>,
    network: NodeNetwork,
}

impl Step {
    /// Changes the state, or the policies that are set aside.
    fn apply(&self, state: &mut State, options: &mut Options) {
        let State { snapshot, wiring, network } = state;
        let set_aside = &mut options.set_aside;
        match self {
            Self::Rewire(other) => {
                wiring.clone_from(other);
                Self::Look.apply(state, options);
            }
            Self::Look => {
                let seen = |wiring: &Wiring| wiring.network(snapshot, options.node.as_deref());
                *network = wiring.as_ref().map(seen).unwrap_or_default();
            }
            Self::Edits(edits) => edits.iter().for_each(|edit| edit.apply(snapshot)),
            Self::Relist => {
                let Snapshot { policies, pods, namespaces, kept, multi_policies: _ } = &*snapshot;
                let kept = kept.clone();
                let objects = Snapshot::new(
                    policies.values().map(|policy| (**policy).clone()),
                    pods.values().map(|pod| (**pod).clone()),
                    namespaces.values().map(|namespace| (**namespace).clone()),
                );
                *snapshot = Snapshot { kept, ..objects };
            }
            Self::Replace(other) => snapshot.clone_from(other),
            Self::SetAside(indices) => {
                let keys = snapshot.policies.keys().enumerate();
                let chosen = keys.filter(|(index, _)| indices.contains(index));
                *set_aside = chosen.map(|(_, key)| key.clone()).collect();
            }
        }
    }
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn engine_and_planner_give_what_is_right_from_scratch(
        (first, wiring, steps, one_node, budgets) in (
            random::snapshot(),
            proptest::option::of(random::wiring()),
            vec(step(), 1..8),
            any::<bool>(),
            budgets()
        )
    ) {
        let mut options =
            Options { node: one_node.then(|| "n1".to_owned()), budgets, ..Options::default() };
        let mut engine = Engine::new(options.clone());
        let mut planners = [Planner::default(), Planner::default()];
        let mut state = State { snapshot: first, wiring, network: NodeNetwork::default() };
        let mut live: [Option<Ruleset>; 2] = [None, None];
        for step in [Step::Edits(vec![]), Step::Look].iter().chain(&steps) {
            step.apply(&mut state, &mut options);
            let State { snapshot, network, .. } = &state;
            let expected = from_scratch_on(snapshot, network, &options);
            if *engine.options() != options {
                engine.set_aside(options.set_aside.clone());
            }
            prop_assert_eq!(engine.update(snapshot, network), &expected, "{:?}", step);
            prop_assert_eq!(engine.snapshot(), snapshot);
            prop_assert_eq!(engine.network(), network);
            let compiled = engine.compiled();
            let tables = [Some(compiled.ruleset.clone()), compiled.bridge.clone()];
            for ((planner, live), new) in planners.iter_mut().zip(&mut live).zip(tables) {
                if let Some(new) = &new {
                    let planned = planner.plan(live.as_ref(), new);
                    prop_assert!(planned.is_ok(), "{:?}", planned);
                    prop_assert_eq!(planned, plan(live.as_ref(), new), "{:?}", step);
                    let smallest = Budget::SMALLEST;
                    let pieces = planner.pieces(live.as_ref(), new, smallest);
                    prop_assert_eq!(
                        pieces.map(|pieces| pieces.batches(smallest)),
                        plan_within(live.as_ref(), new, smallest),
                        "{:?}", step
                    );
                }
                *live = new;
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases().cases / 10, ..cases() })]

    /// With tags of no byte or of one, most sets share theirs with another.
    #[test]
    fn sets_that_share_a_tag_are_told_apart(
        (first, steps, bytes, budgets) in
            (random::snapshot(), vec(step(), 1..6), 0usize..2, budgets())
    ) {
        let mut options = Options { node: Some("n1".to_owned()), budgets, ..Options::default() };
        let mut engine = Engine::with_naming(options.clone(), Naming::of_tags(bytes));
        let mut state = State { snapshot: first, wiring: None, network: NodeNetwork::default() };
        for step in [Step::Edits(vec![])].iter().chain(&steps) {
            step.apply(&mut state, &mut options);
            let State { snapshot, network, .. } = &state;
            if *engine.options() != options {
                engine.set_aside(options.set_aside.clone());
            }
            engine.update(snapshot, network);
            let compiled = engine.compiled();
            let mut fresh = Engine::with_naming(options.clone(), Naming::of_tags(bytes));
            prop_assert_eq!(compiled, fresh.update(snapshot, network), "{:?}", step);
            let (node, aside) = (options.node.as_deref(), engine.without_rules());
            let tables = (&compiled.ruleset, compiled.bridge.as_ref());
            let report = verify(snapshot, node, &aside, network, tables.0, tables.1);
            let report = report.unwrap();
            let differences: Vec<String> = report.ways().collect();
            prop_assert!(report.is_equal(), "{:?}: {:#?}", step, differences);
        }
    }
}

proptest! {
    #![proptest_config(cases())]

    /// What is estimated before a policy is compiled is not less than what it becomes.
    #[test]
    fn grants_cost_no_more_than_their_quote(
        (cluster, numbers) in (random::snapshot(), vec(1u16..100, 0..4))
    ) {
        let numbers = numbers.into_iter().collect::<BTreeSet<u16>>().into_iter().collect();
        let resolved: ResolvedPorts = [(("http".to_owned(), Protocol::Tcp), numbers)].into();
        for policy in cluster.policies.values() {
            for (direction, form) in Direction::BOTH
                .into_iter()
                .flat_map(|direction| [(direction, Form::Plain), (direction, Form::Compact)])
            {
                let quote = price::quote(policy, direction, &resolved).amount(form);
                let grants =
                    grants::of(policy, direction, &resolved, &Naming::default(), form);
                let taken = Amount {
                    sets: grants.sources.len() as u64,
                    rules: grants.conditions.len() as u64,
                    elements: grants.sources.values().map(|source| source.own_elements()).sum(),
                };
                prop_assert!(taken.fits(&quote), "{taken} of {quote}: {grants:#?}");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases().cases / 4, ..cases() })]

    /// As long as the node has room.
    #[test]
    fn a_namespace_does_not_feel_what_others_ask_for(
        (mut cluster, budgets) in (random::snapshot(), budgets())
    ) {
        let node = Amount { sets: u64::MAX, rules: u64::MAX, elements: u64::MAX / 1_000_000 };
        let options = Options { budgets: Budgets { node, ..budgets }, ..Options::default() };
        let over_budget = |cluster: &Snapshot| {
            let mut engine = Engine::new(options.clone());
            engine.update(cluster, &NodeNetwork::default()).over_budget.as_ref().clone()
        };
        let mut with = over_budget(&cluster);
        let Some((key, _)) = cluster.policies.iter().next() else { return Ok(()) };
        let greedy = key.namespace.clone();
        let keys: Vec<_> = cluster.policies.keys().cloned().collect();
        for key in keys.iter().filter(|key| key.namespace == greedy) {
            cluster.policies.remove(key);
        }
        with.retain(|key| key.namespace != greedy);
        prop_assert_eq!(with, over_budget(&cluster));
    }
}
