//! Safe wrappers of libnftnl's objects: no use of them can corrupt memory.
//!
//! In: typed attributes. Out: netlink messages, and objects parsed from them.
//! Never: a pointer outside of this module, or an attribute of unknown C type.
//!
//! The safety rests on these facts about libnftnl 1.2.4's source:
//! - Setters copy their argument. They copy the size of the attribute's C type
//!   for numbers, up to the closing NUL for strings, and the given length for
//!   byte strings. Each [`object::Key`] therefore carries its attribute's type.
//!   Byte strings that are stored in an array of the object carry that array's
//!   length.
//! - Getters return `NULL` or a pointer into the object, which stays valid until
//!   the object changes.
//! - Parsers check each attribute's length. On a wrong one they end the process
//!   (`abi_breakage`). No kernel sends such attributes.
//! - Writers do not know the size of the buffer. Each [`Object`] therefore keeps
//!   an upper bound of its size, which [`Messages`] checks.

mod kinds;
mod lists;
mod message;
mod object;

pub(crate) use kinds::*;
pub(crate) use message::{Body, LARGEST_BODY, Listed, Messages, TooLong, parse, parse_elements};
pub(crate) use object::{Object, Ref};

#[cfg(test)]
mod tests;
