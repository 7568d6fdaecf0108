//! Which interfaces of a pod's namespace the policies of its primary network judge there.
//!
//! In: the pod, the interfaces in a namespace that a process of it is in, the addresses
//! that the node's own ports lead to. Out: the interfaces that are not judged, or that
//! nothing is to be judged there: the node's forward hook sees the pod's packets.
//! Never: I/O.

use std::collections::BTreeSet;
use std::net::IpAddr;

use nft::links::{InsideInterface, InsideKind};
use policy::{AttachedNetwork, Inside, InterfaceIndex, Mac, ObjectKey, Pod};

/// The interfaces that are not judged: loopback, and those of other networks. `None` if
/// the pod's packets cross the node.
///
/// `on_node`: the addresses behind the node's ports. A veth whose other end is elsewhere,
/// as one that a CNI plugin moved, goes past the node's hooks.
///
/// An interface that the pod made itself is judged, too. Where no interface has an address
/// of the pod, any one that goes past the node is enough: a pod with CAP_NET_ADMIN can
/// take its addresses away.
pub fn judged(
    pod: &Pod,
    interfaces: &[InsideInterface],
    on_node: &BTreeSet<IpAddr>,
) -> Option<BTreeSet<InterfaceIndex>> {
    let is_apart =
        |one: &InsideInterface| one.index == Inside::LOOPBACK.0 || is_of_other_network(pod, one);
    let (apart, own): (Vec<_>, Vec<_>) = interfaces.iter().partition(|one| is_apart(one));
    let has_own = |one: &&&InsideInterface| has_own_address(pod, one);
    let with_address: Vec<&&InsideInterface> = own.iter().filter(has_own).collect();
    let is_past = |one: &InsideInterface| match one.kind {
        InsideKind::Pair => !one.addresses.iter().any(|address| on_node.contains(address)),
        kind => kind.is_past_the_node(),
    };
    let is_judged = match with_address.is_empty() {
        true => own.iter().any(|one| one.kind.is_past_the_node()),
        false => with_address.iter().any(|one| is_past(one)),
    };
    is_judged.then(|| apart.iter().map(|one| InterfaceIndex(one.index)).collect())
}

fn has_own_address(pod: &Pod, one: &InsideInterface) -> bool {
    one.addresses.iter().any(|address| pod.addresses.contains(address))
}

/// Whether the pod's status says so, by name and, where it has one, by MAC. An interface
/// with an address of the pod's primary network is of that.
fn is_of_other_network(pod: &Pod, one: &InsideInterface) -> bool {
    let is_it = pod.attachment.networks.iter().any(|network| is_meant(network, one));
    is_it && !has_own_address(pod, one)
}

/// The interfaces that the pod's status names for a network, by number. One with the MAC of
/// another interface is not meant.
pub(super) fn named<'a>(
    pod: &'a Pod,
    network: &'a ObjectKey,
    interfaces: &'a [InsideInterface],
) -> impl Iterator<Item = u32> {
    let is_of = move |one: &&InsideInterface| {
        pod.attachment.networks.iter().any(|attached| {
            let definition = attached.definition(&pod.key.namespace);
            definition.as_ref() == Some(network) && is_meant(attached, one)
        })
    };
    interfaces.iter().filter(is_of).map(|one| one.index)
}

/// The interfaces that the table of one further network does not judge: loopback, those of the
/// primary network, and those of other networks. An interface that nobody names is judged: it
/// may lead to the network. While no address of the pod is reported, it may be the primary one,
/// and is not.
pub(super) fn apart_on(
    pod: &Pod,
    judged: &BTreeSet<u32>,
    interfaces: &[InsideInterface],
) -> BTreeSet<InterfaceIndex> {
    let is_apart = |one: &&InsideInterface| {
        let is_elsewhere = one.index == Inside::LOOPBACK.0
            || pod.addresses.is_empty()
            || has_own_address(pod, one)
            || pod.attachment.networks.iter().any(|attached| is_meant(attached, one));
        is_elsewhere && !judged.contains(&one.index)
    };
    interfaces.iter().filter(is_apart).map(|one| InterfaceIndex(one.index)).collect()
}

/// The interfaces that a network's table does not judge, as the pod's status tells them apart;
/// `None` if the status names none for the network.
pub fn apart_from_network(
    pod: &Pod,
    network: &ObjectKey,
    interfaces: &[InsideInterface],
) -> Option<BTreeSet<InterfaceIndex>> {
    let judged: BTreeSet<u32> = named(pod, network, interfaces).collect();
    (!judged.is_empty()).then(|| apart_on(pod, &judged, interfaces))
}

/// The interfaces of which neither the pod's addresses nor its status say the network. While no
/// address of the pod is reported, one of them may be the primary one, and none is told.
pub(super) fn unnamed<'a>(
    pod: &'a Pod,
    interfaces: &'a [InsideInterface],
) -> impl Iterator<Item = u32> {
    let is_named = |one: &InsideInterface| {
        let networks = pod.attachment.networks.iter();
        let mut networks =
            networks.filter(|attached| attached.definition(&pod.key.namespace).is_some());
        networks.any(|attached| is_meant(attached, one))
    };
    let unnamed = interfaces.iter().filter(move |one| {
        let is_known = one.index == Inside::LOOPBACK.0 || has_own_address(pod, one);
        !is_known && !pod.addresses.is_empty() && !is_named(one)
    });
    unnamed.map(|one| one.index)
}

/// The interfaces with an address of the pod's primary network.
pub(super) fn own(pod: &Pod, interfaces: &[InsideInterface]) -> BTreeSet<u32> {
    let own = interfaces.iter().filter(|one| has_own_address(pod, one));
    own.map(|one| one.index).collect()
}

fn is_meant(attached: &AttachedNetwork, one: &InsideInterface) -> bool {
    attached.interface == one.name && (attached.mac == Mac::NONE || attached.mac.0 == one.mac)
}

#[cfg(test)]
mod tests {
    use policy::{Attachment, Labels, Phase, PodUid};

    use super::*;

    const MAC: [u8; 6] = [2, 0, 0, 0, 0, 9];

    fn pod(networks: &[(&str, Mac)]) -> Pod {
        let network = |(interface, mac): &(&str, Mac)| AttachedNetwork {
            network: "dev/net".to_owned(),
            interface: (*interface).to_owned(),
            mac: *mac,
            addresses: vec!["10.9.0.9".parse().unwrap()],
        };
        Pod {
            key: ObjectKey::new("dev", "web"),
            labels: Labels::new(),
            node: None,
            addresses: vec!["10.0.0.9".parse().unwrap()],
            host_addresses: vec![],
            host_network: false,
            phase: Phase::Running,
            created: 0,
            is_ending: false,
            grace_seconds: 0,
            attachment: Attachment {
                uid: PodUid(1),
                networks: networks.iter().map(network).collect(),
                ..Attachment::default()
            },
            ports: vec![],
        }
    }

    fn interface(index: u32, name: &str, kind: InsideKind, addresses: &[&str]) -> InsideInterface {
        let addresses = addresses.iter().map(|one| one.parse().unwrap()).collect();
        InsideInterface { index, name: name.to_owned(), kind, mac: MAC, addresses }
    }

    fn lo() -> InsideInterface {
        interface(1, "lo", InsideKind::Device, &["127.0.0.1", "::1"])
    }

    fn apart(pod: &Pod, interfaces: &[InsideInterface], on_node: &[&str]) -> Option<Vec<u32>> {
        let on_node = on_node.iter().map(|one| one.parse().unwrap()).collect();
        let apart = judged(pod, interfaces, &on_node)?;
        Some(apart.into_iter().map(|index| index.0).collect())
    }

    #[test]
    fn what_goes_past_the_node_is_judged() {
        let pod = pod(&[]);
        let with = |kind| [lo(), interface(2, "eth0", kind, &["10.0.0.9"])];
        for kind in [InsideKind::Macvlan, InsideKind::Ipvlan, InsideKind::Device] {
            assert_eq!(apart(&pod, &with(kind), &["10.0.0.9"]), Some(vec![1]), "{kind:?}");
        }
        assert_eq!(apart(&pod, &with(InsideKind::Pair), &["10.0.0.9"]), None);
        // Its other end is not on this node.
        assert_eq!(apart(&pod, &with(InsideKind::Pair), &["10.0.0.8"]), Some(vec![1]));
        assert_eq!(apart(&pod, &[lo()], &[]), None, "before it has an interface");
    }

    #[test]
    fn interfaces_of_other_networks_are_apart_but_for_what_a_pod_calls_so() {
        let bridged = interface(2, "eth0", InsideKind::Pair, &["10.0.0.9"]);
        let net1 = interface(3, "net1", InsideKind::Macvlan, &["10.9.0.9"]);
        let pod = pod(&[("net1", Mac(MAC))]);
        let both = [lo(), bridged.clone(), net1.clone()];
        assert_eq!(apart(&pod, &both, &["10.0.0.9"]), None, "the node judges it");
        let own = interface(2, "eth0", InsideKind::Macvlan, &["10.0.0.9"]);
        assert_eq!(apart(&pod, &[lo(), own.clone(), net1], &[]), Some(vec![1, 3]));
        let renamed = interface(2, "net1", InsideKind::Macvlan, &["10.0.0.9"]);
        assert_eq!(apart(&pod, &[lo(), renamed], &[]), Some(vec![1]));
        let made = interface(7, "mine0", InsideKind::Macvlan, &["10.9.0.7"]);
        assert_eq!(apart(&pod, &[lo(), own, made], &[]), Some(vec![1]));
        let bare = interface(2, "eth0", InsideKind::Macvlan, &[]);
        assert_eq!(apart(&pod, &[lo(), bare], &[]), Some(vec![1]), "it took its address away");
    }

    /// What a dishonest owner of a pod can write, too.
    #[test]
    fn the_table_of_a_network_judges_its_interfaces_and_what_nobody_names() {
        let on = |network: &str, interface: &str, mac: Mac| AttachedNetwork {
            network: network.to_owned(),
            interface: interface.to_owned(),
            mac,
            addresses: vec![],
        };
        let apart = |networks: Vec<AttachedNetwork>| {
            let mut pod = pod(&[]);
            pod.attachment.networks = networks.into();
            let interfaces = [
                interface(1, "lo", InsideKind::Device, &["127.0.0.1"]),
                interface(2, "eth0", InsideKind::Pair, &["10.0.0.9"]),
                interface(3, "net1", InsideKind::Macvlan, &["10.9.0.9"]),
                interface(4, "net2", InsideKind::Macvlan, &["10.9.0.10"]),
                interface(5, "br0", InsideKind::Other, &[]),
            ];
            let of = ObjectKey::new("dev", "a");
            apart_from_network(&pod, &of, &interfaces)
                .map(|apart| apart.iter().map(|one| one.0).collect::<Vec<_>>())
        };
        let (a, b) = (on("dev/a", "net1", Mac::NONE), on("b", "net2", Mac(MAC)));
        assert_eq!(apart(vec![a.clone(), b.clone()]), Some(vec![1, 2, 4]));
        assert_eq!(apart(vec![a.clone()]), Some(vec![1, 2]), "net2 may lead there");
        assert_eq!(apart(vec![on("a", "net1", Mac(MAC)), b.clone()]), Some(vec![1, 2, 4]));
        // The interface is not there, or another one has its name.
        assert_eq!(apart(vec![on("a", "net9", Mac::NONE), b.clone()]), None);
        assert_eq!(apart(vec![on("a", "net1", Mac([2, 0, 0, 0, 0, 1])), b]), None);
        // One interface of two networks is judged by both, and so is the primary one.
        assert_eq!(apart(vec![a.clone(), on("b", "net1", Mac::NONE)]), Some(vec![1, 2]));
        assert_eq!(apart(vec![a, on("a", "eth0", Mac::NONE)]), Some(vec![1]));
    }
}
