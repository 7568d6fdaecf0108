//! Tests the pipeline with a kernel that refuses operations, or that others change.
//!
//! A real kernel cannot be made to refuse the rule of one policy only. So the
//! kernel here is a model. The batches are real.

#![expect(clippy::unwrap_used, reason = "what cannot be fails the test")]

mod interrupted;
mod model;
mod persist;
mod proof;
mod refusals;
mod stuck;
mod two_tables;

use std::collections::BTreeSet;
use std::sync::Arc;

use agent::pipeline::{Check, Pipeline, SyncError};
use compiler::Options;
use nft::SendError;
use policy::{PortNumbers, Ports, Snapshot};

use model::{Model, passes, snapshot};

#[test]
fn a_policy_that_the_kernel_refuses_isolates_and_the_others_are_enforced() {
    let model = Model { refuses: Some("tcp dport 81"), ..Model::default() };
    let mut pipeline = Pipeline::new(model, Options::default());
    let outcome = pipeline.sync(&snapshot()).unwrap();
    let said: BTreeSet<String> = outcome.diagnostics.iter().map(ToString::to_string).collect();
    assert_eq!(said.len(), 1, "{said:#?}");
    let said = said.first().unwrap();
    assert!(said.starts_with("error: NetworkPolicy dev/web: the kernel refused it"), "{said}");
    let table = pipeline.sink().table().cloned().unwrap();
    let seen = [("10.0.0.1", 80), ("10.0.0.1", 81), ("10.0.0.2", 80), ("10.0.0.2", 81)]
        .map(|(pod, port)| passes(&table, pod, port));
    assert_eq!(seen, [false, false, true, false]);
}

#[test]
fn a_policy_is_tried_again_when_its_object_changed_and_not_before() {
    let model = Model { refuses: Some("tcp dport 81"), ..Model::default() };
    let mut pipeline = Pipeline::new(model, Options::default());
    pipeline.sync(&snapshot()).unwrap();
    let sent = pipeline.sink().sent;
    pipeline.sink().refuses = None;
    pipeline.sink().generation += 1;
    let outcome = pipeline.sync(&snapshot()).unwrap();
    assert_eq!((outcome.set_aside.len(), pipeline.sink().sent), (1, sent));
    let mut changed = snapshot();
    changed.policies.remove(&policy::ObjectKey::new("dev", "db"));
    let outcome = pipeline.sync(&changed).unwrap();
    assert_eq!((outcome.set_aside.len(), outcome.diagnostics.len()), (1, 1), "of another object");
    let web = changed.policies.get_mut(&policy::ObjectKey::new("dev", "web")).unwrap();
    Arc::make_mut(web).ingress.as_mut().unwrap().remove(0);
    let outcome = pipeline.sync(&changed).unwrap();
    assert!(outcome.set_aside.is_empty(), "{:#?}", outcome.set_aside);
    assert!(outcome.diagnostics.is_empty(), "{:#?}", outcome.diagnostics);
    let table = pipeline.sink().table().cloned().unwrap();
    assert!(passes(&table, "10.0.0.1", 81));
}

/// Its joining pods move through a stand-in, which the kernel refuses first.
#[test]
fn a_policy_that_is_refused_under_another_name_is_found() {
    let mut pipeline = Pipeline::new(Model::default(), Options::default());
    let mut before = snapshot();
    let web = policy::ObjectKey::new("dev", "web");
    let both = Arc::make_mut(before.policies.get_mut(&web).unwrap());
    both.pod_selector = policy::Selector::new([policy::Requirement::equals("app", "web")]);
    both.ingress.as_mut().unwrap().truncate(1);
    pipeline.sync(&before).unwrap();
    pipeline.sink().refuses = Some("tcp dport 81");
    let mut after = snapshot();
    let both = Arc::make_mut(after.policies.get_mut(&web).unwrap());
    both.pod_selector = policy::Selector::everything();
    after.policies.remove(&policy::ObjectKey::new("dev", "db"));
    let outcome = pipeline.sync(&after).unwrap();
    assert_eq!(outcome.set_aside, BTreeSet::from([web]));
}

#[test]
fn a_table_that_others_delete_between_two_batches_is_nobody_s_fault() {
    for batch in 1..3 {
        let mut pipeline = Pipeline::new(Model::default(), Options::default());
        pipeline.sync(&Snapshot::default()).unwrap();
        let sent = pipeline.sink().sent;
        pipeline.sink().flushed_before = Some(sent + batch);
        let outcome = pipeline.sync(&snapshot()).unwrap();
        assert!(outcome.set_aside.is_empty(), "{:#?}", outcome.diagnostics);
        let expected = pipeline.compile(&snapshot()).ruleset;
        assert_eq!(pipeline.sink().table(), Some(&expected), "batch {batch}");
    }
}

/// The kernel names one refusal at a time. That is no race with others.
#[test]
fn many_refused_policies_are_all_set_aside() {
    let mut cluster = snapshot();
    for number in 0..12u16 {
        let mut policy = (**cluster.policies.values().next().unwrap()).clone();
        policy.key.name = format!("bad-{number}");
        let port = PortNumbers::Range(7000 + 2 * number, 7000 + 2 * number);
        let ports =
            Ports::Only(vec![policy::Port { protocol: policy::Protocol::Tcp, numbers: port }]);
        policy.ingress = Some(vec![policy::Rule { peers: policy::Peers::Anyone, ports }]);
        cluster.policies.insert(policy.key.clone(), Arc::new(policy));
    }
    let model = Model { refuses: Some("dport 70"), one_at_a_time: true, ..Model::default() };
    let mut pipeline = Pipeline::new(model, Options::default());
    let outcome = pipeline.sync(&cluster).unwrap();
    assert_eq!(outcome.set_aside.len(), 12);
    let table = pipeline.sink().table().cloned().unwrap();
    assert!(passes(&table, "10.0.0.2", 80));
}

#[test]
fn a_refusal_that_no_policy_is_behind_is_an_error() {
    let model = Model { refuses: Some("add set inet nftpol self4"), ..Model::default() };
    let mut pipeline = Pipeline::new(model, Options::default());
    let error = pipeline.sync(&snapshot()).unwrap_err();
    assert!(matches!(error.error, SyncError::Send(SendError::Refused(_))), "{error}");
}

#[test]
fn commits_of_others_in_between_are_met_by_reading_again() {
    let mut pipeline = Pipeline::new(Model::default(), Options::default());
    pipeline.sync(&snapshot()).unwrap();
    let mut less = snapshot();
    less.policies = less.policies.without_min().1;
    pipeline.sink().others = 3;
    pipeline.sync(&less).unwrap();
    let expected = pipeline.compile(&less).ruleset;
    assert_eq!(pipeline.sink().table(), Some(&expected));
}

#[test]
fn a_commit_of_others_just_after_ours_is_not_taken_for_ours() {
    let mut pipeline = Pipeline::new(Model::default(), Options::default());
    pipeline.sink().after = 1;
    pipeline.sync(&snapshot()).unwrap();
    assert_eq!(pipeline.check().unwrap(), Check::ReadWhenAffordable);
    pipeline.sync(&snapshot()).unwrap();
    assert_eq!(pipeline.check().unwrap(), Check::ReadWhenAffordable, "nobody read the table");
    pipeline.distrust();
    pipeline.sync(&snapshot()).unwrap();
    assert_eq!(pipeline.check().unwrap(), Check::Nothing);
}

#[test]
fn commits_of_others_elsewhere_cost_no_reading() {
    let mut pipeline = Pipeline::new(Model::default(), Options::default());
    pipeline.sync(&snapshot()).unwrap();
    let dumps = pipeline.sink().dumps;
    pipeline.sink().generation += 1;
    assert_eq!(pipeline.check().unwrap(), Check::ReadWhenAffordable);
    let mut less = snapshot();
    less.policies = less.policies.without_min().1;
    pipeline.sync(&less).unwrap();
    assert_eq!(pipeline.sink().dumps, dumps);
    let expected = pipeline.compile(&less).ruleset;
    assert_eq!(pipeline.sink().table(), Some(&expected));
}

/// The trusted table was wrong, so no policy is to blame.
#[test]
fn a_refusal_after_commits_of_others_is_met_by_reading() {
    let mut pipeline = Pipeline::new(Model::default(), Options::default());
    pipeline.sync(&snapshot()).unwrap();
    let model = pipeline.sink();
    let table = model.tables.values_mut().next().unwrap();
    let gone = table.maps.keys().find(|name| name.as_str() == "ingress4").unwrap().clone();
    table.maps.get_mut(&gone).unwrap().entries.clear();
    model.generation += 1;
    let outcome = pipeline.sync(&Snapshot::default()).unwrap();
    assert_eq!(outcome.set_aside, BTreeSet::new());
    let expected = pipeline.compile(&Snapshot::default()).ruleset;
    assert_eq!(pipeline.sink().table(), Some(&expected));
}

#[test]
fn a_table_made_anew_is_noticed() {
    let mut pipeline = Pipeline::new(Model::default(), Options::default());
    assert_eq!(pipeline.check().unwrap(), Check::Restore, "never read");
    pipeline.sync(&snapshot()).unwrap();
    pipeline.sink().flush();
    assert_eq!(pipeline.check().unwrap(), Check::Restore);
    let outcome = pipeline.sync(&snapshot()).unwrap();
    assert_eq!(outcome.before, None);
    assert_eq!(pipeline.check().unwrap(), Check::Nothing);
}

/// The event comes before the look that would have noticed.
#[test]
fn a_change_that_finds_the_table_gone_says_that_it_restored_it() {
    let mut pipeline = Pipeline::new(Model::default(), Options::default());
    assert!(pipeline.sync(&snapshot()).unwrap().restored().next().is_none());
    pipeline.sink().flush();
    let mut changed = snapshot();
    changed.policies.remove(&policy::ObjectKey::new("dev", "db"));
    assert!(pipeline.sync(&changed).unwrap().restored().next().is_some());
    assert!(pipeline.sync(&snapshot()).unwrap().restored().next().is_none());
}

#[test]
fn a_policy_that_is_refused_does_not_stop_a_rebuild() {
    let model = Model { refuses: Some("tcp dport 81"), ..Model::default() };
    let mut pipeline = Pipeline::new(model, Options::default());
    let outcome = pipeline.replace(&snapshot()).unwrap();
    assert_eq!(outcome.set_aside, BTreeSet::from([policy::ObjectKey::new("dev", "web")]));
    let names: Vec<_> = pipeline.sink().tables.keys().map(|table| &table.name).collect();
    assert_eq!(names, [&compiler::scaffold::table()], "the stand-in is gone");
    let table = pipeline.sink().table().cloned().unwrap();
    let seen = [("10.0.0.1", 81), ("10.0.0.2", 80), ("10.0.0.2", 81)]
        .map(|(pod, port)| passes(&table, pod, port));
    assert_eq!(seen, [false, true, false]);
}

#[test]
fn the_second_time_nothing_is_sent() {
    let mut pipeline = Pipeline::new(Model::default(), Options::default());
    pipeline.sync(&snapshot()).unwrap();
    let sent = pipeline.sink().sent;
    let outcome = pipeline.sync(&snapshot()).unwrap();
    assert_eq!((outcome.batches(), pipeline.sink().sent), (0, sent));
}

#[test]
fn an_outcome_holds_the_table_before_all_that_was_sent_since_the_last_one() {
    let mut pipeline = Pipeline::new(Model::default(), Options::default());
    let first = pipeline.sync(&snapshot()).unwrap();
    assert_eq!(first.before, None);
    assert_eq!(Some(&*first.after), pipeline.sink().table());
    let again = pipeline.sync(&snapshot()).unwrap();
    assert_eq!(again.before.as_deref(), Some(&*first.after));
    // The isolated addresses go in the first batches, the chains in the last.
    pipeline.sink().refuses = Some("delete chain");
    pipeline.sync(&Snapshot::default()).unwrap_err();
    assert_ne!(pipeline.sink().table(), Some(&*first.after));
    pipeline.sink().refuses = None;
    let last = pipeline.sync(&Snapshot::default()).unwrap();
    assert_eq!(last.before.as_deref(), Some(&*first.after));
    assert_eq!(Some(&*last.after), pipeline.sink().table());
}
