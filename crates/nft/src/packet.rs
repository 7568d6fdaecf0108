//! The parts of a packet that rules load into registers.
//!
//! Never: a bare offset outside of this file.

use ruleset::{EtherType, Family, Field, FlowSide, InterfaceField, MacField};

use crate::datatype::{INTERFACE_BYTES, KeyType, MAC_BYTES};
use crate::expression::Expression;
use crate::register::Register;

/// A part of a packet that our rules load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// `meta nfproto`, one byte: NFPROTO_*. In a `bridge` table it is NFPROTO_BRIDGE.
    Family,
    /// `meta protocol`, two bytes: the type of what is in the frame, behind one tag
    /// (`skb->protocol`).
    NetworkProtocol,
    /// `meta l4proto`, one byte.
    Protocol,
    /// `meta pkttype`, one byte: PACKET_*.
    PacketType,
    /// `ct state`, 32 bits in host order.
    CtState,
    /// `ct status`, 32 bits in host order: IPS_*.
    CtStatus,
    /// `fib saddr type`, 32 bits in host order: RTN_*.
    SourceType,
    /// `meta iif` or `oif`, 32 bits in host order.
    Interface(InterfaceField),
    /// A MAC address.
    Mac(MacField),
    /// The type field of an Ethernet frame. In a tagged frame, the tag's type.
    EtherType,
    /// The type field and the first two bytes after it: in a tagged frame, the tag.
    Tag,
    /// The sender's IPv4 address that an ARP message claims.
    ArpSender,
    /// The first bytes of an address.
    Address(Family, Field, u32),
    /// The source of a side of the packet's flow.
    FlowSource(FlowSide, Family),
    /// The hop limit of IPv6.
    HopLimit,
    /// The source port of TCP, UDP and SCTP.
    SourcePort,
    /// The destination port of TCP, UDP and SCTP.
    Port,
    /// The first bytes of the network header, this many, which a piece of a tag replaces.
    Replaced(u32),
    /// The flags of TCP.
    TcpFlags,
    /// The type of an ICMP or ICMPv6 message.
    IcmpType,
    /// The target of ICMPv6's neighbour discovery.
    Target,
    /// The type of the first chunk of SCTP.
    ChunkType,
}

/// What the rule knows of a packet's network header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Network {
    /// IPv4 or IPv6.
    Ip(Family),
    /// ARP.
    Arp,
}

impl Network {
    /// The header that a frame of this type has.
    pub(crate) const fn of(ether_type: EtherType) -> Self {
        match ether_type {
            EtherType::Ipv4 => Self::Ip(Family::V4),
            EtherType::Ipv6 => Self::Ip(Family::V6),
            EtherType::Arp => Self::Arp,
        }
    }
}

/// The type of the frames that carry a family.
pub(crate) const fn ether_type(family: Family) -> EtherType {
    match family {
        Family::V4 => EtherType::Ipv4,
        Family::V6 => EtherType::Ipv6,
    }
}

/// NFPROTO_* of a family (include/uapi/linux/netfilter.h).
pub(crate) const fn nfproto(family: Family) -> u8 {
    match family {
        Family::V4 => libc::NFPROTO_IPV4 as u8,
        Family::V6 => libc::NFPROTO_IPV6 as u8,
    }
}

/// Where an address begins in the IP header (RFC 791; RFC 8200).
const fn offset(family: Family, field: Field) -> u32 {
    match (family, field) {
        (Family::V4, Field::Source) => 12,
        (Family::V4, Field::Destination) => 16,
        (Family::V6, Field::Source) => 8,
        (Family::V6, Field::Destination) => 24,
    }
}

/// RFC 8200.
const HOP_LIMIT_OFFSET: u32 = 7;
const HOP_LIMIT_BYTES: u32 = 1;
/// Every header of IPv4 and IPv6 is longer than a piece of a tag (RFC 791; RFC 8200).
/// No other part begins here.
const REPLACED_OFFSET: u32 = 0;
/// TCP, UDP and SCTP alike (RFC 9293; RFC 768; RFC 9260).
const SOURCE_PORT_OFFSET: u32 = 0;
const PORT_OFFSET: u32 = 2;
const PORT_BYTES: u32 = 2;
/// RFC 9293, 3.1.
const TCP_FLAGS_OFFSET: u32 = 13;
const TCP_FLAGS_BYTES: u32 = 1;
/// ICMP and ICMPv6 alike (RFC 792; RFC 4443).
const ICMP_TYPE_OFFSET: u32 = 0;
const ICMP_TYPE_BYTES: u32 = 1;
/// Of solicitations, advertisements and redirects (RFC 4861, 4.3 to 4.5).
const TARGET_OFFSET: u32 = 8;
const TARGET_BYTES: u32 = KeyType::address(Family::V6).length;
/// After the common header of 12 bytes (RFC 9260, 3).
const CHUNK_TYPE_OFFSET: u32 = 12;
const CHUNK_TYPE_BYTES: u32 = 1;
/// `struct ethhdr`, include/uapi/linux/if_ether.h.
const MAC_DESTINATION_OFFSET: u32 = 0;
const MAC_SOURCE_OFFSET: u32 = 6;
const ETHER_TYPE_OFFSET: u32 = 12;
const ETHER_TYPE_BYTES: u32 = 2;
/// The type field and the tag's control information (`struct vlan_hdr`,
/// include/linux/if_vlan.h). The kernel shows a tag here although it keeps it
/// outside of the frame (`nft_payload_copy_vlan`, net/netfilter/nft_payload.c).
const TAG_BYTES: u32 = 4;
/// ARP over Ethernet for IPv4 (RFC 826).
const ARP_SENDER_MAC_OFFSET: u32 = 8;
const ARP_SENDER_OFFSET: u32 = 14;
const ARP_SENDER_BYTES: u32 = KeyType::address(Family::V4).length;

const LINK: u32 = libc::NFT_PAYLOAD_LL_HEADER as u32;
const NETWORK: u32 = libc::NFT_PAYLOAD_NETWORK_HEADER as u32;
const TRANSPORT: u32 = libc::NFT_PAYLOAD_TRANSPORT_HEADER as u32;

/// Where the kernel finds a part.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// NFT_META_*.
    Meta(u32),
    /// What connection tracking knows of the flow: NFT_CT_*, and of which side.
    Ct(u32, Option<FlowSide>),
    /// What the routing table says of the source: NFT_FIB_RESULT_ADDRTYPE with
    /// NFTA_FIB_F_SADDR (include/uapi/linux/netfilter/nf_tables.h).
    SourceType,
    /// Bytes behind the start of a header: NFT_PAYLOAD_*.
    Bytes { base: u32, offset: u32, length: u32 },
}

/// The parts that are read alike whatever the rule has tested before.
const OF_ANY_PACKET: [Part; 25] = [
    Part::Family,
    Part::NetworkProtocol,
    Part::Protocol,
    Part::PacketType,
    Part::CtState,
    Part::CtStatus,
    Part::SourceType,
    Part::FlowSource(FlowSide::Original, Family::V4),
    Part::FlowSource(FlowSide::Original, Family::V6),
    Part::FlowSource(FlowSide::Reply, Family::V4),
    Part::FlowSource(FlowSide::Reply, Family::V6),
    Part::Interface(InterfaceField::In),
    Part::Interface(InterfaceField::Out),
    Part::Mac(MacField::Source),
    Part::Mac(MacField::Destination),
    Part::EtherType,
    Part::Tag,
    Part::Replaced(4),
    Part::Replaced(8),
    Part::SourcePort,
    Part::Port,
    Part::TcpFlags,
    Part::IcmpType,
    Part::Target,
    Part::ChunkType,
];
/// Those of a network header.
const OF_ARP: [Part; 2] = [Part::Mac(MacField::ArpSender), Part::ArpSender];
const OF_IPV6: [Part; 1] = [Part::HopLimit];

impl Part {
    /// A whole address.
    pub(crate) const fn address(family: Family, field: Field) -> Self {
        Self::Address(family, field, KeyType::address(family).length)
    }

    /// The expression that loads the part.
    pub(crate) const fn load(self, into: Register) -> Expression {
        match self.place() {
            Place::Meta(key) => Expression::Meta { key, into },
            Place::Ct(key, side) => Expression::Ct { key, side, into },
            Place::SourceType => Expression::SourceType { into },
            Place::Bytes { base, offset, length } => {
                Expression::Payload { base, offset, length, into }
            }
        }
    }

    /// The part that an expression loads, and its register. `known` is the network
    /// header that the rule has already tested for. `None` if the expression loads
    /// no part that our rules use.
    pub(crate) fn loaded(
        expression: &Expression,
        known: Option<Network>,
    ) -> Option<(Self, Register)> {
        let (place, into) = match *expression {
            Expression::Meta { key, into } => (Place::Meta(key), into),
            Expression::Ct { key, side, into } => (Place::Ct(key, side), into),
            Expression::SourceType { into } => (Place::SourceType, into),
            Expression::Payload { base, offset, length, into } => {
                (Place::Bytes { base, offset, length }, into)
            }
            _ => return None,
        };
        let of_header: &[Self] = match known {
            Some(Network::Arp) => &OF_ARP,
            Some(Network::Ip(Family::V6)) => &OF_IPV6,
            Some(Network::Ip(Family::V4)) | None => &[],
        };
        let parts = OF_ANY_PACKET.iter().chain(of_header).copied();
        let part = parts.into_iter().find(|part| part.place() == place);
        Some((part.or_else(|| begun_address(place, known))?, into))
    }

    /// Length in bytes.
    pub(crate) const fn bytes(self) -> u32 {
        match self.place() {
            Place::Bytes { length, .. } => length,
            Place::SourceType => 4,
            Place::Ct(..) => match self {
                Self::FlowSource(_, family) => KeyType::address(family).length,
                _ => 4,
            },
            Place::Meta(_) => match self {
                Self::Interface(_) => INTERFACE_BYTES,
                Self::NetworkProtocol => ETHER_TYPE_BYTES,
                _ => 1,
            },
        }
    }

    const fn place(self) -> Place {
        const fn bytes(base: u32, offset: u32, length: u32) -> Place {
            Place::Bytes { base, offset, length }
        }
        match self {
            Self::Family => Place::Meta(libc::NFT_META_NFPROTO as u32),
            Self::NetworkProtocol => Place::Meta(libc::NFT_META_PROTOCOL as u32),
            Self::Protocol => Place::Meta(libc::NFT_META_L4PROTO as u32),
            Self::PacketType => Place::Meta(libc::NFT_META_PKTTYPE as u32),
            Self::Interface(InterfaceField::In) => Place::Meta(libc::NFT_META_IIF as u32),
            Self::Interface(InterfaceField::Out) => Place::Meta(libc::NFT_META_OIF as u32),
            Self::CtState => Place::Ct(libc::NFT_CT_STATE as u32, None),
            Self::CtStatus => Place::Ct(libc::NFT_CT_STATUS as u32, None),
            Self::SourceType => Place::SourceType,
            Self::FlowSource(side, Family::V4) => Place::Ct(libc::NFT_CT_SRC_IP as u32, Some(side)),
            Self::FlowSource(side, Family::V6) => {
                Place::Ct(libc::NFT_CT_SRC_IP6 as u32, Some(side))
            }
            Self::Mac(MacField::Destination) => bytes(LINK, MAC_DESTINATION_OFFSET, MAC_BYTES),
            Self::Mac(MacField::Source) => bytes(LINK, MAC_SOURCE_OFFSET, MAC_BYTES),
            Self::EtherType => bytes(LINK, ETHER_TYPE_OFFSET, ETHER_TYPE_BYTES),
            Self::Tag => bytes(LINK, ETHER_TYPE_OFFSET, TAG_BYTES),
            Self::Mac(MacField::ArpSender) => bytes(NETWORK, ARP_SENDER_MAC_OFFSET, MAC_BYTES),
            Self::ArpSender => bytes(NETWORK, ARP_SENDER_OFFSET, ARP_SENDER_BYTES),
            Self::Address(family, field, length) => bytes(NETWORK, offset(family, field), length),
            Self::Replaced(length) => bytes(NETWORK, REPLACED_OFFSET, length),
            Self::HopLimit => bytes(NETWORK, HOP_LIMIT_OFFSET, HOP_LIMIT_BYTES),
            Self::SourcePort => bytes(TRANSPORT, SOURCE_PORT_OFFSET, PORT_BYTES),
            Self::Port => bytes(TRANSPORT, PORT_OFFSET, PORT_BYTES),
            Self::TcpFlags => bytes(TRANSPORT, TCP_FLAGS_OFFSET, TCP_FLAGS_BYTES),
            Self::IcmpType => bytes(TRANSPORT, ICMP_TYPE_OFFSET, ICMP_TYPE_BYTES),
            Self::Target => bytes(TRANSPORT, TARGET_OFFSET, TARGET_BYTES),
            Self::ChunkType => bytes(TRANSPORT, CHUNK_TYPE_OFFSET, CHUNK_TYPE_BYTES),
        }
    }
}

/// The address, whole or its first bytes, that is at this place.
fn begun_address(place: Place, known: Option<Network>) -> Option<Part> {
    let Some(Network::Ip(family)) = known else { return None };
    let Place::Bytes { base: NETWORK, offset: found, length } = place else { return None };
    let field = [Field::Source, Field::Destination]
        .into_iter()
        .find(|field| offset(family, *field) == found)?;
    let whole = KeyType::address(family).length;
    (1..=whole).contains(&length).then_some(Part::Address(family, field, length))
}
