//! What a match implies.
//!
//! In: a match. Out: the network header and the protocol without which the bytes
//! that it looks at mean something else. The writer adds a test for them where the
//! rule has none. The reader takes such a test for a part of the match.
//! Never: a test of its own ([`Match::Family`], [`Match::Protocol`],
//! [`Match::EtherType`]).

use ruleset::{EtherType, Family, KeyAddress, KeyFields, MacField, Match, Transport};

use crate::packet::Network;

/// What the rule must have tested for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Needs {
    pub(crate) network: Option<Network>,
    /// The number in the IP header.
    pub(crate) protocol: Option<u8>,
}

impl Needs {
    /// What a match implies.
    pub(crate) fn of(test: &Match) -> Self {
        let ip = |family| Some(Network::Ip(family));
        match test {
            Match::Address(_, test) => Self { network: ip(test.family()), protocol: None },
            Match::AddressPair(family, _) | Match::FlowSource(_, family, _) => {
                Self { network: ip(*family), protocol: None }
            }
            Match::HopLimit(_) => Self { network: ip(Family::V6), protocol: None },
            Match::AddressPort(_, family, transport, _) => {
                Self { network: ip(*family), protocol: Some(transport.number()) }
            }
            Match::Port(transport, _) | Match::SourcePort(transport, _) => {
                Self { network: None, protocol: Some(transport.number()) }
            }
            Match::NotOpening => Self { network: None, protocol: Some(Transport::Tcp.number()) },
            Match::NotInit => Self { network: None, protocol: Some(Transport::Sctp.number()) },
            Match::IcmpType(_) => Self { network: ip(Family::V4), protocol: Some(Match::ICMP) },
            Match::Icmpv6Type(_) => Self { network: ip(Family::V6), protocol: Some(Match::ICMPV6) },
            Match::Key(fields, _) => Self::of_key(*fields),
            // Connection tracking knows the family (`nft_ct_get_eval`,
            // net/netfilter/nft_ct.c, 6.18), and nft tests for none.
            Match::FlowOpener(..)
            // The key holds the protocol.
            | Match::Ports(_)
            | Match::CtState(_)
            | Match::CtTranslated
            | Match::SourceIsLocal
            | Match::NotToHost
            | Match::Family(_)
            | Match::Protocol(_)
            | Match::EtherType(_)
            | Match::PriorityTag(_)
            | Match::NotProtocol(_) => Self::default(),
        }
    }

    /// What a key implies. One with a field of ARP has no other address.
    pub(crate) fn of_key(fields: KeyFields) -> Self {
        let by_arp = fields.mac == Some(MacField::ArpSender)
            || fields.address == Some(KeyAddress::ArpSender);
        let network = match fields.address {
            _ if by_arp => Some(Network::of(EtherType::Arp)),
            Some(KeyAddress::Target) => Some(Network::Ip(Family::V6)),
            Some(KeyAddress::Source(family) | KeyAddress::Destination(family)) => {
                Some(Network::Ip(family))
            }
            Some(KeyAddress::ArpSender) | None => None,
        };
        let is_target = fields.address == Some(KeyAddress::Target);
        Self { network, protocol: is_target.then_some(Match::ICMPV6) }
    }
}
