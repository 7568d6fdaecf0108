//! nft's data types: the numbers that the kernel stores, and keys as bytes.
//!
//! Converts [`SetType`] and [`Element`] to numbers and bytes in network order,
//! and back. Never: anything about messages.

mod binding;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ruleset::{
    AddressRange, Element, Family, KeyAddressType, KeyShape, SetType, Store, Tag, Transport,
};

/// What the kernel stores about a set's type: nft's number for it, and the
/// length of a key in bytes. In a concatenation, each field is rounded up to a
/// register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct KeyType {
    /// nft's `enum datatypes` (include/datatype.h of nftables 1.0.6). The fields
    /// of a concatenation are 6 bits apart (`TYPE_BITS`).
    pub(crate) number: u32,
    /// In bytes.
    pub(crate) length: u32,
}

const INTEGER: u32 = 4;
const IPV4_ADDR: u32 = 7;
const IPV6_ADDR: u32 = 8;
const ETHER_ADDR: u32 = 9;
const INET_PROTO: u32 = 12;
const INET_SERVICE: u32 = 13;
const IFACE_INDEX: u32 = 20;
const ICMPV6_TYPE: u32 = 29;
const TYPE_BITS: u32 = 6;

/// NFT_REG32_SIZE. The fields of a concatenation are multiples of it, in bytes.
const FIELD_UNIT: usize = 4;
const PORT_BYTES: u32 = 2;
/// `meta l4proto`.
const PROTOCOL_BYTES: u32 = 1;
/// A `u32` in host order.
pub(crate) const INTERFACE_BYTES: u32 = 4;
/// ETH_ALEN.
pub(crate) const MAC_BYTES: u32 = 6;

impl KeyType {
    /// The key type of a set.
    pub(crate) const fn of(set_type: SetType) -> Self {
        match set_type {
            SetType::Address(family)
            | SetType::AddressRange(family)
            | SetType::RateLimit(family) => Self::address(family),
            SetType::AddressPort(family) => Self::address(family).then(Self::PORT),
            SetType::AddressPair(family) => Self::address(family).then(Self::address(family)),
            SetType::Icmpv6Type => Self { number: ICMPV6_TYPE, length: 1 },
            SetType::ProtocolPort => Self::PROTOCOL.then(Self::PORT),
            SetType::Key(shape) => Self::of_shape(shape),
            SetType::Store(store) => Self::of_store(store),
        }
    }

    /// A tag, and then the fields of the stored sets' keys. nft takes each piece of a tag
    /// for a number.
    const fn of_store(store: Store) -> Self {
        let mut tag = Self { number: 0, length: 0 };
        let mut rest = store.tag_pieces();
        while let [length, behind @ ..] = rest {
            tag = tag.then(Self { number: INTEGER, length: *length });
            rest = behind;
        }
        match store {
            Store::Addresses(family) => tag.then(Self::address(family)),
            Store::AddressPorts(family) => tag.then(Self::address(family)).then(Self::PORT),
            Store::Ports => tag.then(Self::PROTOCOL).then(Self::PORT),
        }
    }

    const fn of_shape(shape: KeyShape) -> Self {
        let mut key = None;
        if shape.interface {
            key = Self::and(key, Self { number: IFACE_INDEX, length: INTERFACE_BYTES });
        }
        if shape.mac {
            key = Self::and(key, Self { number: ETHER_ADDR, length: MAC_BYTES });
        }
        if let Some(address) = shape.address {
            key = Self::and(key, Self::key_address(address));
        }
        match key {
            Some(key) => key,
            None => Self { number: 0, length: 0 }, // no key has this shape
        }
    }

    /// The type of the address in a key. nft takes a target for a number.
    pub(crate) const fn key_address(address: KeyAddressType) -> Self {
        match address {
            KeyAddressType::V4 => Self::address(Family::V4),
            KeyAddressType::V6 => Self::address(Family::V6),
            KeyAddressType::Target => {
                Self { number: INTEGER, length: Self::address(Family::V6).length }
            }
        }
    }

    const fn and(first: Option<Self>, next: Self) -> Option<Self> {
        match first {
            Some(first) => Some(first.then(next)),
            None => Some(next),
        }
    }

    const PROTOCOL: Self = Self { number: INET_PROTO, length: PROTOCOL_BYTES };
    const PORT: Self = Self { number: INET_SERVICE, length: PORT_BYTES };

    /// The key type of addresses.
    pub(crate) const fn address(family: Family) -> Self {
        match family {
            Family::V4 => Self { number: IPV4_ADDR, length: 4 },
            Family::V6 => Self { number: IPV6_ADDR, length: 16 },
        }
    }

    const fn then(self, next: Self) -> Self {
        Self {
            number: self.number << TYPE_BITS | next.number,
            length: self.length.next_multiple_of(FIELD_UNIT as u32)
                + next.length.next_multiple_of(FIELD_UNIT as u32),
        }
    }
}

/// An address as bytes.
pub(crate) fn address_bytes(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    }
}

/// The address of this family with these bytes, if their number fits.
pub(crate) fn address(family: Family, bytes: &[u8]) -> Option<IpAddr> {
    match family {
        Family::V4 => <[u8; 4]>::try_from(bytes).ok().map(|octets| Ipv4Addr::from(octets).into()),
        Family::V6 => <[u8; 16]>::try_from(bytes).ok().map(|octets| Ipv6Addr::from(octets).into()),
    }
}

/// The key of an element, or of one end of a range.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    pub(crate) bytes: Vec<u8>,
    /// NFT_SET_ELEM_INTERVAL_END: the first key after a range.
    pub(crate) ends_range: bool,
}

/// The keys of an element. A range has its first address, and the one after its
/// last address unless that is the last of all.
pub(crate) fn keys(element: &Element) -> impl Iterator<Item = Key> + use<> {
    let (first, behind) = match *element {
        Element::Address(address) => (address_bytes(address), None),
        Element::Range(range) => (address_bytes(range.first()), next(range.last())),
        Element::AddressPort(address, port) => {
            (concatenated(&[&address_bytes(address), &port.to_be_bytes()]), None)
        }
        Element::AddressPair(source, destination) => {
            (concatenated(&[&address_bytes(source), &address_bytes(destination)]), None)
        }
        Element::ProtocolPort(transport, port) => {
            (concatenated(&[&[transport.number()], &port.to_be_bytes()]), None)
        }
        Element::Icmpv6Type(number) => (vec![number], None),
        Element::Key(key) => (binding::bytes(&key), None),
    };
    let end = behind.map(|address| Key { bytes: address_bytes(address), ends_range: true });
    [Key { bytes: first, ends_range: false }].into_iter().chain(end)
}

/// The key of an element of a stored set.
pub(crate) fn stored_key(tag: Tag, element: &Element) -> Key {
    const LONGEST: usize =
        KeyType::of(SetType::Store(Store::AddressPorts(Family::V6))).length as usize;
    let mut bytes = Vec::with_capacity(LONGEST);
    bytes.extend(tag.bytes());
    match element {
        Element::Address(IpAddr::V4(address)) => bytes.extend(address.octets()),
        Element::Address(IpAddr::V6(address)) => bytes.extend(address.octets()),
        other => bytes.extend(keys(other).flat_map(|key| key.bytes)),
    }
    Key { bytes, ends_range: false }
}

/// The element of a stored set with this key, and the set's tag. `None` if the key
/// does not fit the store.
pub(crate) fn stored(store: Store, key: Key) -> Option<(Tag, Element)> {
    let (tag, rest) = key.bytes.split_first_chunk::<{ Tag::BYTES }>()?;
    let rest = Key { bytes: rest.to_vec(), ..key };
    Some((Tag::from_bytes(*tag), element(store.stores(), &rest)?))
}

/// The elements with these keys, in a set of this type. `None` if a key does not
/// fit the type.
pub(crate) fn elements(set_type: SetType, keys: Vec<Key>) -> Option<Vec<Element>> {
    match set_type {
        SetType::AddressRange(family) => ranges(family, keys),
        _ => keys.iter().map(|key| element(set_type, key)).collect(),
    }
}

fn element(set_type: SetType, key: &Key) -> Option<Element> {
    let bytes = key.bytes.as_slice();
    if key.ends_range || bytes.len() != KeyType::of(set_type).length as usize {
        return None;
    }
    match set_type {
        SetType::Address(family) => address(family, bytes).map(Element::Address),
        SetType::AddressPort(family) => {
            let (first, port) = bytes.split_at_checked(KeyType::address(family).length as usize)?;
            let port = port.first_chunk().map(|bytes| u16::from_be_bytes(*bytes))?;
            Some(Element::AddressPort(address(family, first)?, port))
        }
        SetType::AddressPair(family) => {
            let (first, second) =
                bytes.split_at_checked(KeyType::address(family).length as usize)?;
            Some(Element::AddressPair(address(family, first)?, address(family, second)?))
        }
        SetType::Icmpv6Type => Some(Element::Icmpv6Type(*bytes.first()?)),
        SetType::Key(shape) => binding::key(shape, bytes).map(Element::Key),
        SetType::ProtocolPort => {
            let (protocol, port) = bytes.split_at_checked(FIELD_UNIT)?;
            let number = *protocol.first()?;
            let transport = Transport::ALL.into_iter().find(|one| one.number() == number)?;
            let port = port.first_chunk().map(|bytes| u16::from_be_bytes(*bytes))?;
            Some(Element::ProtocolPort(transport, port))
        }
        SetType::AddressRange(_) | SetType::RateLimit(_) | SetType::Store(_) => None,
    }
}

/// Pairs first and end keys. A range without an end key extends to the next first
/// key or to the last address. An end key without a first key means nothing (nft
/// writes one at 0).
fn ranges(family: Family, mut keys: Vec<Key>) -> Option<Vec<Element>> {
    keys.sort_by(|a, b| a.bytes.cmp(&b.bytes).then(b.ends_range.cmp(&a.ends_range)));
    let mut found = Vec::with_capacity(keys.len() / 2 + 1);
    let mut open: Option<IpAddr> = None;
    for key in keys {
        let here = address(family, &key.bytes)?;
        if let Some(first) = open.take() {
            let range = AddressRange::new(first, previous(here)?)?;
            found.push(Element::Range(range));
        }
        open = (!key.ends_range).then_some(here);
    }
    if let Some(first) = open {
        found.push(Element::Range(AddressRange::new(first, last_address(family))?));
    }
    Some(found)
}

/// The last address of a family.
pub(crate) const fn last_address(family: Family) -> IpAddr {
    match family {
        Family::V4 => IpAddr::V4(Ipv4Addr::BROADCAST),
        Family::V6 => IpAddr::V6(Ipv6Addr::from_bits(u128::MAX)),
    }
}

fn next(address: IpAddr) -> Option<IpAddr> {
    Some(match address {
        IpAddr::V4(v4) => Ipv4Addr::from_bits(v4.to_bits().checked_add(1)?).into(),
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits().checked_add(1)?).into(),
    })
}

fn previous(address: IpAddr) -> Option<IpAddr> {
    Some(match address {
        IpAddr::V4(v4) => Ipv4Addr::from_bits(v4.to_bits().checked_sub(1)?).into(),
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits().checked_sub(1)?).into(),
    })
}

/// The fields in a row, each padded with zeros to whole registers.
fn concatenated(fields: &[&[u8]]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for field in fields {
        bytes.extend_from_slice(field);
        bytes.resize(bytes.len().next_multiple_of(FIELD_UNIT), 0);
    }
    bytes
}

#[cfg(test)]
mod tests;
