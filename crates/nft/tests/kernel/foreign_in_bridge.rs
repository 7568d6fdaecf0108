//! Bridge tables that others have changed.

use crate::common::nft;
use crate::namespace::{in_namespace, name};
use nft::ForeignKind;
use ruleset::{BaseChain, Comment, Hook, KeyShape, Rule, SetType, TableId, Verdict};

/// Rules of a bridge that our types cannot express, or that only look like ours.
const STRANGE: &[&str] = &[
    "ether type vlan accept",
    "ether type != ip accept",
    "meta protocol arp accept",
    "meta protocol != ip accept",
    "vlan id 0 accept",
    "ether type 8021q vlan id 0 accept",
    "@ll,96,32 & 0xffff0fff == 0x81000001 accept",
    "@ll,96,32 & 0xffffffff == 0x81000000 accept",
    "@ll,96,32 & 0xffff0fff != 0x81000000 accept",
    "@ll,96,32 0x81000000 accept",
    "ether saddr 02:00:00:00:00:01 accept",
    "ether saddr != @macs accept",
    "arp operation request accept",
    "ether type arp arp daddr ip @owned4 accept",
    "ether type arp @nh,112,32 & 0xffffff00 == 0x0a000000 accept",
    "iifname . ether saddr @named accept",
    "meta mark 1 accept",
    "iif . ether saddr . ip saddr @large accept",
    "ether saddr . iif @backwards accept",
    "icmpv6 type nd-neighbor-advert accept",
    "@th,64,128 @targets accept",
    "meta l4proto icmp @th,64,128 @targets accept",
];

#[test]
fn a_strange_rule_of_a_bridge_becomes_a_stand_in() {
    let mut text = String::from(
        "table bridge nftpol {
         set macs { type ether_addr; }
         set owned4 { type ipv4_addr; }
         set own4 { type iface_index . ether_addr . ipv4_addr; }
         set targets { typeof @th,64,128; }
         set large { type iface_index . ether_addr . ipv4_addr; size 100; }
         set backwards { type ether_addr . iface_index; }
         set named { type ifname . ether_addr; }\n",
    );
    for (number, line) in STRANGE.iter().enumerate() {
        text.push_str(&format!("chain c{number:02} {{\n{line}\naccept\n}}\n"));
    }
    in_namespace(|kernel| {
        nft(&["-f", "-"], &format!("{text}}}\n"));
        let table = TableId::bridge(name("nftpol"));
        let dump = kernel.dump(&table).expect("dump").expect("the table");
        for (number, line) in STRANGE.iter().enumerate() {
            let rules = &dump.ruleset.chains[&name(&format!("c{number:02}"))].rules;
            let comment = rules[0].comment.as_ref().map_or("", Comment::as_str);
            assert!(comment.starts_with("unreadable: "), "{line}: read as {:?}", rules[0]);
            assert_eq!(rules[1], Rule::new([], Verdict::Accept), "{line}");
        }
    });
}

#[test]
fn what_is_not_ours_is_told_apart_in_a_bridge() {
    in_namespace(|kernel| {
        nft(
            &["-f", "-"],
            "table inet nftpol { set elsewhere { type ipv4_addr; }
                chain elsewhere { type filter hook prerouting priority 0; }
             }
             table bridge nftpol {
                counter hits { }
                set ours { type iface_index . ether_addr; elements = { 1 . 02:00:00:00:00:01 }; }
                set padded { type iface_index . ether_addr; timeout 1h; }
                set ranges { type iface_index . ipv4_addr; flags interval; }
                set filled { type ether_addr; flags dynamic; }
                set named { type ifname . ether_addr; }
                set backwards { type ether_addr . iface_index; }
                map marks { type ether_addr : mark; }
                map drops { type ether_addr : verdict; elements = { 02:00:00:00:00:01 : drop }; }
                chain ours { type filter hook postrouting priority 0; policy accept; }
                chain dropping { type filter hook prerouting priority 0; policy drop; }
            }\n",
        );
        let table = TableId::bridge(name("nftpol"));
        let dump = kernel.dump(&table).expect("dump").expect("the table");
        let found: Vec<_> = dump.foreign.iter().map(|one| (one.kind, one.name.as_str())).collect();
        let sets =
            ["backwards", "drops", "filled", "marks", "named", "padded", "ranges"].into_iter();
        let mut expected: Vec<_> = sets.map(|set| (ForeignKind::Set, set)).collect();
        expected.push((ForeignKind::Chain, "dropping"));
        expected.push((ForeignKind::Object, "hits"));
        assert_eq!(found, expected, "{:#?}", dump.foreign);
        let shape = KeyShape { interface: true, mac: true, address: None };
        assert_eq!(dump.ruleset.sets.keys().collect::<Vec<_>>(), [&name("ours")]);
        assert_eq!(dump.ruleset.sets[&name("ours")].set_type, SetType::Key(shape));
        assert_eq!(dump.ruleset.chains.keys().collect::<Vec<_>>(), [&name("ours")]);
        let base = BaseChain { hook: Hook::Postrouting, priority: 0 };
        assert_eq!(dump.ruleset.chains[&name("ours")].base, Some(base));
    });
}
