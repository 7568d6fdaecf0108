//! Which type of the API accepts more than one shape of value.

use std::fmt::{self, Write};

use serde::de::Visitor;

/// A type that asks serde for "any" value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Any {
    IntOrString,
    Quantity,
    /// Any JSON, such as `fieldsV1`.
    FreeForm,
}

impl Any {
    /// The type, recognised by what its visitor says that it expects.
    pub(super) fn expected<'de, V: Visitor<'de>>(visitor: &V) -> Self {
        let mut start = Start::default();
        // A longer text fails, and is none of ours.
        match write!(start, "{}", Expected(visitor)).map(|()| start.text()) {
            Ok(b"IntOrString") => Self::IntOrString,
            Ok(b"Quantity") => Self::Quantity,
            Ok(_) | Err(fmt::Error) => Self::FreeForm,
        }
    }
}

/// The visitor's description of what it expects.
struct Expected<'a, V>(&'a V);

impl<'de, V: Visitor<'de>> fmt::Display for Expected<'_, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.expecting(f)
    }
}

/// A short text, without an allocation.
#[derive(Default)]
struct Start {
    bytes: [u8; 16],
    length: usize,
}

impl Start {
    fn text(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

impl Write for Start {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let end = self.length + text.len();
        self.bytes.get_mut(self.length..end).ok_or(fmt::Error)?.copy_from_slice(text.as_bytes());
        self.length = end;
        Ok(())
    }
}
