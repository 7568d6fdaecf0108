//! Packets that a rule logs, and their counters.

use std::collections::BTreeMap;
use std::net::{IpAddr, UdpSocket};
use std::time::{Duration, Instant};

use nft::{DropCounts, DropLog, DropLogError, LoggedPacket};

use crate::common::nft;
use crate::namespace::in_namespace;

const GROUP: u16 = 77;
const PATIENCE: Duration = Duration::from_secs(5);

/// A rule as ours, for what this host sends to itself.
const RULES: &str = "table inet nftpol {
    set logged { type ipv4_addr; size 65535; flags dynamic,timeout; timeout 1m; }
    chain c {
        type filter hook output priority 0;
        udp dport != 5300 accept
        update @logged { ip daddr counter limit rate 2/second burst 5 packets } log prefix \"i.dev/p.0\" group 77
        drop
    }
}";

fn with_rules<T: Send>(body: impl FnOnce() -> T + Send) -> T {
    in_namespace(|_| {
        let up = std::process::Command::new("ip").args(["link", "set", "lo", "up"]).status();
        assert!(up.expect("ip(8)").success());
        nft(&["-f", "-"], &RULES.replace("; }", "\n}").replace("; ", "\n"));
        body()
    })
}

fn send(to: &str, count: usize) -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("bind");
    for _ in 0..count {
        // A packet that is dropped on output is EPERM.
        let _ = socket.send_to(b"x", to);
    }
    socket
}

fn read(log: &mut DropLog, count: usize) -> Vec<LoggedPacket> {
    let (mut found, start) = (Vec::new(), Instant::now());
    while found.len() < count && start.elapsed() < PATIENCE {
        assert_eq!(log.wait(Duration::from_millis(100), |one| found.push(one)).expect("wait"), 0);
    }
    found
}

#[test]
fn what_a_rule_drops_is_read_and_counted() {
    with_rules(|| {
        let mut log = DropLog::open(GROUP).expect("open");
        let socket = send("127.0.0.1:5300", 12);
        let packets = read(&mut log, 5);
        assert_eq!(packets.len(), 5, "the burst");
        let headers = packets[0].headers.expect("headers");
        let port = socket.local_addr().expect("an address").port();
        assert_eq!((headers.protocol, headers.ports), (17, Some((port, 5300))));
        assert_eq!((packets[0].prefix.as_str(), packets[0].asked), ("i.dev/p.0", None));
        let mut counts = DropCounts::open().expect("open");
        let expected: BTreeMap<IpAddr, u64> = [([127, 0, 0, 1].into(), 12)].into();
        assert_eq!(counts.of("nftpol", "logged").expect("counts"), expected);
        assert_eq!(counts.of("nftpol", "missing").expect("counts"), BTreeMap::new());
        assert_eq!(counts.of("missing", "logged").expect("counts"), BTreeMap::new());
    });
}

#[test]
fn a_group_has_one_reader() {
    with_rules(|| {
        let first = DropLog::open(GROUP).expect("open");
        let second = DropLog::open(GROUP);
        assert!(matches!(second, Err(DropLogError::Taken(GROUP))), "{second:?}");
        drop(first);
        let start = Instant::now();
        while let Err(error) = DropLog::open(GROUP) {
            assert!(start.elapsed() < PATIENCE, "{error}");
        }
    });
}

#[test]
fn packets_that_nobody_reads_are_counted() {
    with_rules(|| {
        nft(
            &["-f", "-"],
            "flush chain inet nftpol c\nadd rule inet nftpol c udp dport 5300 log prefix \"x\" group 77 drop",
        );
        let mut log = DropLog::open(GROUP).expect("open");
        // Each takes about a kilobyte of 8 MiB.
        let _socket = send("127.0.0.1:5300", 40_000);
        let (mut read, mut lost, start) = (0, 0, Instant::now());
        while read + lost < 40_000 && start.elapsed() < PATIENCE {
            lost += log.wait(Duration::from_millis(10), |_| read += 1).expect("wait");
            if read > 0 && lost == 0 {
                let _ = send("127.0.0.1:5300", 1);
            }
        }
        assert!(lost > 0 && read > 1000 && read + lost >= 40_000, "read {read}, lost {lost}");
    });
}
