//! Two tables: what happens to one does not stop the other.

use std::net::IpAddr;

use agent::pipeline::{Check, Pipeline, SyncError};
use compiler::Options;
use nft::{Errno, SendError};
use policy::{BoundBridge, BoundPort, InterfaceIndex, Mac, NodeNetwork, ObjectKey, Snapshot};
use ruleset::simulator::{Outcome, Packet, simulate};
use ruleset::{TableFamily, TableId};

use super::model::{Model, passes, snapshot};

/// The pods of the model, on a bridge.
fn bridged() -> NodeNetwork {
    let bridge = InterfaceIndex(3);
    let port = |index: u32, name: &str, last: u8| {
        let port = BoundPort {
            pod: ObjectKey::new("dev", name),
            bridge: Some(bridge),
            mac: Mac([2, 0, 0, 0, 0, last]),
            addresses: [IpAddr::from([10, 0, 0, last])].into(),
        };
        (InterfaceIndex(index), port)
    };
    let gateway = BoundBridge {
        mac: Mac([2, 0, 0, 0, 0, 99]),
        addresses: [IpAddr::from([10, 0, 0, 99])].into(),
        only_pods: true,
    };
    NodeNetwork {
        ports: [port(11, "web", 1), port(12, "db", 2)].into_iter().collect(),
        bridges: [(bridge, gateway)].into_iter().collect(),
        ..NodeNetwork::default()
    }
}

fn pipeline(model: Model) -> Pipeline<Model> {
    let mut pipeline = Pipeline::new(model, Options::default());
    pipeline.bind(bridged());
    pipeline
}

/// Whether the kernel has both tables as they are compiled.
fn is_whole(pipeline: &mut Pipeline<Model>, snapshot: &Snapshot) -> bool {
    let expected = pipeline.compile(snapshot);
    let kernel = pipeline.sink();
    kernel.table() == Some(&expected.ruleset) && kernel.bridge() == expected.bridge.as_ref()
}

fn bridge() -> TableId {
    TableId { family: TableFamily::Bridge, name: compiler::scaffold::table() }
}

#[test]
fn the_bridge_table_comes_and_goes_with_the_ports_on_bridges() {
    let mut pipeline = Pipeline::new(Model::default(), Options::default());
    let outcome = pipeline.sync(&snapshot()).unwrap();
    assert!(pipeline.sink().bridge().is_none());
    assert_eq!(outcome.tables.map(|table| table.exists), [true, false]);
    pipeline.bind(bridged());
    pipeline.sync(&snapshot()).unwrap();
    assert!(pipeline.sink().bridge().is_some() && is_whole(&mut pipeline, &snapshot()));
    assert_eq!(pipeline.check().unwrap(), Check::Nothing);
    pipeline.bind(NodeNetwork::default());
    let outcome = pipeline.sync(&snapshot()).unwrap();
    let [_, bridge] = outcome.tables;
    assert_eq!((bridge.exists, bridge.batches), (false, 1), "deleted");
    assert!(is_whole(&mut pipeline, &snapshot()));
    assert_eq!(pipeline.check().unwrap(), Check::Nothing, "what we deleted is no surprise");
}

/// Each commit increments one counter for all tables.
#[test]
fn a_change_of_one_table_costs_no_look_at_the_other() {
    let mut pipeline = pipeline(Model::default());
    pipeline.sync(&snapshot()).unwrap();
    let dumps = pipeline.sink().dumps;
    let mut fewer = snapshot();
    fewer.policies.remove(&ObjectKey::new("dev", "web"));
    for cluster in [fewer, snapshot()] {
        let outcome = pipeline.sync(&cluster).unwrap();
        assert!(outcome.tables.iter().all(|table| table.batches > 0), "{:?}", outcome.tables);
        assert_eq!(pipeline.check().unwrap(), Check::Nothing);
    }
    assert_eq!(pipeline.sink().dumps, dumps);
    assert!(is_whole(&mut pipeline, &snapshot()));
}

#[test]
fn a_table_that_others_delete_is_noticed_and_only_that_one_is_restored() {
    for family in [TableFamily::Inet, TableFamily::Bridge] {
        let mut pipeline = pipeline(Model::default());
        pipeline.sync(&snapshot()).unwrap();
        let kernel = pipeline.sink();
        kernel.tables.remove(&TableId { family, ..bridge() });
        kernel.generation += 1;
        assert_eq!(pipeline.check().unwrap(), Check::Restore, "{family}");
        let outcome = pipeline.sync(&snapshot()).unwrap();
        let restored: Vec<_> = outcome.restored().map(|table| table.id.family).collect();
        assert_eq!(restored, [family]);
        assert!(is_whole(&mut pipeline, &snapshot()), "{family}");
    }
}

#[test]
fn a_base_chain_that_others_flush_is_noticed_at_once() {
    for (family, chain) in [
        (TableFamily::Inet, "bind"),
        (TableFamily::Inet, "forward"),
        (TableFamily::Bridge, "from"),
        (TableFamily::Bridge, "to"),
    ] {
        let mut pipeline = pipeline(Model::default());
        pipeline.sync(&snapshot()).unwrap();
        let kernel = pipeline.sink();
        let table = kernel.tables.get_mut(&TableId { family, ..bridge() }).unwrap();
        let name = ruleset::Name::new(chain).unwrap();
        std::sync::Arc::make_mut(table.chains.get_mut(&name).unwrap()).rules.clear();
        kernel.generation += 1;
        assert_eq!(pipeline.check().unwrap(), Check::Restore, "{family} {chain}");
        pipeline.sync(&snapshot()).unwrap();
        assert!(is_whole(&mut pipeline, &snapshot()), "{family} {chain}");
    }
}

#[test]
fn a_bridge_table_that_nobody_needs_is_removed_whoever_made_it() {
    let mut earlier = pipeline(Model::default());
    earlier.sync(&snapshot()).unwrap();
    let tables = earlier.sink().tables.clone();
    let mut pipeline =
        Pipeline::new(Model { tables: tables.clone(), ..Model::default() }, Options::default());
    pipeline.sync(&snapshot()).unwrap();
    assert!(pipeline.sink().bridge().is_none(), "at start");
    let kernel = pipeline.sink();
    kernel.tables.insert(bridge(), tables[&bridge()].clone());
    kernel.generation += 1;
    assert_eq!(pipeline.check().unwrap(), Check::Restore);
    pipeline.sync(&snapshot()).unwrap();
    assert!(pipeline.sink().bridge().is_none(), "later");
}

/// Which address was whose is in the tables themselves.
#[test]
fn an_agent_that_takes_over_learns_who_had_which_address_and_sends_nothing() {
    let mut earlier = pipeline(Model::default());
    earlier.sync(&snapshot()).unwrap();
    let model = Model { tables: earlier.sink().tables.clone(), ..Model::default() };
    let mut next = pipeline(model);
    let claims = next.claims().unwrap();
    for (index, port) in &bridged().ports {
        let claim = &claims.0[index];
        assert_eq!((claim.mac, &claim.addresses), (Some(port.mac), &port.addresses), "{index:?}");
    }
    let outcome = next.sync(&snapshot()).unwrap();
    assert_eq!(outcome.batches(), 0);
}

/// Others deleted one, or the agent was killed while a stand-in replaced one.
#[test]
fn what_is_left_of_the_tables_tells_who_had_what() {
    let mut earlier = pipeline(Model::default());
    earlier.sync(&snapshot()).unwrap();
    let whole = earlier.sink().tables.clone();
    let claims_of = |tables| pipeline(Model { tables, ..Model::default() }).claims().unwrap();

    let only_bridge = [(bridge(), whole[&bridge()].clone())].into();
    let only_stand_ins = whole.iter().map(|(id, table)| {
        let stand_in = TableId { name: ruleset::Name::new("nftpol-0").unwrap(), ..id.clone() };
        (stand_in.clone(), ruleset::Ruleset { table: stand_in.name, ..table.clone() })
    });
    for claims in [claims_of(only_bridge), claims_of(only_stand_ins.collect())] {
        for (index, port) in &bridged().ports {
            let claim = &claims.0[index];
            assert_eq!((claim.mac, &claim.addresses), (Some(port.mac), &port.addresses));
        }
    }
}

/// Of either table, for whatever reason.
#[test]
fn a_refusal_of_one_table_does_not_stop_the_other() {
    for errno in [Errno::EINVAL, Errno::ENOMEM, Errno::EBUSY] {
        let refuses = Some("add set bridge nftpol");
        let mut one = pipeline(Model { refuses, errno, ..Model::default() });
        let failure = one.sync(&snapshot()).unwrap_err();
        assert!(matches!(failure.error, SyncError::Send(SendError::Refused(_))), "{failure}");
        assert!(failure.set_aside.is_empty(), "no policy is behind it");
        assert!(passes(one.sink().table().unwrap(), "10.0.0.1", 80), "{errno}");
        one.sink().refuses = None;
        one.sync(&snapshot()).unwrap();
        assert!(is_whole(&mut one, &snapshot()), "{errno}");

        let refuses = Some("add set inet nftpol");
        let mut other = pipeline(Model { refuses, errno, ..Model::default() });
        let failure = other.sync(&snapshot()).unwrap_err();
        assert!(failure.also.is_none(), "{failure}");
        let expected = other.compile(&snapshot()).bridge;
        assert_eq!(other.sink().bridge(), expected.as_ref(), "{errno}");
    }
}

#[test]
fn refusals_of_the_bridge_table_set_no_policy_aside_however_often_they_come() {
    for errno in [Errno::ENOMEM, Errno::EINVAL] {
        let refuses = Some("add set bridge nftpol");
        let mut pipeline = pipeline(Model { refuses, errno, ..Model::default() });
        for _ in 0..50 {
            let failure = match pipeline.sync(&snapshot()) {
                Err(failure) if failure.needs_rebuild() => {
                    pipeline.replace(&snapshot()).unwrap_err()
                }
                result => result.unwrap_err(),
            };
            assert!(failure.set_aside.is_empty(), "{errno}: {failure}");
        }
        let table = pipeline.sink().table().unwrap();
        assert!(passes(table, "10.0.0.2", 80), "{errno}: the policies are enforced");
    }
}

/// As when a chain of others uses one of ours.
#[test]
fn only_the_table_that_needs_it_is_built_again() {
    let mut pipeline = pipeline(Model::default());
    pipeline.sync(&snapshot()).unwrap();
    let before = pipeline.sink().table().cloned();
    let kernel = pipeline.sink();
    let table = kernel.tables.get_mut(&bridge()).unwrap();
    // The planner cannot make a base chain of another kind of this one.
    let to = ruleset::Name::new("to").unwrap();
    std::sync::Arc::make_mut(table.chains.get_mut(&to).unwrap()).base = None;
    kernel.generation += 1;
    pipeline.distrust();
    let failure = pipeline.sync(&snapshot()).unwrap_err();
    assert!(failure.needs_rebuild(), "{failure}");
    assert!(failure.to_string().contains("table bridge nftpol"), "{failure}");
    pipeline.replace(&snapshot()).unwrap();
    assert!(is_whole(&mut pipeline, &snapshot()));
    assert_eq!(pipeline.sink().table(), before.as_ref());
    assert_eq!(pipeline.sink().tables.len(), 2, "no stand-in is left");
}

/// What the `inet` table does with a group of two pods that nobody isolates.
fn groups_pass(pipeline: &mut Pipeline<Model>) -> bool {
    let group = [[10, 0, 0, 50], [239, 1, 2, 3]].map(IpAddr::from);
    let packet = Packet::new(group[0], group[1], 17);
    let seen = simulate(pipeline.sink().table().unwrap(), &packet).unwrap();
    seen.outcome == Outcome::Accept
}

/// As many as there are: the pods of [`snapshot`] are isolated.
#[test]
fn groups_are_left_to_guards_only_while_these_are_in_force() {
    let mut pipeline = pipeline(Model::default());
    pipeline.sync(&snapshot()).unwrap();
    assert!(groups_pass(&mut pipeline), "all guards are in force");

    // One interface is not known any more, and then it is again.
    let unknown = InterfaceIndex(12);
    let fewer = NodeNetwork { ports: bridged().ports.without(&unknown), ..bridged() };
    pipeline.bind(fewer);
    pipeline.sync(&snapshot()).unwrap();
    assert!(!groups_pass(&mut pipeline), "a pod has no guard");
    pipeline.sink().refuses = Some("add element bridge nftpol guarded");
    pipeline.bind(bridged());
    pipeline.sync(&snapshot()).unwrap_err();
    assert!(!groups_pass(&mut pipeline), "its guard was refused");
    pipeline.sync(&snapshot()).unwrap_err();
    assert!(!groups_pass(&mut pipeline), "and again");
    pipeline.sink().refuses = None;
    pipeline.sync(&snapshot()).unwrap();
    assert!(groups_pass(&mut pipeline) && is_whole(&mut pipeline, &snapshot()));
}

#[test]
fn a_guard_that_is_refused_when_its_pod_becomes_isolated_shuts_groups_for_all() {
    let mut pipeline = pipeline(Model::default());
    let mut open = snapshot();
    open.policies.clear();
    pipeline.sync(&open).unwrap();
    let sent = pipeline.sink().sent;
    pipeline.sync(&snapshot()).unwrap();
    assert!(groups_pass(&mut pipeline) && pipeline.sink().sent > sent);
    pipeline.sync(&open).unwrap();
    pipeline.sink().refuses = Some("add element bridge nftpol guarded");
    pipeline.sync(&snapshot()).unwrap_err();
    assert!(!groups_pass(&mut pipeline));
}

/// The address of an isolated pod is judged as long as its port lets it be heard.
#[test]
fn a_bridge_table_that_only_loses_elements_goes_first() {
    let mut pipeline = pipeline(Model::default());
    pipeline.sync(&snapshot()).unwrap();
    let address = IpAddr::from([10, 0, 0, 2]);
    let mut network = bridged();
    network.ports.get_mut(&InterfaceIndex(12)).unwrap().addresses.remove(&address);
    let mut cluster = snapshot();
    let key = ObjectKey::new("dev", "db");
    let pod = cluster.pods.get_mut(&key).unwrap();
    std::sync::Arc::make_mut(pod).addresses.clear();
    pipeline.bind(network);
    pipeline.sink().refuses = Some("delete element bridge nftpol own4");
    pipeline.sink().order.clear();
    pipeline.sync(&cluster).unwrap_err();
    let order = &pipeline.sink().order;
    assert_eq!(order.first(), Some(&TableFamily::Bridge), "{order:?}");
    assert!(order.contains(&TableFamily::Inet), "one does not stop the other");
}
