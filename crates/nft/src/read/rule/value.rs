//! Parts of a rule from bytes and numbers.
//!
//! In: the values in expressions. Out: the ruleset's types, or why none fits.
//! Never: the rest of the rule.

use std::ffi::CStr;
use std::fmt::Debug;

use ruleset::{AddressRange, CtStates, Family, Field, Name, Verdict};

use crate::datatype::{KeyType, address};
use crate::packet::Part;
use crate::read::unreadable::Unreadable;
use crate::write::rule::{ESTABLISHED, RELATED, prefix_mask};

/// The value that the rule has tested, and at which match while no match depends
/// on it.
pub(super) struct Dependency<T> {
    pub(super) known: Option<T>,
    unused_at: Option<usize>,
}

impl<T: Copy + PartialEq> Dependency<T> {
    pub(super) const NONE: Self = Self { known: None, unused_at: None };

    /// Records a test for the value at this match. `false` if the value is already
    /// known.
    pub(super) fn tested(&mut self, value: T, at: usize) -> bool {
        if self.known == Some(value) {
            return false;
        }
        *self = Self { known: Some(value), unused_at: Some(at) };
        true
    }

    /// Records that a match of its own tells the value. Always a new match.
    pub(super) fn told(&mut self, value: T) -> bool {
        *self = Self { known: Some(value), unused_at: None };
        true
    }

    /// Records that a match needs the value. Returns the match to remove, if any.
    ///
    /// # Errors
    /// If the rule has not tested for the value.
    pub(super) fn need(&mut self, value: T) -> Result<Option<usize>, Unreadable>
    where
        T: Debug,
    {
        if self.known == Some(value) {
            Ok(self.unused_at.take())
        } else {
            Err(format!("no test for {value:?}"))
        }
    }
}

pub(super) fn field_of(part: Part, family: Family) -> Result<Field, Unreadable> {
    match part {
        Part::Address(found, field, length)
            if found == family && length == KeyType::address(family).length =>
        {
            Ok(field)
        }
        other => Err(format!("{other:?} instead of an address of {family:?}")),
    }
}

/// The addresses whose first bytes, after masking, are this value.
pub(super) fn prefix(family: Family, value: &[u8], mask: &[u8]) -> Option<AddressRange> {
    let whole = KeyType::address(family).length as usize;
    if value.len() != mask.len() || value.len() > whole {
        return None;
    }
    let clean = value.iter().zip(mask).all(|(value, mask)| value & !mask == 0);
    let length: u32 = mask.iter().map(|byte| byte.count_ones()).sum();
    let mut whole_mask = mask.to_vec();
    whole_mask.resize(whole, 0);
    let contiguous = whole_mask == prefix_mask(family, length);
    let mut first = value.to_vec();
    first.resize(whole, 0);
    let last: Vec<u8> = first.iter().zip(&whole_mask).map(|(byte, mask)| byte | !mask).collect();
    let range = AddressRange::new(address(family, &first)?, address(family, &last)?);
    range.filter(|_| clean && contiguous)
}

/// Whether this value is a piece of a tag, if it replaces this part.
pub(super) fn is_tag_piece(part: Part, value: &[u8]) -> bool {
    matches!(part, Part::Replaced(bytes) if bytes as usize == value.len())
}

pub(super) fn ct_states(mask: u32) -> Result<CtStates, Unreadable> {
    if mask & !(ESTABLISHED | RELATED) != 0 {
        return Err(format!("conntrack states {mask:#x}"));
    }
    Ok(CtStates { established: mask & ESTABLISHED != 0, related: mask & RELATED != 0 })
}

pub(super) fn verdict(code: i32, chain: Option<&CStr>) -> Result<Verdict, Unreadable> {
    let chain = chain.map(text).transpose()?.map(Name::new).transpose();
    let chain = chain.map_err(|error| error.to_string())?;
    match (code, chain) {
        (libc::NF_ACCEPT, None) => Ok(Verdict::Accept),
        (libc::NF_DROP, None) => Ok(Verdict::Drop),
        (libc::NFT_RETURN, None) => Ok(Verdict::Return),
        (libc::NFT_JUMP, Some(chain)) => Ok(Verdict::Jump(chain)),
        (libc::NFT_GOTO, Some(chain)) => Ok(Verdict::Goto(chain)),
        (code, _) => Err(format!("verdict {code}")),
    }
}

pub(super) fn text(text: &CStr) -> Result<&str, Unreadable> {
    text.to_str().map_err(|_| "a name that is not text".to_owned())
}
