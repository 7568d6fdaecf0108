//! Look-ups in sets.
//!
//! In: the first register of a key, and the set. Out: a match.
//! Never: a key whose fields are not those of the set, in order.

use std::ffi::CStr;

use ruleset::{
    AddressTest, Family, Field, FlowSide, KeyAddress, KeyFields, KeyShape, Match, Name, SetType,
    Tag,
};

use super::RuleReader;
use super::value::field_of;
use crate::needs::Needs;
use crate::packet::{Network, Part};
use crate::read::unreadable::Unreadable;
use crate::register::Register;

impl RuleReader<'_> {
    pub(super) fn look_up(&mut self, register: Register, set: &CStr) -> Result<Match, Unreadable> {
        let (name, set_type, register) = self.asked(set, register)?;
        let first = self.registers.whole(register)?;
        let found = match (set_type, first) {
            (SetType::Address(Family::V4), Part::ArpSender) => {
                self.need_arp()?;
                let address = Some(KeyAddress::ArpSender);
                Match::Key(KeyFields { address, ..KeyFields::NONE }, name)
            }
            (SetType::Address(family), Part::FlowSource(FlowSide::Original, of))
                if of == family =>
            {
                Match::FlowOpener(family, name)
            }
            (SetType::Address(family) | SetType::AddressRange(family), part) => {
                let field = field_of(part, family)?;
                self.need_family(family)?;
                Match::Address(field, AddressTest::Set(family, name))
            }
            (SetType::AddressPort(family), part) => {
                let field = field_of(part, family)?;
                let Part::Port = self.registers.whole(register.after(part.bytes()))? else {
                    return Err(format!("no port for set {name}"));
                };
                self.need_family(family)?;
                Match::AddressPort(field, family, self.need_transport()?, name)
            }
            (SetType::AddressPair(family), part) => {
                let source = field_of(part, family)?;
                let second = self.registers.whole(register.after(part.bytes()))?;
                let pair = match (source, second) {
                    (Field::Source, Part::FlowSource(side, of)) if of == family => {
                        Match::FlowSource(side, family, name.clone())
                    }
                    (Field::Source, part) if field_of(part, family)? == Field::Destination => {
                        Match::AddressPair(family, name.clone())
                    }
                    (Field::Source | Field::Destination, _) => {
                        return Err(format!("not source and destination for set {name}"));
                    }
                };
                self.need_family(family)?;
                pair
            }
            (SetType::ProtocolPort, Part::Protocol) => {
                let Part::Port = self.registers.whole(register.after(first.bytes()))? else {
                    return Err(format!("no port for set {name}"));
                };
                Match::Ports(name)
            }
            (SetType::Icmpv6Type, Part::IcmpType) => {
                self.need_family(Family::V6)?;
                self.need_protocol(Match::ICMPV6)?;
                Match::Icmpv6Type(name)
            }
            (SetType::Key(shape), _) => self.key(register, shape, name)?,
            (set_type, part) => return Err(format!("{part:?} in set {name} of {set_type:?}")),
        };
        Ok(found)
    }

    /// The set that is asked, its type, and where its key begins: behind the tag, if it
    /// is stored.
    fn asked(
        &self,
        set: &CStr,
        register: Register,
    ) -> Result<(Name, SetType, Register), Unreadable> {
        let name = self.name(set)?;
        let found = self.sets.sets.get(&name).filter(|_| name.stored().is_none());
        let set = found.ok_or_else(|| format!("a set that is not ours: {name}"))?;
        let SetType::Store(store) = set.set_type else { return Ok((name, set.set_type, register)) };
        let (mut tag, mut behind) = (Vec::new(), register);
        for bytes in store.tag_pieces() {
            let piece = self.registers.content(behind)?.tag_piece;
            let piece = piece.filter(|piece| piece.len() == *bytes as usize);
            tag.extend(piece.ok_or_else(|| format!("no tag for store {name}"))?);
            behind = behind.after(*bytes);
        }
        let tag = tag.try_into().map_err(|_| format!("a tag of another length for {name}"))?;
        Ok((Name::in_store(store, Tag::from_bytes(tag)), store.stores(), behind))
    }

    fn key(
        &mut self,
        register: Register,
        shape: KeyShape,
        name: Name,
    ) -> Result<Match, Unreadable> {
        let mut fields = KeyFields::NONE;
        let mut at = register;
        let mut next = |reader: &Self, wanted: bool| {
            let part = wanted.then(|| reader.registers.whole(at)).transpose()?;
            at = part.map_or(at, |part| at.after(part.bytes()));
            Ok::<_, Unreadable>(part)
        };
        if let Some(part) = next(self, shape.interface)? {
            let Part::Interface(interface) = part else { return Err(odd(part, &name)) };
            fields.interface = Some(interface);
        }
        if let Some(part) = next(self, shape.mac)? {
            let Part::Mac(mac) = part else { return Err(odd(part, &name)) };
            fields.mac = Some(mac);
        }
        if let Some(part) = next(self, shape.address.is_some())? {
            fields.address = Some(key_address(part).ok_or_else(|| odd(part, &name))?);
        }
        if fields.set_type() != SetType::Key(shape) {
            return Err(format!("a key of other types than those of set {name}"));
        }
        self.need_fields(fields)?;
        Ok(Match::Key(fields, name))
    }

    /// The rule must have tested for what the key implies.
    fn need_fields(&mut self, fields: KeyFields) -> Result<(), Unreadable> {
        let Needs { network, protocol } = Needs::of_key(fields);
        match network {
            Some(Network::Ip(family)) => self.need_family(family)?,
            Some(Network::Arp) => self.need_arp()?,
            None => {}
        }
        protocol.map_or(Ok(()), |protocol| self.need_protocol(protocol))
    }
}

fn key_address(part: Part) -> Option<KeyAddress> {
    match part {
        Part::ArpSender => Some(KeyAddress::ArpSender),
        Part::Target => Some(KeyAddress::Target),
        Part::Address(family, field, _) => field_of(part, family).ok().map(|_| match field {
            Field::Source => KeyAddress::Source(family),
            Field::Destination => KeyAddress::Destination(family),
        }),
        _ => None,
    }
}

fn odd(part: Part, set: &Name) -> Unreadable {
    format!("{part:?} in a key of set {set}")
}
