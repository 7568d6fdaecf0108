//! The other ends of the node's ports, in their own network namespaces.
//!
//! In: which pairs lead where. Out: MAC and addresses of the other ends.
//! Never: more than a bounded number of addresses of one namespace, whatever
//! its owner adds, except those that are asked for.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use nix::errno::Errno;

use super::age;
use super::client::{Client, Ended};
use super::error::LinksError;
use super::types::Address;
use super::wire::{self, Garbled, LinkAddress, ifa, ifla, rtm};
use crate::netlink::{Message, Request};

/// Attempts at a list that is disturbed. The owner of a namespace can disturb
/// each: then what all of them showed together counts.
const ATTEMPTS: u32 = 3;
/// Addresses that nobody asked for are kept up to this number, the oldest first,
/// for each link and for all other links together.
const KEPT: usize = 64;
/// Links asked for in one datagram. Each answer takes some kilobytes of the
/// receive buffer.
const LINKS_AT_ONCE: usize = 256;

/// A pair of links whose other end is in another namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Pair {
    /// Our number for the other namespace (IFLA_LINK_NETNSID).
    pub(super) namespace: i32,
    /// The node's end.
    pub(super) port: u32,
    /// The other end: its index in the other namespace.
    pub(super) other: u32,
}

/// What is at the other end of a port.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct OtherEnd {
    pub(super) mac: [u8; 6],
    pub(super) addresses: Vec<Address>,
    pub(super) elsewhere: Vec<IpAddr>,
    pub(super) left_out: usize,
    pub(super) is_readable: bool,
}

/// Reads the addresses at the other ends of these pairs, which are all of one
/// namespace.
pub(super) fn read_addresses(
    client: &mut Client,
    pairs: &[Pair],
    wanted: &BTreeSet<IpAddr>,
    ends: &mut BTreeMap<u32, OtherEnd>,
) -> Result<(), LinksError> {
    let Some(namespace) = pairs.first().map(|pair| pair.namespace) else { return Ok(()) };
    let mut found = Found::new(pairs, wanted);
    for _ in 0..ATTEMPTS {
        found.begin();
        let ended = addresses(client, Some(namespace), |one| found.take(&one))?;
        match ended {
            Ended::Whole => break,
            Ended::Disturbed => {}
            // It is gone (EINVAL), or not ours to read (EACCES): see
            // `rtnl_get_net_ns_capable`, net/core/rtnetlink.c.
            Ended::Refused(Errno::EINVAL | Errno::EACCES | Errno::EPERM) => break,
            Ended::Refused(errno) => return Err(LinksError::Refused(errno)),
        }
    }
    ends.extend(pairs.iter().map(|pair| (pair.port, found.end(pair))));
    Ok(())
}

/// Lists the addresses of a namespace, or of our own.
pub(super) fn addresses(
    client: &mut Client,
    namespace: Option<i32>,
    mut each: impl FnMut(LinkAddress),
) -> Result<Ended, LinksError> {
    /// `ifaddrmsg`: all families, all links.
    const HEADER: [u8; 8] = [0; 8];
    let fill = |request: &mut Request| {
        if let Some(namespace) = namespace {
            request.attribute(ifa::TARGET_NETNSID, &namespace.to_ne_bytes());
        }
    };
    client.list(rtm::GETADDR, &HEADER, fill, |message| {
        if message.kind != rtm::NEWADDR {
            return Ok(());
        }
        // Other families answer for our own namespace, whatever is asked.
        let address = wire::address(message)?.filter(|one| one.namespace == namespace);
        address.into_iter().for_each(&mut each);
        Ok(())
    })
}

/// Reads the MACs at the other ends of these pairs. Other ends that do not lead
/// back to their port are emptied: read the addresses first, so that a number of
/// a namespace that meanwhile denotes another one is noticed.
pub(super) fn read_macs(
    client: &mut Client,
    pairs: &[Pair],
    ends: &mut BTreeMap<u32, OtherEnd>,
) -> Result<(), LinksError> {
    for chunk in pairs.chunks(LINKS_AT_ONCE) {
        read_some_macs(client, chunk, ends)?;
    }
    for end in ends.values_mut().filter(|end| !end.is_readable) {
        *end = OtherEnd::default();
    }
    Ok(())
}

fn read_some_macs(
    client: &mut Client,
    pairs: &[Pair],
    ends: &mut BTreeMap<u32, OtherEnd>,
) -> Result<(), LinksError> {
    /// Where `ifinfomsg` has the index.
    const INDEX: std::ops::Range<usize> = 4..8;
    let header = |pair: &Pair| {
        let mut header = vec![0; 16];
        header[INDEX].copy_from_slice(&pair.other.to_ne_bytes());
        header
    };
    let fill = |request: &mut Request, pair: &Pair| {
        request.attribute(ifla::TARGET_NETNSID, &pair.namespace.to_ne_bytes());
        request.attribute(ifla::EXT_MASK, &ifla::SKIP_STATS.to_ne_bytes());
    };
    let each = |pair: &Pair, message: &Message<'_>| -> Result<(), Garbled> {
        if message.kind != rtm::NEWLINK {
            return Ok(());
        }
        let link = wire::link(message)?;
        let is_other_end = link.namespace == Some(pair.namespace)
            && link.index == pair.other
            && link.link == Some(pair.port);
        if let Some(end) = ends.get_mut(&pair.port).filter(|_| is_other_end) {
            end.mac = link.mac;
            end.is_readable = true;
        }
        Ok(())
    };
    client.ask_all(rtm::GETLINK, pairs, header, fill, each)
}

/// The addresses of one namespace.
struct Found<'a> {
    wanted: &'a BTreeSet<IpAddr>,
    /// In 1/100 s since boot.
    now: u64,
    /// By index of a port's other end.
    of_ends: BTreeMap<u32, Bounded>,
    of_others: Bounded,
}

/// Addresses by age, without the youngest beyond a number.
#[derive(Default)]
struct Bounded {
    wanted: BTreeSet<Aged>,
    others: BTreeSet<Aged>,
    left_out: usize,
}

/// When it was added, on which link, and what.
type Aged = (u64, u32, IpAddr);

impl<'a> Found<'a> {
    fn new(pairs: &[Pair], wanted: &'a BTreeSet<IpAddr>) -> Self {
        let of_ends = pairs.iter().map(|pair| (pair.other, Bounded::default())).collect();
        Self { wanted, now: age::now(), of_ends, of_others: Bounded::default() }
    }

    /// Another attempt begins. What earlier ones found stays.
    fn begin(&mut self) {
        self.of_others.left_out = 0;
        self.of_ends.values_mut().for_each(|found| found.left_out = 0);
    }

    fn take(&mut self, one: &LinkAddress) {
        if one.address.is_loopback() {
            return;
        }
        let place = self.of_ends.get_mut(&one.link).unwrap_or(&mut self.of_others);
        let aged = (age::since_boot(one.created, self.now), one.link, one.address);
        if self.wanted.contains(&one.address) {
            place.wanted.insert(aged);
        } else if place.others.insert(aged) && place.others.len() > KEPT {
            place.others.pop_last();
            place.left_out += 1;
        }
    }

    fn end(&self, pair: &Pair) -> OtherEnd {
        let own = self.of_ends.get(&pair.other);
        let addresses = own.into_iter().flat_map(Bounded::all);
        let mut addresses: Vec<Address> =
            addresses.map(|(created, _, address)| Address { address, created }).collect();
        addresses.sort_unstable();
        let others = self.of_ends.iter().filter(|(link, _)| **link != pair.other);
        let others = others.map(|(_, found)| found).chain([&self.of_others]);
        let elsewhere: BTreeSet<IpAddr> =
            others.flat_map(Bounded::all).map(|(_, _, address)| address).collect();
        OtherEnd {
            addresses,
            elsewhere: elsewhere.into_iter().collect(),
            left_out: own.map_or(0, |own| own.left_out) + self.of_others.left_out,
            ..OtherEnd::default()
        }
    }
}

impl Bounded {
    fn all(&self) -> impl Iterator<Item = Aged> {
        self.wanted.iter().chain(&self.others).copied()
    }
}
