//! A6, A7 and A8: the node, or the victim itself, does the attacker's work.

use std::net::{IpAddr, SocketAddr};
use std::thread::sleep;
use std::time::Duration;

use anyhow::Result;
use netbed::arena::{CLUSTER_IPS, Way};
use netbed::forge::{SCTP_DATA, SCTP_HEARTBEAT, echo, icmp, marker, sctp, udp};

use super::attack::{ALL_PAIRS, ALL_WAYS, ANYWHERE, Attack, GATEWAY, Must, On, TO_VICTIMS, Try};

const BASE: Attack = Attack {
    point: "A6",
    name: "",
    networks: ANYWHERE,
    families: On::Both,
    fits: |_| true,
    cases: &[("attacker", "victim"), ("attacker-2", "victim"), ("outsider", "victim")],
    ways: GATEWAY,
    run: |_| Ok(false),
    must: Must::Stop,
};

pub const ATTACKS: &[Attack] = &[
    Attack { name: "the node answers an echo request", run: echoed, fits: unmasqueraded, ..BASE },
    Attack {
        name: "the node says that a port is closed",
        run: closed_port,
        fits: unmasqueraded,
        ..BASE
    },
    Attack { name: "the node says that time is up", run: time_exceeded, ..BASE },
    Attack { name: "a UDP service of the node answers", run: service, fits: unmasqueraded, ..BASE },
    Attack {
        name: "the other node answers an echo request",
        run: |t| {
            let node = t.arena.testbed().spec().node_address(1, t.v6);
            reply_of(t, node)
        },
        ..BASE
    },
    Attack {
        point: "A7",
        name: "source and destination are the victim's",
        cases: TO_VICTIMS,
        ways: ALL_WAYS,
        run: |t| t.claims(t.target()?),
        ..BASE
    },
    Attack {
        point: "A7",
        name: "the same from a host of the network",
        cases: &[("outsider", "victim")],
        run: |t| t.claims(t.target()?),
        ..BASE
    },
    Attack {
        point: "A7",
        name: "from the victim to the victim's own Service",
        cases: &[("attacker", "victim")],
        run: own_service,
        ..BASE
    },
    Attack {
        point: "A8",
        name: "SCTP: a heartbeat of the other side, then data",
        cases: ALL_PAIRS,
        run: heartbeat,
        ..BASE
    },
    Attack {
        point: "A8",
        name: "SCTP: a forged heartbeat, then data",
        cases: &[("attacker", "victim"), ("prisoner", "bystander")],
        run: forged_heartbeat,
        ..BASE
    },
    Attack {
        point: "A1",
        name: "an error that quotes a known flow, from nobody",
        cases: &[("attacker", "victim"), ("attacker-2", "victim")],
        run: |t| quoted(t, if t.v6 { "2001:db8::9" } else { "192.0.2.9" }.parse()?),
        ..BASE
    },
    Attack {
        point: "A1",
        name: "an error that quotes a known flow, from itself",
        cases: &[("attacker", "victim"), ("prisoner", "bystander")],
        run: |t| quoted(t, t.source()?),
        ..BASE
    },
    Attack {
        point: "A1",
        name: "an error that quotes a known flow, from a pod of another node",
        cases: &[("attacker-2", "victim")],
        run: |t| quoted(t, t.source()?),
        must: Must::StayOpen("its own node does not know the flow, and the victim's not the pod"),
        ..BASE
    },
];

/// A pod's packet to the other node's own address is masqueraded. In IPv4 the answer
/// would be a packet from the node's address that comes back to the node.
fn unmasqueraded(t: &Try<'_>) -> bool {
    t.v6 || !t.is_routed() || t.from != "attacker-2"
}

fn echoed(t: &Try<'_>) -> Result<bool> {
    reply_of(t, t.arena.gateway_address(t.arena.node(t.to)?, t.v6))
}

/// An echo request under the victim's address, to a node.
fn reply_of(t: &Try<'_>, node: IpAddr) -> Result<bool> {
    let marker = marker();
    t.send(&echo(t.target()?, node, t.arena.port(), &marker))?;
    t.arrives(marker)
}

fn closed_port(t: &Try<'_>) -> Result<bool> {
    let marker = marker();
    let node = t.arena.gateway_address(t.arena.node(t.to)?, t.v6);
    // Errors are limited to one a second for each destination, with a burst of six
    // (icmp(7), icmp_ratelimit); the marker is in the quote.
    t.send(&udp(t.fresh(t.target()?), t.fresh(node), &marker))?;
    t.arrives(marker)
}

/// A packet whose time is up at the victim's node.
fn time_exceeded(t: &Try<'_>) -> Result<bool> {
    let marker = marker();
    let beyond: IpAddr = if t.v6 { "fd00:77::1" } else { "192.168.77.1" }.parse()?;
    let packet = udp(t.fresh(t.target()?), t.fresh(beyond), &marker);
    // The attacker of the other node passes one node more, the outsider's packet would
    // not be sent back to it by a redirect.
    let hops = if t.is_near()? { 1 } else { 2 };
    let to: IpAddr = t.address("friend")?;
    let packet =
        if t.is_near()? { packet } else { udp(t.fresh(t.target()?), t.fresh(to), &marker) };
    t.send(&packet.hops(hops))?;
    t.arrives(marker)
}

/// A server of the node that answers where a packet seems to come from.
fn service(t: &Try<'_>) -> Result<bool> {
    let index = t.arena.node(t.to)?;
    let node = t.arena.gateway_address(index, t.v6);
    let name = if index == 0 { "node-1" } else { "node-2" };
    let at = SocketAddr::new(node, t.arena.port());
    let socket = t.arena.endpoint(name)?.namespace.run(|| std::net::UdpSocket::bind(at))??;
    socket.set_read_timeout(Some(Duration::from_millis(100)))?;
    let marker = marker();
    t.send(&udp(t.fresh(t.target()?), at, &marker))?;
    let mut buffer = [0; 64];
    if let Ok((length, from)) = socket.recv_from(&mut buffer) {
        socket.send_to(&buffer[..length], from)?;
    }
    t.arrives(marker)
}

fn own_service(t: &Try<'_>) -> Result<bool> {
    let service = CLUSTER_IPS[0];
    let to: IpAddr = service.address[usize::from(t.v6)].parse()?;
    let marker = marker();
    t.send(&udp(t.fresh(t.target()?), SocketAddr::new(to, service.port), &marker))?;
    t.arrives(marker)
}

/// What the victim's stack sends by itself while it believes in an old association.
fn heartbeat(t: &Try<'_>) -> Result<bool> {
    let (attacker, victim) = (t.fresh(t.source()?), t.fresh(t.target()?));
    t.arena.packet(
        t.to,
        Way::Gateway,
        t.from,
        &sctp(victim, attacker, SCTP_HEARTBEAT, &marker()),
    )?;
    sleep(Duration::from_millis(5));
    let data = marker();
    // Connection tracking learns the attacker's verification tag from its heartbeat
    // (nf_conntrack_sctp_packet, Linux 6.18).
    t.send(&sctp(attacker, victim, SCTP_HEARTBEAT, &marker()))?;
    t.send(&sctp(attacker, victim, SCTP_DATA, &data))?;
    t.arrives(data)
}

fn forged_heartbeat(t: &Try<'_>) -> Result<bool> {
    let (attacker, victim) = (t.fresh(t.source()?), t.fresh(t.target()?));
    t.send(&sctp(victim, attacker, SCTP_HEARTBEAT, &marker()))?;
    sleep(Duration::from_millis(5));
    let data = marker();
    // Connection tracking learns the attacker's verification tag from its heartbeat
    // (nf_conntrack_sctp_packet, Linux 6.18).
    t.send(&sctp(attacker, victim, SCTP_HEARTBEAT, &marker()))?;
    t.send(&sctp(attacker, victim, SCTP_DATA, &data))?;
    t.arrives(data)
}

/// The attacker knows a flow of the victim's and sends an error about it.
fn quoted(t: &Try<'_>, source: IpAddr) -> Result<bool> {
    let (friend, victim) = (t.fresh(t.address("friend")?), t.fresh(t.target()?));
    t.arena.packet(t.to, Way::Gateway, "friend", &udp(victim, friend, &marker()))?;
    sleep(Duration::from_millis(5));
    let said = marker();
    let quote = udp(victim, friend, &said).to_bytes();
    let kind = if t.v6 { (1, 4) } else { (3, 3) };
    t.send(&icmp(source, t.target()?, kind, &[&[0; 4][..], &quote].concat()))?;
    t.arrives(said)
}
