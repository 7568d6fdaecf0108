//! Entries of connection tracking as values.
//!
//! In and out: plain values. Never: bytes; a state or counter of a flow, for
//! they change while one looks.

use std::net::IpAddr;

use ruleset::Family;

/// One direction of a flow: how its packets look on the way in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tuple {
    /// Source address.
    pub source: IpAddr,
    /// Destination address, of the same family.
    pub destination: IpAddr,
    /// The number in the IP header.
    pub protocol: u8,
    /// What the protocol tells flows apart by.
    pub transport: TupleId,
}

/// What a protocol tells flows apart by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TupleId {
    /// TCP, UDP, SCTP and others with ports; of GRE the keys.
    Ports {
        /// Source port.
        source: u16,
        /// Destination port.
        destination: u16,
    },
    /// ICMP and ICMPv6.
    Icmp {
        /// Type of the message.
        icmp_type: u8,
        /// Code of the message.
        code: u8,
        /// Identifier of an echo, else 0.
        id: u16,
    },
    /// Nothing: one flow for each pair of addresses.
    Nothing,
}

/// An entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Flow {
    /// The direction of the first packet, before address translation.
    pub original: Tuple,
    /// The other direction: its source is where the first packet went, after
    /// destination translation; its destination is where that seemed to come
    /// from, after source translation.
    pub reply: Tuple,
    /// The zone of the original direction; 0 where nobody uses zones.
    pub zone: u16,
    /// Tells an entry from another with the same tuples, unless that one has
    /// the same place in memory: it is a hash of both (`nf_ct_get_id`,
    /// net/netfilter/nf_conntrack_core.c).
    pub id: u32,
    /// The original direction of the flow that announced this one, if a helper
    /// expected it.
    pub master: Option<Tuple>,
}

/// Which entries a dump is about. The kernel filters by family and by IPv4
/// address; entries that another IPv6 address leaves out are sent all the same,
/// and left out here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Filter {
    /// All of the network namespace.
    All,
    /// Those of one family.
    Family(Family),
    /// Those whose first packet came from this address.
    OriginalSource(IpAddr),
    /// Those whose first packet went to this address, after translation.
    ReplySource(IpAddr),
}

impl Filter {
    /// Whether an entry is one of those.
    pub fn matches(&self, flow: &Flow) -> bool {
        match *self {
            Self::All => true,
            Self::Family(family) => Family::of(flow.original.source) == family,
            Self::OriginalSource(address) => flow.original.source == address,
            Self::ReplySource(address) => flow.reply.source == address,
        }
    }

    /// The family of all that match, if there is but one.
    pub fn family(&self) -> Option<Family> {
        match *self {
            Self::All => None,
            Self::Family(family) => Some(family),
            Self::OriginalSource(address) | Self::ReplySource(address) => Some(Family::of(address)),
        }
    }
}
