//! The parts of a packet that our rules look at.

use std::net::{IpAddr, Ipv6Addr};

use super::frame::{Content, Frame};
use crate::{Family, FlowSide, Hook, Match, TableFamily, TcpFlags, Transport};

/// What connection tracking knows about a packet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum CtState {
    /// `new`, and every state that no rule of ours asks for: untracked, invalid.
    #[default]
    New,
    /// `established`.
    Established,
    /// `related`.
    Related,
}

/// A packet on its way through the hooks. Both addresses are of one family. If the
/// frame holds no IP packet ([`Content`]), everything but the frame means nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Packet {
    /// Source address.
    pub source: IpAddr,
    /// Destination address.
    pub destination: IpAddr,
    /// The hop limit of IPv6 as the forward hook sees it. A routed packet has one
    /// less than it arrived with, a bridged one the same. No match looks at IPv4's
    /// time to live.
    pub hop_limit: u8,
    /// `meta l4proto`: the number in the IP header. In IPv6 it is the number after
    /// the extension headers.
    pub protocol: u8,
    /// Source port. `None` for protocols without ports and for fragments, and where
    /// it is one that no rule mentions.
    pub source_port: Option<u16>,
    /// Destination port. `None` for protocols without ports and for fragments.
    pub destination_port: Option<u16>,
    /// TCP flags. `None` for other protocols and for fragments.
    pub tcp_flags: Option<TcpFlags>,
    /// ICMP type, in IPv4.
    pub icmp_type: Option<u8>,
    /// ICMPv6 type.
    pub icmpv6_type: Option<u8>,
    /// What stands where neighbour discovery has its target. `None` for packets that
    /// are too short and for fragments.
    pub target: Option<Ipv6Addr>,
    /// The type of SCTP's first chunk. `None` for other protocols and for fragments.
    pub sctp_chunk: Option<u8>,
    /// Whether the frame was addressed to one host (`meta pkttype host`), not
    /// broadcast or multicast.
    pub to_host: bool,
    /// Connection tracking state.
    pub ct: CtState,
    /// Whether connection tracking gave the flow another destination
    /// ([`Match::CtTranslated`]).
    pub translated: bool,
    /// Whether the source is an address of the host itself ([`Match::SourceIsLocal`]).
    pub source_is_local: bool,
    /// The sources of the flow that it belongs to or is about: of its original
    /// packets and of its replies ([`FlowSide`]). `None` if it is not tracked, or if it
    /// is an address that no set has.
    pub flow: [Option<IpAddr>; 2],
    /// The frame around it, and the interfaces.
    pub frame: Frame,
}

impl Packet {
    /// The number of ICMPv6 in the IP header (RFC 4443).
    pub const ICMPV6: u8 = Match::ICMPV6;
    /// The default hop limit of Linux.
    pub const HOP_LIMIT: u8 = 64;
    /// The hop limit of neighbour discovery. No router passes it on unchanged, so
    /// it proves to the receiver that the sender is a neighbour (RFC 4861, 7.1).
    pub const NEIGHBOUR_HOP_LIMIT: u8 = 255;

    /// A packet of a new flow with any protocol, without a port, to one host. With
    /// TCP it is a SYN, with SCTP an INIT.
    pub const fn new(source: IpAddr, destination: IpAddr, protocol: u8) -> Self {
        Self {
            source,
            destination,
            hop_limit: Self::HOP_LIMIT,
            protocol,
            source_port: None,
            destination_port: None,
            tcp_flags: if protocol == Transport::Tcp.number() { Some(TcpFlags::SYN) } else { None },
            icmp_type: None,
            icmpv6_type: None,
            target: None,
            sctp_chunk: if protocol == Transport::Sctp.number() {
                Some(Match::SCTP_INIT)
            } else {
                None
            },
            to_host: true,
            ct: CtState::New,
            translated: false,
            source_is_local: false,
            flow: [None; 2],
            frame: Frame::UNKNOWN,
        }
    }

    /// A packet of a new flow to a port, to one host.
    pub const fn to_port(
        source: IpAddr,
        destination: IpAddr,
        transport: Transport,
        port: u16,
    ) -> Self {
        let packet = Self::new(source, destination, transport.number());
        Self { destination_port: Some(port), ..packet }
    }

    /// An ICMPv6 packet of this type, to one host.
    pub const fn icmpv6(source: IpAddr, destination: IpAddr, icmpv6_type: u8) -> Self {
        let packet = Self::new(source, destination, Self::ICMPV6);
        Self { icmpv6_type: Some(icmpv6_type), ..packet }
    }

    /// Neighbour discovery of this ICMPv6 type between two hosts of one link. It
    /// has the hop limit that makes it valid.
    pub const fn neighbour_discovery(source: IpAddr, destination: IpAddr, icmpv6_type: u8) -> Self {
        let packet = Self::icmpv6(source, destination, icmpv6_type);
        Self { hop_limit: Self::NEIGHBOUR_HOP_LIMIT, ..packet }
    }

    /// The address family of the packet.
    pub const fn family(&self) -> Family {
        Family::of(self.source)
    }

    /// The source of a side of its flow.
    pub fn flow_source(&self, side: FlowSide) -> Option<IpAddr> {
        let [original, reply] = self.flow;
        match side {
            FlowSide::Original => original,
            FlowSide::Reply => reply,
        }
    }

    /// The packet as rules of this family see it at a hook.
    pub(super) const fn at(&self, family: TableFamily, hook: Hook) -> Self {
        Self { frame: self.frame.at(family, hook), ..*self }
    }

    /// Whether it is an IP packet.
    pub(super) fn is_ip(&self) -> bool {
        self.frame.content == Content::Ip
    }

    /// Whether it is an IP packet of this family.
    pub(super) fn is(&self, family: Family) -> bool {
        self.is_ip() && self.family() == family
    }
}
