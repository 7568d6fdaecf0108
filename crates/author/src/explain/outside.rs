//! Addresses outside the cluster, one for each class that policies treat alike.
//!
//! Never: an address of a pod or a node.

use std::collections::BTreeSet;
use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net, Ipv4Subnets, Ipv6Net, Ipv6Subnets};

use super::places::{Place, nodes};
use crate::cluster::Cluster;
use crate::reach::{Family, Reach};

/// Blocks that the internet does not route (IANA, "IPv4 Special-Purpose Address
/// Registry"; for IPv6 all but 2000::/3, which is what IANA allocates from).
const NOT_PUBLIC_V4: [&str; 11] = [
    "0.0.0.0/8",
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.0.0.0/24",
    "192.168.0.0/16",
    "198.18.0.0/15",
    "224.0.0.0/4",
    "240.0.0.0/4",
];
const PUBLIC_V6: &str = "2000::/3";

type Range = (IpAddr, IpAddr);

/// The public addresses: a place for each class of each family.
pub fn internet<'a>(cluster: &Cluster, reach: &Reach<'a>) -> Vec<Place<'a>> {
    let mut places = Vec::new();
    let taken = taken(cluster);
    for family in Family::BOTH {
        let public = |class: Vec<Range>| class.into_iter().flat_map(public_parts).collect();
        let classes: Vec<Vec<Range>> = reach.classes(family).into_iter().map(public).collect();
        let classes: Vec<(IpAddr, Vec<Range>)> = classes
            .into_iter()
            .filter_map(|class| Some((stand_in(&taken, &class)?, class)))
            .collect();
        // What holds the most is "the rest" of what has names.
        let rest = classes.iter().map(|(_, class)| size(class)).max();
        let several = classes.len() > 1;
        for (address, class) in classes {
            let name = match several {
                false => "internet".to_owned(),
                true if Some(size(&class)) == rest => "internet (all other addresses)".to_owned(),
                true => format!("internet ({})", written(&class)),
            };
            let addresses = vec![address];
            places.push(Place { name, pod: None, addresses, symbolic: true, node: None });
        }
    }
    places
}

/// An address of each family of which no policy says anything that it does not say of
/// most: for a pod that has none yet.
pub fn unused(reach: &Reach<'_>, cluster: &Cluster) -> Vec<IpAddr> {
    let taken = taken(cluster);
    let largest = |family| {
        let classes = reach.classes(family).into_iter();
        classes.max_by_key(|class| size(class)).and_then(|class| stand_in(&taken, &class))
    };
    Family::BOTH.into_iter().filter_map(largest).collect()
}

/// How many addresses there are, less one for each range.
fn size(class: &[Range]) -> u128 {
    class.iter().map(|&(first, last)| number(last) - number(first)).sum()
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u128::from(address.to_bits()),
        IpAddr::V6(address) => address.to_bits(),
    }
}

/// The addresses of pods and nodes.
fn taken(cluster: &Cluster) -> BTreeSet<IpAddr> {
    let pods = cluster.snapshot.pods.values().flat_map(|pod| &pod.addresses);
    let nodes = nodes(cluster).into_values().flatten().collect::<Vec<_>>();
    pods.chain(cluster.snapshot.kept.keys()).copied().chain(nodes).collect()
}

/// An address of a class that is free.
fn stand_in(taken: &BTreeSet<IpAddr>, class: &[Range]) -> Option<IpAddr> {
    let is_free = |address: &IpAddr| !taken.contains(address);
    class.iter().find_map(|&(first, last)| from_to(first, last).find(is_free))
}

fn from_to(first: IpAddr, last: IpAddr) -> impl Iterator<Item = IpAddr> {
    let mut next = Some(first);
    std::iter::from_fn(move || {
        let now = next?;
        next = (now < last).then(|| following(now)).flatten();
        Some(now)
    })
}

fn following(address: IpAddr) -> Option<IpAddr> {
    match address {
        IpAddr::V4(address) => address.to_bits().checked_add(1).map(|next| IpAddr::V4(next.into())),
        IpAddr::V6(address) => address.to_bits().checked_add(1).map(|next| IpAddr::V6(next.into())),
    }
}

/// The parts of a range that the internet routes.
fn public_parts((first, last): Range) -> Vec<Range> {
    let public = |net: &IpNet| match net {
        IpNet::V4(net) => !NOT_PUBLIC_V4
            .iter()
            .any(|known| known.parse().is_ok_and(|known: Ipv4Net| known.contains(net))),
        IpNet::V6(net) => PUBLIC_V6.parse().is_ok_and(|known: Ipv6Net| known.contains(net)),
    };
    let mut todo = cidrs(first, last);
    let mut parts = Vec::new();
    // A block is either inside one of the known blocks, apart from all, or is halved.
    while let Some(net) = todo.pop() {
        if is_whole(&net) {
            if public(&net) {
                parts.push((net.network(), net.broadcast()));
            }
        } else if let Ok(halves) = net.subnets(net.prefix_len() + 1) {
            todo.extend(halves);
        }
    }
    parts.sort_unstable();
    parts
}

/// Whether no known block lies inside this one.
fn is_whole(net: &IpNet) -> bool {
    let known = NOT_PUBLIC_V4.iter().chain([&PUBLIC_V6]);
    let known = known.filter_map(|known| known.parse::<IpNet>().ok());
    let mut inside = known.filter(|known| net.contains(known) && net != known);
    inside.next().is_none()
}

fn cidrs(first: IpAddr, last: IpAddr) -> Vec<IpNet> {
    match (first, last) {
        (IpAddr::V4(first), IpAddr::V4(last)) => {
            Ipv4Subnets::new(first, last, 0).map(IpNet::V4).collect()
        }
        (IpAddr::V6(first), IpAddr::V6(last)) => {
            Ipv6Subnets::new(first, last, 0).map(IpNet::V6).collect()
        }
        _ => Vec::new(),
    }
}

/// How many blocks are written out.
const WRITTEN: usize = 3;

fn written(class: &[Range]) -> String {
    let blocks: Vec<IpNet> = class.iter().flat_map(|&(first, last)| cidrs(first, last)).collect();
    let shown: Vec<String> = blocks.iter().take(WRITTEN).map(ToString::to_string).collect();
    match blocks.len().checked_sub(WRITTEN) {
        None | Some(0) => shown.join(", "),
        Some(more) => format!("{}, {more} more blocks", shown.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_internet_is_what_is_routed_there() {
        let address = |text: &str| text.parse::<IpAddr>().unwrap();
        let all = (address("0.0.0.0"), address("255.255.255.255"));
        let parts = public_parts(all);
        let holds = |text: &str| {
            let one = address(text);
            parts.iter().any(|&(first, last)| (first..=last).contains(&one))
        };
        for public in ["1.1.1.1", "9.255.255.255", "11.0.0.0", "203.0.113.9", "223.255.255.255"] {
            assert!(holds(public), "{public}");
        }
        for other in ["10.1.2.3", "172.31.255.255", "192.168.0.1", "224.0.0.1", "255.255.255.255"] {
            assert!(!holds(other), "{other}");
        }
        let v6 = public_parts((address("::"), address("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff")));
        assert_eq!(v6, [(address("2000::"), address("3fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"))]);
    }
}
