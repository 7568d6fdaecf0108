//! What our matches about frames mean to the kernel, and what the simulator says.
//!
//! A bridge of two ports. Each match drops what it holds for. A frame that arrives
//! behind the bridge is one that the match does not hold for.

mod frames;

use std::net::IpAddr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::process::Command;
use std::time::Duration;

use nft::Kernel;
use nix::ifaddrs::getifaddrs;
use nix::net::if_::if_nametoindex;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{
    AddressFamily, LinkAddr, MsgFlags, SockFlag, SockProtocol, SockType, bind, recv, send, socket,
};
use ruleset::simulator::{Outcome, simulate_at};
use ruleset::{
    AddressTest, BaseChain, Chain, Element, EtherType, Family, Field, Hook, InterfaceField, Key,
    KeyAddress, KeyFields, MacField, Match, PortRange, Rule, Ruleset, Set, SetType, Store, Tag,
    TagType, Transport, Verdict,
};

use self::frames::{MAC, OTHER_MAC, OTHER_V4, OTHER_V6, Sample, V4, V6, samples};
use crate::common::creation;
use crate::namespace::{in_namespace, name};

/// Conditions, each with the hook where it is tried.
fn conditions() -> Vec<(Hook, Vec<Match>)> {
    use EtherType::{Arp, Ipv4, Ipv6};
    use Hook::{Forward, Postrouting, Prerouting};
    use InterfaceField::{In, Out};
    use MacField::{ArpSender, Destination, Source};
    let is = Match::EtherType;
    let key = |interface, mac, address| {
        let fields = KeyFields { interface, mac, address };
        Match::Key(fields, set_of(fields))
    };
    let source = |family| Some(KeyAddress::Source(family));
    let destination = |family| Some(KeyAddress::Destination(family));
    let advert = || Match::Icmpv6Type(name("types"));
    let mut all = Vec::new();
    for hook in [Prerouting, Forward, Postrouting] {
        all.extend([vec![is(Ipv4)], vec![is(Ipv6)], vec![is(Arp)]].map(|one| (hook, one)));
        all.extend(Family::BOTH.map(|family| (hook, vec![Match::Family(family)])));
        for tag in [TagType::Dot1q, TagType::Dot1ad] {
            all.push((hook, vec![Match::PriorityTag(tag)]));
        }
        all.extend([In, Out].map(|one| (hook, vec![key(Some(one), None, None)])));
        for family in Family::BOTH {
            all.push((hook, vec![key(Some(In), Some(Source), source(family))]));
            all.push((hook, vec![key(Some(Out), Some(Destination), destination(family))]));
        }
    }
    let before = [
        vec![key(None, Some(Source), None)],
        vec![key(None, Some(Destination), None)],
        vec![key(Some(In), Some(Source), None)],
        vec![key(Some(In), None, source(Family::V4))],
        vec![is(Ipv4), key(Some(In), Some(Source), source(Family::V4)), Match::NotProtocol(1)],
        vec![is(Ipv6), key(Some(In), Some(Source), source(Family::V6)), Match::NotProtocol(58)],
        vec![is(Arp), key(Some(In), Some(Source), Some(KeyAddress::ArpSender))],
        vec![is(Arp), key(Some(In), Some(ArpSender), Some(KeyAddress::ArpSender))],
        vec![is(Arp), key(None, Some(ArpSender), None)],
        vec![is(Arp), key(None, None, Some(KeyAddress::ArpSender))],
        vec![advert(), key(Some(In), Some(Source), Some(KeyAddress::Target))],
        vec![is(Ipv6), advert(), key(None, None, Some(KeyAddress::Target))],
        vec![advert()],
        vec![Match::IcmpType(5)],
        vec![is(Ipv4), Match::IcmpType(5)],
        vec![Match::NotProtocol(1)],
        vec![Match::NotProtocol(17)],
        vec![Match::Protocol(17)],
        vec![Match::NotInit],
        vec![Match::Port(Transport::Udp, PortRange(7, 7))],
        vec![Match::Ports(stored(Store::Ports))],
        vec![is(Ipv6), Match::Ports(stored(Store::Ports))],
        vec![in_store(Family::V4)],
        vec![Match::Address(Field::Source, AddressTest::Set(Family::V4, empty()))],
        vec![in_store(Family::V6), Match::Ports(stored(Store::Ports))],
        vec![Match::AddressPort(
            Field::Source,
            Family::V4,
            Transport::Udp,
            stored(Store::AddressPorts(Family::V4)),
        )],
        vec![Match::HopLimit(255)],
        vec![Match::Address(Field::Source, AddressTest::Set(Family::V4, name("owned4")))],
        vec![Match::Address(Field::Source, AddressTest::Set(Family::V6, name("owned6")))],
    ];
    all.extend(before.map(|one| (Prerouting, one)));
    all
}

fn stored(store: Store) -> ruleset::Name {
    ruleset::Name::in_store(store, Tag::new(0xfedc << 80 | 7))
}

/// A stored set without elements, in a store that has the sender's address.
fn empty() -> ruleset::Name {
    ruleset::Name::in_store(Store::Addresses(Family::V4), Tag::new(7))
}

fn in_store(family: Family) -> Match {
    let set = AddressTest::Set(family, stored(Store::Addresses(family)));
    Match::Address(Field::Source, set)
}

fn set_of(fields: KeyFields) -> ruleset::Name {
    let KeyFields { interface, mac, address } = fields;
    let (interface, mac) = (interface.is_some(), mac.is_some());
    let address = address.map_or("none".to_owned(), |one| format!("{:?}", one.address_type()));
    name(&format!("k.{interface}.{mac}.{address}"))
}

/// A table that drops what a condition holds for. The sets hold the sender's and the
/// receiver's keys.
fn table(hook: Hook, matches: &[Match], ports: [u32; 2]) -> Ruleset {
    let mut all = Ruleset::bridge(name("nftpol"));
    for test in matches {
        let Match::Key(fields, set) = test else { continue };
        let [from, to] = [
            (ports[0], MAC, IpAddr::from(V4), IpAddr::from(V6)),
            (ports[1], OTHER_MAC, OTHER_V4.into(), OTHER_V6.into()),
        ];
        let element = |(port, mac, v4, v6)| {
            let is_v4 = |one: KeyAddress| one.address_type() == ruleset::KeyAddressType::V4;
            fields.element(Key {
                interface: fields.interface.map(|_| port),
                mac: fields.mac.map(|_| mac),
                address: fields.address.map(|one| if is_v4(one) { v4 } else { v6 }),
            })
        };
        let is_sender = fields.mac == Some(MacField::ArpSender)
            || matches!(fields.address, Some(KeyAddress::ArpSender | KeyAddress::Target));
        let elements = [Some(from), Some(to).filter(|_| !is_sender)];
        let set_of_keys = Set::new(fields.set_type(), None);
        let elements = elements.into_iter().flatten().map(element);
        all.sets.insert(set.clone(), set_of_keys.with(elements));
    }
    let mut add = |text: &str, set_type, element| {
        all.sets.insert(name(text), Set::new(set_type, None).with([element]));
    };
    add("owned4", SetType::Address(Family::V4), Element::Address(V4.into()));
    add("owned6", SetType::Address(Family::V6), Element::Address(V6.into()));
    add("types", SetType::Icmpv6Type, Element::Icmpv6Type(136));
    all.sets.extend(Store::all());
    for store in Store::ALL {
        let element = match store {
            Store::Addresses(Family::V4) => Element::Address(V4.into()),
            Store::Addresses(Family::V6) => Element::Address(V6.into()),
            Store::AddressPorts(Family::V4) => Element::AddressPort(V4.into(), 7),
            Store::AddressPorts(Family::V6) => Element::AddressPort(V6.into(), 7),
            Store::Ports => Element::ProtocolPort(Transport::Udp, 7),
        };
        all.sets.insert(stored(store), Set::new(store.stores(), None).with([element]));
    }
    all.sets.insert(empty(), Set::new(SetType::Address(Family::V4), None));
    let base = Some(BaseChain { hook, priority: -310 });
    let rules = vec![Rule::new(matches.iter().cloned(), Verdict::Drop)];
    all.chains.insert(name("c"), Chain { base, rules, comment: None }.into());
    all
}

/// A packet socket on an interface.
fn packet_socket(interface: &str) -> OwnedFd {
    let link: LinkAddr = getifaddrs()
        .expect("interfaces")
        .find_map(|one| {
            one.address
                .filter(|_| one.interface_name == interface)
                .and_then(|address| address.as_link_addr().copied())
        })
        .expect("a link address");
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let all = SockProtocol::EthAll;
    let socket = socket(AddressFamily::Packet, SockType::Raw, flags, all).expect("a socket");
    bind(socket.as_raw_fd(), &link).expect("bind");
    socket
}

/// The numbers at the ends of the frames that arrive until nothing more does.
fn arrived(socket: &OwnedFd) -> Vec<u32> {
    const QUIET: Duration = Duration::from_millis(60);
    let mut found = Vec::new();
    let mut buffer = [0; 512];
    loop {
        let timeout = PollTimeout::try_from(QUIET).expect("a time");
        let mut ready = [PollFd::new(std::os::fd::AsFd::as_fd(socket), PollFlags::POLLIN)];
        if poll(&mut ready, timeout).expect("poll") == 0 {
            return found;
        }
        while let Ok(length) = recv(socket.as_raw_fd(), &mut buffer, MsgFlags::empty()) {
            let end = length.checked_sub(4).and_then(|at| buffer[at..length].first_chunk());
            found.extend(end.map(|end| u32::from_be_bytes(*end)));
        }
    }
}

fn ip(lines: &str) {
    for line in lines.lines() {
        let status = Command::new("ip").args(line.split_whitespace()).status();
        assert!(status.expect("start ip(8)").success(), "ip {line}");
    }
}

fn wire() {
    ip("link add br0 type bridge mcast_snooping 0
        link add in0 type veth peer name from0
        link add out0 type veth peer name to0
        link set in0 master br0
        link set out0 master br0");
    // br_netfilter cuts what stands behind a packet, if it is there.
    for family in ["ip", "ip6", "arp"] {
        let path = format!("/proc/sys/net/bridge/bridge-nf-call-{family}tables");
        let _ = std::fs::write(path, "0");
    }
    for interface in ["br0", "in0", "from0", "out0", "to0"] {
        let _ = std::fs::write(format!("/proc/sys/net/ipv6/conf/{interface}/disable_ipv6"), "1");
        ip(&format!("link set {interface} up"));
    }
}

#[test]
fn the_kernel_takes_frames_as_the_simulator_does() {
    in_namespace(|kernel| {
        wire();
        let ports = ["in0", "out0"].map(|port| if_nametoindex(port).expect("a port"));
        let (from, to) = (packet_socket("from0"), packet_socket("to0"));
        let samples = samples();
        // Without a table every frame arrives, once the ports forward.
        let lost = || {
            let all = seen(&from, &to, &samples);
            let lost = samples.iter().zip(all).filter(|(_, arrived)| !arrived);
            lost.map(|(sample, _)| sample.what.clone()).collect::<Vec<_>>()
        };
        // A new port of a bridge needs a moment.
        (0..100).find(|_| lost().len() < samples.len()).expect("the bridge forwards");
        assert_eq!(lost(), [""; 0], "without a table");
        let (mut differences, mut held) = (Vec::new(), 0);
        for (hook, matches) in conditions() {
            let table = table(hook, &matches, ports);
            let expected = samples.iter().map(|sample| passes(&table, hook, sample, ports));
            let expected: Vec<bool> = expected.collect();
            let real = with(kernel, &table, || seen(&from, &to, &samples));
            held += real.iter().filter(|passed| !**passed).count();
            for ((sample, real), expected) in samples.iter().zip(&real).zip(&expected) {
                if real != expected && !(sample.is_fragment && looks_behind_ip(&matches)) {
                    differences.push(format!("{hook} {matches:?}: {} passes: {real}", sample.what));
                }
            }
        }
        assert!(differences.is_empty(), "{}", differences.join("\n"));
        println!("{} frames, dropped {held} times", samples.len());
        assert!(held > 1_000, "the conditions hold for few frames");
    });
}

/// Whether a condition looks at a packet's ports or type.
fn looks_behind_ip(matches: &[Match]) -> bool {
    matches.iter().any(|one| {
        matches!(
            one,
            Match::Port(..)
                | Match::Ports(_)
                | Match::AddressPort(..)
                | Match::IcmpType(_)
                | Match::Icmpv6Type(_)
                | Match::NotInit
        )
    })
}

fn with<T>(kernel: &mut Kernel, table: &Ruleset, body: impl FnOnce() -> T) -> T {
    kernel.send(&table.id(), &creation(table), None).expect("send");
    let result = body();
    assert!(kernel.delete_table(&table.id()).expect("delete"));
    result
}

/// Which frames arrive.
fn seen(from: &OwnedFd, to: &OwnedFd, samples: &[Sample]) -> Vec<bool> {
    for (sample, number) in samples.iter().zip(0_u32..) {
        let frame = [&OTHER_MAC[..], &MAC, &sample.bytes, &number.to_be_bytes()].concat();
        send(from.as_raw_fd(), &frame, MsgFlags::empty()).expect("send a frame");
    }
    let found = arrived(to);
    (0..).zip(samples).map(|(number, _)| found.contains(&number)).collect()
}

fn passes(table: &Ruleset, hook: Hook, sample: &Sample, ports: [u32; 2]) -> bool {
    let mut packet = sample.packet;
    packet.hop_limit = 255;
    packet.frame.in_interface = ports[0];
    packet.frame.out_interface = ports[1];
    packet.frame.source_mac = MAC;
    packet.frame.destination_mac = OTHER_MAC;
    let simulated = simulate_at(table, hook, &packet).expect("a whole table");
    simulated.outcome != Outcome::Drop
}
