//! The exact comparison against the simulator and the specification, on
//! random clusters and on tables that are wrong; no kernel.

#![expect(clippy::unwrap_used, reason = "a table that is an error fails the test")]

use std::collections::BTreeSet;

use compiler::{Options, compile};
use policy::Snapshot;
use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use ruleset::Ruleset;
use tests::random::{self, NODES};
use verify::{Report, verify};

/// As in `meaning.rs`: the same cases each time unless told otherwise.
fn cases() -> ProptestConfig {
    let default = ProptestConfig { failure_persistence: None, ..ProptestConfig::default() };
    match std::env::var_os("PROPTEST_CASES") {
        Some(_) => default,
        None => ProptestConfig { cases: 500, rng_seed: RngSeed::Fixed(1), ..default },
    }
}

fn table(snapshot: &Snapshot, node: Option<&str>) -> Ruleset {
    let options = Options { node: node.map(str::to_owned), ..Options::default() };
    compile(snapshot, &options).ruleset
}

fn verified(snapshot: &Snapshot, node: Option<&str>, table: &Ruleset) -> Report {
    verify(snapshot, node, &BTreeSet::new(), table).unwrap()
}

fn shown(report: &Report) -> String {
    report.differences.iter().map(|one| format!("{one}\n")).collect()
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn a_compiled_table_is_what_the_specification_says(snapshot in random::snapshot()) {
        for node in NODES.iter().map(|(node, _)| Some(*node)).chain([None]) {
            let report = verified(&snapshot, node, &table(&snapshot, node));
            prop_assert!(report.is_equal(), "{node:?}\n{}", shown(&report));
        }
    }
}
