//! The contents of the registers at one point of a rule.

use std::collections::BTreeMap;

use crate::packet::Part;
use crate::read::unreadable::Unreadable;
use crate::register::Register;

/// What a register holds: a part of the packet, possibly masked or replaced.
#[derive(Clone, Debug)]
pub(super) struct Content {
    pub(super) part: Part,
    pub(super) mask: Option<Vec<u8>>,
    /// Instead of the part.
    pub(super) tag_piece: Option<Vec<u8>>,
}

impl Content {
    /// A part as it is in the packet.
    pub(super) const fn of(part: Part) -> Self {
        Self { part, mask: None, tag_piece: None }
    }
}

/// All registers that are not empty.
pub(super) struct Registers(BTreeMap<Register, Content>);

impl Registers {
    /// All registers are empty.
    pub(super) const EMPTY: Self = Self(BTreeMap::new());

    /// Stores a part. It replaces what it overlaps.
    pub(super) fn store(&mut self, into: Register, content: Content) {
        let end = into.after(content.part.bytes());
        self.0.retain(|register, old| *register >= end || register.after(old.part.bytes()) <= into);
        self.0.insert(into, content);
    }

    pub(super) fn content(&self, register: Register) -> Result<Content, Unreadable> {
        self.0.get(&register).cloned().ok_or_else(|| "an empty register".to_owned())
    }

    /// The part that a register holds, unmasked.
    pub(super) fn whole(&self, register: Register) -> Result<Part, Unreadable> {
        match self.content(register)? {
            Content { part, mask: None, tag_piece: None } => Ok(part),
            Content { part, .. } => Err(format!("a changed {part:?} in a set")),
        }
    }
}
