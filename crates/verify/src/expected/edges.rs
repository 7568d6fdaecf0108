//! What passes at the edges: link-local addresses, multicast and broadcast.
//!
//! In: the model and a frame. Out: regions. Never: the table.

use std::net::{IpAddr, Ipv4Addr};

use policy::spec::edges::Edges;
use ruleset::simulator::Packet;
use ruleset::{Family, Field, number};

use super::Expected;
use crate::model::Model;
use crate::ranges::Ranges;
use crate::region::Region;
use crate::space;

/// Query, report, done (RFC 2710, 3), report of version 2 (RFC 3810, 5.2).
const LISTENER_DISCOVERY: [u8; 4] = [130, 131, 132, 143];

/// In IPv6 the destinations at the edges, whoever is isolated.
pub(crate) fn edge_destinations_of(family: Family) -> Ranges {
    match family {
        Family::V4 => Ranges::empty(),
        Family::V6 => link_local(family).union(&multicast(family)),
    }
}

pub(super) fn muted(family: Family, model: &Model<'_>) -> Ranges {
    let addresses = model.at_edges.muted.iter();
    Ranges::numbers(addresses.filter_map(|address| space::of_family(family, *address)))
}

/// `224.0.0.0/4` (RFC 5771, 3) and `ff00::/8` (RFC 4291, 2.4).
pub(super) fn multicast(family: Family) -> Ranges {
    match family {
        Family::V4 => Ranges::range(0xe000_0000, 0xefff_ffff),
        Family::V6 => Ranges::range(0xff << 120, u128::MAX),
    }
}

/// `fe80::/10` (RFC 4291, 2.4).
pub(crate) fn link_local(family: Family) -> Ranges {
    match family {
        Family::V4 => Ranges::empty(),
        Family::V6 => Ranges::range(0xfe80 << 112, (0xfec0 << 112) - 1),
    }
}

impl Expected<'_, '_> {
    /// The codes that pass at the edges.
    pub fn edge_codes(&self) -> Ranges {
        match self.frame.family {
            Family::V4 => Ranges::empty(),
            Family::V6 => self.neighbour_codes().union(&space::icmpv6_types(LISTENER_DISCOVERY)),
        }
    }

    /// Takes from `judged` what does not pass at the edges, and adds what passes there and
    /// between neighbours. `outer` is any one of the outer addresses: of those that are
    /// link-local, those that isolated pods send from, and those of groups, either all are
    /// or none is.
    pub(super) fn with_edges(&self, judged: Region, end: Field, outer: u128) -> Region {
        let (here, there) = match end {
            Field::Source => (self.edge_sources(), self.edge_destinations()),
            Field::Destination => (self.edge_destinations(), self.edge_sources()),
        };
        let is_frame = !self.frame.to_host && self.edges() != Edges::Open;
        let edges = match is_frame || here.contains(outer) {
            true => self.addresses.clone(),
            false => there,
        };
        let shut = match self.edges() {
            Edges::Open => Ranges::empty(),
            Edges::Guarded => edges.intersect(&self.shut_for_guarded(end, outer)),
            Edges::Shut => edges.clone(),
        };
        judged
            .without(&shut)
            .union(&Region::product(&edges, &self.edge_codes()))
            .subtract(&self.to_tunnels(end, outer))
            .without_codes(&self.redirects())
            .union(&Region::product(&self.addresses, &self.neighbour_codes()))
    }

    /// The inner addresses with which nothing but discovery passes at the edges, while the
    /// ports of isolated pods are guarded: what those pods send, and link-local packets
    /// that are not to a group.
    fn shut_for_guarded(&self, end: Field, outer: u128) -> Ranges {
        let family = self.frame.family;
        let (link_local, groups) = (link_local(family), multicast(family));
        match end {
            Field::Source if self.muted.contains(outer) => self.addresses.clone(),
            Field::Source if link_local.contains(outer) => self.addresses.subtract(&groups),
            Field::Source => link_local,
            Field::Destination if groups.contains(outer) => self.muted.clone(),
            Field::Destination if link_local.contains(outer) => self.addresses.clone(),
            Field::Destination => self.muted.union(&link_local),
        }
    }

    /// Whether the edges decide about a packet: it is to or from one, by address or by
    /// frame, and where ports are guarded, an isolated pod sends it or no group gets it.
    pub fn is_edge(&self, packet: &Packet) -> bool {
        let (source, destination) = (number(packet.source), number(packet.destination));
        let is_at_edge = !packet.to_host
            || self.edge_sources().contains(source)
            || self.edge_destinations().contains(destination);
        let is_shut = match self.edges() {
            Edges::Open => false,
            Edges::Guarded => self.shut_for_guarded(Field::Source, source).contains(destination),
            Edges::Shut => true,
        };
        is_at_edge && is_shut
    }

    pub(super) const fn edges(&self) -> Edges {
        self.model.at_edges.edges
    }

    /// Link-local unicast is `fe80::/10`, multicast `ff00::/8` (RFC 4291,
    /// 2.4) and `224.0.0.0/4` (RFC 5771, 3).
    pub fn edge_destinations(&self) -> Ranges {
        if self.edges() == Edges::Open {
            return Ranges::empty();
        }
        let broadcast = number(IpAddr::V4(Ipv4Addr::BROADCAST));
        let groups = multicast(self.frame.family);
        match self.frame.family {
            Family::V4 => groups.union(&Ranges::single(broadcast)),
            Family::V6 => groups.union(&self.edge_sources()),
        }
    }

    pub fn edge_sources(&self) -> Ranges {
        match self.edges() {
            Edges::Open => Ranges::empty(),
            Edges::Guarded | Edges::Shut => link_local(self.frame.family),
        }
    }
}
