//! The name of the node: a wrong one takes nothing away.

use agent::status::Condition;
use ruleset::TableId;
use watcher::Kind;

use super::bench::{Bench, empty, list};
use super::model::Model;
use super::whole;

/// A kernel with the right table.
fn programmed() -> Model {
    let mut model = Model::default();
    let table = whole().unwrap();
    model.tables.insert(TableId::inet(table.table.clone()), table);
    model
}

#[test]
fn a_mistyped_name_leaves_the_table_alone() {
    let mut bench = Bench::listed(programmed());
    bench.node = "noed";
    bench.run(60_000).unwrap();
    assert_eq!(bench.kernel.model.borrow().sent, 0);
    assert_eq!(bench.table(), whole());
    let problem = bench.status().problem(Condition::Node).unwrap();
    assert!(
        problem
            .starts_with("no Pod is on node \"noed\" (did you mean \"node\"?); the kernel keeps"),
        "{problem}"
    );
    assert!(!bench.status().is_ready());
}

#[test]
fn a_node_without_pods_that_was_never_programmed_stays_without_a_table() {
    let mut bench = Bench::new(Model::default());
    for kind in Kind::ALL {
        bench.event(0, if kind == Kind::Pod { empty(kind) } else { list(kind) });
    }
    bench.run(60_000).unwrap();
    assert_eq!(bench.table(), None);
    let problem = bench.status().problem(Condition::Node).unwrap();
    assert!(problem.contains("wait for the first Pod of a new node"), "{problem}");
}

#[test]
fn the_first_pod_settles_it_and_a_later_emptiness_is_real() {
    let mut bench = Bench::new(programmed());
    bench.event(0, list(Kind::NetworkPolicy));
    bench.event(0, list(Kind::Namespace));
    bench.event(0, empty(Kind::Pod));
    bench.others(999, |model| assert_eq!(model.sent, 0, "no Pod was seen"));
    bench.event(1000, list(Kind::Pod));
    bench.others(1999, |model| assert_eq!(model.table().cloned(), whole()));
    bench.event(2000, empty(Kind::Pod));
    // No interface tells that they have ended, so their addresses are kept for a time.
    bench.others(600_000, |model| assert_eq!(model.table().cloned(), whole()));
    bench.run(700_000).unwrap();
    assert!(bench.kernel.model.borrow().sent > 0);
    assert_ne!(bench.table(), whole());
    assert_eq!(bench.status().problem(Condition::Node), None);
}
