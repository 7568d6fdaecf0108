//! The tunnels of the node. Kinds that this kernel lacks are read from the
//! messages of unit tests.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use nft::links::{Ends, Tunnel};

use crate::bed::{Namespace, ips, on_node, read};

fn set(texts: &[&str]) -> BTreeSet<IpAddr> {
    ips(texts).into_iter().collect()
}

#[test]
fn vxlan_links_tell_their_ports_up_or_down() {
    on_node(|node| {
        node.ip("link add flannel.1 type vxlan id 1 dstport 8472 nolearning\n\
             link add vxlan.calico type vxlan id 4096 dstport 4789\n\
             link set flannel.1 up\n\
             link add external type vxlan external dstport 4790");
        let expected = [4789, 4790, 8472].map(Tunnel::Udp);
        assert_eq!(read().tunnels.into_keys().collect::<Vec<_>>(), expected);
    });
}

#[test]
fn a_node_without_tunnels_has_none() {
    on_node(|node| {
        node.ip("link add br0 type bridge");
        let links = read();
        assert!(links.tunnels.is_empty() && links.tunnel_peers.is_empty(), "{links:?}");
    });
}

/// As flannel writes its forwarding entries. What a packet teaches does not
/// count, and groups are nobody's address.
#[test]
fn written_forwarding_entries_name_the_other_ends() {
    on_node(|node| {
        node.ip("link add flannel.1 type vxlan id 1 dstport 8472 nolearning\n\
             link add v6 type vxlan id 2 dstport 8472 local fd00::1 remote fd00::9\n\
             link add many type vxlan id 3 dstport 8472 group 239.1.1.1 dev lo\n\
             link set flannel.1 up");
        bridge(
            node,
            "fdb append 02:00:00:00:00:01 dev flannel.1 dst 192.0.2.1 self permanent\n\
             fdb append 02:00:00:00:00:02 dev flannel.1 dst 192.0.2.2 self static\n\
             fdb append 00:00:00:00:00:00 dev flannel.1 dst 192.0.2.3 self permanent\n\
             fdb append 02:00:00:00:00:04 dev flannel.1 dst 192.0.2.4 self dynamic",
        );
        assert_eq!(read().tunnel_peers, set(&["192.0.2.1", "192.0.2.2", "192.0.2.3", "fd00::9"]));
    });
}

/// A link that learns its other ends from packets, or asks a group for them, could
/// have any. It makes the port's other ends unknown while it is up.
#[test]
fn it_is_known_which_tunnels_name_their_other_ends() {
    on_node(|node| {
        let ends = || read().tunnels.get(&Tunnel::Udp(4789)).copied();
        node.ip("link add learns type vxlan id 1 dstport 4789");
        assert_eq!(ends(), Some(Ends::Unknown));
        node.ip("link add names type vxlan id 2 dstport 4789");
        bridge(node, "fdb append 02:00:00:00:00:01 dev names dst 192.0.2.1 self permanent");
        assert_eq!(ends(), Some(Ends::Named), "the other one is down");
        node.ip("link set learns up");
        assert_eq!(ends(), Some(Ends::Unknown));
        bridge(node, "fdb append 02:00:00:00:00:01 dev learns dst 192.0.2.4 self dynamic");
        assert_eq!(ends(), Some(Ends::Unknown), "a packet may have taught it");
        node.ip("link del learns");
        assert_eq!(ends(), Some(Ends::Named));
        node.ip("link add asks type vxlan id 3 dstport 4789 group 239.1.1.1 dev lo\n\
             link set asks up");
        assert_eq!(ends(), Some(Ends::Unknown), "a group is nobody's address");
        node.ip("link del asks\nlink del names\n\
             link add far type vxlan id 4 dstport 4789 remote 192.0.2.9");
        assert_eq!(ends(), Some(Ends::Named));
        node.ip("link add flannel.1 type vxlan id 1 dstport 8472 nolearning\n\
             link set flannel.1 up");
        let flannel = read().tunnels.get(&Tunnel::Udp(8472)).copied();
        assert_eq!(flannel, Some(Ends::Named), "of a cluster with one node");
    });
}

/// Flannel's UDP backend.
#[test]
fn a_tun_link_counts_if_flannel_named_it() {
    on_node(|node| {
        node.ip("tuntap add dev vpn0 mode tun");
        assert_eq!(read().tunnels, BTreeMap::new());
        node.ip("tuntap add dev flannel0 mode tun");
        assert_eq!(read().tunnels, [(Tunnel::Udp(8285), Ends::Named)].into());
    });
}

/// A pod that ends tunnels in its own namespace is not the node.
#[test]
fn tunnels_of_pods_are_not_the_nodes() {
    on_node(|node| {
        let pod = Namespace::pod();
        pod.wire(node, "port", &["10.0.0.2/24"]);
        pod.ip("link add vx type vxlan id 1 dstport 8472");
        assert_eq!(read().tunnels, BTreeMap::new());
    });
}

#[test]
fn the_nodes_own_addresses_are_listed() {
    on_node(|node| {
        node.ip("link add br0 type bridge\naddr add 192.0.2.9/24 dev br0\nlink set br0 up");
        assert_eq!(read().own_addresses, set(&["192.0.2.9"]));
    });
}

fn bridge(node: &Namespace, commands: &str) {
    for command in commands.lines() {
        let net = format!("--net={}", node.path);
        let status = std::process::Command::new("nsenter")
            .args([net.as_str(), "bridge"])
            .args(command.split_whitespace())
            .status();
        assert!(status.expect("nsenter(1)").success(), "{command}");
    }
}
