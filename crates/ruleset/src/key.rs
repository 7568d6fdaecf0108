//! Keys of interface, MAC and address, by which a packet is bound to its pod.
//!
//! In: the parts that a key has. Out: its set's type, its element, its fields.
//! Never: which interface, MAC or address belongs to whom.

use std::net::IpAddr;

use crate::{Element, Family, SetType};

/// The parts of the keys of a set, in this order; at least one. Keys of an IPv4 or
/// IPv6 address alone are a [`SetType::Address`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyShape {
    /// `iface_index`.
    pub interface: bool,
    /// `ether_addr`.
    pub mac: bool,
    /// An address, and of which type.
    pub address: Option<KeyAddressType>,
}

/// How a set holds the address of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum KeyAddressType {
    /// `ipv4_addr`.
    V4,
    /// `ipv6_addr`.
    V6,
    /// `typeof @th,64,128`: the target of neighbour discovery. nft has no name for
    /// this field, so the address is a number there.
    Target,
}

/// An element of a [`SetType::Key`]; the parts follow the set's [`KeyShape`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// The index of an interface in the table's network namespace.
    pub interface: Option<u32>,
    /// A MAC address.
    pub mac: Option<[u8; 6]>,
    /// An address of the type that the shape has. A target is an IPv6 address.
    pub address: Option<IpAddr>,
}

/// The fields of a packet that make a key, in this order; at least one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyFields {
    /// `iif` or `oif`.
    pub interface: Option<InterfaceField>,
    /// `ether saddr`, ...
    pub mac: Option<MacField>,
    /// `ip saddr`, ...
    pub address: Option<KeyAddress>,
}

/// Which interface of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum InterfaceField {
    /// `iif`: where it came in.
    In,
    /// `oif`: where it goes out.
    Out,
}

/// Which MAC address of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MacField {
    /// `ether saddr`.
    Source,
    /// `ether daddr`.
    Destination,
    /// `arp saddr ether`: the sender that an ARP message claims (RFC 826, `ar$sha`).
    ArpSender,
}

/// Which address of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum KeyAddress {
    /// `ip saddr` or `ip6 saddr`.
    Source(Family),
    /// `ip daddr` or `ip6 daddr`.
    Destination(Family),
    /// `arp saddr ip`: the sender that an ARP message claims (RFC 826, `ar$spa`).
    ArpSender,
    /// `@th,64,128`: the target of neighbour solicitations and advertisements
    /// (RFC 4861, 4.3 and 4.4: 8 bytes after the start of the ICMPv6 message).
    Target,
}

/// What stands in a frame's type field (`ether type`: 2 bytes at link header + 12).
/// In a tagged frame the type of its tag stands there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EtherType {
    /// IPv4.
    Ipv4,
    /// IPv6.
    Ipv6,
    /// ARP.
    Arp,
}

/// The type of a VLAN tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TagType {
    /// IEEE 802.1Q, the customer's tag.
    Dot1q,
    /// IEEE 802.1ad, the service provider's tag.
    Dot1ad,
}

impl KeyFields {
    /// No field.
    pub const NONE: Self = Self { interface: None, mac: None, address: None };

    /// The type of the sets in which such a key is looked up.
    pub fn set_type(&self) -> SetType {
        let address = self.address.map(KeyAddress::address_type);
        match (self.interface, self.mac, address) {
            (None, None, Some(KeyAddressType::V4)) => SetType::Address(Family::V4),
            (None, None, Some(KeyAddressType::V6)) => SetType::Address(Family::V6),
            (interface, mac, address) => SetType::Key(KeyShape {
                interface: interface.is_some(),
                mac: mac.is_some(),
                address,
            }),
        }
    }

    /// A key of these fields as an element of a set of [`Self::set_type`].
    pub fn element(&self, key: Key) -> Element {
        match (self.set_type(), key.address) {
            (SetType::Address(_), Some(address)) => Element::Address(address),
            _ => Element::Key(key),
        }
    }
}

impl KeyAddress {
    /// How a set holds this address.
    pub const fn address_type(self) -> KeyAddressType {
        match self {
            Self::Source(Family::V4) | Self::Destination(Family::V4) | Self::ArpSender => {
                KeyAddressType::V4
            }
            Self::Source(Family::V6) | Self::Destination(Family::V6) => KeyAddressType::V6,
            Self::Target => KeyAddressType::Target,
        }
    }

    /// The family that the field implies. ARP is neither, and a target is only found
    /// by its place.
    pub const fn family(self) -> Option<Family> {
        match self {
            Self::Source(family) | Self::Destination(family) => Some(family),
            Self::ArpSender | Self::Target => None,
        }
    }
}

impl EtherType {
    /// The number in the frame (IANA, IEEE 802 numbers).
    pub const fn number(self) -> u16 {
        match self {
            Self::Ipv4 => 0x0800,
            Self::Ipv6 => 0x86dd,
            Self::Arp => 0x0806,
        }
    }

    /// nft's word.
    pub const fn keyword(self) -> &'static str {
        match self {
            Self::Ipv4 => "ip",
            Self::Ipv6 => "ip6",
            Self::Arp => "arp",
        }
    }
}

impl TagType {
    /// The number in the frame (IEEE 802.1Q-2018, table 9-1).
    pub const fn number(self) -> u16 {
        match self {
            Self::Dot1q => 0x8100,
            Self::Dot1ad => 0x88a8,
        }
    }

    /// Which bits of the 4 bytes at link header + 12 tell a priority tag: the tag's
    /// type and its 12 bits of id. Those between are the priority.
    pub const MASK: u32 = 0xffff_0fff;

    /// Those bits of a frame with a priority tag.
    pub const fn priority_tagged(self) -> u32 {
        (self.number() as u32) << 16
    }
}
