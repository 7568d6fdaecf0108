//! What two tables let pass differently: the meaning of a change.
//!
//! In: two tables of the `inet` family, addresses. Out: for each address the new flows
//! from and to it that one table lets pass and the other does not, exactly.
//! Never: the objects. Who has an address is the caller's to say.
//!
//! Asked are packets that open a flow from one host to another, are no tunnel's and go out
//! by an interface that no set knows; in a pod's own namespace, those that come in or go out by
//! an interface that policies judge. What binds addresses to interfaces is another part of
//! the tables. Left out are ICMP, which each table judges as other protocols without ports but
//! for neighbour discovery and redirects, multicast, broadcast and link-local addresses.

use std::collections::BTreeSet;
use std::net::IpAddr;

use ipnet::IpNet;
use policy::spec::binding::Binding;
use policy::{Direction, Inside, NodeNetwork, Protocol};
use ruleset::simulator::{CtState, Packet};
use ruleset::{Family, Field, Hook, InterfaceField, Ruleset, from_number};

use crate::condition::View;
use crate::error::VerifyError;
use crate::exits::Exits;
use crate::frames::frames_at;
use crate::machine::Machine;
use crate::packet_set::PacketSet;
use crate::ranges::Ranges;
use crate::region::Region;
use crate::space::{self, Frame};

/// What opens or closes for an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Whose.
    pub address: IpAddr,
    /// Whether it sends or receives these packets.
    pub direction: Direction,
    /// Whether they pass after the change and did not before, or the other way round.
    pub opens: bool,
    /// The packets: none is in two parts.
    pub parts: Vec<Part>,
}

/// All of these peers with all of these ports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Those of the known addresses that are among the peers, ascending.
    pub known: Vec<IpAddr>,
    /// Whether these are all known addresses of the family but the own one.
    pub has_all_known: bool,
    /// The peers that are none of the known addresses.
    pub unknown: Unknown,
    /// Destination ports, both ends included.
    pub ports: Vec<(Protocol, u16, u16)>,
    /// Whether protocols without ports are among them.
    pub others: bool,
}

/// Peers that are no known addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unknown {
    /// All there are.
    All,
    /// Ranges, ascending, both ends included. Maybe none.
    Ranges(Vec<(IpAddr, IpAddr)>),
}

/// What passes before and not after, and the other way round, from and to these addresses.
/// `known` are addresses that peers are told by one by one.
///
/// # Errors
/// See [`VerifyError`]: no kernel would accept a table.
pub fn changes(
    before: &Ruleset,
    after: &Ruleset,
    addresses: impl IntoIterator<Item = IpAddr>,
    known: &BTreeSet<IpAddr>,
) -> Result<Vec<Change>, VerifyError> {
    between([Side::new(before), Side::new(after)], addresses, known)
}

/// The same of two tables in a pod's own namespace.
///
/// # Errors
/// See [`VerifyError`]: no kernel would accept a table.
pub fn changes_inside(
    before: &Ruleset,
    after: &Ruleset,
    inside: &Inside,
    addresses: impl IntoIterator<Item = IpAddr>,
    known: &BTreeSet<IpAddr>,
) -> Result<Vec<Change>, VerifyError> {
    let sides = [before, after].map(|table| Side::inside(table, inside));
    between(sides, addresses, known)
}

fn between(
    sides: [Side<'_>; 2],
    addresses: impl IntoIterator<Item = IpAddr>,
    known: &BTreeSet<IpAddr>,
) -> Result<Vec<Change>, VerifyError> {
    let mut changes = Vec::new();
    for address in addresses.into_iter().collect::<BTreeSet<_>>() {
        for direction in Direction::BOTH {
            let [old, new] = [&sides[0], &sides[1]].map(|side| side.passing(address, direction));
            let (old, new) = (old?, new?);
            for (opens, region) in [(false, old.subtract(&new)), (true, new.subtract(&old))] {
                let parts = parts(address, known, &region);
                if !parts.is_empty() {
                    changes.push(Change { address, direction, opens, parts });
                }
            }
        }
    }
    Ok(changes)
}

/// One of the tables.
struct Side<'a> {
    egress: Judge<'a>,
    /// `None`: as egress.
    ingress: Option<Judge<'a>>,
    ruleset: &'a Ruleset,
}

/// The base chains of a hook.
struct Judge<'a> {
    hook: Hook,
    machine: Machine<'a>,
}

impl<'a> Side<'a> {
    fn new(ruleset: &'a Ruleset) -> Self {
        let (network, nothing) = (NodeNetwork::default(), BTreeSet::new());
        let binding = Binding { network: &network, isolated: &BTreeSet::new(), nodes: &nothing };
        let machine = Machine::new(ruleset, Exits::new(&binding, ruleset));
        Self { egress: Judge { hook: Hook::Forward, machine }, ingress: None, ruleset }
    }

    fn inside(ruleset: &'a Ruleset, inside: &Inside) -> Self {
        let at = |hook, field| {
            let exits = Exits::inside(inside, ruleset, field);
            Judge { hook, machine: Machine::at(hook, ruleset, exits) }
        };
        Self {
            egress: at(Hook::Output, InterfaceField::Out),
            ingress: Some(at(Hook::Input, InterfaceField::In)),
            ruleset,
        }
    }

    /// The peers and codes that pass from or to an address.
    fn passing(&self, address: IpAddr, direction: Direction) -> Result<Region, VerifyError> {
        let family = Family::of(address);
        let (judge, outer) = match direction {
            Direction::Egress => (&self.egress, Field::Source),
            Direction::Ingress => {
                (self.ingress.as_ref().unwrap_or(&self.egress), Field::Destination)
            }
        };
        let Some((frame, codes)) = judge.frame(family, self.ruleset) else {
            return Ok(Region::empty());
        };
        let own = Ranges::single(ruleset::number(address));
        let peers = hosts(family).subtract(&own);
        let packets = PacketSet { outer: own, region: Region::product(&peers, &codes) };
        let ends = judge.machine.table(View { frame, outer }, packets)?;
        let accepted = ends.accepted.into_iter().map(|part| part.region);
        Ok(accepted.fold(Region::empty(), |all, region| all.union(&region)))
    }
}

impl Judge<'_> {
    /// A packet that opens a flow, and the codes that it can have.
    fn frame(&self, family: Family, ruleset: &Ruleset) -> Option<(Frame, Ranges)> {
        let all = frames_at(self.hook, family, ruleset, &NodeNetwork::default()).into_iter();
        let is_plain = |frame: &Frame| {
            frame.ct == CtState::New
                && frame.to_host
                && !frame.translated
                && frame.source_port.is_none()
                && frame.hop_limit == Packet::HOP_LIMIT
        };
        let (frame, codes) = all.into_iter().find(|(frame, _)| is_plain(frame))?;
        let exits = self.machine.exits();
        let everywhere = space::addresses(family);
        let is_open = |exit: &usize| {
            let leads_everywhere =
                everywhere.subtract(&exits.destinations(*exit, family)).is_empty();
            leads_everywhere && !exits.refused(*exit)
        };
        let exit = (0..exits.count()).find(is_open);
        let icmp = match family {
            Family::V4 => space::icmp_types(0..=u8::MAX),
            Family::V6 => space::icmpv6_types(0..=u8::MAX),
        };
        let codes = codes.subtract(&space::midflow()).subtract(&icmp);
        Some((Frame { exit: exit.unwrap_or(exits.count()), ..frame }, codes))
    }
}

/// The addresses that hosts of a network can have for all to reach: no multicast (RFC 5771,
/// RFC 4291 2.7), no broadcast (RFC 919), no link-local ones (RFC 3927, RFC 4291 2.5.6).
fn hosts(family: Family) -> Ranges {
    let nets: &[&str] = match family {
        Family::V4 => &["169.254.0.0/16", "224.0.0.0/4", "255.255.255.255/32"],
        Family::V6 => &["fe80::/10", "ff00::/8"],
    };
    let nets = nets.iter().filter_map(|net| net.parse::<IpNet>().ok());
    let others = nets.map(|net| (ruleset::number(net.network()), ruleset::number(net.broadcast())));
    space::addresses(family).subtract(&Ranges::of(others))
}

/// A region as people name it: slabs with the same peers are one part.
fn parts(own: IpAddr, known: &BTreeSet<IpAddr>, region: &Region) -> Vec<Part> {
    let family = Family::of(own);
    let hosts = hosts(family).subtract(&Ranges::single(ruleset::number(own)));
    let known = known.iter().filter_map(|one| space::of_family(family, *one));
    let known = Ranges::numbers(known).intersect(&hosts);
    let nobody = hosts.subtract(&known);
    let mut parts: Vec<(Ranges, Part)> = Vec::new();
    for slab in region.slabs() {
        let at = parts.iter().position(|(peers, _)| peers.is_same(&slab.addresses));
        let at = at.unwrap_or_else(|| {
            parts.push((slab.addresses.clone(), part(family, (&known, &nobody), &slab.addresses)));
            parts.len() - 1
        });
        let part = &mut parts[at].1;
        let (ports, others) = space::named(slab.first, slab.last);
        part.ports.extend(ports);
        part.others |= others;
    }
    parts.into_iter().map(|(_, part)| part).collect()
}

/// These peers, with no ports yet.
fn part(family: Family, (known, nobody): (&Ranges, &Ranges), peers: &Ranges) -> Part {
    let address = |number| from_number(family, number);
    let (named, others) = (peers.intersect(known), peers.intersect(nobody));
    let singles = named.iter().flat_map(|(first, last)| first..=last);
    let bounds = others.iter().filter_map(|(first, last)| Some((address(first)?, address(last)?)));
    Part {
        known: singles.filter_map(address).collect(),
        has_all_known: named == *known,
        unknown: match others == *nobody {
            true => Unknown::All,
            false => Unknown::Ranges(bounds.collect()),
        },
        ports: Vec::new(),
        others: false,
    }
}
