//! The forms that bind pods to interfaces, in both families: our messages, nft(8)'s
//! messages from the same text, and the text of the crate `ruleset` give the kernel
//! the same table.

use std::net::IpAddr;

use crate::common::{creation, nft};
use crate::namespace::{in_namespace, name};
use crate::samples;
use ruleset::{
    AddressRange, AddressTest, BaseChain, Chain, Comment, Element, EtherType, Family, Field,
    FlowSide, Hook, InterfaceField, Key, KeyAddress, KeyFields, MacField, Match, PortRange, Rule,
    Ruleset, Set, SetType, TableFamily, TableId, TagType, Transport, Verdict,
};

use Family::{V4, V6};
use KeyAddress::{ArpSender, Destination, Source, Target};

const MAC: [u8; 6] = [2, 0, 0, 0, 0, 0xfe];
pub(crate) const BOTH: [TableFamily; 2] = [TableFamily::Inet, TableFamily::Bridge];

fn fields(
    interface: Option<InterfaceField>,
    mac: Option<MacField>,
    address: Option<KeyAddress>,
) -> KeyFields {
    KeyFields { interface, mac, address }
}

const IN: Option<InterfaceField> = Some(InterfaceField::In);
const OUT: Option<InterfaceField> = Some(InterfaceField::Out);
const FROM: Option<MacField> = Some(MacField::Source);
const TO: Option<MacField> = Some(MacField::Destination);
const ARP_MAC: Option<MacField> = Some(MacField::ArpSender);

/// A set of each type of key that tables use, and of types of messages.
fn add_sets(all: &mut Ruleset) {
    let ip = |text: &str| -> Option<IpAddr> { Some(text.parse().expect("an address")) };
    let mut set = |text: &str, fields: KeyFields, address| {
        let key = Key {
            interface: fields.interface.map(|_| 0x0102_0304),
            mac: fields.mac.map(|_| MAC),
            address,
        };
        let comment = (text.len() > 5).then(|| Comment::new(&"c".repeat(Comment::MAX_BYTES)));
        let set = Set::new(fields.set_type(), comment).with([fields.element(key)]);
        all.sets.insert(name(text), set);
    };
    set("own4", fields(IN, FROM, Some(Source(V4))), ip("10.0.0.1"));
    set("own6", fields(IN, FROM, Some(Source(V6))), ip("fd00::1"));
    set("targets", fields(IN, FROM, Some(Target)), ip("fe80::1"));
    set("speakers", fields(IN, FROM, None), None);
    set("routed4", fields(IN, None, Some(Source(V4))), ip("10.0.0.1"));
    set("routed6", fields(IN, None, Some(Source(V6))), ip("fd00::1"));
    set("via", fields(IN, None, Some(Target)), ip("fe80::1"));
    set("by", fields(None, FROM, Some(Target)), ip("fe80::1"));
    set("mac4", fields(None, FROM, Some(Source(V4))), ip("10.0.0.1"));
    set("mac6", fields(None, FROM, Some(Source(V6))), ip("fd00::1"));
    set("ports", fields(IN, None, None), None);
    set("macs", fields(None, FROM, None), None);
    set("owned4", fields(None, None, Some(Source(V4))), ip("10.0.0.1"));
    set("owned6", fields(None, None, Some(Source(V6))), ip("fd00::1"));
    set("owned-targets", fields(None, None, Some(Target)), ip("fe80::1"));
    for (family, text) in [(V4, "10.0.0.1"), (V6, "fd00::1")] {
        let pair = ip(text).map(|one| Element::AddressPair(one, one));
        let set = Set::new(SetType::AddressPair(family), None).with(pair);
        all.sets.insert(name(&format!("pair{}", family.digit())), set);
    }
    let types = [134, 137].map(Element::Icmpv6Type);
    all.sets.insert(name("routers"), Set::new(SetType::Icmpv6Type, None).with(types));
}

const SETS: &str = r#"
    set own4 { type iface_index . ether_addr . ipv4_addr; elements = { 16909060 . 02:00:00:00:00:fe . 10.0.0.1 }; }
    set own6 { type iface_index . ether_addr . ipv6_addr; elements = { 16909060 . 02:00:00:00:00:fe . fd00::1 }; }
    set targets { typeof iif . ether saddr . @th,64,128; comment "COMMENT"; elements = { 16909060 . 02:00:00:00:00:fe . 0xfe800000000000000000000000000001 }; }
    set speakers { type iface_index . ether_addr; comment "COMMENT"; elements = { 16909060 . 02:00:00:00:00:fe }; }
    set routed4 { type iface_index . ipv4_addr; comment "COMMENT"; elements = { 16909060 . 10.0.0.1 }; }
    set routed6 { type iface_index . ipv6_addr; comment "COMMENT"; elements = { 16909060 . fd00::1 }; }
    set via { typeof iif . @th,64,128; elements = { 16909060 . 0xfe800000000000000000000000000001 }; }
    set by { typeof ether saddr . @th,64,128; elements = { 02:00:00:00:00:fe . 0xfe800000000000000000000000000001 }; }
    set mac4 { type ether_addr . ipv4_addr; elements = { 02:00:00:00:00:fe . 10.0.0.1 }; }
    set mac6 { type ether_addr . ipv6_addr; elements = { 02:00:00:00:00:fe . fd00::1 }; }
    set ports { type iface_index; elements = { 16909060 }; }
    set macs { type ether_addr; elements = { 02:00:00:00:00:fe }; }
    set owned4 { type ipv4_addr; comment "COMMENT"; elements = { 10.0.0.1 }; }
    set owned6 { type ipv6_addr; comment "COMMENT"; elements = { fd00::1 }; }
    set owned-targets { typeof @th,64,128; comment "COMMENT"; elements = { 0xfe800000000000000000000000000001 }; }
    set pair4 { type ipv4_addr . ipv4_addr; elements = { 10.0.0.1 . 10.0.0.1 }; }
    set pair6 { type ipv6_addr . ipv6_addr; elements = { fd00::1 . fd00::1 }; }
    set routers { type icmpv6_type; elements = { 134, 137 }; }
"#;

type Sample = (Vec<Match>, &'static str);

fn key(fields: KeyFields, set: &str) -> Match {
    Match::Key(fields, name(set))
}

/// Matches that both families have.
fn samples() -> Vec<Sample> {
    let routers = Match::Icmpv6Type(name("routers"));
    let in_set =
        |family, set: &str| Match::Address(Field::Source, AddressTest::Set(family, name(set)));
    vec![
        (vec![key(fields(IN, None, None), "ports")], "iif @ports"),
        (vec![key(fields(OUT, None, None), "ports")], "oif @ports"),
        (
            vec![key(fields(IN, None, Some(Source(V4))), "routed4"), Match::NotProtocol(1)],
            "iif . ip saddr @routed4 meta l4proto != icmp",
        ),
        (
            vec![key(fields(IN, None, Some(Source(V6))), "routed6"), Match::NotProtocol(58)],
            "iif . ip6 saddr @routed6 meta l4proto != ipv6-icmp",
        ),
        (vec![key(fields(OUT, None, Some(Destination(V4))), "routed4")], "oif . ip daddr @routed4"),
        (
            vec![key(fields(OUT, None, Some(Destination(V6))), "routed6")],
            "oif . ip6 daddr @routed6",
        ),
        (
            vec![in_set(V4, "owned4"), key(fields(IN, None, Some(Source(V4))), "routed4")],
            "ip saddr @owned4 iif . ip saddr @routed4",
        ),
        (
            vec![in_set(V6, "owned6"), routers.clone(), key(fields(IN, None, Some(Target)), "via")],
            "ip6 saddr @owned6 icmpv6 type @routers iif . @th,64,128 @via",
        ),
        (vec![in_set(V4, "owned4"), Match::IcmpType(5)], "ip saddr @owned4 icmp type redirect"),
        (vec![Match::SourcePort(Transport::Udp, 8472)], "udp sport 8472"),
        (vec![Match::SourcePort(Transport::Sctp, 0), Match::NotInit], "sctp sport 0 @th,96,8 != 1"),
        (vec![Match::NotInit], "meta l4proto sctp @th,96,8 != 1"),
        (
            vec![Match::Port(Transport::Sctp, PortRange(7, 7)), Match::NotInit],
            "sctp dport 7 @th,96,8 != 1",
        ),
        (vec![Match::NotProtocol(0)], "meta l4proto != 0"),
    ]
}

fn inet_samples() -> Vec<Sample> {
    let via = key(fields(IN, None, Some(Target)), "via");
    vec![
        // Not every kernel tracks the flows of frames.
        (vec![Match::CtTranslated], "ct status dnat"),
        (vec![Match::SourceIsLocal], "fib saddr type local"),
        (
            vec![Match::Port(Transport::Udp, PortRange(8472, 8472)), Match::CtTranslated],
            "udp dport 8472 ct status dnat",
        ),
        (vec![Match::IcmpType(5)], "icmp type redirect"),
        (
            vec![Match::FlowSource(FlowSide::Original, V4, name("pair4"))],
            "ip saddr . ct original ip saddr @pair4",
        ),
        (
            vec![Match::FlowSource(FlowSide::Reply, V6, name("pair6"))],
            "ip6 saddr . ct reply ip6 saddr @pair6",
        ),
        (vec![Match::FlowOpener(V4, name("owned4"))], "ct original ip saddr @owned4"),
        (
            vec![
                Match::FlowOpener(V6, name("owned6")),
                Match::Address(Field::Source, AddressTest::Set(V6, name("owned6"))),
            ],
            "ct original ip6 saddr @owned6 ip6 saddr @owned6",
        ),
        (vec![Match::IcmpType(0)], "icmp type 0"),
        (
            vec![key(fields(IN, None, None), "ports"), Match::IcmpType(255)],
            "iif @ports icmp type 255",
        ),
        (
            vec![Match::Icmpv6Type(name("routers")), via],
            "icmpv6 type @routers iif . @th,64,128 @via",
        ),
        (vec![Match::Family(V4)], "meta nfproto ipv4"),
    ]
}

fn bridge_samples() -> Vec<Sample> {
    use EtherType::{Arp, Ipv4, Ipv6};
    let is = Match::EtherType;
    let routers = || Match::Icmpv6Type(name("routers"));
    let single = |text: &str| {
        let address = text.parse().expect("an address");
        Match::Address(Field::Source, AddressTest::In(AddressRange::single(address)))
    };
    vec![
        (
            vec![is(Ipv4), key(fields(IN, FROM, Some(Source(V4))), "own4"), Match::NotProtocol(1)],
            "ether type ip iif . ether saddr . ip saddr @own4 meta l4proto != icmp",
        ),
        (
            vec![is(Ipv6), key(fields(IN, FROM, Some(Source(V6))), "own6"), Match::NotProtocol(58)],
            "ether type ip6 iif . ether saddr . ip6 saddr @own6 meta l4proto != ipv6-icmp",
        ),
        (
            vec![is(Ipv4), key(fields(OUT, TO, Some(Destination(V4))), "own4")],
            "ether type ip oif . ether daddr . ip daddr @own4",
        ),
        (
            vec![is(Ipv6), key(fields(OUT, TO, Some(Destination(V6))), "own6")],
            "ether type ip6 oif . ether daddr . ip6 daddr @own6",
        ),
        (
            vec![
                is(Arp),
                key(fields(IN, FROM, Some(ArpSender)), "own4"),
                key(fields(IN, ARP_MAC, Some(ArpSender)), "own4"),
            ],
            "ether type arp iif . ether saddr . arp saddr ip @own4 \
             iif . arp saddr ether . arp saddr ip @own4",
        ),
        (
            vec![is(Arp), key(fields(IN, ARP_MAC, None), "speakers")],
            "ether type arp iif . arp saddr ether @speakers",
        ),
        (
            vec![is(Arp), key(fields(None, ARP_MAC, None), "macs")],
            "ether type arp arp saddr ether @macs",
        ),
        (
            vec![is(Arp), key(fields(None, None, Some(ArpSender)), "owned4")],
            "ether type arp arp saddr ip @owned4",
        ),
        (vec![is(Arp)], "ether type arp"),
        (vec![is(Ipv4)], "ether type ip"),
        (vec![is(Ipv6)], "ether type ip6"),
        (vec![Match::Family(V4)], "meta protocol ip"),
        (vec![Match::Family(V6)], "meta protocol ip6"),
        (vec![key(fields(IN, FROM, None), "speakers")], "iif . ether saddr @speakers"),
        (vec![key(fields(OUT, TO, None), "speakers")], "oif . ether daddr @speakers"),
        (vec![key(fields(None, FROM, None), "macs")], "ether saddr @macs"),
        (vec![key(fields(None, TO, None), "macs")], "ether daddr @macs"),
        (vec![key(fields(None, FROM, Some(Source(V4))), "mac4")], "ether saddr . ip saddr @mac4"),
        (vec![key(fields(None, TO, Some(Source(V6))), "mac6")], "ether daddr . ip6 saddr @mac6"),
        (
            vec![is(Ipv6), routers(), key(fields(IN, FROM, Some(Target)), "targets")],
            "ether type ip6 icmpv6 type @routers iif . ether saddr . @th,64,128 @targets",
        ),
        (
            vec![single("::"), routers(), key(fields(None, FROM, Some(Target)), "by")],
            "ip6 saddr :: icmpv6 type @routers ether saddr . @th,64,128 @by",
        ),
        (
            vec![routers(), key(fields(None, None, Some(Target)), "owned-targets")],
            "meta protocol ip6 icmpv6 type @routers @th,64,128 @owned-targets",
        ),
        (vec![Match::IcmpType(5)], "meta protocol ip icmp type redirect"),
        (vec![is(Ipv4), Match::IcmpType(5)], "ether type ip icmp type redirect"),
        (vec![single("10.0.0.1"), Match::Protocol(17)], "ip saddr 10.0.0.1 meta l4proto udp"),
        (vec![is(Ipv4), single("10.0.0.1")], "ether type ip ip saddr 10.0.0.1"),
        (vec![Match::PriorityTag(TagType::Dot1q)], "@ll,96,32 & 0xffff0fff == 0x81000000"),
        (vec![Match::PriorityTag(TagType::Dot1ad)], "@ll,96,32 & 0xffff0fff == 0x88a80000"),
        (vec![Match::NotToHost, Match::HopLimit(255)], "meta pkttype != host ip6 hoplimit 255"),
    ]
}

/// A table of every form, with its text.
pub(crate) fn everything(family: TableFamily) -> (Ruleset, String) {
    let mut all = Ruleset::of(TableId { family, name: name("nftpol") });
    add_sets(&mut all);
    let mut body = SETS.replace("COMMENT", &"c".repeat(Comment::MAX_BYTES));
    let mut samples = samples();
    samples.extend(match family {
        TableFamily::Inet => inet_samples(),
        TableFamily::Bridge => bridge_samples(),
    });
    for (number, (matches, line)) in samples.into_iter().enumerate() {
        let rules = vec![Rule::new(matches, Verdict::Accept)];
        all.chains
            .insert(name(&format!("c{number:02}")), Chain { rules, ..Chain::default() }.into());
        body += &format!("chain c{number:02} {{\n{line} accept\n}}\n");
    }
    for (hook, priority) in
        [(Hook::Prerouting, -310), (Hook::Input, -1), (Hook::Forward, -1), (Hook::Postrouting, 310)]
    {
        let base = Some(BaseChain { hook, priority });
        let rules = vec![Rule::new([], Verdict::Drop)];
        all.chains.insert(name(&hook.to_string()), Chain { base, rules, comment: None }.into());
        body += &format!(
            "chain {hook} {{ type filter hook {hook} priority {priority}; policy accept;\ndrop\n}}\n"
        );
    }
    let text = format!("table {} {{\n{body}\n}}\n", all.id());
    (all, text)
}

#[test]
fn keys_and_frames_read_back() {
    for (all, text) in BOTH.map(everything) {
        samples::what_we_send_reads_back(&all);
        samples::what_nft_sends_reads_back(&all, &text);
        samples::what_nft_sends_reads_back(&all, &ruleset::text::ruleset(&all));
    }
}

#[test]
fn nft_sees_no_difference_in_keys_and_frames() {
    for (all, text) in BOTH.map(everything) {
        samples::nft_sees_no_difference(&all, &text);
        samples::nft_sees_no_difference(&all, &ruleset::text::ruleset(&all));
    }
}

/// nft can load again what it lists of our sets: it knows the types of the keys.
#[test]
fn what_nft_lists_of_our_sets_is_what_we_sent() {
    for (all, _) in BOTH.map(everything) {
        let mut sets = Ruleset::of(all.id());
        sets.sets = all.sets;
        let list = in_namespace(|kernel| {
            kernel.send(&sets.id(), &creation(&sets), None).expect("send");
            nft(&["list", "table", &sets.family.to_string(), "nftpol"], "")
        });
        samples::what_nft_sends_reads_back(&sets, &list);
    }
}
