//! Stores and stored sets as JSON. nft loads them from version 1.1.2 on, which takes
//! `typeof` in JSON (libnftables-json(5), SET_TYPE); 1.0.6 does not.

use serde_json::{Value, json};

use super::condition::{address, payload, raw, reference};
use super::fields;
use crate::{Field, Name, Set, Store, Tag, text};

/// As [`text`] writes it.
pub(super) fn set_type(store: Store) -> Value {
    let source = |family| address(Field::Source, family);
    let mut key = vec![replaced()];
    match store {
        Store::Addresses(family) => key.push(source(family)),
        Store::AddressPorts(family) => key.extend([source(family), payload("th", "dport")]),
        Store::Ports => key.extend(ports()),
    }
    json!({"typeof": {"concat": key}})
}

/// The elements of a stored set.
pub(super) fn elements(tag: Tag, set: &Set) -> impl Iterator<Item = Value> {
    set.elements.iter().map(move |element| {
        let mut key = vec![json!(text::tag(tag))];
        key.extend(fields(set.set_type, element));
        json!({"concat": key})
    })
}

/// The protocol and destination port of a packet.
pub(super) fn ports() -> [Value; 2] {
    [json!({"meta": {"key": "l4proto"}}), payload("th", "dport")]
}

/// The key that is looked up in a set, and the set.
pub(super) fn key(mut fields: Vec<Value>, set: &Name) -> (Value, Value) {
    let Some((store, tag)) = set.stored() else {
        return (super::one_or_many(fields, |all| json!({"concat": all})), reference(set));
    };
    let tag = text::tag(tag);
    let masked = json!({"&": [replaced(), tag]});
    fields.insert(0, json!({"|": [masked, tag]}));
    (json!({"concat": fields}), json!(format!("@{}", store.name())))
}

/// See [`text`].
fn replaced() -> Value {
    raw("nh", 0, 128)
}
