//! Stored sets in nft's JSON.

use std::collections::BTreeSet;

use ruleset::{
    AddressTest, Chain, Element, Family, Field, Match, Name, Rule, Ruleset, Set, Store, Tag,
    Transport, Verdict, json, text,
};

use crate::fixture::{address, name};
use crate::in_new_namespace;

/// nft lists a tag without leading zeros.
const TAG: Tag = Tag::new(0xfedc_ba98_7654_3210_0123_4567);

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
    let rule = |store| Rule::new([asking(store, Name::in_store(store, TAG))], Verdict::Accept);
    let rules = Store::ALL.map(rule).to_vec();
    table.chains.insert(name("c.x"), Chain { rules, ..Chain::default() }.into());
    table
}

/// Whether a packet is in a set of the type that a store stores.
fn asking(store: Store, set: Name) -> Match {
    match store {
        Store::Addresses(family) => Match::Address(Field::Source, AddressTest::Set(family, set)),
        Store::AddressPorts(family) => {
            Match::AddressPort(Field::Destination, family, Transport::Tcp, set)
        }
        Store::Ports => Match::Ports(set),
    }
}

/// The same, in which each set is one of its own, with a name that tells its store.
fn own_sets() -> Ruleset {
    let own = |store: Store| name(&format!("own-{}", store.name()));
    let mut table = Ruleset::new(name("nftpol"));
    for store in Store::ALL {
        let stored = stored_sets().sets[&Name::in_store(store, TAG)].clone();
        table.sets.insert(own(store), stored);
    }
    let rules = Store::ALL.map(|store| Rule::new([asking(store, own(store))], Verdict::Accept));
    table.chains.insert(name("c.x"), Chain { rules: rules.to_vec(), ..Chain::default() }.into());
    table
}

/// nft's JSON has no type for a tag in version 1.0.6.
#[test]
fn json_has_stored_sets_as_sets_of_their_own() {
    let listed = |nft: &str, script: &str| {
        let table = in_new_namespace(&format!("{nft} -f - && nft list table inet nftpol"), script);
        let mut table = table.unwrap();
        for store in Store::ALL {
            let stored = Name::in_store(store, TAG);
            table = table.replace(stored.as_str(), &format!("own-{}", store.name()));
        }
        table.split("\n\n").map(|object| object.trim().to_owned()).collect::<BTreeSet<String>>()
    };
    let from_json = listed("nft -j", &json::ruleset(&stored_sets()).to_string());
    assert_eq!(from_json, listed("nft", &text::ruleset(&own_sets())));
}
