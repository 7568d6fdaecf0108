//! The loop beside a budget that a policy does not fit into.

use std::sync::Arc;

use agent::problems::EventReason;
use compiler::budget::Budgets;
use compiler::price::Amount;
use policy::ObjectKey;
use watcher::Object;
use watcher::api::{Event, Found};

use super::bench::{Bench, applied, deleted};
use super::model::Model;
use super::whole;

const OVER: &str = "nftpol_broken_policies{reason=\"over_budget\"}";
const RULES: &str = "nftpol_budget_used{of=\"namespace\",what=\"rules\"}";

/// No rule fits.
fn nothing() -> Budgets {
    Budgets { namespace: Amount::default(), ..Budgets::default() }
}

/// A policy of the model's cluster, as an API server has it.
fn with_uid(name: &str) -> Event {
    let mut event = applied(name);
    if let Event::Applied(Found { object: Object::NetworkPolicy(policy), .. }) = &mut event {
        Arc::make_mut(policy).uid = "1".to_owned();
    }
    event
}

#[test]
fn a_policy_that_finds_no_room_is_counted_and_named_and_the_node_is_ready() {
    let mut bench = Bench::listed(Model::default());
    bench.budgets = nothing();
    bench.event(500, with_uid("web"));
    bench.run(1000).unwrap();
    assert_eq!(bench.problem(), None, "all else is enforced");
    assert_eq!(bench.metric(OVER), 2.0);
    assert_eq!(bench.metric(RULES), 0.0);
    assert_eq!(bench.metric("nftpol_budget{of=\"namespace\",what=\"rules\"}"), 0.0);
    let problems = bench.problems.borrow();
    let found: Vec<_> =
        problems.iter().map(|(about, text)| (&about.object, about.reason, text)).collect();
    assert!(!found.is_empty());
    for (policy, reason, text) in found {
        assert_eq!(policy.namespace, "dev");
        assert_eq!(reason, EventReason::OverBudget);
        let start =
            "it finds no room in the budget of namespace dev (0 sets, 0 rules and 0 elements)";
        assert!(text.starts_with(start), "{text}");
        assert!(text.contains("its pods stay isolated and it allows nothing"), "{text}");
    }
    let table = bench.table().unwrap();
    assert!(!table.sets["isolated.i4"].elements.is_empty(), "its pods stay isolated");
}

#[test]
fn a_policy_comes_back_once_there_is_room() {
    let mut bench = Bench::listed(Model::default());
    bench.run(1000).unwrap();
    let used = bench.metric(RULES);
    assert!(used > 1.0, "{used}");

    let mut bench = Bench::listed(Model::default());
    let namespace = Amount { rules: used as u64 - 1, ..Budgets::default().namespace };
    bench.budgets = Budgets { namespace, ..Budgets::default() };
    bench.event(1000, deleted("db"));
    bench.look(2000);
    bench.event(3000, applied("db"));
    bench.run(4000).unwrap();
    assert_eq!(bench.metric(OVER), 1.0);

    let mut bench = Bench::listed(Model::default());
    bench.budgets =
        Budgets { namespace: Amount { rules: used as u64, ..namespace }, ..bench.budgets };
    bench.run(1000).unwrap();
    assert_eq!((bench.metric(OVER), bench.table()), (0.0, whole()));
    assert!(
        !bench.problems.borrow().keys().any(|about| about.object == ObjectKey::new("dev", "db"))
    );
}
