//! What a match implies, and what of it the writers must spell out.
//!
//! In: the matches of a rule. Out: the same, with those tests added that nft would
//! not put in by itself, or not as we mean them.
//! Never: a change of meaning.

use std::borrow::Cow;

use crate::{AddressTest, EtherType, Family, Match, Rule, TableFamily, Transport};

/// The matches of a rule as nft must read them. Added are:
///
/// * the family before `icmp type` and `icmpv6 type` in a `bridge` table. nft 1.0.6
///   puts in `ether type ip6` there, which a VLAN tag hides. Before `ip6 saddr` it
///   puts in `meta protocol ip6`, as we mean it for both.
/// * the protocol before `@th,96,8`, which implies nothing.
pub(crate) fn spelled_out(table: TableFamily, rule: &Rule) -> impl Iterator<Item = Cow<'_, Match>> {
    let (mut family, mut protocol) = (None, None);
    rule.matches.iter().flat_map(move |condition| {
        let added = match condition {
            Match::IcmpType(_) | Match::Icmpv6Type(_) => condition
                .family()
                .filter(|needed| table == TableFamily::Bridge && family != Some(*needed))
                .map(Match::Family),
            Match::NotInit => {
                condition.protocol().filter(|needed| protocol != Some(*needed)).map(Match::Protocol)
            }
            _ => None,
        };
        family = condition.family().or(family);
        protocol = condition.protocol().or(protocol);
        added.map(Cow::Owned).into_iter().chain([Cow::Borrowed(condition)])
    })
}

impl Match {
    /// The family of all packets that match, if they have one.
    pub const fn family(&self) -> Option<Family> {
        match self {
            Self::Family(family)
            | Self::Address(_, AddressTest::Set(family, _))
            | Self::AddressPort(_, family, ..)
            | Self::AddressPair(family, _)
            | Self::FlowSource(_, family, _)
            | Self::FlowOpener(family, _) => Some(*family),
            Self::Address(_, AddressTest::In(range)) => Some(range.family()),
            Self::HopLimit(_) | Self::Icmpv6Type(_) => Some(Family::V6),
            Self::IcmpType(_) => Some(Family::V4),
            Self::Key(fields, _) => match fields.address {
                Some(address) => address.family(),
                None => None,
            },
            Self::EtherType(EtherType::Ipv4) => Some(Family::V4),
            Self::EtherType(EtherType::Ipv6) => Some(Family::V6),
            Self::EtherType(EtherType::Arp)
            | Self::CtState(_)
            | Self::CtTranslated
            | Self::SourceIsLocal
            | Self::NotToHost
            | Self::Protocol(_)
            | Self::NotOpening
            | Self::Port(..)
            | Self::Ports(_)
            | Self::SourcePort(..)
            | Self::PriorityTag(_)
            | Self::NotProtocol(_)
            | Self::NotInit => None,
        }
    }

    /// The number in the IP header of all packets that match, if there is one.
    pub const fn protocol(&self) -> Option<u8> {
        match self {
            Self::Protocol(number) => Some(*number),
            Self::Port(transport, _)
            | Self::SourcePort(transport, _)
            | Self::AddressPort(_, _, transport, _) => Some(transport.number()),
            Self::NotOpening => Some(Transport::Tcp.number()),
            Self::NotInit => Some(Transport::Sctp.number()),
            Self::IcmpType(_) => Some(Self::ICMP),
            Self::Icmpv6Type(_) => Some(Self::ICMPV6),
            Self::CtState(_)
            | Self::CtTranslated
            | Self::SourceIsLocal
            | Self::NotToHost
            | Self::Family(_)
            | Self::HopLimit(_)
            | Self::Address(..)
            | Self::AddressPair(..)
            | Self::FlowSource(..)
            | Self::Ports(_)
            | Self::FlowOpener(..)
            | Self::Key(..)
            | Self::EtherType(_)
            | Self::PriorityTag(_)
            | Self::NotProtocol(_) => None,
        }
    }
}
