//! Pods whose objects go while they may run on.

use std::net::IpAddr;
use std::sync::Arc;

use agent::status::Condition;
use policy::{BoundPort, InterfaceIndex, Kept, Mac, NodeNetwork, ObjectKey, Pod};
use ruleset::Ruleset;
use watcher::api::{Event, Found, StandIn, WatchError};
use watcher::{Kind, Object};

use super::bench::{Bench, list};
use super::model::{Model, objects, passes, snapshot};

const KEPT: &str = "nftpol_kept_addresses{reason=\"removed\"}";
const AFTER_RESTART: &str = "nftpol_kept_addresses{reason=\"restart\"}";

fn web() -> Arc<Pod> {
    let web = snapshot().pods[&ObjectKey::new("dev", "web")].clone();
    Arc::new(Pod { node: Some("node".to_owned()), ..Pod::clone(&web) })
}

fn applied(pod: Arc<Pod>) -> Event {
    Event::Applied(Found { object: Object::Pod(pod), diagnostics: Vec::new() })
}

fn deleted() -> Event {
    Event::Deleted { kind: Kind::Pod, key: ObjectKey::new("dev", "web") }
}

fn bound() -> NodeNetwork {
    let addresses = [IpAddr::from([10, 0, 0, 1])].into();
    let pod = ObjectKey::new("dev", "web");
    let port = BoundPort { pod, bridge: None, mac: Mac([2, 0, 0, 0, 0, 1]), addresses };
    NodeNetwork { ports: [(InterfaceIndex(7), port)].into_iter().collect(), ..Default::default() }
}

fn is_isolated(table: &Ruleset) -> bool {
    !passes(table, "10.0.0.1", 4711)
}

/// A bench with an agent of its own node, which has the pod `web`.
fn of_node(model: Model) -> Bench {
    let mut bench = Bench::listed(model).on_node();
    bench.event(0, applied(web()));
    bench
}

#[test]
fn a_pod_without_an_object_is_isolated_until_its_interface_is_gone() {
    let mut bench = of_node(Model::default());
    *bench.interfaces.network.borrow_mut() = bound();
    bench.event(1000, deleted());
    for ms in [1001, 1500, 3_000_000] {
        bench.others(ms, |model| {
            let table = model.table().unwrap();
            assert!(is_isolated(table) && passes(table, "10.0.0.1", 80), "as it was");
        });
    }
    let network = bench.interfaces.network.clone();
    bench.others(3_000_001, move |_| *network.borrow_mut() = NodeNetwork::default());
    bench.run(3_000_100).unwrap();
    assert!(!is_isolated(&bench.table().unwrap()));
    assert_eq!(bench.metric(KEPT), 0.0);
}

#[test]
fn where_no_interface_is_known_time_ends_it() {
    let mut bench = of_node(Model::default());
    bench.event(1000, deleted());
    bench.others(630_500, |model| assert!(is_isolated(model.table().unwrap())));
    bench.others(631_500, |model| assert!(!is_isolated(model.table().unwrap())));
    bench.run(632_000).unwrap();
}

/// Between the two events nobody looks at the objects.
#[test]
fn a_pod_that_comes_and_goes_in_one_moment_is_kept() {
    let mut bench = Bench::listed(Model::default()).on_node();
    *bench.interfaces.network.borrow_mut() = bound();
    bench.event(1000, applied(web()));
    bench.event(1000, deleted());
    bench.run(2000).unwrap();
    assert!(is_isolated(&bench.table().unwrap()));
    assert_eq!(bench.metric(KEPT), 1.0);
}

/// A bench that lists all but the pod `web`.
fn without_web(model: Model) -> Bench {
    let mut bench = Bench::new(model).on_node();
    for kind in [Kind::NetworkPolicy, Kind::Namespace] {
        bench.event(0, list(kind));
    }
    let is_other = |object: &Object| object.kind() == Kind::Pod && object.key() != web().key;
    let others = objects().into_iter().filter(is_other);
    let found = others.map(|object| Found { object, diagnostics: Vec::new() });
    bench.event(0, Event::Listed { kind: Kind::Pod, objects: found.collect() });
    bench
}

/// What is in the kernel when the agent begins.
fn taken_over() -> Model {
    let mut bench = of_node(Model::default());
    *bench.interfaces.network.borrow_mut() = bound();
    bench.run(1000).unwrap();
    let tables = bench.kernel.model.borrow().tables.clone();
    Model { tables, ..Model::default() }
}

#[test]
fn what_the_kernel_isolates_stays_shut_after_a_restart() {
    for is_bound in [true, false] {
        let mut bench = without_web(taken_over());
        if is_bound {
            *bench.interfaces.network.borrow_mut() = bound();
        }
        bench.run(2000).unwrap();
        let table = bench.table().unwrap();
        assert_eq!(is_isolated(&table), is_bound);
        assert_eq!(!passes(&table, "10.0.0.1", 80), is_bound, "its labels are not known");
        assert_eq!(bench.metric(AFTER_RESTART), f64::from(u8::from(is_bound)));
    }
}

#[test]
fn an_object_that_comes_late_ends_what_was_kept_at_the_restart() {
    let mut bench = without_web(taken_over());
    *bench.interfaces.network.borrow_mut() = bound();
    bench.event(5000, applied(web()));
    bench.others(5100, |model| {
        let table = model.table().unwrap();
        assert!(is_isolated(table) && passes(table, "10.0.0.1", 80), "its policy holds");
    });
    bench.event(6000, list(Kind::Namespace));
    bench.run(7000).unwrap();
    assert_eq!(bench.metric(AFTER_RESTART), 0.0);
}

fn unreadable(stand_in: StandIn, in_list: bool) -> Event {
    let (kind, key) = stand_in.identity();
    let error =
        WatchError::Decode { what: format!("{kind} {key}"), message: "too deep".to_owned() };
    Event::Unreadable { stand_in, in_list, error }
}

fn rough(name: &str, last: u8) -> StandIn {
    let address = IpAddr::from([10, 0, 0, last]);
    StandIn::Pod(Arc::new(Kept::stand_in(ObjectKey::new("dev", name), vec![address])))
}

#[test]
fn of_an_object_that_cannot_be_read_the_last_readable_one_holds() {
    let mut bench = of_node(Model::default());
    *bench.interfaces.network.borrow_mut() = bound();
    let policy = ObjectKey::new("dev", "web");
    bench.event(1000, unreadable(StandIn::Policy(policy.clone()), false));
    bench.event(1100, unreadable(rough("web", 1), false));
    let status = bench.status();
    bench.others(1500, move |model| {
        let table = model.table().unwrap();
        assert!(is_isolated(table) && passes(table, "10.0.0.1", 80), "as before");
        let problem = status.problem(Condition::Readable).unwrap();
        assert!(problem.contains("NetworkPolicy dev/web") && problem.contains("Pod dev/web"));
    });
    // A list that lacks the policy, because it cannot be read.
    let policies = |keep: fn(&str) -> bool| {
        let is_it = move |one: &Object| one.kind() == Kind::NetworkPolicy && keep(&one.key().name);
        let objects = objects().into_iter().filter(is_it);
        let found = objects.map(|object| Found { object, diagnostics: Vec::new() });
        Event::Listed { kind: Kind::NetworkPolicy, objects: found.collect() }
    };
    bench.event(2000, unreadable(StandIn::Policy(policy), true));
    bench.event(2000, policies(|name| name != "web"));
    bench.others(2500, |model| assert!(is_isolated(model.table().unwrap())));
    // And one that lacks it, because it is gone.
    bench.event(3000, policies(|name| name != "web"));
    bench.event(3000, applied(web()));
    let status = bench.status();
    bench.others(3500, move |model| {
        assert!(!is_isolated(model.table().unwrap()));
        assert_eq!(status.problem(Condition::Readable), None);
    });
    bench.run(4000).unwrap();
}

#[test]
fn without_a_readable_one_nothing_is_allowed() {
    let mut bench = of_node(Model::default());
    bench.event(1000, unreadable(StandIn::Policy(ObjectKey::new("dev", "deep")), false));
    bench.event(1000, unreadable(rough("new", 9), false));
    bench.others(1500, |model| {
        let table = model.table().unwrap();
        assert!(!passes(table, "10.0.0.9", 80), "the pod that cannot be read");
        assert!(passes(table, "10.0.0.1", 80), "a policy of its own allows it");
    });
    bench.event(
        2000,
        Event::Deleted { kind: Kind::NetworkPolicy, key: ObjectKey::new("dev", "web") },
    );
    bench.others(2500, |model| {
        assert!(!passes(model.table().unwrap(), "10.0.0.1", 80), "by the one that is too deep");
    });
    bench.run(3000).unwrap();
    assert_eq!(bench.metric("nftpol_kept_addresses{reason=\"unreadable\"}"), 1.0);
}

/// They cannot be listed, so nothing tells that an interface is gone.
#[test]
fn without_interfaces_nothing_ends_at_a_restart() {
    let mut bench = without_web(taken_over());
    *bench.interfaces.problem.borrow_mut() = Some("no netlink".to_owned());
    bench.run(700_000).unwrap();
    assert!(is_isolated(&bench.table().unwrap()));
}
