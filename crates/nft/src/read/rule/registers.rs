//! What a rule has loaded so far.
//!
//! In: parts of a packet and where they go. Out: what is there now.
//! Never: what was there before.

use std::collections::BTreeMap;

use crate::packet::Part;
use crate::read::unreadable::Unreadable;
use crate::register::Register;

/// What a register holds: a part of the packet, perhaps masked.
#[derive(Clone, Debug)]
pub(super) struct Content {
    pub(super) part: Part,
    pub(super) mask: Option<Vec<u8>>,
}

/// All registers that hold something.
pub(super) struct Registers(BTreeMap<Register, Content>);

impl Registers {
    /// Nothing in any.
    pub(super) const EMPTY: Self = Self(BTreeMap::new());

    /// Puts something into registers; what was there is gone.
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
            Content { part, mask: None } => Ok(part),
            Content { part, .. } => Err(format!("a masked {part:?} in a set")),
        }
    }
}
