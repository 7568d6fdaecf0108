//! The frame around a packet, and the interfaces that it passes.

use std::net::Ipv4Addr;

use crate::{Hook, TableFamily, TagType};

/// A frame, as far as our rules look at it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Frame {
    /// The index of the interface where it comes in; 0 if there is none. In a
    /// `bridge` table this is the bridge's port, in an `inet` table the bridge.
    pub in_interface: u32,
    /// The index of the interface where it goes out, alike.
    pub out_interface: u32,
    /// Source MAC address.
    pub source_mac: [u8; 6],
    /// Destination MAC address.
    pub destination_mac: [u8; 6],
    /// The outermost VLAN tag. A second one is a [`Content::Other`].
    pub tag: Option<Tag>,
    /// What the frame holds, behind the tag.
    pub content: Content,
}

/// A VLAN tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Tag {
    /// Its type.
    pub tag_type: TagType,
    /// The id of the VLAN. A tag of id 0 only has a priority.
    pub vlan: u16,
}

/// What a frame holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Content {
    /// An IPv4 or IPv6 packet.
    #[default]
    Ip,
    /// ARP for IPv4.
    Arp(Arp),
    /// Anything else: a further tag, PPPoE, LLDP, ...
    Other,
}

/// The sender that an ARP message claims.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Arp {
    /// `ar$sha`.
    pub sender_mac: [u8; 6],
    /// `ar$spa`.
    pub sender: Ipv4Addr,
}

impl Frame {
    /// An untagged frame with an IP packet. No set holds its interfaces and MAC
    /// addresses.
    pub const UNKNOWN: Self = Self {
        in_interface: 0,
        out_interface: 0,
        source_mac: [0; 6],
        destination_mac: [0; 6],
        tag: None,
        content: Content::Ip,
    };

    /// The frame as rules of this family see it at a hook. Where there is no
    /// interface, the kernel takes 0 for its index (`nft_meta_store_ifindex`,
    /// net/netfilter/nft_meta.c). The output interface is known after routing. On
    /// its way out of a bridge, a frame has no input interface
    /// (`br_forward_finish`, net/bridge/br_forward.c). Nor has what the host itself sends
    /// (`__ip_local_out`, net/ipv4/ip_output.c, 6.18).
    pub(super) const fn at(self, family: TableFamily, hook: Hook) -> Self {
        match (hook, family) {
            (Hook::Prerouting | Hook::Input, _) => Self { out_interface: 0, ..self },
            (Hook::Output, _) | (Hook::Postrouting, TableFamily::Bridge) => {
                Self { in_interface: 0, ..self }
            }
            (Hook::Postrouting, TableFamily::Inet) | (Hook::Forward, _) => self,
        }
    }
}

impl Default for Frame {
    fn default() -> Self {
        Self::UNKNOWN
    }
}
