//! A5: a neighbour takes another's place.

mod arp;
mod discovery;
mod places;
mod redirects;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use anyhow::Result;
use netbed::arena::Way;
use netbed::forge::Mac;

use super::attack::{Attack, BRIDGE, Must, On, Try};

const BASE: Attack = Attack {
    point: "A5",
    name: "",
    networks: BRIDGE,
    families: On::V4,
    fits: |_| true,
    // The attacker tells `to` something about `victim` or about the gateway.
    cases: &[("attacker", "friend"), ("attacker", "prisoner"), ("prisoner", "friend")],
    ways: &[Way::Neighbour, Way::Broadcast],
    run: |_| Ok(false),
    must: Must::Stop,
};

/// All of them.
pub fn attacks() -> Vec<Attack> {
    [places::ATTACKS, arp::ATTACKS, discovery::ATTACKS, redirects::ATTACKS].concat()
}

fn v4(address: IpAddr) -> Result<Ipv4Addr> {
    match address {
        IpAddr::V4(address) => Ok(address),
        IpAddr::V6(address) => anyhow::bail!("{address} is not IPv4"),
    }
}

fn v6(address: IpAddr) -> Result<Ipv6Addr> {
    match address {
        IpAddr::V6(address) => Ok(address),
        IpAddr::V4(address) => anyhow::bail!("{address} is not IPv6"),
    }
}

fn gateway4(t: &Try<'_>) -> Result<Ipv4Addr> {
    v4(t.arena.gateway_address(0, false))
}

fn destination(t: &Try<'_>) -> Result<Mac> {
    Ok(match t.way {
        Way::Neighbour => t.arena.mac(t.to)?,
        Way::Gateway => t.arena.gateway(t.from)?,
        Way::Broadcast => [0xff; 6],
    })
}
