//! A table in our types, and the same table as nft's text: what holds of the two.

use ruleset::Ruleset;

use crate::common::{assert_same_text, creation, nft, read_table};
use crate::namespace::in_namespace;

pub(crate) fn what_we_send_reads_back(all: &Ruleset) {
    in_namespace(|kernel| {
        kernel.send(&all.id(), &creation(all), None).expect("send");
        assert_eq!(&read_table(kernel, &all.id()), all);
    });
}

pub(crate) fn what_nft_sends_reads_back(all: &Ruleset, text: &str) {
    in_namespace(|kernel| {
        nft(&["-f", "-"], text);
        let found = read_table(kernel, &all.id());
        for (chain, rule) in &all.chains {
            assert_eq!(found.chains.get(chain), Some(rule), "chain {chain}");
        }
        assert_eq!(&found, all);
    });
}

pub(crate) fn nft_sees_no_difference(all: &Ruleset, text: &str) {
    let ours = in_namespace(|kernel| {
        kernel.send(&all.id(), &creation(all), None).expect("send");
        listed(all)
    });
    let theirs = in_namespace(|_| {
        nft(&["-f", "-"], text);
        listed(all)
    });
    // The program prints all sets beside each chain, in the order of creation. It
    // prints their elements in the order of the kernel's hash, and the handles of
    // rules.
    let table = format!("{} ", all.id());
    let without_order = |list: &str| -> String {
        let noise = ["\telement ", &table];
        let lines = list.lines().filter(|line| !noise.iter().any(|start| line.starts_with(start)));
        lines.map(|line| format!("{line}\n")).collect()
    };
    for (our, their) in ours.iter().zip(&theirs) {
        assert_same_text(&without_order(our), &without_order(their));
    }
}

/// Each object as nft lists it, in the order of names: nft lists a whole table in
/// the order of creation.
fn listed(all: &Ruleset) -> Vec<String> {
    let (family, table) = (all.family.to_string(), all.table.as_str());
    let one = |kind: &str, name: &str| nft(&["list", kind, &family, table, name], "");
    let sets = all
        .sets
        .keys()
        .filter(|name| name.stored().is_none())
        .map(|name| one("set", name.as_str()));
    let maps = all.maps.keys().map(|name| one("map", name.as_str()));
    let chains = all
        .chains
        .keys()
        .map(|name| nft(&["--debug=netlink", "list", "chain", &family, table, name.as_str()], ""));
    sets.chain(maps).chain(chains).collect()
}
