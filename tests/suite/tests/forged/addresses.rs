//! A2 and A3: sources that are not the sender's, and destinations that are the
//! victim's although no Pod object names them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use anyhow::Result;
use netbed::arena::Way;
use netbed::forge::{marker, router_advertisement, udp};
use samples::testbed_spec::pod_address;

use super::attack::{
    ALL_WAYS, ANYWHERE, Attack, BRIDGE, FROM_PRISONERS, GATEWAY, Must, NEIGHBOURS, On, ROUTED,
    TO_VICTIMS, Try,
};

const BASE: Attack = Attack {
    point: "A2",
    name: "",
    networks: ANYWHERE,
    families: On::Both,
    fits: |_| true,
    cases: TO_VICTIMS,
    ways: ALL_WAYS,
    run: |_| Ok(false),
    must: Must::Stop,
};

pub const ATTACKS: &[Attack] = &[
    Attack { name: "source: an allowed pod", run: |t| t.claims(t.address("friend")?), ..BASE },
    Attack {
        name: "source: the other node's allowed pod",
        run: |t| t.claims(t.address("friend-2")?),
        ..BASE
    },
    Attack {
        name: "source: an allowed block",
        run: |t| t.claims(if t.v6 { "fd00:203::9" } else { "203.0.113.9" }.parse()?),
        ..BASE
    },
    Attack {
        name: "source: a local pod's, from a host of the network",
        cases: &[("outsider", "victim")],
        ways: GATEWAY,
        run: |t| t.claims(t.address("friend")?),
        ..BASE
    },
    Attack {
        name: "source: another node's pod, from a host of the network",
        cases: &[("outsider", "victim")],
        ways: GATEWAY,
        run: |t| t.claims(t.address("friend-2")?),
        must: Must::StayOpen("a node cannot tell who sent a packet of the nodes' network"),
        ..BASE
    },
    Attack {
        name: "source: a self-assigned address",
        cases: FROM_PRISONERS,
        run: |t| t.claims(pod_address(t.arena.node(t.from)?, 77, t.v6)),
        ..BASE
    },
    Attack {
        name: "source: an address of no network",
        cases: FROM_PRISONERS,
        run: |t| t.claims(if t.v6 { "2001:db8::1" } else { "192.0.2.1" }.parse()?),
        ..BASE
    },
    Attack {
        name: "source: another pod",
        cases: FROM_PRISONERS,
        run: |t| t.claims(t.address("attacker")?),
        ..BASE
    },
    Attack {
        name: "source: the gateway",
        // In IPv4 a node refuses its own address as a source.
        fits: |t| t.v6 || t.way != Way::Gateway,
        cases: FROM_PRISONERS,
        run: |t| t.claims(t.arena.gateway_address(t.arena.node(t.from)?, t.v6)),
        ..BASE
    },
    Attack {
        name: "source: link-local of nobody",
        families: On::V6,
        cases: NEIGHBOURS,
        networks: BRIDGE,
        ways: &[Way::Neighbour],
        run: |t| t.claims("fe80::77".parse()?),
        ..BASE
    },
    Attack {
        name: "source: loopback, broadcast, a group",
        networks: BRIDGE,
        cases: NEIGHBOURS,
        ways: &[Way::Neighbour],
        run: no_unicast,
        ..BASE
    },
    Attack {
        name: "source: unspecified",
        networks: BRIDGE,
        cases: NEIGHBOURS,
        ways: &[Way::Neighbour, Way::Broadcast],
        run: |t| t.claims(unspecified(t.v6)),
        ..BASE
    },
    Attack {
        point: "A3",
        name: "destination: an address that is not reported",
        networks: BRIDGE,
        run: |t| t.delivers(t.source()?, pod_address(t.arena.node(t.to)?, 99, t.v6)),
        cases: &[("attacker", "victim")],
        ways: &[Way::Neighbour, Way::Broadcast],
        ..BASE
    },
    Attack {
        point: "A3",
        name: "destination: a second address on the interface",
        cases: TO_VICTIMS,
        ways: GATEWAY,
        run: second_address,
        ..BASE
    },
    Attack {
        point: "A3",
        name: "destination: an address of another of its interfaces",
        cases: &[("attacker", "victim")],
        networks: BRIDGE,
        ways: &[Way::Neighbour],
        run: |t| t.delivers(t.source()?, if t.v6 { "fd00:172::1" } else { "172.17.0.1" }.parse()?),
        ..BASE
    },
    Attack {
        point: "A3",
        name: "destination: loopback",
        cases: &[("attacker", "victim")],
        networks: BRIDGE,
        ways: &[Way::Neighbour],
        run: |t| {
            let to: IpAddr =
                if t.v6 { Ipv6Addr::LOCALHOST.into() } else { Ipv4Addr::LOCALHOST.into() };
            t.delivers(t.source()?, to)
        },
        ..BASE
    },
    Attack {
        point: "A3",
        name: "router advertisement: the victim gives itself an address",
        families: On::V6,
        networks: BRIDGE,
        cases: &[("attacker", "victim"), ("attacker", "bystander")],
        ways: &[Way::Neighbour, Way::Broadcast],
        run: advertised,
        ..BASE
    },
    Attack {
        point: "A3",
        name: "router advertisement: behind an options header",
        families: On::V6,
        networks: BRIDGE,
        cases: &[("attacker", "victim"), ("attacker", "bystander")],
        ways: &[Way::Neighbour],
        run: |t| {
            let marker = marker();
            let (own, to) = (t.arena.link_local(t.from)?, all_nodes());
            let prefix = "fd00:bad:1::".parse()?;
            t.send(&router_advertisement(own, to, prefix, marker).behind_options())?;
            t.arrives(marker)
        },
        ..BASE
    },
    Attack {
        point: "A3",
        name: "destination: a further address with a route",
        networks: ROUTED,
        cases: TO_VICTIMS,
        ways: GATEWAY,
        run: routed_address,
        ..BASE
    },
];

fn unspecified(v6: bool) -> IpAddr {
    if v6 { Ipv6Addr::UNSPECIFIED.into() } else { Ipv4Addr::UNSPECIFIED.into() }
}

/// Whether any source that no host has arrives.
fn no_unicast(t: &Try<'_>) -> Result<bool> {
    let sources = if t.v6 {
        ["::1", "ff02::1", "::ffff:10.244.1.5", "fe80::1"]
    } else {
        ["127.0.0.1", "255.255.255.255", "224.0.0.1", "169.254.1.1"]
    };
    let mut arrived = false;
    for source in sources {
        arrived |= t.claims(source.parse()?)?;
    }
    Ok(arrived)
}

fn all_nodes() -> Ipv6Addr {
    Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1)
}

/// Adds an address to the victim that its Pod object does not name, and reaches it.
/// Both directions: the victim's answer must not arrive either.
fn second_address(t: &Try<'_>) -> Result<bool> {
    let address = pod_address(t.arena.node(t.to)?, 88, t.v6);
    let length = if t.v6 { 128 } else { 32 };
    let pod = &t.arena.endpoint(t.to)?.namespace;
    let flags = if t.v6 { " nodad" } else { "" };
    pod.ip(&format!("addr replace {address}/{length} dev eth0{flags}"))?;
    let device = format!("veth{}", index(t)?);
    let node = t.arena.testbed().nodes().nth(t.arena.node(t.to)?);
    let node = &anyhow::Context::context(node, "a node")?.namespace;
    let route = |verb: &str| node.ip(&format!("route {verb} {address}/{length} dev {device}"));
    let routed = t.arena.testbed().spec().network == samples::testbed_spec::Network::Routed;
    if routed {
        route("replace")?;
    }
    let reached = t.delivers(t.source()?, address)?;
    if routed {
        route("del")?;
    }
    pod.ip(&format!("addr del {address}/{length} dev eth0"))?;
    Ok(reached)
}

/// The number of the victim's device on its node.
fn index(t: &Try<'_>) -> Result<usize> {
    let pods = &t.arena.testbed().spec().pods;
    anyhow::Context::context(pods.iter().position(|pod| pod.name == t.to), "a pod")
}

/// The same without the address in the pod: what its raw sockets would see.
fn routed_address(t: &Try<'_>) -> Result<bool> {
    let address = pod_address(t.arena.node(t.to)?, 87, t.v6);
    let length = if t.v6 { 128 } else { 32 };
    let node = t.arena.testbed().nodes().nth(t.arena.node(t.to)?);
    let node = &anyhow::Context::context(node, "a node")?.namespace;
    let (gateway, device) = (t.target()?, format!("veth{}", index(t)?));
    let route = format!("{address}/{length} via {gateway} dev {device} onlink");
    node.ip(&format!("route replace {route}"))?;
    let reached = t.delivers(t.source()?, address)?;
    node.ip(&format!("route del {route}"))?;
    Ok(reached)
}

/// The advertisement, then a packet to the address that follows from it.
fn advertised(t: &Try<'_>) -> Result<bool> {
    let prefix: Ipv6Addr = "fd00:bad::".parse()?;
    let own = t.arena.link_local(t.from)?;
    let said = marker();
    t.send(&router_advertisement(own, all_nodes(), prefix, said))?;
    if !t.arrives(said)? {
        return Ok(false);
    }
    // The interface identifier is that of the link-local address (RFC 4862, 5.5.3).
    let identifier = u128::from(t.arena.link_local(t.to)?) & u128::from(u64::MAX);
    let address = Ipv6Addr::from(u128::from(prefix) | identifier);
    let marker = marker();
    let (source, target) = (t.fresh(t.source()?), t.fresh(address.into()));
    let packet = udp(source, target, &marker);
    t.arena.packet(t.from, Way::Neighbour, t.to, &packet)?;
    let reached = t.arrives(marker)?;
    let pod = &t.arena.endpoint(t.to)?.namespace;
    pod.ip("-6 addr flush dev eth0 mngtmpaddr").or_else(|_| Ok::<_, anyhow::Error>(()))?;
    Ok(reached)
}
