//! Redirects (ICMP type 5, ICMPv6 type 137).

use std::net::IpAddr;
use std::thread::sleep;
use std::time::Duration;

use anyhow::Result;
use netbed::arena::Way;
use netbed::forge::{self, icmp_redirect, icmpv6_redirect, marker, udp};

use super::{BASE, destination, v4, v6};
use crate::attack::{ANYWHERE, Attack, GATEWAY, On, Try};

const TO_NEIGHBOUR: &[Way] = &[Way::Neighbour];

pub const ATTACKS: &[Attack] = &[
    Attack {
        name: "redirect from the gateway",
        families: On::Both,
        run: |t| redirected(t, Some(gateway(t)?), false),
        ..BASE
    },
    Attack {
        name: "redirect from the gateway, with a known flow",
        families: On::Both,
        run: |t| redirected(t, Some(gateway(t)?), true),
        ..BASE
    },
    Attack {
        name: "redirect from itself",
        families: On::Both,
        ways: TO_NEIGHBOUR,
        run: |t| redirected(t, None, false),
        ..BASE
    },
    Attack {
        name: "redirect from itself, in fragments",
        families: On::Both,
        ways: TO_NEIGHBOUR,
        run: |t| redirected_in(t, None, false, Some(8)),
        ..BASE
    },
    Attack {
        name: "redirect from itself, with a known flow",
        families: On::Both,
        ways: TO_NEIGHBOUR,
        run: |t| redirected(t, None, true),
        ..BASE
    },
    Attack {
        name: "routed redirect with a known flow",
        families: On::Both,
        networks: ANYWHERE,
        cases: &[("attacker", "victim"), ("attacker-2", "victim"), ("attacker-2", "prisoner")],
        ways: GATEWAY,
        run: |t| redirected(t, None, true),
        ..BASE
    },
    Attack {
        name: "redirect to the node",
        families: On::Both,
        cases: &[("attacker", "node-1")],
        ways: GATEWAY,
        run: |t| redirected(t, None, false),
        ..BASE
    },
];

fn gateway(t: &Try<'_>) -> Result<IpAddr> {
    // Redirects of IPv6 count from a link-local address alone (RFC 4861, 8.1).
    if t.v6 {
        return Ok(t.arena.link_local("node-1")?.into());
    }
    Ok(t.arena.gateway_address(0, false))
}

fn redirected(t: &Try<'_>, source: Option<IpAddr>, known: bool) -> Result<bool> {
    redirected_in(t, source, known, None)
}

/// The same, cut after these bytes of the message.
fn redirected_in(
    t: &Try<'_>,
    source: Option<IpAddr>,
    known: bool,
    cut: Option<usize>,
) -> Result<bool> {
    let source = match source {
        Some(source) => source,
        None => t.source()?,
    };
    let (own, friend) = (t.fresh(t.target()?), t.fresh(t.address("friend")?));
    if known {
        t.arena.packet(t.to, Way::Gateway, "friend", &udp(own, friend, &marker()))?;
        sleep(Duration::from_millis(5));
    }
    let marker = marker();
    let quote = udp(own, friend, &[0; 6]).to_bytes();
    let packet = if t.v6 {
        let friend = v6(friend.ip())?;
        let by = t.arena.link_local(t.from)?;
        icmpv6_redirect(v6(source)?, v6(own.ip())?, (friend, by), &quote, marker)
    } else {
        let by = v4(t.source()?)?;
        icmp_redirect(v4(source)?, v4(own.ip())?, by, &quote, marker)
    };
    let types = forge::ether_type(source).0;
    let pieces = match cut {
        None => vec![packet.to_bytes()],
        Some(cut) => packet.fragments(cut).to_vec(),
    };
    for piece in pieces {
        let frame = forge::frame(destination(t)?, t.arena.mac(t.from)?, types, &piece);
        t.arena.send(t.from, &frame)?;
    }
    t.arrives(marker)
}
