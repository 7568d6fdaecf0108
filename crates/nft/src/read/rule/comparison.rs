//! Comparisons in a rule, in every form: whole values, prefixes by length or
//! mask, and ends of ranges.
//!
//! In: a register, an operation and a value. Out: a match.
//! Never: a comparison whose meaning only resembles that of a match.

use ruleset::{
    AddressRange, AddressTest, EtherType, Family, Field, Match, PortRange, TableFamily, TagType,
    TcpFlags, Transport,
};

use super::RuleReader;
use super::value::{ct_states, prefix};
use crate::datatype::{address, address_bytes, last_address};
use crate::expression::{AT_LEAST, AT_MOST, EQUAL, NOT_EQUAL};
use crate::packet::{Part, ether_type, nfproto};
use crate::read::unreadable::Unreadable;
use crate::register::Register;
use crate::write::rule::{LOCAL, PACKET_HOST, TRANSLATED};

impl RuleReader<'_> {
    pub(super) fn compare(
        &mut self,
        register: Register,
        operation: u32,
        value: &[u8],
    ) -> Result<Match, Unreadable> {
        let content = self.registers.content(register)?;
        match (content.part, operation, content.mask) {
            (part @ (Part::Family | Part::NetworkProtocol), EQUAL, None) => {
                self.family(part, value).map(Match::Family)
            }
            (Part::EtherType, EQUAL, None) => {
                let kinds = [EtherType::Ipv4, EtherType::Ipv6, EtherType::Arp];
                let kind = kinds.into_iter().find(|kind| kind.number().to_be_bytes() == value);
                Ok(Match::EtherType(kind.ok_or("an ether type other than IPv4, IPv6 and ARP")?))
            }
            (Part::Tag, EQUAL, Some(mask)) if mask == TagType::MASK.to_be_bytes() => {
                let kinds = [TagType::Dot1q, TagType::Dot1ad];
                let kind =
                    kinds.into_iter().find(|kind| kind.priority_tagged().to_be_bytes() == value);
                Ok(Match::PriorityTag(kind.ok_or("a tag that is no priority tag")?))
            }
            (Part::Protocol, EQUAL, None) => Ok(Match::Protocol(byte(value)?)),
            (Part::Protocol, NOT_EQUAL, None) => Ok(Match::NotProtocol(byte(value)?)),
            (Part::IcmpType, EQUAL, None) => {
                self.need_family(Family::V4)?;
                self.need_protocol(Match::ICMP)?;
                Ok(Match::IcmpType(byte(value)?))
            }
            (Part::ChunkType, NOT_EQUAL, None) if value == [Match::SCTP_INIT] => {
                self.need_protocol(Transport::Sctp.number())?;
                Ok(Match::NotInit)
            }
            (Part::HopLimit, EQUAL, None) => {
                self.need_family(Family::V6)?;
                Ok(Match::HopLimit(byte(value)?))
            }
            (Part::PacketType, NOT_EQUAL, None) if value == [PACKET_HOST] => Ok(Match::NotToHost),
            (Part::CtState, NOT_EQUAL, Some(mask)) if value == 0u32.to_ne_bytes() => {
                let mask: [u8; 4] = mask.try_into().map_err(|_| "an odd mask")?;
                Ok(Match::CtState(ct_states(u32::from_ne_bytes(mask))?))
            }
            (Part::CtStatus, NOT_EQUAL, Some(mask))
                if mask == TRANSLATED.to_ne_bytes() && value == 0u32.to_ne_bytes() =>
            {
                Ok(Match::CtTranslated)
            }
            (Part::SourceType, EQUAL, None) if value == LOCAL.to_ne_bytes() => {
                Ok(Match::SourceIsLocal)
            }
            (Part::TcpFlags, NOT_EQUAL, Some(mask))
                if mask == [TcpFlags::OPENING_MASK.0] && value == [TcpFlags::SYN.0] =>
            {
                self.need_protocol(Transport::Tcp.number())?;
                Ok(Match::NotOpening)
            }
            (Part::Address(family, field, length), EQUAL, mask) => {
                let mask = mask.unwrap_or_else(|| vec![0xff; length as usize]);
                let range = prefix(family, value, &mask).ok_or("an address by an odd mask")?;
                self.address(field, range)
            }
            (Part::Address(family, ..), AT_LEAST, None) => {
                let last = address_bytes(last_address(family));
                self.between(register, value, &last)
            }
            (Part::Address(..), AT_MOST, None) => {
                self.between(register, &vec![0; value.len()], value)
            }
            (Part::SourcePort, EQUAL, None) => {
                let port = value.try_into().map_err(|_| "an odd port")?;
                Ok(Match::SourcePort(self.need_transport()?, u16::from_be_bytes(port)))
            }
            (Part::Port, EQUAL, None) => self.between(register, value, value),
            (Part::Port, AT_LEAST, None) => self.between(register, value, &[0xff, 0xff]),
            (Part::Port, AT_MOST, None) => self.between(register, &[0, 0], value),
            (part, ..) => Err(format!("unsupported comparison of {part:?}")),
        }
    }

    pub(super) fn between(
        &mut self,
        register: Register,
        first: &[u8],
        last: &[u8],
    ) -> Result<Match, Unreadable> {
        let content = self.registers.content(register)?;
        match (content.part, content.mask) {
            (Part::Address(family, field, _), None) => {
                let ends = address(family, first).zip(address(family, last));
                let range = ends.and_then(|(first, last)| AddressRange::new(first, last));
                self.address(field, range.ok_or("an odd range of addresses")?)
            }
            (Part::Port, None) => {
                let [first, last] = [first, last].map(|bytes| {
                    bytes.try_into().map(u16::from_be_bytes).map_err(|_| "an odd port")
                });
                let transport = self.need_transport()?;
                Ok(Match::Port(transport, PortRange(first?, last?)))
            }
            (part, _) => Err(format!("unsupported range of {part:?}")),
        }
    }

    /// The family of a test that tells it in tables of this family.
    fn family(&self, part: Part, value: &[u8]) -> Result<Family, Unreadable> {
        let family = Family::BOTH.into_iter().find(|family| match self.sets.family {
            TableFamily::Inet => part == Part::Family && value == [nfproto(*family)],
            TableFamily::Bridge => {
                let number = ether_type(*family).number().to_be_bytes();
                part == Part::NetworkProtocol && value == number
            }
        });
        family.ok_or_else(|| format!("{part:?} is {value:?}"))
    }

    fn address(&mut self, field: Field, range: AddressRange) -> Result<Match, Unreadable> {
        self.need_family(range.family())?;
        Ok(Match::Address(field, AddressTest::In(range)))
    }
}

fn byte(value: &[u8]) -> Result<u8, Unreadable> {
    match value {
        [byte] => Ok(*byte),
        _ => Err(format!("{value:?} instead of one byte")),
    }
}
