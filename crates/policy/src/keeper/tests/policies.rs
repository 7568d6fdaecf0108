//! The policies of a namespace that ends.

use super::super::policies::unknown_policies;
use super::*;
use crate::Namespace;

fn policy() -> NetworkPolicy {
    NetworkPolicy { key: ObjectKey::new("dev", "p"), ..unknown_policies("dev") }
}

fn dev(is_ending: bool) -> Namespace {
    Namespace { is_ending, ..Namespace::synthesised("dev") }
}

/// A pod `v` of node `a`, which a policy isolates.
fn bench() -> Bench {
    let mut bench = Bench::with([pod("v", "a", "10.0.0.1")]);
    bench.change(|objects| {
        let pods = objects.pods.values().map(|pod| Pod::clone(pod));
        *objects = Snapshot::new([policy()], pods.collect::<Vec<_>>(), [dev(false)]);
    });
    bench.bind(&["10.0.0.1"]);
    bench
}

impl Bench {
    fn delete_policy(&mut self) {
        self.change(|objects| objects.policies.clear());
    }

    fn namespace(&mut self, now: Option<Namespace>) {
        self.change(|objects| {
            objects.namespaces.clear();
            objects.namespaces.extend(now.map(|one| (one.name.clone(), Arc::new(one))));
        });
    }

    fn policies(&self) -> Vec<String> {
        self.keeper.policies().keys().map(ToString::to_string).collect()
    }
}

#[test]
fn a_policy_of_a_namespace_that_ends_is_kept_while_its_pods_are_there() {
    let mut bench = bench();
    bench.namespace(Some(dev(true)));
    bench.delete_policy();
    assert_eq!(bench.policies(), ["dev/p"]);
    bench.namespace(None);
    bench.after(100 * REMEMBERED_FOR);
    assert_eq!(bench.policies(), ["dev/p"]);
    bench.delete("v");
    assert_eq!(bench.policies(), ["dev/p"], "the pod is kept, too");
    bench.bind(&[]);
    assert_eq!(bench.policies(), [""; 0]);
}

#[test]
fn a_policy_that_somebody_deletes_is_not_kept() {
    let mut bench = bench();
    bench.delete_policy();
    assert_eq!(bench.policies(), [""; 0]);
    bench.look();
    bench.after(REMEMBERED_FOR);
    bench.namespace(Some(dev(true)));
    assert_eq!(bench.policies(), [""; 0], "long before its namespace");
}

/// Two watches, of which one lags behind.
#[test]
fn the_namespaces_end_can_be_told_after_the_policys() {
    let mut bench = bench();
    bench.delete_policy();
    bench.look();
    bench.after(REMEMBERED_FOR - SECOND);
    bench.namespace(Some(dev(true)));
    assert_eq!(bench.policies(), ["dev/p"]);
}

#[test]
fn a_namespace_that_is_made_again_has_no_policies_of_the_former_one() {
    let mut bench = bench();
    bench.namespace(None);
    bench.delete_policy();
    bench.delete("v");
    bench.set(Pod { created: 1, ..pod("new", "a", "10.0.0.2") });
    bench.namespace(Some(dev(false)));
    assert_eq!(bench.policies(), ["dev/p"], "what is left of the former one is isolated");
    bench.bind(&["10.0.0.2"]);
    assert_eq!(bench.policies(), [""; 0]);
}

#[test]
fn a_policy_that_comes_again_is_kept_no_longer() {
    let mut bench = bench();
    bench.namespace(Some(dev(true)));
    bench.delete_policy();
    bench.change(|objects| {
        objects.policies.insert(policy().key, Arc::new(policy()));
    });
    assert_eq!(bench.policies(), [""; 0]);
}

#[test]
fn after_a_restart_the_pods_of_a_namespace_that_ends_stay_shut() {
    for (is_ending, expected) in [(true, 1), (false, 0)] {
        let mut bench = bench();
        bench.namespace(Some(dev(is_ending)));
        bench.keeper = Keeper::of("a");
        bench.objects.policies.clear();
        bench.keeper.follow(&Snapshot::default(), &bench.objects);
        let isolated = BTreeSet::from([ip("10.0.0.1")]);
        bench.keeper.begin(&isolated, &network(&["10.0.0.1"]));
        assert_eq!(bench.policies().len(), expected, "{is_ending}");
    }
}
