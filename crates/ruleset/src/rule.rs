//! Rules: matches, then at most one log statement, then how it ends.
//!
//! Each match is complete. A match on an IPv4 header implies `meta nfproto ipv4`, in
//! a `bridge` table `meta protocol ip`. One on a port implies `meta l4proto`. The
//! writers add these where the rule does not have them yet, as nft does.

use std::net::IpAddr;

use crate::{AddressRange, Comment, EtherType, Family, KeyFields, LogPrefix, Name, TagType};

/// A rule of a chain.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Rule {
    /// All must hold, tested in this order.
    pub matches: Vec<Match>,
    /// Logs packets that match. Its rate limit ends the rule for packets above the
    /// limit, so put a verdict in the next rule.
    pub log: Option<Log>,
    /// What then happens. `None` continues with the next rule.
    pub finish: Option<Finish>,
    /// For people: the policies that the rule comes from.
    pub comment: Option<Comment>,
}

/// A condition on a packet.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Match {
    /// `ct state established,related`.
    CtState(CtStates),
    /// `ct status dnat`: connection tracking gave the flow another destination, as a
    /// Service does (IPS_DST_NAT, include/uapi/linux/netfilter/nf_conntrack_common.h;
    /// set by `nf_nat_setup_info`, net/netfilter/nf_nat_core.c, 6.18, only if the
    /// destination differs).
    CtTranslated,
    /// `fib saddr type local`: the source is an address of the host itself (RTN_LOCAL,
    /// include/uapi/linux/rtnetlink.h; `nft_fib4_eval_type`, net/ipv4/netfilter/nft_fib_ipv4.c,
    /// 6.18). On the output hook: the host speaks for itself.
    SourceIsLocal,
    /// `meta pkttype != host`: the frame is broadcast or multicast.
    NotToHost,
    /// `meta nfproto ipv4`; in a `bridge` table `meta protocol ip`, which sees through
    /// one VLAN tag.
    Family(Family),
    /// `ip6 hoplimit ...`: only IPv6 packets have this field.
    HopLimit(u8),
    /// `meta l4proto tcp`: any port of it.
    Protocol(u8),
    /// `tcp flags != syn / fin,syn,rst,ack`: a TCP packet that opens no flow.
    NotOpening,
    /// `ip saddr ...`.
    Address(Field, AddressTest),
    /// `tcp dport ...`.
    Port(Transport, PortRange),
    /// `meta l4proto . th dport @set` of a [`crate::SetType::ProtocolPort`]: the
    /// packet's protocol and destination port.
    Ports(Name),
    /// `udp sport ...`.
    SourcePort(Transport, u16),
    /// `ip daddr . tcp dport @set` of an [`crate::SetType::AddressPort`].
    AddressPort(Field, Family, Transport, Name),
    /// `ip saddr . ip daddr @set` of an [`crate::SetType::AddressPair`].
    AddressPair(Family, Name),
    /// `ip saddr . ct original ip saddr @set` of an [`crate::SetType::AddressPair`]: the
    /// packet comes from an address, and a side of the flow that it belongs to or is
    /// about from one that the set pairs with it. Holds for no packet that is not
    /// tracked.
    FlowSource(FlowSide, Family, Name),
    /// `ct original ip saddr @set` of an [`crate::SetType::Address`]: who opened the flow
    /// that the packet belongs to, as it was before any translation. Holds for no packet
    /// that is not tracked.
    FlowOpener(Family, Name),
    /// `icmpv6 type @set` of an [`crate::SetType::Icmpv6Type`].
    Icmpv6Type(Name),
    /// `iif . ether saddr . ip saddr @set` or parts of it; the set is of
    /// [`KeyFields::set_type`].
    Key(KeyFields, Name),
    /// `ether type ip`: an untagged frame of this type. In a `bridge` table.
    EtherType(EtherType),
    /// A frame with a VLAN tag of id 0, which receivers ignore (IEEE 802.1Q-2018, 9.6,
    /// "priority-tagged"). In a `bridge` table.
    PriorityTag(TagType),
    /// `meta l4proto != icmp`. Does not hold for a packet without a protocol, as ARP.
    NotProtocol(u8),
    /// `icmp type redirect`: ICMP of IPv4.
    IcmpType(u8),
    /// `meta l4proto sctp @th,96,8 != 1`: an SCTP packet whose first chunk is no INIT
    /// (RFC 9260, 3: the type is the first byte after the common header of 12), so it
    /// opens no flow.
    NotInit,
}

/// The connection tracking states that rules can ask for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CtStates {
    /// The flow has been seen in both directions.
    pub established: bool,
    /// The packet belongs to a known flow's helper or is its ICMP error.
    pub related: bool,
}

/// Which address of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Field {
    /// `saddr`.
    Source,
    /// `daddr`.
    Destination,
}

/// A side of a flow that connection tracking knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FlowSide {
    /// Who opened the flow, as it was before any translation of its source.
    Original,
    /// Who answers, as it was after any translation of the destination.
    Reply,
}

/// What an address is compared with.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AddressTest {
    /// In this range; a single address is a range, too.
    In(AddressRange),
    /// In this set, an [`crate::SetType::Address`] or
    /// [`crate::SetType::AddressRange`] of this family.
    Set(Family, Name),
}

/// A protocol with ports: all have them at the same place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Transport {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
}

/// Flags of a TCP header, a bit each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TcpFlags(pub u8);

/// Ports from the first to the second, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PortRange(pub u16, pub u16);

/// `update @set { ip saddr counter limit rate N/second } log prefix "..." group G`.
///
/// The set's elements count all packets that reach the rule, also those beyond the limit
/// (`nft_set_elem_expr_eval` of Linux 6.18 evaluates an element's expressions in order until
/// one breaks). Each packet renews the element's timeout (`update`, nft(8), "SET STATEMENT"),
/// so a count lives until its address was quiet for that long.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Log {
    /// Which address the limit counts for.
    pub field: Field,
    /// The family of the set.
    pub family: Family,
    /// A [`crate::SetType::RateLimit`].
    pub set: Name,
    /// Messages per second and address, with a burst of
    /// [`Log::BURST_PACKETS`].
    pub per_second: u32,
    /// Before each message.
    pub prefix: LogPrefix,
    /// NFLOG group.
    pub group: u16,
}

/// The end of a rule.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Finish {
    /// An immediate verdict.
    Verdict(Verdict),
    /// `ip saddr vmap @map`. Continues with the next rule if nothing is found.
    Dispatch(Field, Family, Name),
}

/// A verdict.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verdict {
    /// Ends this hook's table; other tables may still drop.
    Accept,
    /// Ends the packet.
    Drop,
    /// Back to the caller; after `goto`, to the caller of that chain.
    Return,
    /// Goes to a chain and comes back.
    Jump(Name),
    /// Goes to a chain and does not come back here.
    Goto(Name),
}

impl Match {
    /// The set that the match asks.
    pub fn lookup(&self) -> Option<&Name> {
        match self {
            Match::Address(_, AddressTest::Set(_, name))
            | Match::Ports(name)
            | Match::AddressPort(_, _, _, name)
            | Match::AddressPair(_, name)
            | Match::FlowSource(_, _, name)
            | Match::FlowOpener(_, name)
            | Match::Icmpv6Type(name)
            | Match::Key(_, name) => Some(name),
            Match::CtState(_)
            | Match::CtTranslated
            | Match::SourceIsLocal
            | Match::NotToHost
            | Match::Family(_)
            | Match::HopLimit(_)
            | Match::Protocol(_)
            | Match::NotOpening
            | Match::Address(_, AddressTest::In(_))
            | Match::Port(..)
            | Match::SourcePort(..)
            | Match::EtherType(_)
            | Match::PriorityTag(_)
            | Match::NotProtocol(_)
            | Match::IcmpType(_)
            | Match::NotInit => None,
        }
    }
}

impl Rule {
    /// A rule of these matches and this verdict.
    pub fn new(matches: impl IntoIterator<Item = Match>, verdict: Verdict) -> Self {
        Self {
            matches: matches.into_iter().collect(),
            log: None,
            finish: Some(Finish::Verdict(verdict)),
            comment: None,
        }
    }

    /// The sets and maps that the rule uses.
    pub fn lookups(&self) -> impl Iterator<Item = &Name> {
        let matches = self.matches.iter().filter_map(Match::lookup);
        let map = match &self.finish {
            Some(Finish::Dispatch(_, _, map)) => Some(map),
            _ => None,
        };
        matches.chain(self.log.as_ref().map(|log| &log.set)).chain(map)
    }

    /// The chain that the rule jumps or goes to.
    pub fn target(&self) -> Option<&Name> {
        match &self.finish {
            Some(Finish::Verdict(Verdict::Jump(to) | Verdict::Goto(to))) => Some(to),
            _ => None,
        }
    }

    /// Whether the rule lets a packet pass.
    pub fn allows(&self) -> bool {
        matches!(self.finish, Some(Finish::Verdict(Verdict::Accept | Verdict::Return)))
    }

    /// The same rule with a comment.
    #[must_use]
    pub fn commented(mut self, text: &str) -> Self {
        self.comment = Some(Comment::new(text));
        self
    }
}

impl Match {
    /// The type of SCTP's chunk INIT (RFC 9260, 3.2).
    pub const SCTP_INIT: u8 = 1;
    /// The number of ICMP in the IPv4 header (IANA protocol numbers).
    pub const ICMP: u8 = 1;
    /// The number of ICMPv6 in the IPv6 header.
    pub const ICMPV6: u8 = 58;
}

impl FlowSide {
    /// Both.
    pub const BOTH: [Self; 2] = [Self::Original, Self::Reply];

    /// nft's word.
    pub const fn keyword(self) -> &'static str {
        match self {
            Self::Original => "original",
            Self::Reply => "reply",
        }
    }
}

impl Field {
    /// The address of a packet that this names.
    pub fn of(self, source: IpAddr, destination: IpAddr) -> IpAddr {
        match self {
            Self::Source => source,
            Self::Destination => destination,
        }
    }
}

impl Log {
    /// How many messages of one address may come at once: nft's default.
    pub const BURST_PACKETS: u32 = 5;
}

impl AddressTest {
    /// The family that the test implies.
    pub fn family(&self) -> Family {
        match self {
            Self::In(range) => range.family(),
            Self::Set(family, _) => *family,
        }
    }
}

/// RFC 9293, 3.1.
impl TcpFlags {
    /// The sender has no more data.
    pub const FIN: Self = Self(1 << 0);
    /// The sender opens a flow.
    pub const SYN: Self = Self(1 << 1);
    /// The flow is aborted.
    pub const RST: Self = Self(1 << 2);
    /// The sender has received something.
    pub const ACK: Self = Self(1 << 4);
    /// Those that tell an opening packet from all others. A SYN may have the
    /// flags of congestion notification, too (RFC 3168, 6.1.1).
    pub const OPENING_MASK: Self = Self(Self::FIN.0 | Self::SYN.0 | Self::RST.0 | Self::ACK.0);

    /// Whether a packet with these flags opens a flow.
    pub const fn open(self) -> bool {
        self.0 & Self::OPENING_MASK.0 == Self::SYN.0
    }
}

impl Transport {
    /// All three.
    pub const ALL: [Self; 3] = [Self::Tcp, Self::Udp, Self::Sctp];

    /// The number in the IP header (IANA protocol numbers).
    pub const fn number(self) -> u8 {
        match self {
            Self::Tcp => 6,
            Self::Udp => 17,
            Self::Sctp => 132,
        }
    }

    /// nft's word.
    pub const fn keyword(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Sctp => "sctp",
        }
    }
}
