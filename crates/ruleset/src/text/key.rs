//! Keys of interface, MAC and address as text.
//!
//! An interface is written as its index. nft takes a number that is no interface's
//! name for an index (`ifindex_type_parse` of nftables 1.0.6, src/meta.c).

use std::net::IpAddr;

use crate::{
    Family, Field, InterfaceField, Key, KeyAddress, KeyAddressType, KeyFields, KeyShape, MacField,
    SetType,
};

/// The clause of a set's type. nft has no type for a target, only the field itself.
pub(super) fn set_type(shape: KeyShape) -> String {
    let KeyShape { interface, mac, address } = shape;
    let is_typed = address != Some(KeyAddressType::Target);
    let (keyword, interface_type, mac_type) = match is_typed {
        true => ("type", "iface_index", "ether_addr"),
        false => ("typeof", "iif", "ether saddr"),
    };
    let parts = [
        interface.then_some(interface_type),
        mac.then_some(mac_type),
        address.map(|address| match address {
            KeyAddressType::V4 => super::address_type(Family::V4),
            KeyAddressType::V6 => super::address_type(Family::V6),
            KeyAddressType::Target => TARGET,
        }),
    ];
    format!("{keyword} {}", joined(parts))
}

/// The parts of a key in a set of this type.
pub(super) fn parts(set_type: SetType, key: &Key) -> [Option<String>; 3] {
    let is_target = match set_type {
        SetType::Key(shape) => shape.address == Some(KeyAddressType::Target),
        _ => false,
    };
    let address = key.address.map(|address| match address {
        IpAddr::V6(target) if is_target => format!("{:#034x}", target.to_bits()),
        address => address.to_string(),
    });
    [key.interface.map(|index| index.to_string()), key.mac.map(mac), address]
}

/// The fields of a key.
pub(super) fn fields(fields: &KeyFields) -> String {
    let KeyFields { interface, mac, address } = fields;
    let interface = interface.map(|interface| match interface {
        InterfaceField::In => "iif",
        InterfaceField::Out => "oif",
    });
    let mac = mac.map(|mac| match mac {
        MacField::Source => "ether saddr",
        MacField::Destination => "ether daddr",
        MacField::ArpSender => "arp saddr ether",
    });
    let address = address.map(|address| match address {
        KeyAddress::Source(family) => super::rule::address(Field::Source, family),
        KeyAddress::Destination(family) => super::rule::address(Field::Destination, family),
        KeyAddress::ArpSender => "arp saddr ip",
        KeyAddress::Target => TARGET,
    });
    joined([interface, mac, address])
}

/// 128 bits after 64 of the transport header.
const TARGET: &str = "@th,64,128";

/// A concatenation.
pub(super) fn joined<T: AsRef<str>>(parts: [Option<T>; 3]) -> String {
    let parts: Vec<T> = parts.into_iter().flatten().collect();
    let parts: Vec<&str> = parts.iter().map(AsRef::as_ref).collect();
    parts.join(" . ")
}

fn mac(mac: [u8; 6]) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}
