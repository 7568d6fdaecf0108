//! Connection tracking, with flows of real packets.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV6, UdpSocket};
use std::os::fd::AsRawFd;
use std::process::Command;

use nft::{Conntrack, Filter, Flow, Tuple, TupleId};
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrIn, SockaddrIn6, sendto,
    socket,
};
use ruleset::Family;

use crate::common::nft;
use crate::namespace::in_namespace;

/// A namespace that tracks all flows over loopback.
fn tracked<T: Send>(body: impl FnOnce(&mut Conntrack) -> T + Send) -> T {
    in_namespace(|_| {
        let up = Command::new("ip").args(["link", "set", "lo", "up"]).status().expect("ip(8)");
        assert!(up.success());
        nft(
            &["-f", "-"],
            "table inet tracking {
                chain zones {
                    type filter hook output priority raw;
                    udp sport 4444 ct zone set 7
                    udp dport 4444 ct zone set 7
                }
                chain translation {
                    type nat hook output priority -100;
                    ip daddr 127.9.9.9 udp dport 53 dnat ip to 127.0.0.1:5300
                }
                chain states { type filter hook output priority filter; ct state new accept; }
            }",
        );
        body(&mut Conntrack::open().expect("open"))
    })
}

/// Binds a socket. A program that another test starts has a copy of each open socket
/// until it runs (fork(2)), so that the address of one that was closed can be in use.
fn bind(address: &str) -> UdpSocket {
    let mut tries = 0;
    loop {
        match UdpSocket::bind(address) {
            Err(error) if error.kind() == std::io::ErrorKind::AddrInUse && tries < 500 => {
                std::thread::sleep(std::time::Duration::from_millis(10));
                tries += 1;
            }
            bound => return bound.expect("bind the server"),
        }
    }
}

/// Sends one datagram. Both sockets stay open, so no error comes back.
fn send(from: &str, to: &str) -> (UdpSocket, UdpSocket) {
    let server = if to.starts_with('[') { "[::1]:5300" } else { "127.0.0.1:5300" };
    let server = bind(server);
    let client = UdpSocket::bind(from).expect("bind the client");
    client.send_to(b"x", to).expect("send");
    (client, server)
}

/// One echo request of each family. The ICMP request has its checksum. The kernel
/// adds that of ICMPv6 (RFC 792, RFC 4443).
fn echo_requests() {
    let raw = |family, protocol| {
        socket(family, SockType::Raw, SockFlag::SOCK_CLOEXEC, protocol).expect("a raw socket")
    };
    let four = raw(AddressFamily::Inet, SockProtocol::Icmp);
    let request = [8, 0, 0xe5, 0xca, 0x12, 0x34, 0, 1];
    let to = SockaddrIn::new(127, 0, 0, 1, 0);
    sendto(four.as_raw_fd(), &request, &to, MsgFlags::empty()).expect("send");
    let six = raw(AddressFamily::Inet6, SockProtocol::IcmpV6);
    let request = [128, 0, 0, 0, 0x12, 0x34, 0, 1];
    let to = SockaddrIn6::from(SocketAddrV6::new(Ipv6Addr::LOCALHOST, 0, 0, 0));
    sendto(six.as_raw_fd(), &request, &to, MsgFlags::empty()).expect("send");
}

fn list(conntrack: &mut Conntrack, filter: &Filter) -> BTreeSet<Flow> {
    let mut found = BTreeSet::new();
    conntrack
        .flows(filter, |flow| {
            found.insert(*flow);
        })
        .expect("list");
    found
}

fn udp(source: &str, destination: &str) -> Tuple {
    let (source, destination): (SocketAddr, SocketAddr) =
        (source.parse().expect("source"), destination.parse().expect("destination"));
    Tuple {
        source: source.ip(),
        destination: destination.ip(),
        protocol: 17,
        transport: TupleId::Ports { source: source.port(), destination: destination.port() },
    }
}

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

#[test]
fn flows_are_listed_by_family_and_by_either_end() {
    tracked(|conntrack| {
        let _sockets =
            ["127.0.0.2:1000", "127.0.0.3:1000"].map(|from| send(from, "127.9.9.9:53").0);
        let _six = send("[::1]:1000", "[::1]:5300");
        let of = |from: &str| (udp(from, "127.9.9.9:53"), udp("127.0.0.1:5300", from));
        let four = BTreeSet::from([of("127.0.0.2:1000"), of("127.0.0.3:1000")]);
        let six = (udp("[::1]:1000", "[::1]:5300"), udp("[::1]:5300", "[::1]:1000"));
        let all: BTreeSet<_> = four.iter().copied().chain([six]).collect();
        let cases = [
            (Filter::All, all),
            (Filter::Family(Family::V4), four.clone()),
            (Filter::Family(Family::V6), BTreeSet::from([six])),
            (Filter::OriginalSource(ip("127.0.0.3")), BTreeSet::from([of("127.0.0.3:1000")])),
            (Filter::OriginalSource(ip("127.0.0.1")), BTreeSet::new()),
            (Filter::ReplySource(ip("127.0.0.1")), four),
            (Filter::ReplySource(ip("127.9.9.9")), BTreeSet::new()),
            (Filter::OriginalSource(ip("::1")), BTreeSet::from([six])),
            (Filter::ReplySource(ip("::1")), BTreeSet::from([six])),
            (Filter::ReplySource(ip("::2")), BTreeSet::new()),
        ];
        for (filter, expected) in cases {
            let found = list(conntrack, &filter);
            let found: BTreeSet<_> = found.iter().map(|flow| (flow.original, flow.reply)).collect();
            assert_eq!(found, expected, "{filter:?}");
        }
    });
}

/// The kernel applies an IPv4 filter and sends only what matches.
#[test]
fn the_kernel_filters_by_ipv4_address() {
    tracked(|conntrack| {
        let _sockets =
            ["127.0.0.2:1000", "127.0.0.3:1000"].map(|from| send(from, "127.9.9.9:53").0);
        let filter = Filter::OriginalSource(ip("127.0.0.3"));
        assert_eq!(conntrack.flows(&filter, |_| ()).expect("list"), 1);
        assert_eq!(conntrack.flows(&Filter::Family(Family::V6), |_| ()).expect("list"), 0);
    });
}

/// A later entry at the same memory address can have the same id, so a test cannot
/// rely on a later entry. It uses another id instead.
#[test]
fn a_deletion_hits_this_entry_and_none_of_another_id() {
    tracked(|conntrack| {
        let (_client, _server) = send("127.0.0.2:1000", "127.0.0.1:5300");
        let other = UdpSocket::bind("127.0.0.3:1000").expect("bind");
        other.send_to(b"x", "127.0.0.1:5300").expect("send");
        let found = list(conntrack, &Filter::OriginalSource(ip("127.0.0.2")));
        let flow = *found.first().expect("the flow");
        let successor = Flow { id: flow.id ^ 1, ..flow };
        assert_eq!(conntrack.get(&flow.original, 0).expect("get"), Some(flow));
        assert!(!conntrack.delete(&successor).expect("delete"), "it has another id");
        assert_eq!(list(conntrack, &Filter::All).len(), 2);
        assert_eq!(conntrack.delete_all(&[successor, flow, flow]).expect("delete"), 1);
        assert!(!conntrack.delete(&flow).expect("delete again"), "it is gone");
        assert_eq!(conntrack.get(&flow.original, 0).expect("get"), None);
        let left = list(conntrack, &Filter::All);
        let sources: Vec<IpAddr> = left.iter().map(|flow| flow.original.source).collect();
        assert_eq!(sources, [ip("127.0.0.3")]);
    });
}

#[test]
fn entries_of_zones_icmp_and_ipv6_are_deleted_too() {
    tracked(|conntrack| {
        let _zone = send("127.0.0.2:4444", "127.0.0.1:5300");
        echo_requests();
        let flows = list(conntrack, &Filter::All);
        let shape = |flow: &Flow| (flow.zone, flow.original.protocol);
        let expected = BTreeSet::from([(7, 17), (0, 1), (0, 58)]);
        assert_eq!(flows.iter().map(shape).collect::<BTreeSet<_>>(), expected, "{flows:#?}");
        for flow in &flows {
            let echo = matches!(flow.original.transport, TupleId::Icmp { icmp_type: 8 | 128, .. });
            assert_eq!(echo, flow.original.protocol != 17, "{flow:?}");
            assert!(conntrack.delete(flow).expect("delete"), "{flow:?}");
        }
        assert_eq!(list(conntrack, &Filter::All), BTreeSet::new());
    });
}

/// The callback panics in the middle of a dump of several datagrams. The next
/// request still works.
#[test]
fn a_large_dump_is_whole_and_can_be_left() {
    const FLOWS: u16 = 3000;
    tracked(|conntrack| {
        let server = UdpSocket::bind("127.0.0.1:0").expect("bind");
        let to = server.local_addr().expect("address");
        for port in 0..FLOWS {
            let client = UdpSocket::bind(("127.0.0.2", 2000 + port)).expect("bind");
            client.send_to(b"x", to).expect("send");
        }
        let left = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            conntrack.flows(&Filter::All, |_| panic!("enough"))
        }));
        assert!(left.is_err());
        let flows = list(conntrack, &Filter::All);
        assert_eq!(flows.len(), usize::from(FLOWS));
        let flows: Vec<Flow> = flows.into_iter().collect();
        assert_eq!(conntrack.delete_all(&flows).expect("delete"), usize::from(FLOWS));
        assert_eq!(list(conntrack, &Filter::All).len(), 0);
    });
}
