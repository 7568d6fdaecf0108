//! A0: a node unwraps what a pod or a host of the network sent to its tunnel.
//!
//! No attacker needs a capability, but for those that forge the outer packet.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use anyhow::Result;
use netbed::arena::{TUNNEL_PORTS, further_address};
use netbed::forge::{self, Packet, marker, udp};
use netbed::testbed::tunnel_hardware;
use samples::testbed_spec::{Between, pod_address};

use super::attack::{Attack, BRIDGE, GATEWAY, Must, On, ROUTED, TO_VICTIMS, TUNNELS, Try, VXLAN};

const BASE: Attack = Attack {
    point: "A0",
    name: "",
    networks: TUNNELS,
    families: On::Both,
    fits: |_| true,
    cases: TO_VICTIMS,
    ways: GATEWAY,
    run: |_| Ok(false),
    must: Must::Stop,
};

/// A bridge gives frames to its groups to the node as if they came from its port.
const PAST: Attack = Attack {
    networks: |network, between| BRIDGE(network, between) && TUNNELS(network, between),
    cases: &[("attacker", "victim")],
    ..BASE
};

const FROM_PRISONER: &[(&str, &str)] =
    &[("prisoner", "bystander"), ("prisoner", "bystander-2"), ("prisoner-2", "bystander")];
const FROM_OUTSIDER: &[(&str, &str)] = &[("outsider", "victim")];
const STRANGER: &[(&str, &str)] = &[("stranger", "victim"), ("stranger", "victim-2")];
const NEAR: &[(&str, &str)] = &[("attacker", "victim")];
const FAR: &[(&str, &str)] = &[("attacker-2", "victim"), ("attacker", "victim-2")];

pub const ATTACKS: &[Attack] = &[
    Attack {
        name: "tunnel: from an allowed pod of the victim's node",
        run: |t| tunnelled(t, near_friend(t)?, node(t)?),
        ..BASE
    },
    Attack {
        name: "tunnel: from an allowed pod of the other node",
        run: |t| tunnelled(t, far_friend(t)?, node(t)?),
        ..BASE
    },
    Attack { name: "tunnel: from an allowed block", run: from_block, ..BASE },
    Attack {
        name: "tunnel: a prisoner as another pod",
        cases: FROM_PRISONER,
        run: |t| {
            let other = if t.arena.node(t.to)? == 0 { "attacker-2" } else { "attacker" };
            tunnelled(t, other, node(t)?)
        },
        ..BASE
    },
    Attack {
        name: "tunnel: a host of the network",
        cases: FROM_OUTSIDER,
        run: |t| tunnelled(t, far_friend(t)?, node(t)?),
        ..BASE
    },
    Attack {
        name: "tunnel: outer packet of the other family",
        networks: VXLAN,
        run: |t| wrapped(t, &inner(t, far_friend(t)?)?, node(t)?, !t.v6),
        ..BASE
    },
    Attack {
        name: "tunnel: at the bridge's or device's address",
        cases: TO_VICTIMS,
        networks: VXLAN,
        run: |t| tunnelled(t, far_friend(t)?, pod_address(t.arena.node(t.to)?, 0, t.v6)),
        ..BASE
    },
    Attack {
        name: "tunnel: at an address that no pod names",
        cases: &[("attacker", "victim"), ("attacker-2", "victim"), ("attacker", "victim-2")],
        networks: VXLAN,
        run: |t| tunnelled(t, far_friend(t)?, further_address(t.arena.node(t.to)?, t.v6)),
        ..BASE
    },
    Attack {
        name: "tunnel: there, a prisoner as another pod",
        cases: &[("prisoner", "bystander-2"), ("prisoner-2", "bystander")],
        networks: VXLAN,
        run: |t| {
            let other = if t.arena.node(t.to)? == 0 { "attacker-2" } else { "attacker" };
            tunnelled(t, other, further_address(t.arena.node(t.to)?, t.v6))
        },
        ..BASE
    },
    Attack {
        name: "tunnel: there, in fragments",
        cases: &[("attacker-2", "victim"), ("attacker", "victim-2")],
        networks: VXLAN,
        run: |t| fragments(t, further_address(t.arena.node(t.to)?, t.v6)),
        ..BASE
    },
    Attack { name: "tunnel: to broadcast", networks: VXLAN, cases: NEAR, run: broadcast, ..BASE },
    Attack { name: "tunnel: outer packet in fragments", run: |t| fragments(t, node(t)?), ..BASE },
    Attack {
        name: "tunnel: outer source is the other node",
        fits: |t| (t.v6 && !is_udp(t)) || t.is_near().unwrap_or(false),
        run: |t| forged_outer(t, 1 - t.arena.node(t.to)?),
        ..BASE
    },
    Attack {
        name: "tunnel: outer source is the same node",
        // In IPv4 a node refuses its own address as a source.
        fits: |t| t.v6 && !is_udp(t),
        cases: NEAR,
        run: |t| forged_outer(t, t.arena.node(t.to)?),
        ..BASE
    },
    Attack {
        name: "tunnel: a host of the network as a node",
        cases: FROM_OUTSIDER,
        run: |t| forged_outer(t, 1),
        must: Must::StayOpen("a node cannot tell who sent a packet of the nodes' network"),
        ..BASE
    },
    Attack {
        name: "tunnel: what a node sends into it goes to a pod",
        // flannel's UDP backend has an IPv4 address alone.
        fits: |t| !t.v6 || !is_udp(t),
        cases: &[("attacker", "node-2"), ("prisoner", "node-2"), ("attacker-2", "node-1")],
        run: shadow,
        ..BASE
    },
    Attack { name: "tunnel: opener, then replies", run: opener, ..BASE },
    Attack {
        name: "tunnel: by a Service of the own node",
        cases: TO_VICTIMS,
        run: own_service,
        ..BASE
    },
    Attack {
        name: "tunnel: from an interface that is bound to nobody",
        cases: STRANGER,
        run: |t| tunnelled(t, far_friend(t)?, node(t)?),
        ..BASE
    },
    Attack {
        name: "tunnel: from there, under a node's address",
        cases: &[("stranger", "victim")],
        networks: |network, between| BRIDGE(network, between) && TUNNELS(network, between),
        run: |t| forged_outer(t, 1),
        ..BASE
    },
    Attack {
        name: "tunnel: from there, under a node's address",
        cases: &[("stranger", "victim")],
        networks: |network, between| ROUTED(network, between) && TUNNELS(network, between),
        run: |t| forged_outer(t, 1),
        must: Must::StayOpen("nothing tells a link to no pod from one to the nodes"),
        ..BASE
    },
    Attack { name: "tunnel: as a node, to LLDP's group", run: |t| to_group(t, 0x0e), ..PAST },
    Attack { name: "tunnel: as a node, to 802.1X's group", run: |t| to_group(t, 3), ..PAST },
    Attack {
        name: "tunnel: by a Service of the other node",
        cases: NEAR,
        run: |t| service(t, 1 - t.arena.node(t.to)?),
        ..BASE
    },
    Attack {
        name: "tunnel: by a Service of the node that is meant",
        cases: FAR,
        run: |t| service(t, t.arena.node(t.to)?),
        ..BASE
    },
];

/// An allowed pod whose packets come to the victim's node by the tunnel.
fn far_friend(t: &Try<'_>) -> Result<&'static str> {
    Ok(if t.arena.node(t.to)? == 0 { "friend-2" } else { "friend" })
}

fn near_friend(t: &Try<'_>) -> Result<&'static str> {
    Ok(if t.arena.node(t.to)? == 0 { "friend" } else { "friend-2" })
}

/// The address of the victim's node.
fn node(t: &Try<'_>) -> Result<IpAddr> {
    Ok(t.arena.testbed().spec().node_address(t.arena.node(t.to)?, t.v6))
}

fn inner(t: &Try<'_>, source: &str) -> Result<(Packet, forge::Marker)> {
    let marker = marker();
    let (source, target) = (t.fresh(t.address(source)?), t.fresh(t.target()?));
    Ok((udp(source, target, &marker), marker))
}

/// The payload of a packet for the tunnel of the victim's node, and where it goes.
/// flannel's UDP backend has an IPv4 address alone.
fn payload(
    t: &Try<'_>,
    inner: &Packet,
    at: IpAddr,
    outer_v6: bool,
) -> Result<(Vec<u8>, SocketAddr)> {
    let packet = inner.to_bytes();
    Ok(match t.arena.testbed().spec().between {
        Between::Udp => (packet, SocketAddr::new(at, 8285)),
        Between::Vxlan | Between::Routes | Between::DirectRouting => {
            let device = tunnel_hardware(t.arena.node(t.to)?, outer_v6);
            (forge::vxlan(device, &packet), SocketAddr::new(at, 8472))
        }
    })
}

fn is_udp(t: &Try<'_>) -> bool {
    t.arena.testbed().spec().between == Between::Udp
}

fn tunnelled(t: &Try<'_>, source: &str, at: IpAddr) -> Result<bool> {
    let inner = inner(t, source)?;
    let at = if is_udp(t) { outer_v4(t)? } else { at };
    send(t, &inner.0, at, at.is_ipv6())?;
    t.arrives(inner.1)
}

fn outer_v4(t: &Try<'_>) -> Result<IpAddr> {
    Ok(t.arena.testbed().spec().node_address(t.arena.node(t.to)?, false))
}

fn wrapped(
    t: &Try<'_>,
    (inner, marker): &(Packet, forge::Marker),
    _: IpAddr,
    outer_v6: bool,
) -> Result<bool> {
    let at = t.arena.testbed().spec().node_address(t.arena.node(t.to)?, outer_v6);
    send(t, inner, at, outer_v6)?;
    t.arrives(*marker)
}

fn send(t: &Try<'_>, inner: &Packet, at: IpAddr, outer_v6: bool) -> Result<()> {
    let (data, to) = payload(t, inner, at, outer_v6)?;
    t.arena.datagram(t.from, to, &data)
}

fn from_block(t: &Try<'_>) -> Result<bool> {
    let source: IpAddr = if t.v6 { "fd00:203::7" } else { "203.0.113.7" }.parse()?;
    let marker = marker();
    let packet = udp(t.fresh(source), t.fresh(t.target()?), &marker);
    let at = if is_udp(t) { outer_v4(t)? } else { node(t)? };
    send(t, &packet, at, at.is_ipv6())?;
    t.arrives(marker)
}

/// The node's own broadcast address, or the group of all nodes of the link.
fn broadcast(t: &Try<'_>) -> Result<bool> {
    let (packet, marker) = inner(t, far_friend(t)?)?;
    let group: IpAddr = if t.v6 {
        Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1).into()
    } else {
        Ipv4Addr::BROADCAST.into()
    };
    let (data, to) = payload(t, &packet, group, t.v6)?;
    let outer = udp(t.fresh(t.source()?), to, &data);
    let mac = if t.v6 { [0x33, 0x33, 0, 0, 0, 1] } else { [0xff; 6] };
    let types = forge::ether_type(group).0;
    let frame = forge::frame(mac, t.arena.mac(t.from)?, types, &outer.to_bytes());
    t.arena.send(t.from, &frame)?;
    t.arrives(marker)
}

fn fragments(t: &Try<'_>, at: IpAddr) -> Result<bool> {
    let (packet, marker) = inner(t, far_friend(t)?)?;
    let at = if is_udp(t) { outer_v4(t)? } else { at };
    let (data, to) = payload(t, &packet, at, at.is_ipv6())?;
    let outer = udp(t.fresh(t.arena.address(t.from, at.is_ipv6())?), to, &data);
    for piece in outer.fragments(16) {
        t.arena.bytes(t.from, t.way, t.to, &piece)?;
    }
    t.arrives(marker)
}

/// The outer packet under a node's address. The outsider sends it to the first node.
fn forged_outer(t: &Try<'_>, source: usize) -> Result<bool> {
    let (packet, marker) = inner(t, far_friend(t)?)?;
    let at = if is_udp(t) { outer_v4(t)? } else { node(t)? };
    let (data, to) = payload(t, &packet, at, at.is_ipv6())?;
    let source = t.arena.testbed().spec().node_address(source, at.is_ipv6());
    t.send(&udp(t.fresh(source), to, &data))?;
    t.arrives(marker)
}

/// The outer packet under the other node's address, in a frame to a link-local group of
/// bridges (IEEE 802.1D-2004, 7.12.6).
fn to_group(t: &Try<'_>, last: u8) -> Result<bool> {
    let (packet, marker) = inner(t, far_friend(t)?)?;
    let at = if is_udp(t) { outer_v4(t)? } else { node(t)? };
    let (data, to) = payload(t, &packet, at, at.is_ipv6())?;
    let source = t.arena.testbed().spec().node_address(1, at.is_ipv6());
    let outer = udp(t.fresh(source), to, &data);
    let group = [0x01, 0x80, 0xc2, 0, 0, last];
    let types = forge::ether_type(at).0;
    t.arena.send(t.from, &forge::frame(group, t.arena.mac(t.from)?, types, &outer.to_bytes()))?;
    t.arrives(marker)
}

/// A pod's flow from the tunnel's port, masqueraded, has its node's end of the tunnel.
/// What the other node then sends into the tunnel from the flow's port are its answers.
fn shadow(t: &Try<'_>) -> Result<bool> {
    let tunnel = if is_udp(t) { 8285 } else { 8472 };
    let theirs = t.fresh(t.target()?);
    t.arena.datagram_by(t.from, tunnel, theirs, b"mine")?;
    std::thread::sleep(std::time::Duration::from_millis(5));
    let own = t.arena.testbed().spec().node_address(t.arena.node(t.from)?, t.v6);
    let data = marker();
    t.arena.datagram_by(t.to, theirs.port(), SocketAddr::new(own, tunnel), &data)?;
    t.arena.arrives(t.from, data)
}

/// In the tunnel: a packet of the victim's to the attacker opens a flow. The
/// attacker's own packets are its replies.
fn opener(t: &Try<'_>) -> Result<bool> {
    let (attacker, victim) = (t.fresh(t.source()?), t.fresh(t.target()?));
    let at = if is_udp(t) { outer_v4(t)? } else { node(t)? };
    send(t, &udp(victim, attacker, &marker()), at, at.is_ipv6())?;
    std::thread::sleep(std::time::Duration::from_millis(5));
    let reply = marker();
    t.send(&udp(attacker, victim, &reply))?;
    t.arrives(reply)
}

/// The attacker's own node translates a Service's address to the tunnel of another.
fn own_service(t: &Try<'_>) -> Result<bool> {
    service(t, t.arena.node(t.from)?)
}

/// This node translates a Service's node port to the tunnel of the victim's node.
/// The Service has no selector: its endpoint is written by hand.
fn service(t: &Try<'_>, by: usize) -> Result<bool> {
    let (packet, marker) = inner(t, far_friend(t)?)?;
    let v6 = t.v6 && !is_udp(t);
    let at = t.arena.testbed().spec().node_address(by, v6);
    let (data, _) = payload(t, &packet, at, v6)?;
    let target = t.arena.node(t.to)?;
    let (port, _) = TUNNEL_PORTS[target];
    let port = if is_udp(t) { port + 10 } else { port };
    t.arena.datagram(t.from, SocketAddr::new(at, port), &data)?;
    t.arrives(marker)
}
