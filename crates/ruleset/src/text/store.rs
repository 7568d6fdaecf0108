//! Stores and stored sets as text.

use crate::{Family, Field, Name, Store, Tag, TagPiece, Transport};

use super::rule::address;

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
    let tag = store.tag_pieces().iter().map(|bytes| replaced(*bytes) + " . ");
    format!("typeof {}{key}", tag.collect::<String>())
}

/// The first bytes of the network header. Whatever they are, a piece of a tag replaces
/// them.
fn replaced(bytes: u32) -> String {
    format!("@nh,0,{}", 8 * bytes)
}

/// nft takes any field of the type. It lists these.
const fn source(family: Family) -> &'static str {
    address(Field::Source, family)
}

/// A test whether a key is in a set. With a stored set, the tag comes first.
pub(super) fn look_up(key: &str, set: &Name) -> String {
    match set.stored() {
        Some((store, tag)) => {
            let tag = tag.pieces(store).map(|one| {
                let number = piece(one);
                format!("{} & {number} | {number} . ", replaced(one.bytes))
            });
            format!("{}{key} @{}", tag.collect::<String>(), store.name())
        }
        None => format!("{key} @{set}"),
    }
}

/// A tag in an element.
pub(super) fn tag(store: Store, tag: Tag) -> String {
    tag.pieces(store).map(piece).collect::<Vec<String>>().join(" . ")
}

fn piece(TagPiece { bytes, number }: TagPiece) -> String {
    let width = "0x".len() + 2 * bytes as usize;
    format!("{number:#0width$x}")
}

/// The keyword before a destination port.
pub(super) fn port(transport: Transport) -> String {
    format!("{} dport", transport.keyword())
}
