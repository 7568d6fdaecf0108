//! Pods whose objects go while they may run on.

use std::net::IpAddr;
use std::sync::Arc;

use policy::{BoundPort, InterfaceIndex, Mac, NodeNetwork, ObjectKey, Pod};
use ruleset::Ruleset;
use watcher::api::{Event, Found};
use watcher::{Kind, Object};

use super::bench::{Bench, list};
use super::model::{Model, passes, snapshot};

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
        let mut bench = Bench::listed(taken_over()).on_node();
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
    let mut bench = Bench::listed(taken_over()).on_node();
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

/// They cannot be listed, so nothing tells that an interface is gone.
#[test]
fn without_interfaces_nothing_ends_at_a_restart() {
    let mut bench = Bench::listed(taken_over()).on_node();
    *bench.interfaces.problem.borrow_mut() = Some("no netlink".to_owned());
    bench.run(700_000).unwrap();
    assert!(is_isolated(&bench.table().unwrap()));
}
