//! Neighbour advertisements and solicitations that say where another is.

use std::net::Ipv6Addr;

use anyhow::Result;
use netbed::arena::Way;
use netbed::forge::{self, Packet, advertisement, marker, solicitation};
use samples::testbed_spec::pod_address;

use super::{BASE, destination, v6};
use crate::attack::{Attack, On, Try};

const V6: Attack = Attack { families: On::V6, ..BASE };
const TO_NEIGHBOUR: &[Way] = &[Way::Neighbour];

pub const ATTACKS: &[Attack] = &[
    Attack {
        name: "NA from itself: the victim is here",
        run: |t| advertised(t, t.arena.address6(t.from)?, victim6(t)?),
        ..V6
    },
    Attack {
        name: "NA from itself, link-local: the victim is here",
        run: |t| advertised(t, t.arena.link_local(t.from)?, victim6(t)?),
        ..V6
    },
    Attack {
        name: "NA from the victim: the victim is here",
        run: |t| advertised(t, victim6(t)?, victim6(t)?),
        ..V6
    },
    Attack {
        name: "NA from itself: the victim's link-local is here",
        run: |t| advertised(t, t.arena.link_local(t.from)?, t.arena.link_local("victim")?),
        ..V6
    },
    Attack {
        name: "NA from itself: the gateway is here",
        run: |t| advertised(t, t.arena.link_local(t.from)?, gateway6(t)?),
        ..V6
    },
    Attack {
        name: "NA from the gateway: the gateway is here",
        run: |t| advertised(t, gateway6(t)?, gateway6(t)?),
        ..V6
    },
    Attack {
        name: "NA from itself: an address of nobody's is here",
        run: |t| advertised(t, t.arena.link_local(t.from)?, nobody6(t)?),
        ..V6
    },
    Attack { name: "NA behind an options header", run: optional, ways: TO_NEIGHBOUR, ..V6 },
    Attack { name: "NA in fragments", run: fragments, ways: TO_NEIGHBOUR, ..V6 },
    Attack { name: "NS from the victim: it is here", run: |t| solicited(t, victim6(t)?), ..V6 },
    Attack { name: "NS from the gateway: it is here", run: |t| solicited(t, gateway6(t)?), ..V6 },
    Attack { name: "NS from ::, for the victim's address", run: |t| probed6(t, victim6(t)?), ..V6 },
    Attack { name: "NS from ::, for a new address", run: |t| probed6(t, nobody6(t)?), ..V6 },
];

fn victim6(t: &Try<'_>) -> Result<Ipv6Addr> {
    v6(t.arena.address("victim", true)?)
}

fn gateway6(t: &Try<'_>) -> Result<Ipv6Addr> {
    v6(t.arena.gateway_address(0, true))
}

fn nobody6(_: &Try<'_>) -> Result<Ipv6Addr> {
    v6(pod_address(0, 66, true))
}

fn say(t: &Try<'_>, bytes: &[u8]) -> Result<()> {
    let mac = match t.way {
        Way::Broadcast => [0x33, 0x33, 0, 0, 0, 1],
        Way::Neighbour | Way::Gateway => destination(t)?,
    };
    t.arena.send(t.from, &forge::frame(mac, t.arena.mac(t.from)?, &[0x86, 0xdd], bytes))
}

fn receiver(t: &Try<'_>) -> Result<Ipv6Addr> {
    Ok(match t.way {
        Way::Broadcast => Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1),
        Way::Neighbour | Way::Gateway => v6(t.target()?)?,
    })
}

fn advertised(t: &Try<'_>, source: Ipv6Addr, target: Ipv6Addr) -> Result<bool> {
    let marker = marker();
    let claim = advertisement(source, receiver(t)?, (target, t.arena.mac(t.from)?), marker);
    said(t, &claim, marker)
}

fn said(t: &Try<'_>, packet: &Packet, marker: forge::Marker) -> Result<bool> {
    say(t, &packet.to_bytes())?;
    t.arrives(marker)
}

fn optional(t: &Try<'_>) -> Result<bool> {
    let marker = marker();
    let (own, claim) = (t.arena.link_local(t.from)?, (victim6(t)?, t.arena.mac(t.from)?));
    said(t, &advertisement(own, receiver(t)?, claim, marker).behind_options(), marker)
}

fn fragments(t: &Try<'_>) -> Result<bool> {
    let marker = marker();
    let (own, claim) = (t.arena.link_local(t.from)?, (victim6(t)?, t.arena.mac(t.from)?));
    for piece in advertisement(own, receiver(t)?, claim, marker).fragments(8) {
        say(t, &piece)?;
    }
    t.arrives(marker)
}

fn solicited(t: &Try<'_>, source: Ipv6Addr) -> Result<bool> {
    let marker = marker();
    let target = v6(t.target()?)?;
    let ask = solicitation(source, receiver(t)?, (target, Some(t.arena.mac(t.from)?)), marker);
    said(t, &ask, marker)
}

fn probed6(t: &Try<'_>, target: Ipv6Addr) -> Result<bool> {
    let marker = marker();
    said(t, &solicitation(Ipv6Addr::UNSPECIFIED, receiver(t)?, (target, None), marker), marker)
}
