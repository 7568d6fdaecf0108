//! Keys of interface, MAC and address as bytes.
//!
//! In: a [`Key`], or a [`KeyShape`] and bytes. Out: the other one.
//! Never: bytes that the key does not give again.

use std::net::IpAddr;

use ruleset::{Key, KeyAddressType, KeyShape};

use super::{FIELD_UNIT, address_bytes, concatenated};

/// The bytes of a key. The interface is in host order. A field that is alone has
/// no padding.
pub(super) fn bytes(key: &Key) -> Vec<u8> {
    let interface = key.interface.map(u32::to_ne_bytes);
    let address = key.address.map(address_bytes);
    let fields = [
        interface.as_ref().map(<[u8; 4]>::as_slice),
        key.mac.as_ref().map(<[u8; 6]>::as_slice),
        address.as_deref(),
    ];
    let fields: Vec<&[u8]> = fields.into_iter().flatten().collect();
    match fields.as_slice() {
        [alone] => alone.to_vec(),
        fields => concatenated(fields),
    }
}

/// The key of this shape with these bytes. `None` if there is none.
pub(super) fn key(shape: KeyShape, whole: &[u8]) -> Option<Key> {
    let mut fields = Fields(whole);
    let interface = fields.take(shape.interface)?.map(u32::from_ne_bytes);
    let mac = fields.take(shape.mac)?;
    let v4 = fields.take::<4>(shape.address == Some(KeyAddressType::V4))?.map(IpAddr::from);
    let is_wide = matches!(shape.address, Some(KeyAddressType::V6 | KeyAddressType::Target));
    let v6 = fields.take::<16>(is_wide)?.map(IpAddr::from);
    let key = Key { interface, mac, address: v4.or(v6) };
    (bytes(&key) == whole).then_some(key) // the padding is zero, and nothing is left
}

/// The fields that are still to be read.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    /// The next field with its padding, if it is wanted. The outer `None` tells
    /// that the bytes are too few.
    fn take<const N: usize>(&mut self, wanted: bool) -> Option<Option<[u8; N]>> {
        if !wanted {
            return Some(None);
        }
        let field = *self.0.first_chunk()?;
        self.0 = self.0.get(N.next_multiple_of(FIELD_UNIT)..).unwrap_or_default();
        Some(Some(field))
    }
}
