//! Entry points for tests that judge this crate from outside.
//!
//! In: a batch, or any bytes. Out: the bytes of the batch; a panic where what
//! was read breaks a promise. Never: a use in production.

mod well_formed;

use ruleset::{
    Batch, Element, Name, Ruleset, Set, SetType, Store, TableFamily, TableId, VerdictMap,
};

use crate::conntrack::wire;
use crate::ffi::{self, Listed, Object, parse, parse_elements};
use crate::netlink::{self, Message};
use crate::read::set::{Shape, entry, key, set_types, shape};
use crate::read::{chains, rule};
use crate::write::{self, Encoded, Sharing};
use crate::{chains_of_others, datatype, normal_form};

/// The messages of a batch, numbered from 1; `None` if one is too long.
pub fn encoded(table: &TableId, batch: &Batch) -> Option<Vec<u8>> {
    let encoded = Encoded::new(table, batch, None, 1, (0, Sharing::Allowed)).ok()?;
    Some(encoded.bytes().to_vec())
}

/// Reads bytes as a datagram of the kernel.
///
/// libnftnl ends the process where an attribute is shorter than its type.
/// No kernel sends such, so only well-formed messages reach it.
///
/// # Panics
/// A rule that was read is another one when it is written and read again.
pub fn read_any(datagram: &[u8]) {
    for message in netlink::messages(datagram) {
        let _ = (message.failure(), message.error_code(), message.family());
        let _ = (chains_of_others::chain(&message), wire::flow(&message));
        let kind = i32::from(message.kind & 0xff);
        let Some(attributes) = message.bytes.get(netlink::HEADERS..) else { continue };
        if well_formed::is_well_formed(kind, attributes) {
            by_kind(kind, &message);
        }
    }
}

fn by_kind(kind: i32, message: &Message<'_>) {
    match kind {
        libc::NFT_MSG_NEWTABLE => {
            if let Some(table) = object::<ffi::Table>(message) {
                let _ =
                    (table.get().text(&ffi::Table::NAME), table.get().number(&ffi::Table::FLAGS));
            }
        }
        libc::NFT_MSG_NEWCHAIN => {
            if let Some(chain) = object::<ffi::Chain>(message) {
                let _ = chains::base(&chain.get());
            }
        }
        libc::NFT_MSG_NEWRULE => {
            if let Some(rule) = object::<ffi::Rule>(message) {
                read_rule(&rule);
            }
        }
        libc::NFT_MSG_NEWSET => {
            if let Some(set) = object::<ffi::Set>(message) {
                let _ = shape(&set.get());
            }
        }
        libc::NFT_MSG_NEWSETELEM => {
            if let Some(elements) = parse_elements(message.bytes) {
                read_elements(&elements);
            }
        }
        _ => {}
    }
}

fn object<K: Listed>(message: &Message<'_>) -> Option<Object<K>> {
    parse(message.bytes)
}

fn read_rule(object: &Object<ffi::Rule>) {
    for family in [TableFamily::Inet, TableFamily::Bridge] {
        read_rule_in(family, object);
    }
}

fn read_rule_in(family: TableFamily, object: &Object<ffi::Rule>) {
    let Some(sets) = sets(family) else { return };
    let rule = chains::read_rule(&sets, &object.get());
    let is_read = rule.comment.as_ref().is_none_or(|one| !one.as_str().starts_with("unreadable: "));
    if !is_read {
        return;
    }
    let again = rule::read(&sets, &write::rule::expressions(family, &rule))
        .map(|read| ruleset::Rule { comment: rule.comment.clone(), ..read });
    let again = again.map(normal_form);
    assert_eq!(again.as_ref(), Ok(&normal_form(rule)), "a rule does not survive being written");
}

/// As a set of every type, and as a map.
fn read_elements(elements: &Object<ffi::Set>) {
    for set_type in set_types() {
        let keys: Option<Vec<_>> = elements.get().elements().iter().map(key).collect();
        let read = keys.and_then(|keys| datatype::elements(set_type, keys));
        for element in read.iter().flatten() {
            let keys = datatype::keys(element).collect();
            let again: Option<Vec<Element>> = datatype::elements(set_type, keys);
            assert_eq!(again, Some(vec![*element]), "an element does not survive being written");
        }
    }
    let keys: Vec<_> = elements.get().elements().iter().filter_map(key).collect();
    for (store, key) in
        Store::ALL.into_iter().flat_map(|one| keys.iter().map(move |key| (one, key)))
    {
        let read = datatype::stored(store, key.clone());
        let again = read.map(|(tag, one)| datatype::stored(store, datatype::stored_key(tag, &one)));
        assert_eq!(again, read.map(Some), "a stored element does not survive being written");
    }
    for element in elements.get().elements() {
        for shape in [ruleset::Family::V4, ruleset::Family::V6] {
            let _ = entry(shape, &element);
        }
    }
    let _ = matches!(shape(&elements.get()), Ok(Shape::Map(..)));
}

/// A table with a set of every type, for rules to look into.
fn sets(family: TableFamily) -> Option<Ruleset> {
    let name = |text: String| Name::new(text).ok();
    let mut all = Ruleset::of(TableId { family, name: name("nftpol".to_owned())? });
    for (index, set_type) in set_types().enumerate() {
        let of_set = match set_type {
            SetType::Store(store) => Some(Name::of_store(store)),
            _ => name(format!("s{index}")),
        };
        all.sets.extend(of_set.map(|name| (name, Set::new(set_type, None))));
    }
    for (text, family) in [("m4", ruleset::Family::V4), ("m6", ruleset::Family::V6)] {
        let map = VerdictMap::new(family, None);
        all.maps.extend(name(text.to_owned()).map(|name| (name, map)));
    }
    Some(all)
}
