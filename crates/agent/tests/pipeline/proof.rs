//! Tables must be proved before they are sent.

use std::collections::BTreeSet;
use std::sync::Arc;

use agent::pipeline::{Pipeline, SyncError, Verify};
use compiler::{Options, scaffold};
use policy::{Namespace, NodeNetwork, ObjectKey, Snapshot};
use ruleset::Ruleset;
use verify::{Report, VerifyError, verify};

use super::model::{Model, passes, snapshot};

/// Acts as if the compiler forgot the rules of the base chain while the policy
/// `dev/web` exists.
const FORGETFUL: Verify = forgetful;

fn forgetful(
    snapshot: &Snapshot,
    node: Option<&str>,
    set_aside: &BTreeSet<ObjectKey>,
    network: &NodeNetwork,
    table: &Ruleset,
    bridge: Option<&Ruleset>,
) -> Result<Report, VerifyError> {
    let mut table = table.clone();
    if snapshot.policies.contains_key(&web()) {
        let chain = table.chains.get_mut(&scaffold::base_chain()).unwrap();
        Arc::make_mut(chain).rules.clear();
    }
    verify(snapshot, node, set_aside, network, &table, bridge)
}

fn web() -> ObjectKey {
    ObjectKey::new("dev", "web")
}

fn without_web() -> Snapshot {
    let mut snapshot = snapshot();
    snapshot.policies.remove(&web());
    snapshot
}

#[test]
fn a_table_is_proved_once_and_sent() {
    let mut pipeline = Pipeline::new(Model::default(), Options::default()).proving(verify);
    let cluster = snapshot();
    pipeline.sync(&cluster).unwrap();
    assert_eq!((pipeline.proofs().equal, pipeline.proofs().failed), (1, 0));
    // Others deleted it: the same table is sent once more.
    pipeline.sink().flush();
    pipeline.sync(&cluster.clone()).unwrap();
    assert_eq!(pipeline.proofs().equal, 1);
    assert!(!passes(pipeline.sink().table().unwrap(), "10.0.0.1", 82));
    pipeline.sync(&without_web()).unwrap();
    assert_eq!(pipeline.proofs().equal, 2);
}

/// A proof depends on no comparison of objects: one that overlooks a change would
/// hide it from the engine and from the proof alike.
#[test]
fn objects_that_are_not_the_proved_ones_are_proved_even_if_they_are_equal() {
    let mut pipeline = Pipeline::new(Model::default(), Options::default()).proving(verify);
    let mut cluster = snapshot();
    let namespace = Namespace::synthesised("dev");
    cluster.namespaces.insert("dev".to_owned(), Arc::new(namespace));
    pipeline.sync(&cluster).unwrap();
    for (copied, proofs) in [("policies", 2), ("pods", 3), ("namespaces", 4)] {
        let (now, copy) = (cluster.clone(), cluster.clone());
        cluster = match copied {
            "policies" => Snapshot { policies: copy.policies.into_iter().collect(), ..now },
            "pods" => Snapshot { pods: copy.pods.into_iter().collect(), ..now },
            _ => Snapshot { namespaces: copy.namespaces.into_iter().collect(), ..now },
        };
        for _ in 0..2 {
            pipeline.sync(&cluster).unwrap();
            assert_eq!(pipeline.proofs().equal, proofs, "{copied}");
        }
    }
}

#[test]
fn a_table_that_differs_is_not_sent_and_the_one_before_stays() {
    let mut pipeline = Pipeline::new(Model::default(), Options::default()).proving(FORGETFUL);
    pipeline.sync(&without_web()).unwrap();
    let (before, sent) = (pipeline.sink().tables.clone(), pipeline.sink().sent);
    let cluster = snapshot();
    for replace in [false, false, true] {
        let result = match replace {
            true => pipeline.replace(&cluster),
            false => pipeline.sync(&cluster),
        };
        let error = result.unwrap_err();
        assert!(matches!(error.error, SyncError::Unproved(_)), "{error}");
        let said = error.to_string();
        for part in ["were not sent", "expected: is dropped", "isolated by dev/"] {
            assert!(said.contains(part), "{said}");
        }
        let kernel = pipeline.sink();
        assert_eq!((&kernel.tables, kernel.sent), (&before, sent));
    }
    // Changes by others in the meantime are undone.
    pipeline.sink().flush();
    pipeline.sync(&cluster).unwrap_err();
    assert_eq!(pipeline.sink().tables, before);
    // The same objects give the same answer, so the proof does not run again.
    assert_eq!((pipeline.proofs().equal, pipeline.proofs().failed), (1, 1));
    pipeline.sync(&without_web()).unwrap();
    assert_eq!(pipeline.proofs().equal, 2);
}

/// A policy that is set aside allows nothing. That is proved, too.
#[test]
fn a_policy_that_is_refused_is_proved_without_its_rules() {
    let model = Model { refuses: Some("tcp dport 81"), ..Model::default() };
    let mut pipeline = Pipeline::new(model, Options::default()).proving(verify);
    let outcome = pipeline.sync(&snapshot()).unwrap();
    assert_eq!(outcome.set_aside, BTreeSet::from([web()]));
    assert_eq!((pipeline.proofs().equal, pipeline.proofs().failed), (2, 0));
}
