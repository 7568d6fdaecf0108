//! Stored sets in nft's JSON.

use std::collections::BTreeSet;

use ruleset::{
    AddressTest, Chain, Element, Family, Field, Match, Name, Rule, Ruleset, Set, Store, Tag,
    Transport, Verdict, json, text,
};
use serde_json::Value;

use crate::fixture::{address, name};
use crate::in_new_namespace;

/// nft lists a tag without leading zeros.
const TAG: Tag = Tag(0xfedc_ba98_7654_3210_0123_4567_89ab_cdef);

fn stored_sets() -> Ruleset {
    let mut table = Ruleset::new(name("nftpol"));
    table.sets.extend(Store::all());
    for store in Store::ALL {
        let v4 = address("10.0.0.1");
        let v6 = address("fd00::1");
        let element = match store {
            Store::Addresses(Family::V4) => Element::Address(v4),
            Store::Addresses(Family::V6) => Element::Address(v6),
            Store::AddressPorts(Family::V4) => Element::AddressPort(v4, 80),
            Store::AddressPorts(Family::V6) => Element::AddressPort(v6, 80),
            Store::Ports => Element::ProtocolPort(Transport::Udp, 53),
        };
        let set = Set::new(store.stores(), None).with([element]);
        table.sets.insert(Name::in_store(store, TAG), set);
    }
    let asking = |store: Store| match store {
        Store::Addresses(family) => {
            Match::Address(Field::Source, AddressTest::Set(family, Name::in_store(store, TAG)))
        }
        Store::AddressPorts(family) => Match::AddressPort(
            Field::Destination,
            family,
            Transport::Tcp,
            Name::in_store(store, TAG),
        ),
        Store::Ports => Match::Ports(Name::in_store(store, TAG)),
    };
    let rules = Store::ALL.map(|store| Rule::new([asking(store)], Verdict::Accept)).to_vec();
    table.chains.insert(name("c.x"), Chain { rules, ..Chain::default() }.into());
    table
}

/// This field of all objects of a kind, as text.
fn parts(document: &Value, kind: &str, field: &str) -> BTreeSet<String> {
    let objects = document["nftables"].as_array().unwrap().iter();
    objects.filter_map(|object| object.get(kind)).map(|one| one[field].to_string()).collect()
}

#[test]
fn elements_and_rules_are_as_nft_lists_them() {
    let table = stored_sets();
    let listing = "nft -f - && nft -j list table inet nftpol";
    let listed = in_new_namespace(listing, &text::ruleset(&table)).unwrap();
    let (ours, theirs) = (json::ruleset(&table), serde_json::from_str(&listed).unwrap());
    for (kind, field) in [("set", "name"), ("set", "elem"), ("rule", "expr")] {
        let found = parts(&ours, kind, field);
        assert_eq!(found.len(), Store::ALL.len(), "{kind}");
        assert_eq!(found, parts(&theirs, kind, field), "{kind} {field}");
    }
}

/// JSON has no `typeof` in nft 1.0.6. With a later nft this fails. Then compare the
/// whole tables.
#[test]
fn json_of_stores_needs_a_later_nft() {
    let version = in_new_namespace("nft --version", "").unwrap();
    let loaded = in_new_namespace("nft -j -f -", &json::ruleset(&stored_sets()).to_string());
    assert_eq!(loaded.is_ok(), !version.starts_with("nftables v1.0.6 "), "{version}{loaded:?}");
}
