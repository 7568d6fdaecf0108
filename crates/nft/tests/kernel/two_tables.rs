//! A table of each family with the same name: what is done to one does not touch the
//! other.

use std::net::{IpAddr, Ipv6Addr};

use crate::common::{nft, read_table};
use crate::namespace::{in_namespace, name, table};
use nft::{ForeignKind, Kernel};
use ruleset::{
    BaseChain, Batch, Chain, Element, Hook, InterfaceField, Key, KeyAddressType, KeyFields,
    KeyShape, Match, Op, Rule, Ruleset, Set, SetType, TableId, Verdict,
};

const TARGETS: SetType =
    SetType::Key(KeyShape { interface: true, mac: true, address: Some(KeyAddressType::Target) });
const PORTS: SetType = SetType::Key(KeyShape { interface: true, mac: false, address: None });

fn bridge() -> TableId {
    TableId::bridge(name("nftpol"))
}

fn commit(kernel: &mut Kernel, table: &TableId, ops: impl IntoIterator<Item = Op>) {
    kernel.send(table, &Batch { ops: ops.into_iter().collect() }, None).expect("commit");
}

fn target(number: u32) -> Element {
    let address = IpAddr::from(Ipv6Addr::from_bits(0xfe80 << 112 | u128::from(number)));
    let [a, b, c, d] = number.to_be_bytes();
    Element::Key(Key {
        interface: Some(number + 1),
        mac: Some([2, 0, a, b, c, d]),
        address: Some(address),
    })
}

fn port(number: u32) -> Element {
    Element::Key(Key { interface: Some(number), mac: None, address: None })
}

fn from_ports() -> Rule {
    let fields = KeyFields { interface: Some(InterfaceField::In), ..KeyFields::NONE };
    Rule::new([Match::Key(fields, name("ports"))], Verdict::Drop)
}

#[test]
fn keys_and_hooks_come_and_go_in_one_family() {
    in_namespace(|kernel| {
        for table in [table(), bridge()] {
            let create = [
                Op::CreateTable,
                Op::CreateSet(name("ports"), PORTS, None),
                Op::AddElements(name("ports"), PORTS, vec![port(1), port(2)]),
            ];
            commit(kernel, &table, create);
        }
        let inet = read_table(kernel, &table());
        let base = BaseChain { hook: Hook::Postrouting, priority: 310 };
        let ops = [
            Op::DeleteElements(name("ports"), PORTS, vec![port(1)]),
            Op::AddElements(name("ports"), PORTS, vec![port(2), port(7)]), // one is there
            Op::CreateChain(name("to"), Some(base), None),
            Op::AddRule(name("to"), from_ports()),
        ];
        commit(kernel, &bridge(), ops);
        let mut expected = Ruleset::of(bridge());
        let ports = Set::new(PORTS, None).with([port(2), port(7)]);
        expected.sets.insert(name("ports"), ports);
        let chain = Chain { base: Some(base), comment: None, rules: vec![from_ports()] };
        expected.chains.insert(name("to"), chain.into());
        assert_eq!(read_table(kernel, &bridge()), expected);
        assert_eq!(read_table(kernel, &table()), inet);

        commit(kernel, &bridge(), [Op::FlushChain(name("to")), Op::DeleteChain(name("to"))]);
        expected.chains.clear();
        assert_eq!(read_table(kernel, &bridge()), expected);
        assert!(kernel.delete_table(&bridge()).expect("delete"));
        assert!(kernel.dump(&bridge()).expect("dump").is_none());
        assert_eq!(read_table(kernel, &table()), inet);
    });
}

#[test]
fn a_fingerprint_is_of_one_family() {
    in_namespace(|kernel| {
        for table in [table(), bridge()] {
            commit(kernel, &table, [Op::CreateTable, Op::CreateChain(name("c"), None, None)]);
        }
        let seen = |kernel: &mut Kernel| {
            [table(), bridge()].map(|one| kernel.fingerprint(&one, &name("c")).expect("a read"))
        };
        let [inet, frames] = seen(kernel);
        nft(&["add", "rule", "bridge", "nftpol", "c", "accept"], "");
        let [same, changed] = seen(kernel);
        assert_eq!(same, inet);
        assert_ne!(changed, frames);
        nft(&["delete", "table", "inet", "nftpol"], "");
        assert_eq!(seen(kernel), [None, changed]);
    });
}

#[test]
fn a_dormant_bridge_table_is_seen_and_woken() {
    in_namespace(|kernel| {
        let text = "table bridge nftpol { flags dormant;
            chain c { type filter hook prerouting priority -310; }; }\n";
        nft(&["-f", "-"], text);
        let foreign = |kernel: &mut Kernel| {
            let dump = kernel.dump(&bridge()).expect("dump").expect("the table");
            dump.foreign.iter().map(|one| one.kind).collect::<Vec<_>>()
        };
        assert_eq!(foreign(kernel), [ForeignKind::Table]);
        commit(kernel, &bridge(), [Op::CreateTable]);
        assert_eq!(foreign(kernel), []);
        assert!(!nft(&["list", "tables"], "").contains("inet"), "no other table was made");
    });
}

#[test]
fn many_keys_read_back() {
    const KEYS: u32 = 20_000;
    in_namespace(|kernel| {
        let ops = [
            Op::CreateTable,
            Op::CreateSet(name("targets"), TARGETS, None),
            Op::AddElements(name("targets"), TARGETS, (0..KEYS).map(target).collect()),
        ];
        commit(kernel, &bridge(), ops);
        let odd = (0..KEYS).filter(|number| number % 2 == 1).map(target).collect();
        commit(kernel, &bridge(), [Op::DeleteElements(name("targets"), TARGETS, odd)]);
        let found = read_table(kernel, &bridge());
        let even = (0..KEYS).filter(|number| number % 2 == 0).map(target);
        assert_eq!(found.sets[&name("targets")], Set::new(TARGETS, None).with(even));
    });
}
