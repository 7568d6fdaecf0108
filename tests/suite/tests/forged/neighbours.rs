//! A5: a neighbour takes another's place.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::thread::sleep;
use std::time::Duration;

use anyhow::Result;
use netbed::arena::Way;
use netbed::forge::{
    self, Mac, Packet, advertisement, arp, icmp_redirect, icmpv6_redirect, marker, solicitation,
    udp,
};
use samples::testbed_spec::pod_address;

use super::attack::{ANYWHERE, Attack, BRIDGE, GATEWAY, Must, On, Try};

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

const ONE: &[(&str, &str)] = &[("attacker", "victim"), ("attacker", "bystander")];
const V6: Attack = Attack { families: On::V6, ..BASE };
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

fn victim4(t: &Try<'_>) -> Result<Ipv4Addr> {
    v4(t.arena.address("victim", false)?)
}

fn victim6(t: &Try<'_>) -> Result<Ipv6Addr> {
    v6(t.arena.address("victim", true)?)
}

fn gateway(t: &Try<'_>) -> Result<IpAddr> {
    // Redirects of IPv6 count from a link-local address alone (RFC 4861, 8.1).
    if t.v6 {
        return Ok(t.arena.link_local("node-1")?.into());
    }
    Ok(t.arena.gateway_address(0, false))
}

fn gateway4(t: &Try<'_>) -> Result<Ipv4Addr> {
    v4(t.arena.gateway_address(0, false))
}

fn gateway6(t: &Try<'_>) -> Result<Ipv6Addr> {
    v6(t.arena.gateway_address(0, true))
}

fn nobody4(_: &Try<'_>) -> Result<Ipv4Addr> {
    v4(pod_address(0, 66, false))
}

fn nobody6(_: &Try<'_>) -> Result<Ipv6Addr> {
    v6(pod_address(0, 66, true))
}

/// What the frame under another's hardware address looks like.
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

/// The bridge learns the victim's place from the frame. A friend's packet to the
/// victim then comes to the attacker.
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

fn destination(t: &Try<'_>) -> Result<Mac> {
    Ok(match t.way {
        Way::Neighbour => t.arena.mac(t.to)?,
        Way::Gateway => t.arena.gateway(t.from)?,
        Way::Broadcast => [0xff; 6],
    })
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

/// An address conflict probe (RFC 5227, 1.1): the sender has no address yet.
fn probed4(t: &Try<'_>) -> Result<bool> {
    let marker = marker();
    let mac = t.arena.mac(t.from)?;
    let probe = arp(false, (mac, Ipv4Addr::UNSPECIFIED), ([0; 6], victim4(t)?), marker);
    t.arena.send(t.from, &forge::frame(destination(t)?, mac, &[8, 6], &probe))?;
    t.arrives(marker)
}

/// Sends a neighbour message: to the neighbour's MAC, or as multicast.
fn say(t: &Try<'_>, bytes: &[u8]) -> Result<()> {
    let mac = match t.way {
        Way::Broadcast => [0x33, 0x33, 0, 0, 0, 1],
        Way::Neighbour | Way::Gateway => destination(t)?,
    };
    t.arena.send(t.from, &forge::frame(mac, t.arena.mac(t.from)?, &[0x86, 0xdd], bytes))
}

/// The receiver, or all nodes of the link.
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

/// Receivers ignore it (RFC 6980), unless they are old or told not to.
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

/// Duplicate address detection for another's address: the other gives it up, or does
/// not begin to use it (RFC 4862, 5.4).
fn probed6(t: &Try<'_>, target: Ipv6Addr) -> Result<bool> {
    let marker = marker();
    said(t, &solicitation(Ipv6Addr::UNSPECIFIED, receiver(t)?, (target, None), marker), marker)
}

/// Tells the receiver to send what is for a friend by the attacker.
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
