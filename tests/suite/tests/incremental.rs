//! The engine and the planner work from differences. Their results equal those from
//! scratch, over random histories of a cluster.

use std::collections::BTreeSet;

use compiler::{Engine, Options};
use policy::{ObjectKey, Snapshot};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use ruleset::plan::{Planner, plan};
use samples::from_scratch::from_scratch;
use samples::random::{self, Edit};

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
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        10 => vec(random::upheaval(), 1..4).prop_map(Step::Edits),
        1 => Just(Step::Relist),
        1 => random::snapshot().prop_map(Step::Replace),
        2 => proptest::collection::btree_set(0usize..6, 0..3).prop_map(Step::SetAside),
    ]
}

impl Step {
    /// Changes the snapshot, or the policies that are set aside.
    fn apply(&self, snapshot: &mut Snapshot, set_aside: &mut BTreeSet<ObjectKey>) {
        match self {
            Self::Edits(edits) => edits.iter().for_each(|edit| edit.apply(snapshot)),
            Self::Relist => {
                let Snapshot { policies, pods, namespaces } = &*snapshot;
                *snapshot = Snapshot::new(
                    policies.values().map(|policy| (**policy).clone()),
                    pods.values().map(|pod| (**pod).clone()),
                    namespaces.values().map(|namespace| (**namespace).clone()),
                );
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
        (first, steps, one_node) in (random::snapshot(), vec(step(), 1..8), any::<bool>())
    ) {
        let mut options =
            Options { node: one_node.then(|| "n1".to_owned()), ..Options::default() };
        let mut engine = Engine::new(options.clone());
        let mut planner = Planner::default();
        let mut snapshot = first;
        let mut live = None;
        for step in [Step::Edits(vec![])].iter().chain(&steps) {
            step.apply(&mut snapshot, &mut options.set_aside);
            let expected = from_scratch(&snapshot, &options);
            if *engine.options() != options {
                engine.set_aside(options.set_aside.clone());
            }
            prop_assert_eq!(engine.update(&snapshot, &policy::NodeNetwork::default()), &expected, "{:?}", step);
            prop_assert_eq!(engine.snapshot(), &snapshot);
            let new = engine.compiled().ruleset.clone();
            let planned = planner.plan(live.as_ref(), &new);
            prop_assert_eq!(planned, plan(live.as_ref(), &new), "{:?}", step);
            live = Some(new);
        }
    }
}
