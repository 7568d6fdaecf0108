//! Which interface leads where.

use std::collections::BTreeSet;
use std::net::IpAddr;

use nft::links::LinkReader;

use crate::bed::{Namespace, global, ips, is_link_local, on_node, port, read};

#[test]
fn a_routed_pods_port_has_its_mac_and_addresses() {
    on_node(|node| {
        let pod = Namespace::pod();
        pod.wire(node, "port", &["10.0.0.2/24", "10.0.0.3/24", "fd00::2/64", "192.0.2.1/32"]);
        pod.ip("link set eth0 down\nlink set eth0 address 02:00:00:00:00:05\nlink set eth0 up");
        let links = read();
        let found = port(&links, "port");
        assert_eq!(found.mac, [2, 0, 0, 0, 0, 5]);
        assert_eq!(found.bridge, None);
        assert_eq!(global(found), ips(&["10.0.0.2", "10.0.0.3", "192.0.2.1"]), "{found:?}");
        assert!(found.is_readable);
        assert!(found.addresses.iter().all(|one| one.created > 0), "{found:?}");
        assert!(links.bridges.is_empty(), "{links:?}");
    });
}

/// A point-to-point address, as the ptp plugin gives: IFA_ADDRESS is the other
/// end's.
#[test]
fn of_two_ends_the_pods_own_address_counts() {
    on_node(|node| {
        let pod = Namespace::pod();
        pod.wire(node, "port", &["10.0.0.2 peer 10.0.0.1", "fd00::2 peer fd00::1"]);
        assert_eq!(global(port(&read(), "port")), ips(&["10.0.0.2", "fd00::2"]));
    });
}

/// A link-local address comes a moment after a link goes up.
#[test]
fn a_pods_link_local_address_is_seen() {
    on_node(|node| {
        let pod = Namespace::pod();
        pod.wire(node, "port", &["fe80::5/64"]);
        let links = read();
        let found = port(&links, "port");
        let local = found.addresses.iter().map(|one| one.address).filter(is_link_local);
        assert!(local.collect::<Vec<_>>().contains(&ips(&["fe80::5"])[0]), "{found:?}");
    });
}

#[test]
fn bridged_ports_name_their_bridge_and_bridges_what_they_are() {
    on_node(|node| {
        node.ip("link add br0 address 02:00:00:00:00:01 type bridge\nlink add br1 type bridge\n\
             addr add 10.0.0.1/24 dev br0\naddr add fd00::1/64 dev br0\nlink set br0 up");
        let (one, other) = (Namespace::pod(), Namespace::pod());
        one.wire(node, "one", &["10.0.0.2/24"]);
        other.wire(node, "other", &["10.0.0.3/24"]);
        node.ip("link set one master br0\nlink set other master br0");
        let links = read();
        let [br0, br1] = links.bridges.as_slice() else { panic!("{links:#?}") };
        assert_eq!((br0.name.as_str(), br1.name.as_str()), ("br0", "br1"));
        assert_eq!(br0.mac, [2, 0, 0, 0, 0, 1]);
        assert_eq!(br0.addresses[..2], ips(&["10.0.0.1", "fd00::1"]), "{br0:?}");
        let subnets: Vec<_> = ips(&["10.0.0.1", "fd00::1"]).into_iter().zip([24, 64]).collect();
        assert_eq!(br0.subnets, subnets, "{br0:?}");
        assert!(!br0.vlan_filtering && !br0.has_other_ports, "{br0:?}");
        assert_eq!(port(&links, "one").bridge, Some(br0.index));
        assert_eq!(global(port(&links, "other")), ips(&["10.0.0.3"]));
        node.ip("link add here type veth peer name there\nlink set here master br1");
        let links = read();
        assert_eq!(links.ports.len(), 2, "both ends are the node's: {links:#?}");
        assert!(!links.bridges[0].has_other_ports && links.bridges[1].has_other_ports);
    });
}

/// The ptp plugin gives each of them the same gateway.
#[test]
fn the_nodes_uplink_has_an_address_that_no_pods_port_has() {
    on_node(|node| {
        let [one, other, lan] = [(); 3].map(|()| Namespace::pod());
        one.wire(node, "one", &["10.0.0.2/32"]);
        other.wire(node, "other", &["10.0.0.3/32"]);
        lan.wire(node, "uplink", &["192.0.2.254/24"]);
        node.ip("addr add 10.0.0.1/32 dev one\naddr add 10.0.0.1/32 dev other\n\
             addr add 192.0.2.1/24 dev uplink");
        let links = read();
        let of = |name| port(&links, name).has_own_address;
        assert_eq!(["one", "other", "uplink"].map(of), [false, false, true]);
    });
}

#[test]
fn a_renamed_port_keeps_its_index() {
    on_node(|node| {
        let pod = Namespace::pod();
        pod.wire(node, "before", &["10.0.0.2/24"]);
        let before = port(&read(), "before").clone();
        node.ip("link set before down\nlink set before name after\nlink set after up");
        let after = port(&read(), "after").clone();
        assert_eq!((after.index, global(&after)), (before.index, global(&before)));
        assert_eq!(after.addresses[0].created, before.addresses[0].created);
    });
}

#[test]
fn a_pod_may_have_several_ports_and_addresses_elsewhere() {
    on_node(|node| {
        let pod = Namespace::pod();
        pod.wire(node, "first", &["10.0.0.2/24"]);
        pod.wire_as(node, "second", "net1", &["10.1.0.2/24"]);
        pod.ip("link set lo up\naddr add 10.2.0.1/32 dev lo\n\
             link add docker0 type bridge\naddr add 172.17.0.1/16 dev docker0");
        let links = read();
        let (first, second) = (port(&links, "first"), port(&links, "second"));
        assert_eq!(global(first), ips(&["10.0.0.2"]));
        assert_eq!(global(second), ips(&["10.1.0.2"]));
        let other = Namespace::pod();
        other.wire(node, "other", &["10.0.0.3/24"]);
        let namespaces = read();
        let namespace = |name| port(&namespaces, name).namespace;
        assert_eq!(namespace("first"), namespace("second"));
        assert_ne!(namespace("first"), namespace("other"));
        let four = |all: &[IpAddr]| all.iter().copied().filter(IpAddr::is_ipv4).collect::<Vec<_>>();
        assert_eq!(four(&first.elsewhere), ips(&["10.1.0.2", "10.2.0.1", "172.17.0.1"]));
        assert_eq!(four(&second.elsewhere), ips(&["10.0.0.2", "10.2.0.1", "172.17.0.1"]));
    });
}

/// With `hostUsers: false`.
#[test]
fn a_namespace_of_another_user_namespace_is_readable() {
    on_node(|node| {
        let pod = Namespace::pod_with_users();
        node.ip(&format!("link add port type veth peer name eth0 netns {}", pod.path));
        pod.ip("link set eth0 up\naddr add 10.0.0.2/24 dev eth0");
        let links = read();
        assert!(port(&links, "port").is_readable);
        assert_eq!(global(port(&links, "port")), ips(&["10.0.0.2"]));
    });
}

#[test]
fn other_kinds_of_links_are_no_ports() {
    on_node(|node| {
        let pod = Namespace::pod();
        node.ip(&format!(
            "link add here type veth peer name there\n\
             link add link here name mac0 type macvlan mode bridge\n\
             link add link here name mac1 type macvlan mode bridge\n\
             link set mac1 netns {}",
            pod.path
        ));
        let links = read();
        assert!(links.ports.is_empty(), "{links:#?}");
    });
}

#[test]
fn a_port_that_goes_and_comes_again_is_another_one() {
    on_node(|node| {
        let pod = Namespace::pod();
        pod.wire(node, "port", &["10.0.0.2/24"]);
        let mut reader = LinkReader::open().expect("open");
        let nothing = BTreeSet::new();
        let before = reader.read(&nothing).expect("read");
        node.ip("link delete port");
        assert!(reader.read_changes(&nothing, &BTreeSet::new()).expect("read").ports.is_empty());
        pod.wire(node, "port", &["10.0.0.2/24"]);
        let after = reader.read_changes(&nothing, &BTreeSet::new()).expect("read");
        assert_eq!(global(port(&after, "port")), ips(&["10.0.0.2"]));
        assert_ne!(port(&after, "port").index, port(&before, "port").index);
    });
}

/// The kernel tells of no change inside another namespace. Who wants to know asks
/// for the port again.
#[test]
fn what_changes_inside_a_pod_is_read_when_asked_again() {
    on_node(|node| {
        let pod = Namespace::pod();
        pod.wire(node, "port", &["10.0.0.2/24"]);
        let mut reader = LinkReader::open().expect("open");
        let nothing = BTreeSet::new();
        let index = port(&reader.read(&nothing).expect("read"), "port").index;
        pod.ip("addr add 10.0.0.3/24 dev eth0");
        let mut seen = |again: &[u32]| {
            let again = again.iter().copied().collect();
            let links = reader.read_changes(&nothing, &again).expect("read");
            global(port(&links, "port"))
        };
        assert_eq!(seen(&[]), ips(&["10.0.0.2"]));
        assert_eq!(seen(&[index]), ips(&["10.0.0.2", "10.0.0.3"]));
        assert_eq!(seen(&[]), ips(&["10.0.0.2", "10.0.0.3"]));
    });
}

/// A pod hides its address behind thousands of others. The oldest are kept, and
/// those that are asked for.
#[test]
fn of_very_many_addresses_the_oldest_and_the_wanted_ones_are_kept() {
    on_node(|node| {
        let pod = Namespace::pod();
        pod.wire(node, "port", &["10.0.0.2/24"]);
        std::thread::sleep(std::time::Duration::from_millis(50));
        let many = |dev: &str, net: &str| -> String {
            let lines = (0..2000).map(|n| format!("addr add {net}::{n:x}/128 dev {dev} nodad\n"));
            lines.collect()
        };
        pod.ip(&(many("eth0", "fd01") + &many("lo", "fd02")));
        let wanted: BTreeSet<IpAddr> = ips(&["fd01::7cf", "fd02::7ce"]).into_iter().collect();
        let mut reader = LinkReader::open().expect("open");
        let links = reader.read(&wanted).expect("read");
        let found = port(&links, "port");
        assert!(found.addresses.len() < 100 && found.elsewhere.len() < 100, "{found:?}");
        assert_eq!(found.left_out + found.addresses.len() + found.elsewhere.len(), 4002);
        let has = |text: &str| global(found).contains(&ips(&[text])[0]);
        assert!(has("10.0.0.2") && has("fd01::7cf"), "{found:?}");
        assert!(found.elsewhere.contains(&ips(&["fd02::7ce"])[0]), "{found:?}");
    });
}
