//! Conditions of more than one load and one comparison.
//!
//! In: what a match compares. Out: expressions. Never: what the match implies, which
//! stands before them.

use ruleset::{
    AddressRange, CtStates, Family, Field, KeyAddress, KeyFields, Name, PortRange, TagPiece,
};

use super::{ESTABLISHED, RELATED, Writer};
use crate::datatype::address_bytes;
use crate::expression::{AT_LEAST, AT_MOST, EQUAL, Expression, NOT_EQUAL};
use crate::packet::Part;
use crate::register::Register;

impl Writer {
    pub(super) fn ct_state(&mut self, states: CtStates) {
        let established = if states.established { ESTABLISHED } else { 0 };
        let related = if states.related { RELATED } else { 0 };
        self.load(Part::CtState);
        self.has_bit_of(established | related);
    }

    /// Tests that the register, in host order, has one of these bits.
    pub(super) fn has_bit_of(&mut self, bits: u32) {
        self.mask(bits.to_ne_bytes().to_vec());
        self.compare(NOT_EQUAL, vec![0; size_of::<u32>()]);
    }

    /// The first of these that fits: one address, a prefix of whole bytes, a
    /// prefix by mask, both ends of the range.
    pub(super) fn address(&mut self, field: Field, range: &AddressRange) {
        let family = range.family();
        let whole = Part::address(family, field);
        let first = address_bytes(range.first());
        match range.prefix_len() {
            Some(length) if length == family.bits() => {
                self.load(whole);
                self.compare(EQUAL, first);
            }
            Some(length) if length > 0 && length.is_multiple_of(8) => {
                let bytes = length / 8;
                self.load(Part::Address(family, field, bytes));
                self.compare(EQUAL, first.into_iter().take(bytes as usize).collect());
            }
            Some(length) => {
                self.load(whole);
                self.mask(prefix_mask(family, length));
                self.compare(EQUAL, first);
            }
            None => {
                self.load(whole);
                self.compare(AT_LEAST, first);
                self.compare(AT_MOST, address_bytes(range.last()));
            }
        }
    }

    pub(super) fn port(&mut self, PortRange(first, last): PortRange) {
        self.load(Part::Port);
        if first == last {
            return self.compare(EQUAL, first.to_be_bytes().to_vec());
        }
        self.compare(AT_LEAST, first.to_be_bytes().to_vec());
        self.compare(AT_MOST, last.to_be_bytes().to_vec());
    }

    /// Loads the parts into registers in a row and looks them up. The tag of a stored
    /// set comes first.
    pub(super) fn is_in(&mut self, parts: impl IntoIterator<Item = Part>, set: &Name) {
        let mut register = Register::FIRST;
        let mut name = set.as_str();
        if let Some((store, tag)) = set.stored() {
            for TagPiece { bytes, number } in tag.pieces(store) {
                let number = number.to_be_bytes().into_iter();
                let value = number.skip(size_of::<u64>() - bytes as usize).collect();
                self.expressions.push(Part::Replaced(bytes).load(register));
                self.expressions.push(Expression::replace(register, value));
                register = register.after(bytes);
            }
            name = store.name();
        }
        for part in parts {
            self.expressions.push(part.load(register));
            register = register.after(part.bytes());
        }
        self.look_up(name, false);
    }
}

/// The parts of a packet that make a key, in order.
pub(crate) fn key_parts(fields: KeyFields) -> impl Iterator<Item = Part> {
    let address = fields.address.map(|address| match address {
        KeyAddress::Source(family) => Part::address(family, Field::Source),
        KeyAddress::Destination(family) => Part::address(family, Field::Destination),
        KeyAddress::ArpSender => Part::ArpSender,
        KeyAddress::Target => Part::Target,
    });
    let parts = [fields.interface.map(Part::Interface), fields.mac.map(Part::Mac), address];
    parts.into_iter().flatten()
}

/// The mask of a prefix length.
pub(crate) fn prefix_mask(family: Family, length: u32) -> Vec<u8> {
    let bytes = 0..family.bits() / 8;
    bytes
        .map(|byte| 0xff_u8.checked_shl(8 - length.saturating_sub(byte * 8).min(8)).unwrap_or(0))
        .collect()
}
