//! Frames and packets as the binding sees them.
//!
//! In: header fields. Out: values that the rules of [`super::binding`] judge.
//! Never: what a pod's policies ask for, such as ports of services.

use std::net::{IpAddr, Ipv6Addr};

use crate::Mac;

/// An Ethernet frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Frame {
    /// The MAC that it comes from.
    pub source: Mac,
    /// The MAC that it goes to.
    pub destination: Mac,
    /// The VLAN id of its outermost tag.
    pub tag: Option<u16>,
    /// What it carries, behind the outermost tag.
    pub payload: Payload,
}

/// What a frame carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Payload {
    /// IPv4 or IPv6.
    Ip(IpPacket),
    /// ARP for IPv4 over Ethernet (RFC 826).
    Arp(ArpMessage),
    /// All else: LLDP, PPPoE, a second tag.
    Other,
}

/// The sender that an ARP message names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ArpMessage {
    /// `ar$sha`.
    pub sender_mac: Mac,
    /// `ar$spa`.
    pub sender: IpAddr,
}

/// An IP packet. Both addresses are of one family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IpPacket {
    /// Source address.
    pub source: IpAddr,
    /// Destination address.
    pub destination: IpAddr,
    /// The port that UDP comes from, if it is known.
    pub source_port: Option<u16>,
    /// Time to live, or hop limit.
    pub hop_limit: u8,
    /// What it carries.
    pub body: Body,
    /// Whether this node gave its flow another destination, as a Service does.
    pub translated: bool,
}

/// What an IP packet carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Body {
    /// UDP to this port.
    Udp(u16),
    /// ICMP of this type, in IPv4.
    Icmp(u8),
    /// ICMPv6 of this type, in IPv6, and the 16 bytes where neighbour discovery
    /// has its target (RFC 4861, 4.3 and 4.4).
    Icmpv6(u8, Ipv6Addr),
    /// Another protocol, by its number in the IP header.
    Other(u8),
}

/// What a message says about routes and neighbours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Message {
    /// Query, report or done of multicast listener discovery: types 130 to 132
    /// (RFC 2710, 3) and 143 (RFC 3810, 5.2).
    ListenerDiscovery,
    /// I am a router: type 134 (RFC 4861, 4.2).
    RouterAdvertisement,
    /// Who has this address: type 135 (RFC 4861, 4.3).
    NeighbourSolicitation(IpAddr),
    /// I have this address: type 136 (RFC 4861, 4.4).
    NeighbourAdvertisement(IpAddr),
    /// Use another way: ICMP type 5 (RFC 792), ICMPv6 type 137 (RFC 4861, 4.5).
    Redirect,
    /// Nothing.
    None,
}

impl IpPacket {
    /// The hop limit that proves a sender on the same link. A receiver ignores
    /// neighbour discovery, router advertisements and redirects of ICMPv6 with
    /// another one (RFC 4861, 6.1.2, 7.1 and 8.1).
    pub const ON_LINK: u8 = 255;
}

impl Body {
    /// The number in the IP header (IANA protocol numbers).
    pub const fn protocol(self) -> u8 {
        match self {
            Self::Udp(_) => 17,
            Self::Icmp(_) => 1,
            Self::Icmpv6(..) => 58,
            Self::Other(number) => number,
        }
    }

    /// What it says about routes and neighbours.
    pub const fn message(self) -> Message {
        match self {
            Self::Icmp(5) | Self::Icmpv6(137, _) => Message::Redirect,
            Self::Icmpv6(130..=132 | 143, _) => Message::ListenerDiscovery,
            Self::Icmpv6(134, _) => Message::RouterAdvertisement,
            Self::Icmpv6(135, target) => Message::NeighbourSolicitation(IpAddr::V6(target)),
            Self::Icmpv6(136, target) => Message::NeighbourAdvertisement(IpAddr::V6(target)),
            Self::Udp(_) | Self::Icmp(_) | Self::Icmpv6(..) | Self::Other(_) => Message::None,
        }
    }
}
