//! Stores and stored sets as text.

use crate::{Family, Field, Name, Store, Tag, Transport};

use super::rule::address;

/// The first 128 bits of the network header. Whatever they are, the tag replaces them.
const REPLACED: &str = "@nh,0,128";
/// The protocol and destination port of a packet.
pub(super) const PORTS: &str = "meta l4proto . th dport";

/// The clause of a store's type. nft has no type for a tag, only the field that it
/// replaces.
pub(super) fn set_type(store: Store) -> String {
    let key = match store {
        Store::Addresses(family) => source(family).to_owned(),
        Store::AddressPorts(family) => format!("{} . th dport", source(family)),
        Store::Ports => PORTS.to_owned(),
    };
    format!("typeof {REPLACED} . {key}")
}

/// nft takes any field of the type. It lists these.
const fn source(family: Family) -> &'static str {
    address(Field::Source, family)
}

/// A test whether a key is in a set. With a stored set, the tag comes first.
pub(super) fn look_up(key: &str, set: &Name) -> String {
    match set.stored() {
        Some((store, number)) => {
            let tag = tag(number);
            format!("{REPLACED} & {tag} | {tag} . {key} @{}", store.name())
        }
        None => format!("{key} @{set}"),
    }
}

/// A tag in an element or rule.
pub(super) fn tag(Tag(number): Tag) -> String {
    format!("{number:#034x}")
}

/// The keyword before a destination port.
pub(super) fn port(transport: Transport) -> String {
    format!("{} dport", transport.keyword())
}
