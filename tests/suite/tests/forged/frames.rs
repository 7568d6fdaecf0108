//! A4: frames that are neither untagged IP nor ARP.

use anyhow::Result;
use netbed::arena::Way;
use netbed::forge::{self, arp, marker, udp};

use super::attack::{Attack, BRIDGE, Must, NEIGHBOURS, On, Try};

const BASE: Attack = Attack {
    point: "A4",
    name: "",
    networks: BRIDGE,
    families: On::Both,
    fits: |_| true,
    cases: NEIGHBOURS,
    ways: &[Way::Neighbour],
    run: |_| Ok(false),
    must: Must::Stop,
};

/// Tags end in the EtherType of the packet, so they come for each family.
macro_rules! tagged {
    ($name:literal, $($byte:literal)*) => {
        Attack {
            name: $name,
            run: |t| {
                if t.v6 { framed(t, &[$($byte,)* 0x86, 0xdd]) } else { framed(t, &[$($byte,)* 0x08, 0x00]) }
            },
            ..BASE
        }
    };
}

pub const ATTACKS: &[Attack] = &[
    tagged!("802.1Q, VLAN 0", 0x81 0x00 0 0),
    tagged!("802.1Q, VLAN 0 with priority 7", 0x81 0x00 0xe0 0),
    tagged!("802.1ad, VLAN 0", 0x88 0xa8 0 0),
    tagged!("802.1ad and 802.1Q, VLAN 0", 0x88 0xa8 0 0 0x81 0x00 0 0),
    tagged!("802.1Q twice, VLAN 0", 0x81 0x00 0 0 0x81 0x00 0 0),
    tagged!("old QinQ, VLAN 0", 0x91 0x00 0 0),
    tagged!("802.1Q, VLAN 5", 0x81 0x00 0 5),
    tagged!("802.1ad 5 and 802.1Q 0", 0x88 0xa8 0 5 0x81 0x00 0 0),
    tagged!("MACsec", 0x88 0xe5 0 0 0 0 0 0),
    tagged!("MPLS", 0x88 0x47 0 0 0x11 0x40),
    Attack { name: "PPPoE session", run: pppoe, ..BASE },
    Attack { name: "LLDP", families: On::V4, run: |t| framed(t, &[0x88, 0xcc]), ..BASE },
    Attack {
        name: "unknown EtherType",
        families: On::V4,
        run: |t| framed(t, &[0x88, 0xb5]),
        ..BASE
    },
    Attack { name: "802.3 with a length", families: On::V4, run: |t| framed(t, &[0, 100]), ..BASE },
    Attack { name: "ARP in VLAN 0", families: On::V4, run: tagged_arp, ..BASE },
    Attack { name: "reverse ARP", families: On::V4, run: |t| framed(t, &[0x80, 0x35]), ..BASE },
    Attack {
        name: "802.1Q, VLAN 0, broadcast",
        ways: &[Way::Broadcast],
        run: |t| {
            let types: &[u8] =
                if t.v6 { &[0x81, 0, 0, 0, 0x86, 0xdd] } else { &[0x81, 0, 0, 0, 8, 0] };
            framed(t, types)
        },
        ..BASE
    },
    Attack {
        name: "802.1Q, VLAN 0: an allowed pod's packet",
        cases: &[("attacker", "victim")],
        run: as_friend,
        ..BASE
    },
];

fn destination(t: &Try<'_>) -> Result<forge::Mac> {
    Ok(if t.way == Way::Broadcast { [0xff; 6] } else { t.arena.mac(t.to)? })
}

/// An honest packet of the attacker's to the victim behind these bytes.
fn framed(t: &Try<'_>, types: &[u8]) -> Result<bool> {
    let marker = marker();
    let packet = udp(t.fresh(t.source()?), t.fresh(t.target()?), &marker).to_bytes();
    t.arena.send(t.from, &forge::frame(destination(t)?, t.arena.mac(t.from)?, types, &packet))?;
    t.arrives(marker)
}

fn as_friend(t: &Try<'_>) -> Result<bool> {
    let marker = marker();
    let packet = udp(t.fresh(t.address("friend")?), t.fresh(t.target()?), &marker).to_bytes();
    let types: &[u8] = if t.v6 { &[0x81, 0, 0, 0, 0x86, 0xdd] } else { &[0x81, 0, 0, 0, 8, 0] };
    let source = t.arena.mac("friend")?;
    t.arena.send(t.from, &forge::frame(destination(t)?, source, types, &packet))?;
    let arrived = t.arrives(marker)?;
    t.arena.restore_place("friend")?;
    Ok(arrived)
}

fn pppoe(t: &Try<'_>) -> Result<bool> {
    // Version and type 1, session data, session 1, length; PPP protocol (RFC 2516, 4).
    let types: &[u8] = if t.v6 {
        &[0x88, 0x64, 0x11, 0, 0, 1, 0, 56, 0x00, 0x57]
    } else {
        &[0x88, 0x64, 0x11, 0, 0, 1, 0, 36, 0x00, 0x21]
    };
    framed(t, types)
}

fn tagged_arp(t: &Try<'_>) -> Result<bool> {
    let marker = marker();
    let (std::net::IpAddr::V4(own), std::net::IpAddr::V4(victim)) = (t.source()?, t.target()?)
    else {
        return Ok(false);
    };
    let mac = t.arena.mac(t.from)?;
    let ask = arp(false, (mac, own), ([0; 6], victim), marker);
    let types = [0x81, 0, 0, 0, 0x08, 0x06];
    t.arena.send(t.from, &forge::frame(destination(t)?, mac, &types, &ask))?;
    t.arrives(marker)
}
