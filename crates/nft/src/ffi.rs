//! libnftnl's objects, held so that no use of them can break memory.
//!
//! In: typed attributes. Out: netlink messages, and objects read from them.
//! Never: a pointer, or an attribute whose C type is not known, outside of
//! this folder.
//!
//! What the safety rests on, from libnftnl 1.2.4's source:
//! - Setters copy what they are given: as many bytes as the attribute's C type
//!   has for numbers, up to the closing NUL for strings, the given length for
//!   byte strings. So each [`object::Key`] carries its attribute's type, and byte
//!   strings that land in an array of the object carry that array's length.
//! - Getters give `NULL` or a pointer into the object, valid until it changes.
//! - Readers check each attribute's length; where it is wrong, they end the
//!   process (`abi_breakage`). No kernel sends such.
//! - Writers do not know the size of the buffer. So each [`Object`] keeps an
//!   upper bound of its size, which [`Messages`] checks.

mod kinds;
mod lists;
mod message;
mod object;

pub(crate) use kinds::*;
pub(crate) use message::{Body, LARGEST_BODY, Listed, Messages, TooLong, parse, parse_elements};
pub(crate) use object::{Object, Ref};

#[cfg(test)]
mod tests;
