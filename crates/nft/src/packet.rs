//! The parts of a packet that rules load into registers.
//!
//! Never: a bare offset outside of this file.

use ruleset::{Family, Field};

use crate::datatype::KeyType;
use crate::expression::Expression;
use crate::register::Register;

/// A part of a packet that our rules load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// `meta nfproto`, one byte: NFPROTO_*.
    Family,
    /// `meta l4proto`, one byte.
    Protocol,
    /// `meta pkttype`, one byte: PACKET_*.
    PacketType,
    /// `ct state`, 32 bits in host order.
    CtState,
    /// The first bytes of an address.
    Address(Family, Field, u32),
    /// The hop limit of IPv6.
    HopLimit,
    /// The destination port of TCP, UDP and SCTP.
    Port,
    /// The flags of TCP.
    TcpFlags,
    /// The type of an ICMPv6 message.
    Icmpv6Type,
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
/// TCP, UDP and SCTP alike (RFC 9293; RFC 768; RFC 9260).
const PORT_OFFSET: u32 = 2;
const PORT_BYTES: u32 = 2;
/// RFC 9293, 3.1.
const TCP_FLAGS_OFFSET: u32 = 13;
const TCP_FLAGS_BYTES: u32 = 1;
/// RFC 4443.
const ICMPV6_TYPE_OFFSET: u32 = 0;
const ICMPV6_TYPE_BYTES: u32 = 1;

const NETWORK: u32 = libc::NFT_PAYLOAD_NETWORK_HEADER as u32;
const TRANSPORT: u32 = libc::NFT_PAYLOAD_TRANSPORT_HEADER as u32;

impl Part {
    /// A whole address.
    pub(crate) const fn address(family: Family, field: Field) -> Self {
        Self::Address(family, field, KeyType::address(family).length)
    }

    /// The expression that loads the part.
    pub(crate) const fn load(self, into: Register) -> Expression {
        match self {
            Self::Family => Expression::Meta { key: libc::NFT_META_NFPROTO as u32, into },
            Self::Protocol => Expression::Meta { key: libc::NFT_META_L4PROTO as u32, into },
            Self::PacketType => Expression::Meta { key: libc::NFT_META_PKTTYPE as u32, into },
            Self::CtState => Expression::CtState { into },
            Self::Address(family, field, length) => {
                let offset = offset(family, field);
                Expression::Payload { base: NETWORK, offset, length, into }
            }
            Self::HopLimit => Expression::Payload {
                base: NETWORK,
                offset: HOP_LIMIT_OFFSET,
                length: HOP_LIMIT_BYTES,
                into,
            },
            Self::Port => Expression::Payload {
                base: TRANSPORT,
                offset: PORT_OFFSET,
                length: PORT_BYTES,
                into,
            },
            Self::TcpFlags => Expression::Payload {
                base: TRANSPORT,
                offset: TCP_FLAGS_OFFSET,
                length: TCP_FLAGS_BYTES,
                into,
            },
            Self::Icmpv6Type => Expression::Payload {
                base: TRANSPORT,
                offset: ICMPV6_TYPE_OFFSET,
                length: ICMPV6_TYPE_BYTES,
                into,
            },
        }
    }

    /// The part that an expression loads, and its register. `known` is the
    /// address family that the rule has already tested. `None` if the expression
    /// loads no part that our rules use.
    pub(crate) fn loaded(
        expression: &Expression,
        known: Option<Family>,
    ) -> Option<(Self, Register)> {
        match *expression {
            Expression::Meta { key, into } => {
                let parts = [Self::Family, Self::Protocol, Self::PacketType];
                let part = parts
                    .into_iter()
                    .find(|part| part.load(into) == Expression::Meta { key, into });
                Some((part?, into))
            }
            Expression::CtState { into } => Some((Self::CtState, into)),
            Expression::Payload {
                base: NETWORK,
                offset: HOP_LIMIT_OFFSET,
                length: HOP_LIMIT_BYTES,
                into,
            } if known == Some(Family::V6) => Some((Self::HopLimit, into)),
            Expression::Payload { base: NETWORK, offset: found, length, into } => {
                let family = known?;
                let whole = KeyType::address(family).length;
                let field = [Field::Source, Field::Destination]
                    .into_iter()
                    .find(|field| offset(family, *field) == found)?;
                (1..=whole)
                    .contains(&length)
                    .then_some((Self::Address(family, field, length), into))
            }
            Expression::Payload { base: TRANSPORT, offset, length, into } => {
                match (offset, length) {
                    (PORT_OFFSET, PORT_BYTES) => Some((Self::Port, into)),
                    (TCP_FLAGS_OFFSET, TCP_FLAGS_BYTES) => Some((Self::TcpFlags, into)),
                    (ICMPV6_TYPE_OFFSET, ICMPV6_TYPE_BYTES) => Some((Self::Icmpv6Type, into)),
                    _ => None,
                }
            }
            _ => None,
        }
    }

    /// Length in bytes.
    pub(crate) const fn bytes(self) -> u32 {
        match self {
            Self::Family | Self::Protocol | Self::PacketType => 1,
            Self::CtState => 4,
            Self::Address(_, _, length) => length,
            Self::HopLimit => HOP_LIMIT_BYTES,
            Self::Port => PORT_BYTES,
            Self::TcpFlags => TCP_FLAGS_BYTES,
            Self::Icmpv6Type => ICMPV6_TYPE_BYTES,
        }
    }
}
