//! The loop follows the node's interfaces.

use std::collections::BTreeSet;
use std::net::IpAddr;

use agent::enforcer::LOOK_EVERY;
use agent::node_ranges::NodeRanges;
use agent::status::Condition;
use nft::Errno;
use policy::{BindingFinding, BoundPort, InterfaceIndex, Mac, NodeNetwork, ObjectKey};
use ruleset::TableFamily;

use super::bench::{Bench, deleted};
use super::model::{Model, passes};
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

/// The first commit has the ranges of the Node, unless it cannot be read.
#[test]
fn the_first_sync_waits_for_the_node_object_for_a_moment() {
    let mut failed = NodeRanges::default();
    failed.failed("forbidden".to_owned());
    for (node, expected) in [(NodeRanges::default(), 2000..2100), (failed, 0..100)] {
        let mut bench = Bench::listed(Model::default());
        bench.interfaces.node = Some(node);
        bench.run(6000).unwrap();
        let first = bench.kernel.trace.borrow().sends.first().copied().unwrap();
        assert!(expected.contains(&first), "{first} ms");
        assert_eq!(bench.table(), whole());
        assert_eq!(bench.problem(), None);
    }
}

/// A kernel in which an earlier agent bound the model's pod `web`.
fn taken_over() -> Model {
    let mut bench = Bench::listed(Model::default());
    *bench.interfaces.network.borrow_mut() = web_is_bound(Some(3));
    bench.run(1000).unwrap();
    let tables = bench.kernel.model.borrow().tables.clone();
    assert_eq!(tables.len(), 2);
    Model { tables, ..Model::default() }
}

fn own4(model: &Model) -> usize {
    let own4 =
        [model.table(), model.bridge()].map(|table| table.unwrap().sets["own4"].elements.len());
    own4.iter().sum()
}

/// What is bound stays so, the policies change, and what others delete comes back.
#[test]
fn without_interfaces_the_next_agent_enforces_what_was_bound() {
    let mut bench = Bench::listed(taken_over());
    *bench.interfaces.problem.borrow_mut() = Some("no netlink".to_owned());
    bench.event(3000, deleted("web"));
    bench.others(4005, |model| {
        assert!(passes(model.table().unwrap(), "10.0.0.1", 4711));
        assert_eq!(own4(model), 2);
        model.flush();
    });
    bench.others(4005 + 2 * LOOK_EVERY.as_millis() as u64, |model| assert_eq!(own4(model), 2));
    bench.run(6000).unwrap();
    assert!(bench.bound_problem().is_some_and(|problem| problem.contains("no netlink")));
    assert_eq!(bench.problem(), None);
}

/// Who had what before is not forgotten because others commit without a pause.
#[test]
fn while_what_is_bound_cannot_be_read_nothing_is_bound_anew() {
    let mut bench = Bench::listed(taken_over());
    bench.kernel.keeps_changing.set(true);
    let claims = bench.interfaces.claims.clone();
    bench.run(8000).unwrap();
    let problem = bench.bound_problem().unwrap();
    assert!(problem.contains("cannot be read, trying again"), "{problem}");
    assert!(bench.kernel.trace.borrow().sends.is_empty(), "what is in force stays");
    assert_eq!(*claims.borrow(), None, "nothing is remembered instead");
    bench.kernel.keeps_changing.set(false);
    *bench.interfaces.network.borrow_mut() = web_is_bound(Some(3));
    for kind in watcher::Kind::ALL {
        bench.event(9000, super::list(kind));
    }
    bench.run(10_000).unwrap();
    assert!(claims.borrow().as_ref().is_some_and(|claims| !claims.0.is_empty()));
    assert_eq!(bench.bound_problem(), None);
}

/// Without a table of ours there is nothing to remember.
#[test]
fn where_nothing_was_bound_nothing_is_waited_for() {
    let mut bench = Bench::listed(Model::default());
    bench.kernel.keeps_changing.set(true);
    let claims = bench.interfaces.claims.clone();
    bench.run(1000).unwrap();
    assert_eq!(*claims.borrow(), Some(policy::Claims::default()));
}

#[test]
fn one_look_that_fails_makes_no_node_unready() {
    let mut bench = Bench::listed(Model::default());
    let problem = bench.interfaces.problem.clone();
    for (at, why) in [(1000, Some("busy")), (2500, None), (3000, Some("busy"))] {
        let problem = problem.clone();
        bench.others(at, move |_| *problem.borrow_mut() = why.map(str::to_owned));
    }
    let bound = bench.status();
    let at = |ms, expected: bool, bench: &mut Bench| {
        let bound = bound.clone();
        bench.others(ms, move |_| {
            assert_eq!(bound.problem(Condition::Bound).is_some(), expected, "{ms} ms");
        });
    };
    at(500, false, &mut bench);
    at(2400, false, &mut bench);
    at(4900, false, &mut bench);
    at(5500, true, &mut bench);
    bench.run(6000).unwrap();
}

/// The node around the table is looked at every two seconds, but not then.
#[test]
fn a_node_is_not_ready_between_the_start_of_ipvs_and_the_rules_for_it() {
    let mut bench = Bench::listed(Model::default());
    let network = bench.interfaces.network.clone();
    bench.others(1000, move |_| network.borrow_mut().ipvs = true);
    bench.run(1500).unwrap();
    let looks = bench.looks.borrow();
    let since: Vec<_> = looks.iter().filter(|(at, _)| *at >= 1000).collect();
    let [(seen, false), (judged, true)] = since[..] else { panic!("{looks:?}") };
    let soon = 1000 + LOOK_EVERY.as_millis() as u64;
    assert!(*seen <= soon && *judged <= *seen + LOOK_EVERY.as_millis() as u64, "{looks:?}");
}

/// The kernel refuses what would bind it.
#[test]
fn gauge_and_condition_say_what_is_in_force() {
    let refuses = Some("add set bridge nftpol");
    let mut bench = Bench::listed(Model { refuses, errno: Errno::ENOMEM, ..Model::default() });
    *bench.interfaces.network.borrow_mut() = web_is_bound(Some(3));
    bench.run(5000).unwrap();
    assert_eq!(bench.metric("nftpol_bound_ports"), 0.0);
    let problem = bench.bound_problem().unwrap();
    assert!(problem.starts_with("the kernel does not have the bindings"), "{problem}");

    let mut bench = Bench::listed(Model::default());
    *bench.interfaces.network.borrow_mut() = web_is_bound(Some(3));
    bench.run(5000).unwrap();
    assert_eq!((bench.metric("nftpol_bound_ports"), bench.bound_problem()), (1.0, None));
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

/// By itself, while the other table stays.
#[test]
fn each_table_that_others_delete_is_back_at_the_next_look() {
    for family in [TableFamily::Inet, TableFamily::Bridge] {
        let mut bench = Bench::listed(Model::default());
        *bench.interfaces.network.borrow_mut() = web_is_bound(Some(3));
        bench.others(1005, move |model| {
            assert_eq!(model.tables.len(), 2);
            model.tables.retain(|table, _| table.family != family);
            model.generation += 1;
        });
        bench.others(1005 + 2 * LOOK_EVERY.as_millis() as u64, |model| {
            assert_eq!(model.tables.len(), 2);
        });
        bench.run(2000).unwrap();
        assert_eq!(bench.metric("nftpol_repairs_total"), 1.0, "{family}");
        assert_eq!(bench.problem(), None, "{family}");
    }
}

/// The kernel refuses the table of the bridge family for long.
#[test]
fn policies_change_while_the_bridge_table_is_refused() {
    let refuses = Some("add set bridge nftpol");
    let model = Model { refuses, errno: Errno::ENOMEM, ..Model::default() };
    let mut bench = Bench::listed(model);
    *bench.interfaces.network.borrow_mut() = web_is_bound(Some(3));
    bench.event(5000, deleted("web"));
    bench.others(6100, |model| {
        let table = model.table().unwrap();
        assert!(passes(table, "10.0.0.1", 4711) && !passes(table, "10.0.0.2", 4711));
        assert!(model.bridge().is_none());
        model.refuses = None;
    });
    bench.look(6000);
    bench.run(9000).unwrap();
    assert!(bench.seen.borrow()[0].as_ref().is_some_and(|why| why.contains("memory")));
    assert_eq!((bench.problem(), bench.kernel.model.borrow().tables.len()), (None, 2));
}
