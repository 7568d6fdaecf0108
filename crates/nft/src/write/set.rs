//! Sets, maps and their elements as the kernel's objects.
//!
//! In: names, types, elements. Out: objects, with elements in pieces that fit a
//! message each. Never: the order of operations.

mod key_typeof;

use std::net::IpAddr;

use ruleset::{Comment, Element, Family, KeyShape, Name, SetType, Tag};

use super::rule::c_string;
use crate::datatype::{self, Key, KeyType};
use crate::ffi::{self, LARGEST_BODY, Object};
use crate::userdata::{self, Userdata};

/// NFT_DATA_VERDICT: the data type of verdict maps.
pub(crate) const VERDICT_DATA: u32 = 0xffff_ff00;
/// `sizeof(struct nft_verdict)` of a 64-bit kernel, as nft states it. The kernel
/// uses its own value.
const VERDICT_BYTES: u32 = 16;

/// The NFT_SET_* flags of a set type.
pub(crate) const fn flags(set_type: SetType) -> u32 {
    let flags = match set_type {
        SetType::AddressRange(_) => libc::NFT_SET_INTERVAL,
        SetType::RateLimit(_) => libc::NFT_SET_EVAL | libc::NFT_SET_TIMEOUT,
        SetType::Address(_)
        | SetType::AddressPort(_)
        | SetType::AddressPair(_)
        | SetType::ProtocolPort
        | SetType::Icmpv6Type
        | SetType::Key(_)
        | SetType::Store(_) => 0,
    };
    flags as u32
}

/// A set. `id` must be unique in the batch.
pub(crate) fn set(
    table: &Name,
    name: &Name,
    set_type: SetType,
    comment: Option<&Comment>,
    id: u32,
) -> Object<ffi::Set> {
    let mut object = named(table, name);
    object.number(&ffi::Set::ID, id).number(&ffi::Set::FLAGS, flags(set_type));
    key_type(&mut object, KeyType::of(set_type));
    if let SetType::RateLimit(_) = set_type {
        object.number(&ffi::Set::SIZE, SetType::RATE_LIMIT_SIZE);
        let milliseconds = u64::from(SetType::RATE_LIMIT_TIMEOUT_SECONDS) * 1000;
        object.number(&ffi::Set::TIMEOUT, milliseconds);
    }
    let mut data = Userdata::default().number(userdata::SET_KEY_BYTE_ORDER, byte_order(set_type));
    match set_type {
        SetType::Key(shape) => data = key_typeof::add(data, shape),
        SetType::Store(store) => data = key_typeof::add_store(data, store),
        _ => {}
    }
    let data = data.comment(userdata::SET_COMMENT, comment);
    object.bytes(&ffi::Set::USERDATA, data.bytes().unwrap_or_default());
    object
}

const fn byte_order(set_type: SetType) -> u32 {
    match set_type {
        SetType::AddressPort(_)
        | SetType::AddressPair(_)
        | SetType::ProtocolPort
        | SetType::Store(_) => userdata::BYTE_ORDER_INVALID,
        SetType::Address(_)
        | SetType::AddressRange(_)
        | SetType::RateLimit(_)
        | SetType::Icmpv6Type => userdata::BYTE_ORDER_BIG_ENDIAN,
        SetType::Key(KeyShape { interface: true, mac: false, address: None }) => {
            userdata::BYTE_ORDER_HOST_ENDIAN
        }
        SetType::Key(KeyShape { interface: false, mac: true, address: None })
        | SetType::Key(KeyShape { interface: false, mac: false, address: _ }) => {
            userdata::BYTE_ORDER_BIG_ENDIAN
        }
        SetType::Key(_) => userdata::BYTE_ORDER_INVALID,
    }
}

/// A verdict map. `id` must be unique in the batch.
pub(crate) fn map(
    table: &Name,
    name: &Name,
    family: Family,
    comment: Option<&Comment>,
    id: u32,
) -> Object<ffi::Set> {
    let mut object = named(table, name);
    object.number(&ffi::Set::ID, id).number(&ffi::Set::FLAGS, libc::NFT_SET_MAP as u32);
    key_type(&mut object, KeyType::address(family));
    object.number(&ffi::Set::DATA_TYPE, VERDICT_DATA);
    object.number(&ffi::Set::DATA_LEN, VERDICT_BYTES);
    let data = Userdata::default()
        .number(userdata::SET_KEY_BYTE_ORDER, userdata::BYTE_ORDER_BIG_ENDIAN)
        .number(userdata::SET_DATA_BYTE_ORDER, userdata::BYTE_ORDER_INVALID)
        .number(userdata::SET_DATA_INTERVAL, 0)
        .comment(userdata::SET_COMMENT, comment);
    object.bytes(&ffi::Set::USERDATA, data.bytes().unwrap_or_default());
    object
}

/// A set or map with only its name and table.
pub(crate) fn named(table: &Name, name: &Name) -> Object<ffi::Set> {
    let mut object = Object::new();
    object.text(&ffi::Set::TABLE, &c_string(table.as_str()));
    object.text(&ffi::Set::NAME, &c_string(name.as_str()));
    object
}

fn key_type(object: &mut Object<ffi::Set>, key: KeyType) {
    object.number(&ffi::Set::KEY_TYPE, key.number).number(&ffi::Set::KEY_LEN, key.length);
}

/// Elements of a set, in pieces.
pub(crate) fn elements(table: &Name, name: &Name, elements: &[Element]) -> Vec<Object<ffi::Set>> {
    pieces(table, name, elements.iter().flat_map(datatype::keys).map(|key| element(&key)))
}

/// Entries of a map, in pieces.
pub(crate) fn entries(
    table: &Name,
    name: &Name,
    entries: &[(IpAddr, Name)],
) -> Vec<Object<ffi::Set>> {
    let objects = entries.iter().map(|(address, chain)| {
        let mut object = element(&address_key(*address));
        object.number(&ffi::Element::VERDICT, libc::NFT_GOTO.cast_unsigned());
        object.text(&ffi::Element::CHAIN, &c_string(chain.as_str()));
        object
    });
    pieces(table, name, objects)
}

/// Keys of a map, in pieces.
pub(crate) fn keys(table: &Name, name: &Name, addresses: &[IpAddr]) -> Vec<Object<ffi::Set>> {
    pieces(table, name, addresses.iter().map(|address| element(&address_key(*address))))
}

fn address_key(address: IpAddr) -> Key {
    Key { bytes: datatype::address_bytes(address), ends_range: false }
}

/// An element of a stored set.
pub(crate) fn stored(tag: Tag, one: &Element) -> Object<ffi::Element> {
    element(&datatype::stored_key(tag, one))
}

fn element(key: &Key) -> Object<ffi::Element> {
    let mut object = Object::new();
    object.bytes(&ffi::Element::KEY, &key.bytes);
    if key.ends_range {
        object.number(&ffi::Element::FLAGS, libc::NFT_SET_ELEM_INTERVAL_END as u32);
    }
    object
}

/// Whether another element may not fit the object's message.
pub(crate) fn is_full(piece: &Object<ffi::Set>) -> bool {
    /// More than the largest element: key, verdict and a name of 255 bytes.
    const LARGEST_ELEMENT: usize = 512;
    piece.size() > LARGEST_BODY - LARGEST_ELEMENT
}

/// Fills set objects with elements, as many as fit a message. A range and its end
/// may be in different objects, because the kernel sees the batch as a whole.
fn pieces(
    table: &Name,
    name: &Name,
    elements: impl Iterator<Item = Object<ffi::Element>>,
) -> Vec<Object<ffi::Set>> {
    let mut full = Vec::new();
    let mut current: Option<Object<ffi::Set>> = None;
    for element in elements {
        let piece = current.get_or_insert_with(|| named(table, name));
        piece.push(element);
        if is_full(piece) {
            full.extend(current.take());
        }
    }
    full.extend(current);
    full
}
