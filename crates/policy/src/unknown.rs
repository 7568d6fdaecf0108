//! Addresses in the pods' ranges that no object names.
//!
//! In: a snapshot, the node's network. Out: whether the node drops new flows from and
//! to an address.
//! Never: a guess whose such an address is.
//!
//! The kubelet reports a pod's address after its sandbox is up, so the pod can run for a
//! while before anybody knows its policies. "Pods become isolated before any of their
//! containers start" (concept page "Network Policies", "Pod lifecycle") then needs a node
//! that drops what it does not know:
//!
//! | [`UnknownPods`] | an address in the ranges that no object names |
//! |---|---|
//! | `Open` | may send and receive |
//! | `Selected` | may not, while the cluster has a NetworkPolicy that is enforced |
//! | `Closed` | may not |
//!
//! | named by | why |
//! |---|---|
//! | a pod of any node that is a subject, as its address | its policies are known |
//! | any pod, as its node's address | it is a node's, not a pod's |
//! | what is [kept](crate::Kept) | its isolation is known |
//!
//! So a pod in phase Succeeded or Failed names nothing: its address may be given again.
//! Flows that are established go on. What the node itself sends and receives crosses
//! other hooks.

use std::collections::BTreeSet;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use imbl::OrdSet;
use ipnet::IpNet;

use crate::{NodeNetwork, Pod, Snapshot};

/// What a node does with addresses in the pods' ranges that no object names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum UnknownPods {
    /// Nothing.
    #[default]
    Open,
    /// It drops their new flows while the cluster has a NetworkPolicy that is enforced.
    Selected,
    /// It drops their new flows.
    Closed,
}

/// Addresses from `first` to `last`, both included and of one family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PodRange {
    /// First address.
    pub first: IpAddr,
    /// Last address.
    pub last: IpAddr,
}

impl PodRange {
    /// Whether it has all addresses of another one.
    pub fn covers(&self, other: &Self) -> bool {
        self.contains(other.first) && self.contains(other.last)
    }

    /// Whether another one, which begins no earlier, overlaps it or begins where it ends.
    fn meets(&self, later: &Self) -> bool {
        let same_family = self.first.is_ipv4() == later.first.is_ipv4();
        same_family && number(later.first) <= number(self.last).saturating_add(1)
    }

    /// Whether it has an address.
    pub fn contains(&self, address: IpAddr) -> bool {
        let same_family = address.is_ipv4() == self.first.is_ipv4();
        same_family && self.first <= address && address <= self.last
    }
}

/// The addresses of these subnets, as ranges that neither overlap nor touch. Without the
/// broadcast address of each subnet that has one (RFC 919, 7; RFC 3021, 2.1), which is no
/// pod's.
pub fn pod_ranges(subnets: impl IntoIterator<Item = IpNet>) -> OrdSet<PodRange> {
    let subnets: BTreeSet<IpNet> = subnets.into_iter().map(|net| net.trunc()).collect();
    let mut ranges: Vec<(u128, u128)> = Vec::new();
    let mut found = OrdSet::new();
    for is_v4 in [true, false] {
        let of_family = || subnets.iter().filter(|net| net.network().is_ipv4() == is_v4);
        let mut spans: Vec<(u128, u128)> =
            of_family().map(|net| (number(net.network()), number(net.broadcast()))).collect();
        spans.sort_unstable();
        for (first, last) in spans {
            match ranges.last_mut() {
                Some((_, end)) if first <= end.saturating_add(1) => *end = last.max(*end),
                _ => ranges.push((first, last)),
            }
        }
        for net in of_family().filter(|net| is_v4 && net.prefix_len() <= 30) {
            ranges = without(&ranges, number(net.broadcast()));
        }
        let address = |number| if is_v4 { v4(number) } else { IpAddr::V6(Ipv6Addr::from(number)) };
        let of = |(first, last)| PodRange { first: address(first), last: address(last) };
        found.extend(ranges.drain(..).map(of));
    }
    found
}

/// These ranges as ones that neither overlap nor touch.
pub fn joined_ranges(ranges: impl IntoIterator<Item = PodRange>) -> OrdSet<PodRange> {
    // Addresses of the first family come before all of the second.
    let in_order: BTreeSet<PodRange> = ranges.into_iter().collect();
    let mut joined: Vec<PodRange> = Vec::new();
    for range in in_order {
        match joined.last_mut() {
            Some(last) if last.meets(&range) => last.last = last.last.max(range.last),
            _ => joined.push(range),
        }
    }
    joined.into_iter().collect()
}

fn without(ranges: &[(u128, u128)], number: u128) -> Vec<(u128, u128)> {
    let cut = |&(first, last): &(u128, u128)| match (first..=last).contains(&number) {
        true => {
            let before = number.checked_sub(1).map(|end| (first, end));
            let after = number.checked_add(1).map(|start| (start, last));
            [before, after]
        }
        false => [Some((first, last)), None],
    };
    ranges.iter().flat_map(cut).flatten().filter(|(first, last)| first <= last).collect()
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => u128::from(u32::from(v4)),
        IpAddr::V6(v6) => u128::from(v6),
    }
}

fn v4(number: u128) -> IpAddr {
    IpAddr::V4(Ipv4Addr::from(u32::try_from(number).unwrap_or(u32::MAX)))
}

impl NodeNetwork {
    /// The ranges in which unknown addresses are dropped now; none if they are not.
    pub fn shut_ranges(&self, snapshot: &Snapshot) -> OrdSet<PodRange> {
        let is_shut = match self.unknown_pods {
            UnknownPods::Open => false,
            UnknownPods::Selected => snapshot.policies.values().any(|policy| policy.is_enforced()),
            UnknownPods::Closed => true,
        };
        if is_shut { self.pod_ranges.clone() } else { OrdSet::new() }
    }

    /// Whether an address is in the pods' ranges.
    pub fn is_in_pod_ranges(&self, address: IpAddr) -> bool {
        self.pod_ranges.iter().any(|range| range.contains(address))
    }
}

impl Pod {
    /// The addresses that a pod object names: see the table above.
    pub fn named_addresses(&self) -> impl Iterator<Item = IpAddr> {
        let own = self.addresses.iter().filter(|_| self.is_subject());
        own.chain(&self.host_addresses).copied()
    }
}

/// All addresses that are named.
pub fn named_addresses(snapshot: &Snapshot) -> BTreeSet<IpAddr> {
    let pods = snapshot.pods.values().flat_map(|pod| pod.named_addresses());
    pods.chain(snapshot.kept.keys().copied()).collect()
}

/// `open`, `selected`, `closed`.
impl fmt::Display for UnknownPods {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Open => "open",
            Self::Selected => "selected",
            Self::Closed => "closed",
        })
    }
}

/// `10.244.1.0-10.244.1.254`.
impl fmt::Display for PodRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.first, self.last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subnets_become_ranges_without_broadcast_addresses() {
        let cases: [(&[&str], &[&str]); 7] = [
            (&[], &[]),
            (&["10.1.2.3/24"], &["10.1.2.0-10.1.2.254"]),
            (&["10.1.2.0/25", "10.1.2.128/25"], &["10.1.2.0-10.1.2.126", "10.1.2.128-10.1.2.254"]),
            (&["10.1.0.0/16", "10.1.2.0/24"], &["10.1.0.0-10.1.2.254", "10.1.3.0-10.1.255.254"]),
            (&["10.1.2.4/31", "10.1.2.9/32"], &["10.1.2.4-10.1.2.5", "10.1.2.9-10.1.2.9"]),
            (
                &["fd00::1/64", "0.0.0.0/0"],
                &["0.0.0.0-255.255.255.254", "fd00::-fd00::ffff:ffff:ffff:ffff"],
            ),
            (&["::/0"], &["::-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"]),
        ];
        for (subnets, expected) in cases {
            let ranges = pod_ranges(subnets.iter().map(|text| text.parse().unwrap()));
            let ranges: Vec<String> = ranges.iter().map(ToString::to_string).collect();
            assert_eq!(ranges, expected, "{subnets:?}");
        }
    }

    #[test]
    fn ranges_that_overlap_or_touch_are_joined() {
        let range = |first: &str, last: &str| PodRange {
            first: first.parse().unwrap(),
            last: last.parse().unwrap(),
        };
        let all = [
            range("10.0.0.9", "10.0.0.20"),
            range("10.0.0.0", "10.0.0.10"),
            range("10.0.0.2", "10.0.0.3"),
            range("10.0.0.21", "10.0.0.30"),
            range("10.0.0.32", "10.0.0.40"),
            range("255.255.255.0", "255.255.255.255"),
            range("::", "::1"),
            range("fd00::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
            range("fd00::5", "fd00::6"),
        ];
        let joined: Vec<String> = joined_ranges(all).iter().map(ToString::to_string).collect();
        let expected = [
            "10.0.0.0-10.0.0.30",
            "10.0.0.32-10.0.0.40",
            "255.255.255.0-255.255.255.255",
            "::-::1",
            "fd00::-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
        ];
        assert_eq!(joined, expected);
    }
}
