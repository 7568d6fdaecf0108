//! Addresses outside the cluster, in classes that policies tell apart.

use std::collections::BTreeSet;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use ipnet::{IpNet, Ipv4Subnets, Ipv6Subnets};
use policy::{NetworkPolicy, Snapshot};

use crate::Reach;
use crate::reach::Family;

/// Addresses outside the cluster.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outside {
    /// The most addresses of each family: those that policies name least.
    Internet,
    /// The addresses in these ranges that no pod and no node has.
    Ranges(Vec<(IpAddr, IpAddr)>),
}

/// Ranges that are named in full. Of more, the others are counted.
const SHOWN: usize = 3;

/// The classes of all these snapshots together, each with one address of each family
/// that it has. Addresses in `taken` are not outside.
pub fn ends(snapshots: &[&Snapshot], taken: &BTreeSet<IpAddr>) -> Vec<(Outside, Vec<IpAddr>)> {
    let together = all_policies(snapshots);
    let reach = Reach::new(&together);
    let mut ends = Vec::new();
    let mut internet = Vec::new();
    for family in Family::BOTH {
        let classes = reach.classes(family);
        let largest = classes.iter().enumerate().max_by_key(|(_, ranges)| size(ranges));
        let largest = largest.map(|(at, _)| at);
        for (at, ranges) in classes.into_iter().enumerate() {
            let Some(free) = first_free(&ranges, taken) else { continue };
            match Some(at) == largest {
                true => internet.push(free),
                false => ends.push((Outside::Ranges(ranges), vec![free])),
            }
        }
    }
    ends.push((Outside::Internet, internet));
    ends
}

/// A snapshot with the policies of several, under keys that cannot meet.
fn all_policies(snapshots: &[&Snapshot]) -> Snapshot {
    if let [one] = snapshots {
        return Snapshot { policies: one.policies.clone(), ..Snapshot::default() };
    }
    let mut all = Snapshot::default();
    for (version, snapshot) in snapshots.iter().enumerate() {
        for policy in snapshot.policies.values() {
            let mut policy = NetworkPolicy::clone(policy);
            policy.key.namespace = format!("{version}/{}", policy.key.namespace);
            all.policies.insert(policy.key.clone(), Arc::new(policy));
        }
    }
    all
}

/// How many addresses there are, less one for each range, so that all of IPv6 fits.
fn size(ranges: &[(IpAddr, IpAddr)]) -> u128 {
    let sizes = ranges.iter().map(|(first, last)| number(*last) - number(*first));
    sizes.fold(0, u128::saturating_add)
}

fn first_free(ranges: &[(IpAddr, IpAddr)], taken: &BTreeSet<IpAddr>) -> Option<IpAddr> {
    ranges.iter().find_map(|&(first, last)| {
        // An address that people know as one: not 0.0.0.0, where there is another.
        let mut at = number(first).max(1).min(number(last));
        while taken.contains(&address(first, at)) {
            if at >= number(last) {
                return None;
            }
            at += 1;
        }
        Some(address(first, at))
    })
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u128::from(address.to_bits()),
        IpAddr::V6(address) => address.to_bits(),
    }
}

fn address(like: IpAddr, number: u128) -> IpAddr {
    match like {
        IpAddr::V4(_) => Ipv4Addr::from_bits(u32::try_from(number).unwrap_or(u32::MAX)).into(),
        IpAddr::V6(_) => Ipv6Addr::from_bits(number).into(),
    }
}

impl Outside {
    /// The CIDRs that the ranges are, ascending; none of the internet.
    pub fn cidrs(&self) -> Vec<IpNet> {
        let ranges = match self {
            Self::Internet => return Vec::new(),
            Self::Ranges(ranges) => ranges,
        };
        let nets = ranges.iter().flat_map(|range| -> Vec<IpNet> {
            match *range {
                (IpAddr::V4(first), IpAddr::V4(last)) => {
                    Ipv4Subnets::new(first, last, 0).map(IpNet::from).collect()
                }
                (IpAddr::V6(first), IpAddr::V6(last)) => {
                    Ipv6Subnets::new(first, last, 0).map(IpNet::from).collect()
                }
                (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => Vec::new(),
            }
        });
        nets.collect()
    }
}

/// `internet`, `10.0.0.0/8`, `10.0.0.0-10.0.1.2, 10.0.1.4/32 and 2 more`.
impl fmt::Display for Outside {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ranges = match self {
            Self::Internet => return f.write_str("internet"),
            Self::Ranges(ranges) => ranges,
        };
        for (at, (first, last)) in ranges.iter().take(SHOWN).enumerate() {
            let separator = if at == 0 { "" } else { ", " };
            match Self::Ranges(vec![(*first, *last)]).cidrs().as_slice() {
                [one] if one.addr() == one.broadcast() => {
                    write!(f, "{separator}{}", one.addr())?;
                }
                [one] => write!(f, "{separator}{one}")?,
                _ => write!(f, "{separator}{first}-{last}")?,
            }
        }
        match ranges.len().saturating_sub(SHOWN) {
            0 => Ok(()),
            more => write!(f, " and {more} more"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(first: &str, last: &str) -> (IpAddr, IpAddr) {
        (first.parse().expect("an address"), last.parse().expect("an address"))
    }

    #[test]
    fn ranges_are_named_as_people_write_them() {
        let named = [
            vec![range("10.0.0.0", "10.255.255.255")],
            vec![range("10.0.0.0", "10.0.1.2"), range("10.0.1.4", "10.0.1.4")],
            vec![range("fd00::", "fd00::ffff:ffff:ffff:ffff")],
        ]
        .map(|ranges| Outside::Ranges(ranges).to_string());
        assert_eq!(named, ["10.0.0.0/8", "10.0.0.0-10.0.1.2, 10.0.1.4", "fd00::/64"]);
    }

    #[test]
    fn an_address_that_is_taken_does_not_stand_for_those_outside() {
        let taken = ["10.0.0.0", "10.0.0.1"].map(|one| one.parse().expect("an address")).into();
        let free = |range| first_free(&[range], &taken).map(|one| one.to_string());
        assert_eq!(free(range("10.0.0.0", "10.0.0.3")).as_deref(), Some("10.0.0.2"));
        assert_eq!(free(range("10.0.0.0", "10.0.0.1")), None);
        assert_eq!(free(range("0.0.0.0", "255.255.255.255")).as_deref(), Some("0.0.0.1"));
    }
}
