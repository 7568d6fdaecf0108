//! What must pass, as regions.
//!
//! In: the model, and a group of packets: those from one source, those to one
//! destination, or those between addresses that no policy isolates. Out: the
//! ones that must pass.
//! Never: the table. This module states the rules around the pods' chains a
//! second time, independently of the compiler.
//!
//! * A packet of a new flow passes if the egress policies of its source and the
//!   ingress policies of its destination allow it. This applies where they are
//!   isolated pods of this node.
//! * While this node has an isolated pod, only neighbour and listener discovery
//!   pass at the edges: link-local, multicast and broadcast, by address or by
//!   frame. While each such pod's port is guarded, this holds of multicast and broadcast
//!   for what these pods send alone, and others' is judged as any packet.
//! * Neighbour discovery that no router has forwarded always passes: the
//!   solicitations and advertisements of neighbours.
//! * A TCP flow from or to an isolated pod must begin with a SYN, an SCTP flow with
//!   an INIT. It does not matter in which direction the pod is isolated.
//! * An error about a known flow does not come from a bound pod that is no end of it.
//!   While a pod is bound, it passes from link-local addresses like any packet at the
//!   edges.
//! * A redirect never passes, except in an established flow, where there is none.
//! * A new flow to a node's tunnel comes from a node, and no Service carried it
//!   there (rule T). None goes from a tunnel's port to a node, if it is no node's.
//! * A new flow from or to an address in the pods' ranges that no object names does not
//!   pass, while the node shuts them. Neighbour discovery does, and what passes at the
//!   edges.
//! * A new flow out of an isolated pod's own interface goes to its addresses
//!   (rule D). Policies judge what goes to addresses that are isolated for ingress.

mod edges;

pub(crate) use edges::{edge_destinations_of, link_local};
use edges::{multicast, muted};
use policy::spec::binding::Binding;
use policy::spec::edges::Edges;
use policy::{Direction, NodeNetwork, Protocol, Tunnel};
use ruleset::simulator::{CtState, Packet};
use ruleset::{Family, Field, Match, number};

use crate::model::{IsolatedAddress, IsolatedAddresses, Model};
use crate::packet_set::PacketSet;
use crate::ranges::Ranges;
use crate::region::Region;
use crate::sets::slabs;
use crate::space::{self, FlowSource, Frame};

/// Neighbour solicitation and advertisement (RFC 4861, 4.3 and 4.4).
const NEIGHBOUR_DISCOVERY: std::ops::RangeInclusive<u8> = 135..=136;
/// In a pod's own namespace those of routers, too (RFC 4861, 4.1 and 4.2).
const DISCOVERY_OF_LINKS: std::ops::RangeInclusive<u8> = 133..=136;
/// Redirect of ICMP (RFC 792) and of ICMPv6 (RFC 4861, 4.5).
const REDIRECT: (u8, u8) = (5, 137);
/// The hop limit that receivers require of them (RFC 4861, 6.1, 7.1, 8.1).
pub(crate) const NEIGHBOUR_HOP_LIMIT: u8 = 255;

/// Which packets of one frame must pass.
pub(crate) struct Expected<'m, 'a> {
    model: &'m Model<'a>,
    frame: Frame,
    pub egress: IsolatedAddresses,
    pub ingress: IsolatedAddresses,
    pub addresses: Ranges,
    pub codes: Ranges,
    /// The addresses of nodes, and what nodes unwrap.
    nodes: Ranges,
    tunnels: Ranges,
    /// What only nodes may send to nodes.
    of_nodes: Ranges,
    /// The addresses that are bound to a pod's port, but for link-local ones.
    owned: Ranges,
    /// The addresses that no object names, where they are shut.
    unknown: Ranges,
    /// The addresses that isolated pods send from.
    muted: Ranges,
    is_bound: bool,
    /// Whether the frame goes out where rule D refuses its destination.
    refused: bool,
}

/// The codes of what a node unwraps.
pub(crate) fn tunnels(family: Family, network: &NodeNetwork) -> Ranges {
    let codes = network.tunnels.keys().map(|tunnel| match *tunnel {
        Tunnel::Udp(port) => space::ports(Protocol::Udp, port, port),
        Tunnel::Protocol(number) => space::protocol(family, number),
    });
    Ranges::union_of(&codes.collect::<Vec<_>>())
}

/// The addresses that are bound to a pod's port, but for link-local ones.
fn owned(family: Family, network: &NodeNetwork) -> Ranges {
    let addresses = network.ports.values().flat_map(|port| port.addresses.iter());
    let numbers = addresses.filter_map(|address| space::of_family(family, *address));
    Ranges::numbers(numbers).subtract(&link_local(family))
}

/// The codes that pass between all addresses: neighbour discovery.
pub(crate) fn neighbour_codes(family: Family, hop_limit: u8) -> Ranges {
    match (family, hop_limit) {
        (Family::V6, NEIGHBOUR_HOP_LIMIT) => space::icmpv6_types(NEIGHBOUR_DISCOVERY),
        _ => Ranges::empty(),
    }
}

impl<'m, 'a> Expected<'m, 'a> {
    pub fn new(model: &'m Model<'a>, binding: &Binding<'_>, frame: Frame, refused: bool) -> Self {
        let nodes = binding.nodes.iter();
        let tunnels = tunnels(frame.family, binding.network);
        let of_nodes = match frame.source_port.map(Tunnel::Udp) {
            Some(tunnel) if binding.network.tunnels.contains_key(&tunnel) => {
                tunnels.union(&space::ports(Protocol::Udp, 0, u16::MAX))
            }
            Some(_) | None => tunnels.clone(),
        };
        Self {
            model,
            frame,
            egress: model.isolated(frame.family, Direction::Egress),
            ingress: model.isolated(frame.family, Direction::Ingress),
            addresses: space::addresses(frame.family),
            codes: space::codes(frame.family),
            nodes: Ranges::numbers(nodes.filter_map(|node| space::of_family(frame.family, *node))),
            tunnels,
            of_nodes,
            owned: owned(frame.family, binding.network),
            unknown: model.unknown(frame.family),
            muted: muted(frame.family, model),
            is_bound: !binding.network.ports.is_empty(),
            refused,
        }
    }

    /// The region for established flows and for frames that are not to one host, where
    /// addresses do not matter. `None` if they do.
    pub fn for_all_addresses(&self) -> Option<Region> {
        let all = |codes: &Ranges| Some(Region::product(&self.addresses, codes));
        match self.frame.ct {
            CtState::Established => all(&self.codes),
            CtState::New if self.edges() == Edges::Shut && !self.frame.to_host => {
                all(&self.edge_codes())
            }
            CtState::New | CtState::Related => None,
        }
    }

    /// What passes of what is about a known flow. Sources are the outer end.
    pub fn about_flows(&self) -> Vec<PacketSet> {
        let is_end = [self.frame.original, self.frame.reply].contains(&FlowSource::Own);
        let never = if is_end { Ranges::empty() } else { self.owned.clone() };
        let edges = if self.is_bound { self.edge_sources() } else { Ranges::empty() };
        let others = self.addresses.subtract(&never).subtract(&edges);
        let part = |outer: Ranges, codes: &Ranges| {
            let codes = codes.subtract(&self.redirects());
            PacketSet { outer, region: Region::product(&self.addresses, &codes) }
        };
        // To groups, those pass that no isolated pod sends.
        let honest = match self.edges() {
            Edges::Guarded => edges.subtract(&self.muted),
            Edges::Open | Edges::Shut => Ranges::empty(),
        };
        let discovery = part(edges.subtract(&honest), &self.edge_codes());
        let groups = Region::product(&multicast(self.frame.family), &self.codes);
        let of_honest = discovery.region.union(&groups.without_codes(&self.redirects()));
        vec![
            part(never, &Ranges::empty()),
            discovery,
            PacketSet { outer: honest, region: of_honest },
            part(others, &self.codes),
        ]
    }

    /// Destinations and codes that an isolated pod's address may send to.
    pub fn from(&self, address: u128, isolated: &IsolatedAddress) -> Region {
        let judged = isolated.allowed.union(&Region::product(&isolated.own, &self.codes));
        let there = self.ingress.by_address.iter().flat_map(|(destination, isolated)| {
            slabs(&Ranges::single(*destination), &self.codes_of(isolated, address))
        });
        let beyond = self.beyond();
        let may_arrive = Region::product(&beyond, &self.codes).union(&Region::of(there));
        let judged = judged.intersect(&may_arrive).without_codes(&space::midflow());
        self.with_edges(judged, Field::Source, address)
    }

    /// Sources that are not isolated, and codes, that may send to an isolated
    /// pod's address.
    pub fn to(&self, address: u128, isolated: &IsolatedAddress) -> Region {
        let judged = isolated.allowed.union(&Region::product(&isolated.own, &self.codes));
        let judged = judged.without(&self.unknown).without_codes(&space::midflow());
        self.with_edges(judged, Field::Destination, address)
    }

    /// What passes from sources that are not isolated for egress to destinations
    /// that are not isolated for ingress. Sources are the outer end.
    pub fn between_others(&self) -> Vec<PacketSet> {
        let all = Region::product(&self.beyond(), &self.codes);
        let isolated_there = Region::product(&self.egress.addresses, &space::midflow());
        // Nothing but discovery comes from them.
        let edges = match self.edges() {
            Edges::Guarded => self.edge_sources().intersect(&self.muted),
            Edges::Open | Edges::Shut => self.edge_sources(),
        };
        let isolated_here = self.ingress.addresses.subtract(&edges);
        let others = self.addresses.subtract(&edges).subtract(&isolated_here);
        let others = others.subtract(&self.muted);
        let unknown = others.intersect(&self.unknown);
        let others = others.subtract(&unknown);
        let part = |outer: Ranges, judged: &Region| {
            let address = outer.first()?;
            let region = self.with_edges(judged.clone(), Field::Source, address);
            Some(PacketSet { outer, region })
        };
        let groups = [
            (edges, Region::empty()),
            (unknown, Region::empty()),
            (isolated_here, all.without_codes(&space::midflow())),
            (others, all.subtract(&isolated_there)),
        ];
        let link_local = self.edge_sources();
        let parts = groups.iter().flat_map(|(outer, judged)| {
            let (nodes, rest) = (outer.intersect(&self.nodes), outer.subtract(&self.nodes));
            let split = |one: Ranges| [one.intersect(&link_local), one.subtract(&link_local)];
            [nodes, rest].into_iter().flat_map(split).map(|one| part(one, judged))
        });
        parts.flatten().collect()
    }

    /// The destinations that no policy isolates for ingress, that rule D allows and that
    /// are known, where that matters.
    fn beyond(&self) -> Ranges {
        match self.refused {
            true => Ranges::empty(),
            false => self.addresses.subtract(&self.ingress.addresses).subtract(&self.unknown),
        }
    }

    /// The family of the packets.
    pub const fn family(&self) -> Family {
        self.frame.family
    }

    /// The codes of redirects.
    pub fn redirects(&self) -> Ranges {
        match self.frame.family {
            Family::V4 => space::icmp_types([REDIRECT.0]),
            Family::V6 => space::icmpv6_types([REDIRECT.1]),
        }
    }

    /// What rule T refuses: to a node's tunnel, and not from a node or by a Service;
    /// from a tunnel's port to a node, and not from a node.
    fn to_tunnels(&self, end: Field, outer: u128) -> Region {
        let is_node = self.nodes.contains(outer);
        let others = self.addresses.subtract(&self.nodes);
        let by_service = if self.frame.translated { &self.tunnels } else { &Ranges::empty() };
        match (end, is_node) {
            (Field::Source, true) => Region::product(&self.nodes, by_service),
            (Field::Source, false) => Region::product(&self.nodes, &self.of_nodes),
            (Field::Destination, true) => Region::product(&self.nodes, by_service)
                .union(&Region::product(&others, &self.of_nodes)),
            (Field::Destination, false) => Region::empty(),
        }
    }

    /// What goes to a node's tunnel.
    pub fn tunnelled(&self) -> Region {
        Region::product(&self.nodes, &self.tunnels)
    }

    /// The codes that an isolated destination accepts from a source.
    fn codes_of(&self, isolated: &IsolatedAddress, source: u128) -> Ranges {
        if isolated.own.contains(source) {
            self.codes.clone()
        } else {
            isolated.allowed.codes_of(source)
        }
    }

    /// The codes that pass between all addresses: neighbour discovery.
    pub fn neighbour_codes(&self) -> Ranges {
        match (self.frame.family, self.frame.hop_limit, &self.model.inside) {
            (Family::V6, NEIGHBOUR_HOP_LIMIT, Some(_)) => space::icmpv6_types(DISCOVERY_OF_LINKS),
            (family, hop_limit, _) => neighbour_codes(family, hop_limit),
        }
    }

    /// Whether a packet says to use another way.
    pub fn is_redirect(packet: &Packet) -> bool {
        packet.icmp_type == Some(REDIRECT.0) || packet.icmpv6_type == Some(REDIRECT.1)
    }

    /// Whether a packet is neighbour discovery on its own link.
    pub fn is_neighbour_discovery(packet: &Packet) -> bool {
        let types = packet.icmpv6_type.is_some_and(|number| NEIGHBOUR_DISCOVERY.contains(&number));
        types && packet.hop_limit == NEIGHBOUR_HOP_LIMIT
    }

    /// Whether a packet is TCP without an opening SYN or SCTP without an INIT, from
    /// or to a pod that is isolated in either direction.
    pub fn opens_no_flow(&self, packet: &Packet) -> bool {
        let ends = [number(packet.source), number(packet.destination)];
        let isolated = |address| {
            [&self.egress, &self.ingress].iter().any(|side| side.addresses.contains(address))
        };
        let midflow = packet.tcp_flags.is_some_and(|flags| !flags.open())
            || packet.sctp_chunk.is_some_and(|chunk| chunk != Match::SCTP_INIT);
        midflow && ends.into_iter().any(isolated)
    }

    /// Whether rule D refuses a packet. Policies judge what goes to addresses that
    /// are isolated for ingress.
    pub fn is_unreported(&self, packet: &Packet) -> bool {
        self.refused && !self.ingress.addresses.contains(number(packet.destination))
    }

    /// Whether no object names an end of a packet, where that matters. What goes to an
    /// isolated pod is asked for its source alone.
    pub fn is_unknown(&self, packet: &Packet) -> bool {
        let ends = [number(packet.source), number(packet.destination)];
        ends.into_iter().any(|end| self.unknown.contains(end))
    }
}
