//! A new TCP flow at an isolated pod begins with a SYN.
//!
//! Connection tracking picks up a flow from its middle, whichever side sends first.
//! So a segment without an entry may pass to or from an isolated pod only if it is a
//! SYN, in whatever direction the pod is isolated. Otherwise a denied flow would
//! continue.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use netbed::scenario;
use netbed::segment::{Segment, SegmentListener, send};
use netbed::testbed::{Endpoint, Testbed};
use ruleset::TcpFlags;
use samples::fixtures::{isolated_victim, victim_and};
use samples::testbed_spec::Network;

fn three_pods(network: Network) -> Result<Testbed> {
    scenario::connected(victim_and("client", network), "mf")
}

/// Segments that belong to no flow. Each has its own client port.
fn strays(first_port: u16) -> impl Iterator<Item = Segment> {
    let (syn, ack) = (TcpFlags::SYN.0, TcpFlags::ACK.0);
    let flags = [ack, syn | ack, TcpFlags::RST.0, TcpFlags::FIN.0 | ack, syn | TcpFlags::FIN.0];
    (first_port..).zip(flags).map(move |(source_port, flags)| Segment {
        source_port,
        destination_port: 80,
        sequence: 1000,
        acknowledgement: if flags & ack == 0 { 0 } else { 2000 },
        flags: TcpFlags(flags),
    })
}

/// Sends strays from one pod to the other and checks which arrive.
fn check(from: &Endpoint, to: &Endpoint, expected: bool, port: u16, when: &str) -> Result<()> {
    for v6 in [false, true] {
        let ears = SegmentListener::at(to, v6)?;
        for segment in strays(port) {
            send(from, to, v6, segment)?;
            let heard = ears.hear(segment.source_port, segment.destination_port)?;
            assert_eq!(heard, expected, "{when}: {} to {}, {segment:?}", from.name, to.name);
        }
    }
    Ok(())
}

#[test]
fn strays_pass_only_between_pods_that_are_not_isolated() -> Result<()> {
    for network in [Network::Bridge, Network::Routed] {
        let testbed = three_pods(network)?;
        let client = testbed.endpoint("dev/client")?;
        let victim = testbed.endpoint("dev/victim")?;
        let third = testbed.endpoint("dev/third")?;
        scenario::apply(&testbed, "")?;
        check(client, victim, true, 20_000, "nobody is isolated")?;
        check(victim, client, true, 20_100, "nobody is isolated")?;
        for (direction, port) in [("Ingress", 21_000), ("Egress", 22_000)] {
            scenario::apply(&testbed, &isolated_victim(direction))?;
            let when = format!("{network:?}, {direction}");
            check(client, victim, false, port, &when)?;
            check(victim, client, false, port + 100, &when)?;
            check(client, third, true, port + 200, &when)?;
        }
    }
    Ok(())
}

/// Data from the victim makes no entry in which the client's segments are replies.
#[test]
fn a_denied_flow_is_not_taken_up_from_the_servers_side() -> Result<()> {
    for network in [Network::Bridge, Network::Routed] {
        let testbed = three_pods(network)?;
        let node = &testbed.endpoint("node-1")?.namespace;
        let (client, victim) = (testbed.endpoint("dev/client")?, testbed.endpoint("dev/victim")?);
        scenario::apply(&testbed, &isolated_victim("Ingress"))?;
        let data = |source_port, destination_port, sequence, acknowledgement| Segment {
            source_port,
            destination_port,
            sequence,
            acknowledgement,
            flags: TcpFlags::ACK,
        };
        // First with the chain as it is, then without its rules. The second pass
        // shows that conntrack would pick up this flow.
        for (port, expected) in [(23_000, false), (23_001, true)] {
            for v6 in [false, true] {
                let ears = SegmentListener::at(victim, v6)?;
                send(victim, client, v6, data(80, port, 1000, 2000))?;
                send(client, victim, v6, data(port, 80, 2000, 1000))?;
                assert_eq!(ears.hear(port, 80)?, expected, "{network:?}, IPv6 {v6}, {port}");
            }
            let flush = ["flush", "chain", "inet", "nftpol", "midflow"];
            ensure!(node.command("nft").args(flush).status()?.success(), "flush the chain");
        }
    }
    Ok(())
}

const PATIENCE: Duration = Duration::from_secs(20);
const MOMENT: Duration = Duration::from_millis(500);

/// Waits until a node's connection tracking has no flow with this port.
fn forgotten(node: &Endpoint, port: u16) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    let word = format!("port={port} ");
    loop {
        let path = "/proc/thread-self/net/nf_conntrack";
        let flows = node.namespace.run(|| std::fs::read_to_string(path))?.context(path)?;
        if !flows.lines().any(|flow| flow.contains(&word)) {
            return Ok(());
        }
        ensure!(Instant::now() < deadline, "port {port} is not forgotten:\n{flows}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// An open connection without its entry, as after the entry was deleted.
#[test]
fn an_open_connection_does_not_go_on_once_its_entry_is_gone() -> Result<()> {
    for network in [Network::Bridge, Network::Routed] {
        let testbed = three_pods(network)?;
        let node = testbed.endpoint("node-1")?;
        let (client, victim) = (testbed.endpoint("dev/client")?, testbed.endpoint("dev/victim")?);
        scenario::apply(&testbed, "")?;
        node.namespace.sysctl("netfilter.nf_conntrack_tcp_timeout_established", "1")?;
        for v6 in [false, true] {
            let to = (victim.address(v6).context("an address")?, 7000);
            let listener = victim.namespace.run(|| TcpListener::bind(to))??;
            let mut opened = client.namespace.run(|| TcpStream::connect(to))??;
            let (mut served, from) = listener.accept()?;
            for end in [&opened, &served] {
                end.set_read_timeout(Some(MOMENT))?;
            }
            opened.write_all(b"a")?;
            served.read_exact(&mut [0]).context("an open connection")?;
            forgotten(node, from.port())?;
            scenario::apply(&testbed, &isolated_victim("Ingress"))?;
            let what = format!("{network:?}, IPv6 {v6}");
            for (mut by, mut at) in [(&served, &opened), (&opened, &served)] {
                by.write_all(b"b")?;
                assert!(at.read_exact(&mut [0]).is_err(), "{what}: data got through");
            }
            // The data was only held up.
            scenario::apply(&testbed, "")?;
            for end in [&mut opened, &mut served] {
                end.set_read_timeout(Some(PATIENCE))?;
                end.read_exact(&mut [0]).with_context(|| format!("{what}: what was held up"))?;
            }
        }
    }
    Ok(())
}
