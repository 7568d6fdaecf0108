//! Entries of connection tracking as values.
//!
//! Never: bytes, or a state or counter of a flow, which changes all the time.

use std::net::IpAddr;

use ruleset::Family;

/// One direction of a flow, as its packets look when they arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tuple {
    /// Source address.
    pub source: IpAddr,
    /// Destination address, of the same family.
    pub destination: IpAddr,
    /// The number in the IP header.
    pub protocol: u8,
    /// What distinguishes flows of the protocol.
    pub transport: TupleId,
}

/// What distinguishes the flows of a protocol between two addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TupleId {
    /// The ports of TCP, UDP, SCTP and others, or the keys of GRE.
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
        /// Identifier of an echo, otherwise 0.
        id: u16,
    },
    /// Nothing: each pair of addresses has one flow.
    Nothing,
}

/// An entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Flow {
    /// The direction of the first packet, before address translation.
    pub original: Tuple,
    /// The other direction. Its source is where the first packet went, after
    /// destination translation. Its destination is where that packet seemed to
    /// come from, after source translation.
    pub reply: Tuple,
    /// The zone of the original direction. 0 where zones are not used.
    pub zone: u16,
    /// A hash of the tuples and the entry's place in memory (`nf_ct_get_id`,
    /// net/netfilter/nf_conntrack_core.c). Distinguishes entries with the same
    /// tuples, unless they occupy the same place.
    pub id: u32,
    /// If a conntrack helper expected this flow: the original direction of the
    /// flow that announced it.
    pub master: Option<Tuple>,
}

/// Which entries a dump includes. The kernel filters by family and by IPv4
/// address. IPv6 addresses are filtered here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Filter {
    /// All entries of the network namespace.
    All,
    /// The entries of one family.
    Family(Family),
    /// The entries whose first packet came from this address.
    OriginalSource(IpAddr),
    /// The entries whose first packet went to this address, after translation.
    ReplySource(IpAddr),
}

impl Filter {
    /// Whether the filter includes an entry.
    pub fn matches(&self, flow: &Flow) -> bool {
        match *self {
            Self::All => true,
            Self::Family(family) => Family::of(flow.original.source) == family,
            Self::OriginalSource(address) => flow.original.source == address,
            Self::ReplySource(address) => flow.reply.source == address,
        }
    }

    /// The family of all included entries, if it is only one.
    pub fn family(&self) -> Option<Family> {
        match *self {
            Self::All => None,
            Self::Family(family) => Some(family),
            Self::OriginalSource(address) | Self::ReplySource(address) => Some(Family::of(address)),
        }
    }
}
