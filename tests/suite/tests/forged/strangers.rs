//! S: a local pod's address comes from its own interface only. An interface that is
//! bound to nobody, such as that of a pod that has just begun, may not say it either.

use std::net::IpAddr;

use anyhow::Result;
use netbed::arena::Way;
use netbed::forge::{self, advertisement, arp, marker, udp};

use super::attack::{ALL_WAYS, ANYWHERE, Attack, BRIDGE, GATEWAY, Must, On, Try};

const BASE: Attack = Attack {
    point: "S",
    name: "",
    networks: ANYWHERE,
    families: On::Both,
    fits: |_| true,
    cases: CASES,
    ways: ALL_WAYS,
    run: |_| Ok(false),
    must: Must::Stop,
};

const CASES: &[(&str, &str)] =
    &[("stranger", "victim"), ("stranger", "bystander"), ("stranger", "victim-2")];
/// On one bridge. The node is reached under its bridge's hardware address.
const NEAR: &[(&str, &str)] = &[("stranger", "victim"), ("stranger", "bystander")];
const NODE: &[(&str, &str)] = &[("stranger", "node-1")];
const TO_NEIGHBOUR: &[Way] = &[Way::Neighbour];
const FRAMES: Attack = Attack { networks: BRIDGE, cases: NEAR, ways: TO_NEIGHBOUR, ..BASE };
const TO_NODE: Attack = Attack { networks: BRIDGE, cases: NODE, ways: GATEWAY, ..BASE };

/// Tags of VLAN 0. Every receiver strips them.
const ONE: &[u8] = &[0x81, 0, 0, 0];
const TWO: &[u8] = &[0x88, 0xa8, 0, 0, 0x81, 0, 0, 0];
const THREE: &[u8] = &[0x81, 0, 0, 0, 0x81, 0, 0, 0, 0x81, 0, 0, 0];

pub const ATTACKS: &[Attack] = &[
    Attack { name: "a local pod's address", run: |t| t.claims(t.address("friend")?), ..BASE },
    Attack { name: "the receiver's own address", run: |t| t.claims(t.target()?), ..BASE },
    Attack {
        name: "opener under the victim's address",
        cases: &[("stranger", "victim")],
        ways: GATEWAY,
        run: opener,
        ..BASE
    },
    Attack { name: "local address behind a tag", run: |t| tagged(t, ONE), ..FRAMES },
    Attack { name: "local address behind two tags", run: |t| tagged(t, TWO), ..FRAMES },
    Attack { name: "local address behind three tags", run: |t| tagged(t, THREE), ..FRAMES },
    Attack { name: "to the node: behind a tag", run: |t| tagged(t, ONE), ..TO_NODE },
    Attack { name: "to the node: behind two tags", run: |t| tagged(t, TWO), ..TO_NODE },
    Attack { name: "ARP", families: On::V4, run: |t| arped(t, &[]), ..FRAMES },
    Attack { name: "ARP behind a tag", families: On::V4, run: |t| arped(t, ONE), ..FRAMES },
    Attack { name: "ARP to the node", families: On::V4, run: |t| arped(t, &[]), ..TO_NODE },
    Attack { name: "ARP to the node, a tag", families: On::V4, run: |t| arped(t, ONE), ..TO_NODE },
    Attack {
        name: "ARP to the node, two tags",
        families: On::V4,
        run: |t| arped(t, TWO),
        ..TO_NODE
    },
    Attack { name: "NA", families: On::V6, run: |t| advertised(t, &[]), ..FRAMES },
    Attack { name: "NA behind a tag", families: On::V6, run: |t| advertised(t, ONE), ..FRAMES },
    Attack { name: "NA behind two tags", families: On::V6, run: |t| advertised(t, TWO), ..FRAMES },
    Attack {
        name: "NA to the node, two tags",
        families: On::V6,
        run: |t| advertised(t, TWO),
        ..TO_NODE
    },
    Attack { name: "a local pod's MAC", families: On::V4, run: |t| with_mac(t, false), ..FRAMES },
    Attack {
        name: "a local pod's MAC, to LLDP's group",
        families: On::V4,
        run: |t| with_mac(t, true),
        ..FRAMES
    },
];

fn opener(t: &Try<'_>) -> Result<bool> {
    let (own, victim) = (t.fresh(t.source()?), t.fresh(t.target()?));
    t.send(&udp(victim, own, &marker()))?;
    std::thread::sleep(std::time::Duration::from_millis(2));
    let reply = marker();
    t.send(&udp(own, victim, &reply))?;
    t.arrives(reply)
}

fn destination(t: &Try<'_>) -> Result<forge::Mac> {
    if t.way == Way::Gateway { t.arena.gateway(t.from) } else { t.arena.mac(t.to) }
}

/// A packet under the friend's address behind these tags.
fn tagged(t: &Try<'_>, tags: &[u8]) -> Result<bool> {
    let marker = marker();
    let packet = udp(t.fresh(t.address("friend")?), t.fresh(t.target()?), &marker);
    let types = [tags, forge::ether_type(packet.source).0].concat();
    send(t, &types, &packet.to_bytes())?;
    t.arrives(marker)
}

fn send(t: &Try<'_>, types: &[u8], payload: &[u8]) -> Result<()> {
    let (to, own) = (destination(t)?, t.arena.mac(t.from)?);
    t.arena.send(t.from, &forge::frame(to, own, types, payload))
}

fn arped(t: &Try<'_>, tags: &[u8]) -> Result<bool> {
    let (IpAddr::V4(friend), IpAddr::V4(to)) = (t.address("friend")?, t.target()?) else {
        return Ok(false);
    };
    let marker = marker();
    let claim = arp(true, (t.arena.mac(t.from)?, friend), (t.arena.mac(t.to)?, to), marker);
    send(t, &[tags, &[8, 6]].concat(), &claim)?;
    t.arrives(marker)
}

fn advertised(t: &Try<'_>, tags: &[u8]) -> Result<bool> {
    let (own, friend) = (t.arena.link_local(t.from)?, t.arena.address6("friend")?);
    let (to, marker) = (t.arena.address6(t.to)?, marker());
    let claim = advertisement(own, to, (friend, t.arena.mac(t.from)?), marker);
    send(t, &[tags, &[0x86, 0xdd]].concat(), &claim.to_bytes())?;
    t.arrives(marker)
}

/// The bridge learns another place for the receiver.
fn with_mac(t: &Try<'_>, group: bool) -> Result<bool> {
    let gateway = t.arena.gateway(t.from)?;
    let to = if group { [0x01, 0x80, 0xc2, 0, 0, 0x0e] } else { gateway };
    let data = marker();
    let frame = forge::frame(to, t.arena.mac(t.to)?, &[0x88, 0xcc], &data);
    t.arena.send(t.from, &frame)?;
    let told = marker();
    let packet = udp(t.fresh(t.address("friend")?), t.fresh(t.target()?), &told);
    t.arena.packet("friend", Way::Neighbour, t.to, &packet)?;
    let taken = t.arena.arrives(t.from, told)?;
    t.arena.restore_place(t.to)?;
    Ok(taken)
}
