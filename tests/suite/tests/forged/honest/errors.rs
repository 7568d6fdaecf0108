//! Pings, errors, SCTP, tunnels of pods' own.

use std::net::{SocketAddr, UdpSocket};

use anyhow::Result;
use netbed::forge::{SCTP_INIT, echo, marker, sctp, udp};

use super::sockets::{any, endpoint};
use super::{BASE, PATIENCE};
use crate::attack::{Attack, TUNNELS, Try, VXLAN};

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
        name: "the tunnel's port at a pod or outside",
        networks: TUNNELS,
        cases: &[("attacker", "bystander"), ("attacker", "bystander-2"), ("attacker", "outsider")],
        run: own_tunnel,
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
    let (to, any) = (t.fresh(t.target()?), any(t.v6));
    let socket = endpoint(t, t.from)?.namespace.run(|| {
        let socket = UdpSocket::bind((any, 0))?;
        socket.connect(to)?;
        socket.send(b"anybody?")?;
        std::io::Result::Ok(socket)
    })??;
    socket.set_read_timeout(Some(PATIENCE))?;
    let error = socket.recv(&mut [0; 16]).err();
    Ok(error.is_some_and(|error| error.kind() == std::io::ErrorKind::ConnectionRefused))
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
