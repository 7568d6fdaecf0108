//! Sets and maps from the kernel's objects.
//!
//! In: set objects and their elements. Out: our sets and maps, or why they
//! cannot be expressed. Never: elements that packets add to sets.

use std::net::IpAddr;

use ruleset::{Comment, Family, KeyAddressType, KeyShape, Name, SetType, Store};

use crate::datatype::{self, Key, KeyType};
use crate::ffi::{self, Ref};
use crate::userdata;
use crate::write::set::{VERDICT_DATA, flags};

/// The kind and type of a set object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// A set of ours.
    Set(SetType, Option<Comment>),
    /// A verdict map of ours.
    Map(Family, Option<Comment>),
}

/// The types of sets without a field of their own to choose, but those added later.
const SET_TYPES: [SetType; 11] = [
    SetType::Address(Family::V4),
    SetType::Address(Family::V6),
    SetType::AddressRange(Family::V4),
    SetType::AddressRange(Family::V6),
    SetType::AddressPort(Family::V4),
    SetType::AddressPort(Family::V6),
    SetType::AddressPair(Family::V4),
    SetType::AddressPair(Family::V6),
    SetType::Icmpv6Type,
    SetType::RateLimit(Family::V4),
    SetType::RateLimit(Family::V6),
];

/// Every type of set.
pub(crate) fn set_types() -> impl Iterator<Item = SetType> {
    let keys = key_shapes().map(SetType::Key);
    let stores = Store::ALL.into_iter().map(SetType::Store);
    SET_TYPES.into_iter().chain(keys).chain([SetType::ProtocolPort]).chain(stores)
}

/// Every shape of key, but an IPv4 or IPv6 address alone.
fn key_shapes() -> impl Iterator<Item = KeyShape> {
    const ADDRESSES: [Option<KeyAddressType>; 4] =
        [None, Some(KeyAddressType::V4), Some(KeyAddressType::V6), Some(KeyAddressType::Target)];
    let parts = [(true, true), (true, false), (false, true), (false, false)];
    let all = parts
        .into_iter()
        .flat_map(|(interface, mac)| ADDRESSES.map(|address| KeyShape { interface, mac, address }));
    all.filter(|shape| {
        let KeyShape { interface, mac, address } = shape;
        *interface || *mac || *address == Some(KeyAddressType::Target)
    })
}

/// Flags that do not change the meaning of a set. NFT_SET_CONSTANT is written by
/// nft. NFT_SET_CONCAT marks a concatenation, which the key type shows as well.
const SILENT_FLAGS: u32 = libc::NFT_SET_CONSTANT as u32 | NFT_SET_CONCAT;
/// Of `enum nft_set_flags` (include/uapi/linux/netfilter/nf_tables.h).
const NFT_SET_CONCAT: u32 = 0x80;

/// Reads the kind and type of a set.
pub(crate) fn shape(set: &Ref<'_, ffi::Set>) -> Result<Shape, String> {
    let found_flags = set.number(&ffi::Set::FLAGS).unwrap_or(0);
    let constant = found_flags & libc::NFT_SET_CONSTANT as u32 != 0;
    let found_flags = found_flags & !SILENT_FLAGS;
    let key = KeyType {
        number: set.number(&ffi::Set::KEY_TYPE).unwrap_or(0),
        length: set.number(&ffi::Set::KEY_LEN).unwrap_or(0),
    };
    let comment = userdata::comment(set.bytes(&ffi::Set::USERDATA), userdata::SET_COMMENT);
    if set.has_expressions() {
        return Err("its elements carry statements".to_owned());
    }
    let size = set.number(&ffi::Set::SIZE).filter(|_| !constant); // nft states the size of constant sets
    let timeout = set.number(&ffi::Set::TIMEOUT);
    if found_flags == libc::NFT_SET_MAP as u32 {
        let family = Family::BOTH.into_iter().find(|family| KeyType::address(*family) == key);
        let family = family.ok_or_else(|| format!("a map from keys of type {}", key.number))?;
        return if set.number(&ffi::Set::DATA_TYPE) != Some(VERDICT_DATA) {
            Err("a map to something other than verdicts".to_owned())
        } else if size.is_some() || timeout.is_some() {
            Err("a map with a size or timeout".to_owned())
        } else {
            Ok(Shape::Map(family, comment))
        };
    }
    let set_type = set_types()
        .find(|set_type| KeyType::of(*set_type) == key && flags(*set_type) == found_flags)
        .ok_or_else(|| format!("a set of type {} with flags {found_flags:#x}", key.number))?;
    let bounds = match set_type {
        SetType::RateLimit(_) => (
            Some(SetType::RATE_LIMIT_SIZE),
            Some(u64::from(SetType::RATE_LIMIT_TIMEOUT_SECONDS) * 1000),
        ),
        _ => (None, None),
    };
    if (size, timeout.map(rounded)) == bounds {
        Ok(Shape::Set(set_type, comment))
    } else {
        Err("a set with another size or timeout".to_owned())
    }
}

/// Rounds to seconds: the kernel stores timeouts in ticks of up to 10 ms (HZ=100).
const fn rounded(milliseconds: u64) -> u64 {
    const SECOND: u64 = 1000;
    (milliseconds + SECOND / 2) / SECOND * SECOND
}

/// The key of a set's element. `None` if the element has more than a key.
pub(crate) fn key(element: &Ref<'_, ffi::Element>) -> Option<Key> {
    let flags = element.number(&ffi::Element::FLAGS).unwrap_or(0);
    let ends_range = flags == libc::NFT_SET_ELEM_INTERVAL_END as u32;
    if (flags != 0 && !ends_range) || element.has_expressions() {
        return None;
    }
    Some(Key { bytes: element.bytes(&ffi::Element::KEY)?.to_vec(), ends_range })
}

/// The entry of a map's element. `None` if it is not `address : goto chain`.
pub(crate) fn entry(family: Family, element: &Ref<'_, ffi::Element>) -> Option<(IpAddr, Name)> {
    let key = key(element).filter(|key| !key.ends_range)?;
    let code = element.number(&ffi::Element::VERDICT)?.cast_signed();
    let chain = element.text(&ffi::Element::CHAIN)?.to_str().ok()?;
    let address = datatype::address(family, &key.bytes)?;
    (code == libc::NFT_GOTO).then_some((address, Name::new(chain).ok()?))
}
