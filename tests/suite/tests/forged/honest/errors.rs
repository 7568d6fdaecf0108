//! Pings, errors, SCTP, tunnels of pods' own.

use std::net::{SocketAddr, UdpSocket};

use anyhow::Result;
use netbed::arena::{CLUSTER_IPS, ServiceAddress, Way};
use netbed::forge::{SCTP_INIT, echo, icmp, marker, sctp, udp};

use super::sockets::{any, endpoint};
use super::{BASE, PATIENCE};
use crate::attack::{Attack, Must, TUNNELS, Try, VXLAN};

/// Two MACs and the EtherType (IEEE 802.3, 3.2).
const ETHERNET_HEADER: usize = 14;

pub const WAYS: &[Attack] = &[
    Attack { name: "echo in fragments, whatever its data", run: in_fragments, ..BASE },
    Attack { name: "echo request and reply", run: pinged, ..BASE },
    Attack {
        name: "error of a closed port",
        cases: &[
            ("victim", "friend"),
            ("victim", "friend-2"),
            ("prisoner", "friend-2"),
            ("attacker", "bystander-2"),
            ("victim", "outsider"),
        ],
        run: refused,
        ..BASE
    },
    Attack {
        name: "error of a closed port behind a ClusterIP",
        cases: &[
            ("friend", "server"),
            ("friend", "server-2"),
            ("friend-2", "server"),
            ("friend", "victim"),
        ],
        run: service_refused,
        ..BASE
    },
    Attack {
        name: "error of a client that is gone, through a ClusterIP",
        cases: &[
            ("friend", "server"),
            ("friend", "server-2"),
            ("friend-2", "server"),
            ("friend", "victim"),
        ],
        run: answer_refused,
        ..BASE
    },
    Attack {
        name: "error of a router outside, masqueraded",
        cases: &[("victim", "outsider"), ("attacker", "outsider")],
        run: unreachable_outside,
        ..BASE
    },
    Attack {
        name: "error of the node: time is up",
        cases: &[("victim", "friend-2"), ("prisoner", "friend-2"), ("attacker", "bystander-2")],
        run: time_is_up,
        ..BASE
    },
    Attack {
        name: "error of the node: too big",
        networks: VXLAN,
        cases: &[("victim", "friend-2"), ("prisoner", "friend-2")],
        run: too_big,
        ..BASE
    },
    Attack { name: "SCTP", run: initiated, ..BASE },
    Attack {
        name: "the tunnel's port at a pod",
        networks: TUNNELS,
        cases: &[("attacker", "bystander"), ("attacker", "bystander-2")],
        run: own_tunnel,
        ..BASE
    },
    // Nothing tells this host from a node that has a further address.
    Attack {
        point: "limit",
        name: "the tunnel's port outside, masqueraded",
        networks: TUNNELS,
        cases: &[("attacker", "outsider")],
        run: own_tunnel,
        must: Must::Stop,
        ..BASE
    },
];

fn pinged(t: &Try<'_>) -> Result<bool> {
    let marker = marker();
    t.send(&echo(t.source()?, t.target()?, t.arena.port(), &marker))?;
    t.arena.arrives(t.from, marker)
}

/// The later fragment begins with bytes that a message of a router would have.
fn in_fragments(t: &Try<'_>) -> Result<bool> {
    for first in [5, 134, 136, 137] {
        let marker = marker();
        let data = [&[first; 24][..], &marker].concat();
        for piece in echo(t.source()?, t.target()?, t.arena.port(), &data).fragments(16) {
            t.arena.bytes(t.from, t.way, t.to, &piece)?;
        }
        if !t.arrives(marker)? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn refused(t: &Try<'_>) -> Result<bool> {
    refused_at(t, t.fresh(t.target()?))
}

fn service_refused(t: &Try<'_>) -> Result<bool> {
    for at in services_of(t)? {
        if !refused_at(t, at)? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn services_of(t: &Try<'_>) -> Result<Vec<SocketAddr>> {
    let services = CLUSTER_IPS.iter().filter(|service| service.pod == t.to);
    let at = |service: &ServiceAddress| {
        Ok(SocketAddr::new(service.address[usize::from(t.v6)].parse()?, service.port))
    };
    services.map(at).collect()
}

fn refused_at(t: &Try<'_>, to: SocketAddr) -> Result<bool> {
    let any = any(t.v6);
    let socket = endpoint(t, t.from)?.namespace.run(|| {
        let socket = UdpSocket::bind((any, 0))?;
        socket.connect(to)?;
        socket.send(b"anybody?")?;
        std::io::Result::Ok(socket)
    })??;
    hears_refusal(&socket)
}

fn hears_refusal(socket: &UdpSocket) -> Result<bool> {
    socket.set_read_timeout(Some(PATIENCE))?;
    let error = socket.recv(&mut [0; 16]).err();
    Ok(error.is_some_and(|error| error.kind() == std::io::ErrorKind::ConnectionRefused))
}

/// The client asks and goes. The server's answer finds nobody.
fn answer_refused(t: &Try<'_>) -> Result<bool> {
    let any = any(t.v6);
    for at in services_of(t)? {
        let server = endpoint(t, t.to)?.namespace.run(|| UdpSocket::bind((any, 8080)))??;
        let port = t.arena.port();
        let client = endpoint(t, t.from)?.namespace.run(|| {
            let socket = UdpSocket::bind((any, port))?;
            socket.send_to(b"anybody?", at)?;
            std::io::Result::Ok(socket)
        })??;
        server.set_read_timeout(Some(PATIENCE))?;
        let Ok((_, from)) = server.recv_from(&mut [0; 16]) else { return Ok(false) };
        drop(client);
        server.connect(from)?;
        server.send(b"here")?;
        if !hears_refusal(&server)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// A router behind the node's translation of the source quotes what it saw.
fn unreachable_outside(t: &Try<'_>) -> Result<bool> {
    let marker = marker();
    t.send(&udp(t.fresh(t.source()?), t.fresh(t.target()?), &marker))?;
    let Some(frame) = t.arena.catch(t.to, marker)? else { return Ok(false) };
    let quote = &frame[ETHERNET_HEADER..];
    let (router, kind) = if t.v6 { ("2001:db8::9", (1, 0)) } else { ("192.0.2.9", (3, 1)) };
    let node = t.arena.testbed().spec().node_address(t.arena.node(t.from)?, t.v6);
    let error = icmp(router.parse()?, node, kind, &[&[0; 4][..], quote].concat());
    t.arena.packet(t.to, Way::Gateway, t.from, &error)?;
    t.arena.arrives(t.from, marker)
}

fn time_is_up(t: &Try<'_>) -> Result<bool> {
    let marker = marker();
    t.send(&udp(t.fresh(t.source()?), t.fresh(t.target()?), &marker).hops(1))?;
    t.arena.arrives(t.from, marker)
}

fn too_big(t: &Try<'_>) -> Result<bool> {
    let marker = marker();
    let data = [&marker[..], &[0; 1440]].concat();
    let mut packet = udp(t.fresh(t.source()?), t.fresh(t.target()?), &data).to_bytes();
    if !t.v6 {
        packet[6] |= 0x40; // don't fragment (RFC 791, 3.1)
        packet[10..12].fill(0);
        let sum = checksum(&packet[..20]);
        packet[10..12].copy_from_slice(&sum.to_be_bytes());
    }
    t.arena.bytes(t.from, t.way, t.to, &packet)?;
    t.arena.arrives(t.from, marker)
}

fn checksum(header: &[u8]) -> u16 {
    let words = header.chunks(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]])));
    let sum: u32 = words.sum();
    !(((sum & 0xffff) + (sum >> 16)) as u16)
}

fn initiated(t: &Try<'_>) -> Result<bool> {
    let marker = marker();
    t.send(&sctp(t.fresh(t.source()?), t.fresh(t.target()?), SCTP_INIT, &marker))?;
    t.arrives(marker)
}

fn own_tunnel(t: &Try<'_>) -> Result<bool> {
    let mut arrived = true;
    for port in [8472, 8285] {
        let marker = marker();
        t.arena.datagram(t.from, SocketAddr::new(t.target()?, port), &marker)?;
        arrived &= t.arrives(marker)?;
    }
    Ok(arrived)
}
