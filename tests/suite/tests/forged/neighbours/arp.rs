//! ARP messages that say where another is.

use std::net::Ipv4Addr;

use anyhow::Result;
use netbed::forge::{self, Mac, arp, marker};
use samples::testbed_spec::pod_address;

use super::{BASE, destination, gateway4, v4};
use crate::attack::{Attack, GATEWAY, Try};

pub const ATTACKS: &[Attack] = &[
    Attack {
        name: "ARP reply: the victim is here",
        run: |t| arped(t, true, t.arena.mac(t.from)?, victim4(t)?),
        ..BASE
    },
    Attack {
        name: "ARP request: the victim is here",
        run: |t| arped(t, false, t.arena.mac(t.from)?, victim4(t)?),
        ..BASE
    },
    Attack {
        name: "ARP reply under the victim's MAC",
        run: |t| arped(t, true, t.arena.mac("victim")?, victim4(t)?),
        ..BASE
    },
    Attack {
        name: "ARP reply: the gateway is here",
        run: |t| arped(t, true, t.arena.mac(t.from)?, gateway4(t)?),
        ..BASE
    },
    Attack {
        name: "ARP request: the gateway is here",
        run: |t| arped(t, false, t.arena.mac(t.from)?, gateway4(t)?),
        ..BASE
    },
    Attack {
        name: "ARP: an address of nobody's",
        run: |t| arped(t, true, t.arena.mac(t.from)?, nobody4(t)?),
        ..BASE
    },
    Attack {
        name: "ARP to the node: the victim is here",
        cases: &[("attacker", "node-1")],
        ways: GATEWAY,
        run: |t| arped(t, true, t.arena.mac(t.from)?, victim4(t)?),
        ..BASE
    },
    Attack { name: "ARP probe for the victim's address", run: probed4, ..BASE },
];

fn victim4(t: &Try<'_>) -> Result<Ipv4Addr> {
    v4(t.arena.address("victim", false)?)
}

fn nobody4(_: &Try<'_>) -> Result<Ipv4Addr> {
    v4(pod_address(0, 66, false))
}

fn arped(t: &Try<'_>, reply: bool, mac: Mac, claimed: Ipv4Addr) -> Result<bool> {
    let marker = marker();
    let target = v4(t.target()?)?;
    let claim = arp(reply, (t.arena.mac(t.from)?, claimed), (t.arena.mac(t.to)?, target), marker);
    t.arena.send(t.from, &forge::frame(destination(t)?, mac, &[8, 6], &claim))?;
    let arrived = t.arrives(marker)?;
    t.arena.restore_place("victim")?;
    Ok(arrived)
}

fn probed4(t: &Try<'_>) -> Result<bool> {
    let marker = marker();
    let mac = t.arena.mac(t.from)?;
    let probe = arp(false, (mac, Ipv4Addr::UNSPECIFIED), ([0; 6], victim4(t)?), marker);
    t.arena.send(t.from, &forge::frame(destination(t)?, mac, &[8, 6], &probe))?;
    t.arrives(marker)
}
