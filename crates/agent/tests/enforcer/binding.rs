//! The loop follows the node's interfaces.

use std::collections::BTreeSet;
use std::net::IpAddr;

use policy::{BindingFinding, BoundPort, InterfaceIndex, Mac, NodeNetwork, ObjectKey};

use super::bench::Bench;
use super::model::Model;
use super::whole;

/// The interface of the model's pod `web`.
pub fn web_is_bound(bridge: Option<u32>) -> NodeNetwork {
    let port = BoundPort {
        pod: ObjectKey::new("dev", "web"),
        bridge: bridge.map(InterfaceIndex),
        mac: Mac([2, 0, 0, 0, 0, 1]),
        addresses: [web()].into(),
    };
    NodeNetwork { ports: [(InterfaceIndex(7), port)].into_iter().collect(), ..Default::default() }
}

fn web() -> IpAddr {
    IpAddr::from([10, 0, 0, 1])
}

/// Flows from before could be forged, those from after could not.
#[test]
fn an_address_is_told_to_the_clean_up_when_it_is_bound_for_the_first_time() {
    let mut bench = Bench::listed(Model::default());
    let network = bench.interfaces.network.clone();
    bench.others(1000, move |_| *network.borrow_mut() = web_is_bound(None));
    bench.others(2000, |model| model.generation += 1);
    // Without our table anybody can forge again.
    bench.others(3000, Model::flush);
    bench.run(4000).unwrap();
    let once = BTreeSet::from([web()]);
    assert_eq!(*bench.bound.borrow(), [once.clone(), once], "at 1000 and at 3000 ms");
}

#[test]
fn without_interfaces_the_first_sync_waits_for_a_moment_and_the_node_is_not_ready() {
    let mut bench = Bench::listed(Model::default());
    *bench.interfaces.problem.borrow_mut() = Some("no netlink".to_owned());
    bench.run(6000).unwrap();
    let first = bench.kernel.trace.borrow().sends.first().copied().unwrap();
    assert!((2000..2100).contains(&first), "{first} ms");
    assert_eq!(bench.table(), whole(), "the policies are enforced");
    let problem = bench.bound_problem().unwrap();
    assert_eq!(problem, "the node's interfaces cannot be listed: no netlink");
}

/// What a tenant does to its addresses is no reason.
#[test]
fn only_what_the_operator_must_mend_for_all_makes_a_node_unready() {
    let mut bench = Bench::listed(Model::default());
    let unbound = BindingFinding::NoInterface { pod: ObjectKey::new("dev", "web"), address: web() };
    *bench.interfaces.findings.borrow_mut() = vec![unbound];
    bench.run(15_000).unwrap();
    assert_eq!(bench.bound_problem(), None);
    assert!(bench.report().contains("[+] bound: 1 of this node's pods"), "{}", bench.report());
    assert_eq!(bench.metric("nftpol_unbound_pods"), 1.0);
}

#[test]
fn a_bridge_with_pods_that_filters_vlans_makes_a_node_unready() {
    let mut bench = Bench::listed(Model::default());
    let findings = vec![BindingFinding::VlanFiltering { bridge: "br0".to_owned() }];
    *bench.interfaces.findings.borrow_mut() = findings;
    bench.run(1000).unwrap();
    assert!(bench.bound_problem().is_some_and(|problem| problem.contains("br0")));
    assert_eq!(bench.problem(), None, "the policies are enforced");
}
