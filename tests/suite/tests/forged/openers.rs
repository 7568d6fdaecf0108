//! A1: one forged packet opens a flow in connection tracking. What the forger sends
//! then is a reply, and replies pass.

use std::net::{IpAddr, SocketAddr};
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use netbed::arena::Way;
use netbed::forge::{Packet, echo, marker, syn, udp};

use super::attack::{ALL_PAIRS, ALL_WAYS, ANYWHERE, Attack, GATEWAY, Must, NEIGHBOURS, On, Try};

const BASE: Attack = Attack {
    point: "A1",
    name: "",
    networks: ANYWHERE,
    families: On::Both,
    fits: |_| true,
    cases: NEIGHBOURS,
    ways: ALL_WAYS,
    run: |_| Ok(false),
    must: Must::Stop,
};

pub const ATTACKS: &[Attack] = &[
    Attack { name: "opener: UDP", run: |t| opened(t, udp), ..BASE },
    Attack { name: "opener: TCP, both ends open", run: |t| opened(t, syn), ..BASE },
    Attack {
        name: "opener: by a neighbour's hands",
        ways: GATEWAY,
        run: |t| accomplice(t, "bystander"),
        cases: &[("attacker", "victim")],
        ..BASE
    },
    Attack {
        name: "opener: by the hands of a pod of the other node",
        ways: GATEWAY,
        cases: &[("attacker", "victim")],
        run: |t| accomplice(t, "attacker-2"),
        ..BASE
    },
    Attack { name: "opener: UDP in fragments", ways: GATEWAY, run: in_fragments, ..BASE },
    Attack { name: "opener: echo request", ways: GATEWAY, run: echoed, ..BASE },
    Attack { name: "opener: many ports in one burst", ways: GATEWAY, run: burst, ..BASE },
    Attack {
        name: "opener: at the attacker's own node port",
        ways: GATEWAY,
        cases: &[("attacker", "victim-2"), ("attacker", "victim")],
        // In IPv4 the node refuses its own address as the source of what it masqueraded.
        fits: |t| t.v6 || t.to == "victim",
        run: own_node_port,
        ..BASE
    },
    Attack {
        name: "opener: by a host of the network",
        ways: GATEWAY,
        cases: &[("outsider", "victim")],
        run: outsider,
        ..BASE
    },
    Attack {
        name: "opener: to a prisoner, from across",
        ways: GATEWAY,
        cases: &[("prisoner", "bystander-2")],
        run: |t| opened(t, udp),
        ..BASE
    },
    Attack {
        name: "opener: own packet first, then as the victim",
        ways: GATEWAY,
        cases: ALL_PAIRS,
        run: other_order,
        ..BASE
    },
];

type Make = fn(SocketAddr, SocketAddr, &[u8]) -> Packet;

/// `victim -> attacker`, sent by the attacker, then `attacker -> victim`.
fn opened(t: &Try<'_>, make: Make) -> Result<bool> {
    let (attacker, victim) = (t.fresh(t.source()?), t.fresh(t.target()?));
    let forged = make(victim, attacker, &marker());
    match t.way {
        Way::Gateway => t.send(&forged)?,
        // The opener goes to another neighbour, or comes back to the forger itself.
        Way::Neighbour => t.arena.packet(t.from, Way::Neighbour, t.from, &forged)?,
        Way::Broadcast => t.arena.packet(t.from, Way::Broadcast, t.from, &forged)?,
    }
    sleep(Duration::from_millis(2));
    let reply = marker();
    let way = if t.way == Way::Broadcast { Way::Neighbour } else { t.way };
    t.arena.packet(t.from, way, t.to, &make(attacker, victim, &reply))?;
    t.arrives(reply)
}

/// Another pod forges the opener, the attacker answers.
fn accomplice(t: &Try<'_>, forger: &str) -> Result<bool> {
    let (attacker, victim) = (t.fresh(t.source()?), t.fresh(t.target()?));
    t.arena.packet(forger, Way::Gateway, t.from, &udp(victim, attacker, &marker()))?;
    sleep(Duration::from_millis(5));
    let reply = marker();
    t.send(&udp(attacker, victim, &reply))?;
    t.arrives(reply)
}

fn in_fragments(t: &Try<'_>) -> Result<bool> {
    let (attacker, victim) = (t.fresh(t.source()?), t.fresh(t.target()?));
    let data = [&marker()[..], &[0; 26]].concat();
    for piece in udp(victim, attacker, &data).fragments(16) {
        t.arena.bytes(t.from, t.way, t.to, &piece)?;
    }
    sleep(Duration::from_millis(2));
    let reply = marker();
    t.send(&udp(attacker, victim, &reply))?;
    t.arrives(reply)
}

/// An echo request of the victim's, then the attacker's reply.
fn echoed(t: &Try<'_>) -> Result<bool> {
    let identifier = t.arena.port();
    t.send(&echo(t.target()?, t.source()?, identifier, &marker()))?;
    sleep(Duration::from_millis(2));
    let reply = marker();
    let rest = [&identifier.to_be_bytes()[..], &[0, 1], &reply].concat();
    let kind = if t.v6 { 129 } else { 0 };
    t.send(&netbed::forge::icmp(t.source()?, t.target()?, (kind, 0), &rest))?;
    t.arrives(reply)
}

/// A hundred openers at once, so that some meets any moment.
fn burst(t: &Try<'_>) -> Result<bool> {
    let pairs: Vec<_> = (0..100)
        .map(|_| anyhow::Ok((t.fresh(t.source()?), t.fresh(t.target()?))))
        .collect::<Result<_>>()?;
    for (attacker, victim) in &pairs {
        t.send(&udp(*victim, *attacker, &marker()))?;
    }
    sleep(Duration::from_millis(2));
    let reply = marker();
    for (attacker, victim) in &pairs {
        t.send(&udp(*attacker, *victim, &reply))?;
    }
    t.arrives(reply)
}

/// The attacker's own Service. The victim seems to call it at the other node, and
/// the attacker answers what arrives.
fn own_node_port(t: &Try<'_>) -> Result<bool> {
    let node = t.arena.testbed().spec().node_address(1 - t.arena.node(t.from)?, t.v6);
    let opener = marker();
    let victim = t.fresh(t.target()?);
    t.send(&udp(victim, SocketAddr::new(node, 30090), &opener))?;
    answer(t, opener, SocketAddr::new(t.source()?, 5000))
}

/// Under the victim's address to the outsider, by the victim's node. It may be
/// masqueraded there.
fn outsider(t: &Try<'_>) -> Result<bool> {
    let (own, victim) = (t.fresh(t.source()?), t.fresh(t.target()?));
    let opener = marker();
    t.send(&udp(victim, own, &opener))?;
    answer(t, opener, own)
}

/// Answers a packet that arrived at the attacker, to where it came from.
fn answer(t: &Try<'_>, opener: netbed::forge::Marker, own: SocketAddr) -> Result<bool> {
    let Some(frame) = t.arena.catch(t.from, opener)? else { return Ok(false) };
    let reply = marker();
    t.send(&udp(own, source(&frame)?, &reply))?;
    t.arrives(reply)
}

/// The source of a UDP packet in an untagged frame.
fn source(frame: &[u8]) -> Result<SocketAddr> {
    let packet = frame.get(14..).context("a frame")?;
    let (address, header): (IpAddr, _) = match packet.first().context("a packet")? >> 4 {
        4 => (<[u8; 4]>::try_from(packet.get(12..16).context("short")?)?.into(), 20),
        6 => (<[u8; 16]>::try_from(packet.get(8..24).context("short")?)?.into(), 40),
        version => bail!("IP version {version}"),
    };
    let port = packet.get(header..header + 2).context("short")?;
    Ok(SocketAddr::new(address, u16::from_be_bytes(port.try_into()?)))
}

/// The attacker's packets first and again, the forged one in between.
fn other_order(t: &Try<'_>) -> Result<bool> {
    let (attacker, victim) = (t.fresh(t.source()?), t.fresh(t.target()?));
    let reply = marker();
    t.send(&udp(attacker, victim, &reply))?;
    t.send(&udp(victim, attacker, &marker()))?;
    sleep(Duration::from_millis(2));
    t.send(&udp(attacker, victim, &reply))?;
    t.arrives(reply)
}
