//! Tables that others have changed.

use std::net::Ipv4Addr;

use crate::common::nft;
use crate::namespace::{in_namespace, name, table};
use nft::ForeignKind;
use ruleset::{Comment, Element, Family, Match, Name, Rule, Set, SetType, Store, Tag, Verdict};

#[test]
fn what_is_not_ours_is_told_apart() {
    in_namespace(|kernel| {
        nft(
            &["-f", "-"],
            r#"
            table inet nftpol {
                counter hits { }
                limit slow { rate 1/second }
                set ours { type ipv4_addr; elements = { 10.0.0.1 }; }
                set p4 { typeof @nh,0,32 . @nh,0,32 . @nh,0,32 . ip saddr; elements = { 0x0 . 0x0 . 0x7 . 10.0.0.1 }; }
                set t { typeof @nh,0,64 . @nh,0,32 . meta l4proto . th dport;
                    elements = { 0x0 . 0x7 . tcp . 80, 0x0 . 0x7 . icmp . 80 }; }
                set store { typeof @nh,0,32 . @nh,0,32 . @nh,0,32 . ip6 saddr; elements = { 0x0 . 0x0 . 0x7 . fd00::1 }; }
                set n6 { typeof @nh,0,128 . ip6 saddr . th dport; elements = { 0x7 . fd00::1 . 80 }; }
                set n4 { type ipv4_addr . inet_service; elements = { 10.0.0.1 . 80 }; }
                set p6 { typeof @nh,0,32 . @nh,0,32 . @nh,0,32 . ip6 saddr; timeout 1h; }
                set p4.000000000000000000000008 { type ipv4_addr; elements = { 10.0.0.1 }; }
                map p4.000000000000000000000009 { type ipv4_addr : verdict; }
                set timed { type ipv4_addr; timeout 1h; elements = { 10.0.0.1 }; }
                set sized { type ipv4_addr; size 100; }
                set counted { type ipv4_addr; counter; elements = { 10.0.0.1 }; }
                set marks { type mark; elements = { 7 }; }
                set filled { type ipv4_addr; flags dynamic; }
                set pipapo { type ipv4_addr . inet_service; flags interval; elements = { 10.0.0.0/8 . 1-100 }; }
                set logged { type ipv4_addr; size 65535; flags dynamic,timeout; timeout 2m; }
                map values { type ipv4_addr : mark; elements = { 10.0.0.1 : 7 }; }
                map jumps { type ipv4_addr : verdict; elements = { 10.0.0.1 : jump plain }; }
                map drops { type ipv4_addr : verdict; elements = { 10.0.0.1 : drop }; }
                map mixed { type ipv4_addr : verdict; elements = { 10.0.0.1 : goto plain, 10.0.0.2 : drop }; }
                chain plain { accept
                }
                chain output { type route hook output priority 0; policy accept; }
                chain dropping { type filter hook forward priority 0; policy drop; accept
                }
                chain nat { type nat hook prerouting priority dstnat; policy accept; }
            }
            table ip nftpol {
                chain elsewhere { drop
                }
            }
        "#,
        );
        let dump = kernel.dump(&table()).expect("dump").expect("the table");
        let found: Vec<_> = dump.foreign.iter().map(|one| (one.kind, one.name.as_str())).collect();
        let mut expected = vec![
            (ForeignKind::Object, "hits"),
            (ForeignKind::Object, "slow"),
            (ForeignKind::Chain, "dropping"),
            (ForeignKind::Chain, "nat"),
            (ForeignKind::Chain, "output"),
        ];
        let sets = [
            "counted",
            "drops",
            "filled",
            "jumps",
            "logged",
            "marks",
            "mixed",
            "pipapo",
            "sized",
            "timed",
            "values",
            "t",
            "store",
            "n6",
            "p6",
            "p4.000000000000000000000008",
            "p4.000000000000000000000009",
        ];
        expected.extend(sets.map(|set| (ForeignKind::Set, set)));
        expected.sort();
        assert_eq!(found, expected, "{:#?}", dump.foreign);
        let store = Store::Addresses(Family::V4);
        let stored = Name::in_store(store, Tag::new(7));
        let sets = [name("n4"), name("ours"), Name::of_store(store), stored.clone()];
        assert_eq!(dump.ruleset.sets.keys().collect::<Vec<_>>(), sets.iter().collect::<Vec<_>>());
        let address = Element::Address(Ipv4Addr::new(10, 0, 0, 1).into());
        assert_eq!(dump.ruleset.sets[&stored], Set::new(store.stores(), None).with([address]));
        assert_eq!(dump.ruleset.maps.len(), 0);
        assert_eq!(dump.ruleset.chains.keys().collect::<Vec<_>>(), [&name("plain")]);
        assert_eq!(dump.ruleset.chains[&name("plain")].rules, [Rule::new([], Verdict::Accept)]);
    });
}

/// Rules that our types cannot express, or that only look like ours.
const STRANGE: &[&str] = &[
    "counter",
    "counter accept",
    "meta mark set 1",
    "meta mark 1 accept",
    "iifname \"lo\" accept",
    "tcp sport 80-90 accept",
    "tcp flags syn accept",
    "tcp dport != 80 accept",
    "tcp dport { 80, 443 } accept",
    "tcp dport vmap { 80 : accept }",
    "th dport 80 accept",
    "ip saddr != 10.0.0.1 accept",
    "ip saddr != 10.0.0.0/8 accept",
    "ip saddr != 10.0.0.1-10.0.0.9 accept",
    "ip saddr != @a4 accept",
    "ip saddr & 255.0.255.0 == 10.0.1.0 accept",
    "ip saddr . ip saddr @self4 accept",
    "ip daddr . ip saddr @self4 accept",
    "ip protocol tcp accept",
    "meta l4proto { tcp, udp } accept",
    "meta pkttype host accept",
    "meta pkttype != broadcast accept",
    "ct state new accept",
    "ct state established,new accept",
    "ct state != established accept",
    "ct state vmap { established : accept }",
    "ct mark 1 accept",
    "icmpv6 type echo-request accept",
    "ip6 hoplimit != 255 accept",
    "ip6 hoplimit > 254 accept",
    "ip6 hoplimit 1-255 accept",
    "ip6 nexthdr icmpv6 accept",
    "ip ttl 255 accept",
    "icmp type != echo-request accept",
    "icmp type { echo-request, redirect } accept",
    "icmp code 0 accept",
    "meta l4proto icmp icmp type echo-request accept",
    "iif lo accept",
    "iif != @ports accept",
    "meta protocol ip accept",
    "meta iiftype ether accept",
    "ether type ip accept",
    "ether saddr 02:00:00:00:00:01 accept",
    "meta l4proto sctp @th,96,8 1 accept",
    "meta l4proto sctp @th,96,8 != 2 accept",
    "@th,96,8 != 1 accept",
    "@th,64,128 @targets accept",
    "log prefix \"x\"",
    "log prefix \"x\" group 100",
    "log prefix \"x\" group 100 snaplen 64 queue-threshold 2",
    "limit rate 10/second accept",
    "reject",
    "continue",
    "notrack",
    "add @logged4 { ip saddr }",
    "add @logged4 { ip saddr limit rate 10/second burst 5 packets } log prefix \"x\" group 100",
    "update @logged4 { ip saddr limit rate 10/second burst 5 packets } log prefix \"x\" group 100",
    "update @logged4 { ip saddr limit rate 10/second burst 5 packets counter } log prefix \"x\" group 100",
    "add @logged4 { ip saddr counter limit rate 10/second burst 5 packets } log prefix \"x\" group 100",
    "update @logged4 { ip saddr counter limit rate 10/minute burst 5 packets } log prefix \"x\" group 100",
    "update @logged4 { ip saddr counter limit rate over 10/second burst 5 packets } log prefix \"x\" group 100",
    "update @logged4 { ip saddr counter limit rate 10/second burst 9 packets } log prefix \"x\" group 100",
    "update @logged4 { ip saddr timeout 5s counter limit rate 10/second burst 5 packets } log prefix \"x\" group 100",
    "update @logged4 { ip saddr counter limit rate 10/second burst 5 packets } accept",
    "update @logged4 { ip saddr counter limit rate 10/second burst 5 packets } log prefix \"x\" group 100 tcp dport 80 accept",
    "ip saddr @timed accept",
    "ip saddr vmap @drops",
    "ip saddr 10.0.0.1 meta mark set 1",
    "@nh,96,32 0x0a000001 accept",
    "@nh,0,32 & 0x0 | 0x0 . @nh,0,32 & 0x0 | 0x0 . @nh,0,32 & 0x7 | 0x7 . ip saddr != @p4 accept",
    "@nh,0,32 . @nh,0,32 . @nh,0,32 . ip saddr @p4 accept",
    "@nh,0,32 & 0x0 | 0x0 . @nh,0,32 . @nh,0,32 & 0x7 | 0x7 . ip saddr @p4 accept",
    "@nh,0,32 & 0x0 | 0x0 . @nh,0,32 & 0x0 | 0x0 . @nh,0,32 & 0xff | 0x7 . ip saddr @p4 accept",
    "@nh,0,32 & 0x0 | 0x0 . @nh,0,32 & 0x0 | 0x0 . @nh,0,32 & 0x7 . ip saddr @p4 accept",
    "@nh,0,32 & 0x0 | 0x0 . @nh,32,32 & 0x0 | 0x0 . @nh,0,32 & 0x7 | 0x7 . ip saddr @p4 accept",
    "@nh,0,64 & 0x0 | 0x0 . @nh,0,32 & 0x7 | 0x7 . meta l4proto . th sport @t accept",
    "@nh,0,32 & 0x7 | 0x7 == 0x7 accept",
    "meta l4proto . th sport @mixed accept",
    "meta l4proto . th dport != @mixed accept",
    "@th,16,16 80 accept",
];

#[test]
fn a_strange_rule_becomes_a_stand_in() {
    in_namespace(|kernel| {
        let mut text = String::from(
            "table inet nftpol {\n\
             set a4 { type ipv4_addr; }\n\
             set self4 { type ipv4_addr . ipv4_addr; }\n\
             set ports { type iface_index; }\n\
             set targets { typeof @th,64,128; }\n\
             set p4 { typeof @nh,0,32 . @nh,0,32 . @nh,0,32 . ip saddr; }\n\
             set t { typeof @nh,0,64 . @nh,0,32 . meta l4proto . th dport; }\n\
             set mixed { type inet_proto . inet_service; }\n\
             set timed { type ipv4_addr; timeout 1h; }\n\
             set logged4 { type ipv4_addr; size 65535; flags dynamic,timeout; timeout 1m; }\n\
             map drops { type ipv4_addr : verdict; elements = { 10.0.0.1 : drop }; }\n",
        );
        for (number, line) in STRANGE.iter().enumerate() {
            text.push_str(&format!("chain c{number:02} {{\n{line} comment \"ours\"\naccept\n}}\n"));
        }
        nft(&["-f", "-"], &format!("{text}}}\n"));
        let dump = kernel.dump(&table()).expect("dump").expect("the table");
        for (number, line) in STRANGE.iter().enumerate() {
            let rules = &dump.ruleset.chains[&name(&format!("c{number:02}"))].rules;
            assert_eq!(rules.len(), 2, "{line}: {rules:?}");
            let comment = rules[0].comment.as_ref().map_or("", Comment::as_str);
            assert!(comment.starts_with("unreadable: "), "{line}: read as {:?}", rules[0]);
            let empty = Rule { comment: None, ..rules[0].clone() };
            assert_eq!(empty, Rule { matches: vec![], log: None, finish: None, comment: None });
            assert_eq!(rules[1], Rule::new([], Verdict::Accept));
        }
    });
}

/// Other forms of rules that our types can express.
#[test]
fn other_forms_of_the_same_are_read() {
    let forms = [
        ("meta nfproto ipv4 ip saddr 10.0.0.0/8 accept", "ip saddr 10.0.0.0/8 accept"),
        ("ip saddr 10.0.0.0-10.255.255.255 accept", "ip saddr 10.0.0.0/8 accept"),
        ("ip saddr & 255.0.0.0 == 10.0.0.0 accept", "ip saddr 10.0.0.0/8 accept"),
        (
            "ip saddr >= 10.0.0.0 ip saddr <= 10.0.0.255 accept",
            "ip saddr 10.0.0.0-255.255.255.255 ip saddr 0.0.0.0-10.0.0.255 accept",
        ),
        ("tcp dport >= 1024 accept", "tcp dport 1024-65535 accept"),
        ("tcp dport <= 1024 accept", "tcp dport 0-1024 accept"),
        ("meta l4proto tcp tcp dport 80 accept", "tcp dport 80 accept"),
        ("meta l4proto 6 accept", "meta l4proto tcp accept"),
        ("meta l4proto != 6 accept", "meta l4proto != tcp accept"),
        ("meta nfproto ipv4 icmp type 8 accept", "icmp type echo-request accept"),
        ("meta l4proto 132 sctp dport 0-65535 @th,96,8 != 1", "sctp dport 0-65535 @th,96,8 != 0x1"),
    ];
    let read = |line: &str| {
        in_namespace(|kernel| {
            nft(&["-f", "-"], &format!("table inet nftpol {{ chain c {{\n{line}\n}}\n}}\n"));
            let dump = kernel.dump(&table()).expect("dump").expect("the table");
            dump.ruleset.chains[&name("c")].rules.clone()
        })
    };
    for (form, same) in forms {
        let rules = read(form);
        assert_eq!(rules, read(same), "{form}");
        assert!(!rules[0].matches.is_empty(), "{form}: {rules:?}");
    }
    let twice = read("meta nfproto ipv4 meta nfproto ipv6 accept");
    let both = Family::BOTH.map(Match::Family);
    assert_eq!(twice, [Rule::new(both, Verdict::Accept)]);
}

#[test]
fn a_constant_set_is_a_set() {
    in_namespace(|kernel| {
        let text = "table inet nftpol { set nd { type icmpv6_type; flags constant; elements = { 133, 134 }; }\n}\n";
        nft(&["-f", "-"], text);
        let dump = kernel.dump(&table()).expect("dump").expect("the table");
        assert_eq!(dump.foreign, []);
        assert_eq!(dump.ruleset.sets[&name("nd")].set_type, SetType::Icmpv6Type);
        assert_eq!(dump.ruleset.sets[&name("nd")].elements.len(), 2);
    });
}
