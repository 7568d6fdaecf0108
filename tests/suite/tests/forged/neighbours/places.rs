//! The bridge learns another's place from a frame.

use anyhow::Result;
use netbed::arena::Way;
use netbed::forge::{self, arp, marker, udp};

use super::{BASE, v4};
use crate::attack::{Attack, Try};

const ONE: &[(&str, &str)] = &[("attacker", "victim"), ("attacker", "bystander")];
const TO_NEIGHBOUR: &[Way] = &[Way::Neighbour];

pub const ATTACKS: &[Attack] = &[
    Attack {
        name: "frame with the victim's MAC",
        cases: ONE,
        ways: TO_NEIGHBOUR,
        run: |t| taken(t, Cover::Packet),
        ..BASE
    },
    Attack {
        name: "frame with the victim's MAC, unknown EtherType",
        cases: ONE,
        ways: TO_NEIGHBOUR,
        run: |t| taken(t, Cover::Odd),
        ..BASE
    },
    Attack {
        name: "frame with the victim's MAC, ARP",
        cases: ONE,
        ways: TO_NEIGHBOUR,
        run: |t| taken(t, Cover::Arp),
        ..BASE
    },
    Attack {
        name: "frame with the victim's MAC, VLAN 5",
        cases: ONE,
        ways: TO_NEIGHBOUR,
        run: |t| taken(t, Cover::Vlan),
        ..BASE
    },
    Attack {
        name: "frame with the victim's MAC and address",
        cases: ONE,
        ways: TO_NEIGHBOUR,
        run: |t| taken(t, Cover::Whole),
        ..BASE
    },
    Attack {
        name: "frame with the victim's MAC, IPv6",
        cases: ONE,
        ways: TO_NEIGHBOUR,
        run: |t| taken(t, Cover::V6),
        ..BASE
    },
    Attack {
        name: "frame with the victim's MAC, to LLDP's group",
        cases: ONE,
        ways: TO_NEIGHBOUR,
        run: |t| taken(t, Cover::Group(0x0e)),
        ..BASE
    },
    Attack {
        name: "frame with the victim's MAC, to another group of bridges",
        cases: ONE,
        ways: TO_NEIGHBOUR,
        run: |t| taken(t, Cover::Group(0x03)),
        ..BASE
    },
];

enum Cover {
    Packet,
    Odd,
    Arp,
    Vlan,
    Whole,
    V6,
    /// To a group that bridges do not forward (IEEE 802.1Q, table 8-1).
    Group(u8),
}

fn taken(t: &Try<'_>, cover: Cover) -> Result<bool> {
    let (mac, own) = (t.arena.mac(t.to)?, t.source()?);
    let mut to = t.arena.gateway(t.from)?;
    let gateway = t.arena.gateway_address(0, false);
    let packet = udp(t.fresh(own), t.fresh(gateway), &marker()).to_bytes();
    let (types, payload): (&[u8], _) = match cover {
        Cover::Packet => (&[8, 0], packet),
        Cover::Group(number) => {
            to = [0x01, 0x80, 0xc2, 0, 0, number];
            (&[0x88, 0xcc], packet)
        }
        Cover::Odd => (&[0x88, 0xb5], packet),
        Cover::Vlan => (&[0x81, 0, 0, 5, 8, 0], packet),
        Cover::Arp => (&[8, 6], arp(false, (mac, v4(own)?), ([0; 6], v4(gateway)?), marker())),
        Cover::Whole => {
            (&[8, 0], udp(t.fresh(t.target()?), t.fresh(gateway), &marker()).to_bytes())
        }
        Cover::V6 => {
            let (own, gateway) = (t.arena.address(t.from, true)?, t.arena.gateway_address(0, true));
            (&[0x86, 0xdd], udp(t.fresh(own), t.fresh(gateway), &marker()).to_bytes())
        }
    };
    t.arena.send(t.from, &forge::frame(to, mac, types, &payload))?;
    let told = marker();
    let packet = udp(t.fresh(t.address("friend")?), t.fresh(t.target()?), &told);
    t.arena.packet("friend", Way::Neighbour, t.to, &packet)?;
    let taken = t.arena.arrives(t.from, told)?;
    t.arena.restore_place(t.to)?;
    Ok(taken)
}
