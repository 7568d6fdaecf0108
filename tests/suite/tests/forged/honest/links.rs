//! Frames and discovery between neighbours of one bridge.

use std::net::{IpAddr, Ipv6Addr};

use anyhow::{Context, Result};
use netbed::arena::Way;
use netbed::forge::{self, advertisement, arp, echo, icmp, marker, solicitation, udp};

use super::BASE;
use super::sockets::{endpoint, udp_answers};
use crate::attack::{Attack, BRIDGE, On, Try};

/// Neighbours of one bridge that no policy isolates.
const FREE: &[(&str, &str)] = &[("attacker", "bystander"), ("friend", "attacker")];
const PINGS: &[(&str, &str)] =
    &[("attacker", "bystander"), ("friend", "victim"), ("prisoner", "friend")];
const NEIGHBOURS: &[(&str, &str)] = &[
    ("attacker", "bystander"),
    ("attacker", "victim"),
    ("victim", "attacker"),
    ("prisoner", "victim"),
];

const FRAMES: Attack =
    Attack { networks: BRIDGE, cases: FREE, ways: &[Way::Neighbour], families: On::V4, ..BASE };
const DISCOVERY: Attack =
    Attack { networks: BRIDGE, cases: NEIGHBOURS, ways: &[Way::Neighbour], ..BASE };

pub const WAYS: &[Attack] = &[
    Attack { name: "VLAN 5", run: |t| framed(t, &[0x81, 0, 0, 5, 8, 0]), ..FRAMES },
    Attack {
        name: "802.1ad, VLAN 5",
        run: |t| framed(t, &[0x88, 0xa8, 0, 5, 0x81, 0, 0, 6, 8, 0]),
        ..FRAMES
    },
    Attack {
        name: "PPPoE",
        run: |t| framed(t, &[0x88, 0x64, 0x11, 0, 0, 1, 0, 36, 0x00, 0x21]),
        ..FRAMES
    },
    Attack {
        name: "fragments of pings with data like messages of neighbours",
        cases: PINGS,
        families: On::Both,
        run: pings,
        ..FRAMES
    },
    Attack { name: "LLDP", run: |t| framed(t, &[0x88, 0xcc]), ..FRAMES },
    Attack { name: "own ARP", families: On::V4, run: own_arp, ..DISCOVERY },
    Attack {
        name: "own gratuitous ARP",
        families: On::V4,
        ways: &[Way::Broadcast],
        run: own_arp,
        ..DISCOVERY
    },
    Attack {
        name: "NA for the own address",
        families: On::V6,
        run: |t| own_advertisement(t, t.arena.address6(t.from)?),
        ..DISCOVERY
    },
    Attack {
        name: "NA for the own link-local address",
        families: On::V6,
        run: |t| own_advertisement(t, t.arena.link_local(t.from)?),
        ..DISCOVERY
    },
    Attack {
        name: "NS",
        families: On::V6,
        run: |t| own_solicitation(t, t.arena.address6(t.from)?),
        ..DISCOVERY
    },
    Attack {
        name: "NS from the link-local address",
        families: On::V6,
        run: |t| own_solicitation(t, t.arena.link_local(t.from)?),
        ..DISCOVERY
    },
    Attack {
        name: "duplicate address detection",
        families: On::V6,
        ways: &[Way::Broadcast],
        run: |t| detection(t, t.arena.address6(t.from)?),
        ..DISCOVERY
    },
    Attack {
        name: "duplicate address detection, link-local",
        families: On::V6,
        ways: &[Way::Broadcast],
        run: |t| detection(t, t.arena.link_local(t.from)?),
        ..DISCOVERY
    },
    Attack {
        name: "MLD report",
        families: On::V6,
        ways: &[Way::Broadcast],
        run: |t| mld(t, t.arena.link_local(t.from)?),
        ..DISCOVERY
    },
    Attack {
        name: "MLD report before the address is sure",
        families: On::V6,
        ways: &[Way::Broadcast],
        run: |t| mld(t, Ipv6Addr::UNSPECIFIED),
        ..DISCOVERY
    },
    Attack {
        name: "router solicitation to the node",
        networks: BRIDGE,
        families: On::V6,
        cases: &[("attacker", "node-1"), ("victim", "node-1")],
        run: router_solicited,
        ..BASE
    },
    Attack {
        name: "a neighbour's real resolution",
        networks: BRIDGE,
        cases: &[("friend", "victim"), ("attacker", "bystander")],
        run: resolved,
        ..BASE
    },
];

fn destination(t: &Try<'_>, group: [u8; 6]) -> Result<forge::Mac> {
    Ok(if t.way == Way::Broadcast { group } else { t.arena.mac(t.to)? })
}

fn framed(t: &Try<'_>, types: &[u8]) -> Result<bool> {
    let marker = marker();
    let packet = udp(t.fresh(t.source()?), t.fresh(t.target()?), &marker).to_bytes();
    t.arena
        .send(t.from, &forge::frame(t.arena.mac(t.to)?, t.arena.mac(t.from)?, types, &packet))?;
    t.arrives(marker)
}

fn own_arp(t: &Try<'_>) -> Result<bool> {
    let (IpAddr::V4(own), IpAddr::V4(to)) = (t.source()?, t.target()?) else { return Ok(false) };
    let (marker, mac) = (marker(), t.arena.mac(t.from)?);
    let gratuitous = t.way == Way::Broadcast;
    let said = arp(gratuitous, (mac, own), ([0; 6], if gratuitous { own } else { to }), marker);
    t.arena.send(t.from, &forge::frame(destination(t, [0xff; 6])?, mac, &[8, 6], &said))?;
    t.arrives(marker)
}

fn say(t: &Try<'_>, group: [u8; 6], packet: &forge::Packet) -> Result<()> {
    let (to, own) = (destination(t, group)?, t.arena.mac(t.from)?);
    t.arena.send(t.from, &forge::frame(to, own, &[0x86, 0xdd], &packet.to_bytes()))
}

fn own_advertisement(t: &Try<'_>, own: Ipv6Addr) -> Result<bool> {
    let marker = marker();
    let to = t.arena.address6(t.to)?;
    say(t, [0; 6], &advertisement(own, to, (own, t.arena.mac(t.from)?), marker))?;
    t.arrives(marker)
}

fn own_solicitation(t: &Try<'_>, own: Ipv6Addr) -> Result<bool> {
    let marker = marker();
    let to = t.arena.address6(t.to)?;
    say(t, [0; 6], &solicitation(own, to, (to, Some(t.arena.mac(t.from)?)), marker))?;
    t.arrives(marker)
}

fn detection(t: &Try<'_>, own: Ipv6Addr) -> Result<bool> {
    let marker = marker();
    let [.., a, b, c] = own.octets();
    let low = [u16::from(a) | 0xff00, u16::from_be_bytes([b, c])];
    let group = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, low[0], low[1]);
    let ask = solicitation(Ipv6Addr::UNSPECIFIED, group, (own, None), marker);
    say(t, [0x33, 0x33, 0xff, a, b, c], &ask)?;
    t.arrives(marker)
}

fn mld(t: &Try<'_>, own: Ipv6Addr) -> Result<bool> {
    let marker = marker();
    let group = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x16);
    // No records (RFC 3810, 5.2).
    let report = icmp(own.into(), group.into(), (143, 0), &[&[0; 4][..], &marker].concat());
    say(t, [0x33, 0x33, 0, 0, 0, 0x16], &report.hops(1))?;
    t.arrives(marker)
}

fn router_solicited(t: &Try<'_>) -> Result<bool> {
    let marker = marker();
    let routers: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 2);
    let own = t.arena.link_local(t.from)?;
    let rest = [&[0; 4][..], &[253, 1], &marker].concat();
    let ask = icmp(own.into(), routers.into(), (133, 0), &rest).hops(255);
    let mac = [0x33, 0x33, 0, 0, 0, 2];
    t.arena
        .send(t.from, &forge::frame(mac, t.arena.mac(t.from)?, &[0x86, 0xdd], &ask.to_bytes()))?;
    t.arrives(marker)
}

fn resolved(t: &Try<'_>) -> Result<bool> {
    let pod = endpoint(t, t.from)?;
    pod.namespace.ip("neigh flush all")?;
    udp_answers(t, t.target()?)?;
    let mut command = pod.namespace.command("ip");
    let address = t.target()?.to_string();
    let output = command.args(["neigh", "show", &address]).output().context("run `ip`")?;
    let mac = t.arena.mac(t.to)?.map(|byte| format!("{byte:02x}")).join(":");
    Ok(String::from_utf8_lossy(&output.stdout).contains(&mac))
}

/// Pings in two fragments. The second one begins with each byte there is, as the type
/// of a message would, and goes on like a neighbour message about a third pod.
fn pings(t: &Try<'_>) -> Result<bool> {
    let third = t.arena.address6("server")?;
    for kind in 0..=u8::MAX {
        let marker = marker();
        let data = [&[kind, 0, 0, 0, 0, 0, 0, 0], &third.octets()[..], &marker].concat();
        for piece in echo(t.source()?, t.target()?, 7, &data).fragments(8) {
            t.arena.bytes(t.from, t.way, t.to, &piece)?;
        }
        if !t.arrives(marker)? {
            return Ok(false);
        }
    }
    Ok(true)
}
