//! What must pass beside the attacks, under the same policies.
//!
//! Most ways are tried with ordinary sockets and an answer.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::Duration;

use anyhow::{Context, Result};
use netbed::arena::{CLUSTER_IPS, Way};
use netbed::forge::{
    self, SCTP_INIT, advertisement, arp, echo, icmp, marker, sctp, solicitation, udp,
};
use netbed::testbed::Endpoint;

use super::attack::{ANYWHERE, Attack, BRIDGE, GATEWAY, Must, On, TUNNELS, Try, VXLAN};

const BASE: Attack = Attack {
    point: "honest",
    name: "",
    networks: ANYWHERE,
    families: On::Both,
    fits: |_| true,
    cases: ALLOWED,
    ways: GATEWAY,
    run: |_| Ok(false),
    must: Must::Pass,
};

/// What the policies allow, or do not speak of.
const ALLOWED: &[(&str, &str)] = &[
    ("friend", "victim"),
    ("friend-2", "victim"),
    ("friend", "victim-2"),
    ("attacker", "bystander"),
    ("attacker", "bystander-2"),
    ("victim", "attacker"),
    ("victim", "bystander-2"),
    ("prisoner", "friend"),
    ("prisoner", "friend-2"),
    ("attacker", "prisoner"),
];
const NODES: &[(&str, &str)] = &[
    ("node-1", "victim"),
    ("node-1", "prisoner"),
    ("victim", "node-1"),
    ("prisoner", "node-1"),
    ("attacker", "node-2"),
    ("victim-2", "node-2"),
    ("node-1", "bystander-2"),
    ("node-1", "node-2"),
];
const OUTSIDE: &[(&str, &str)] =
    &[("victim", "outsider"), ("attacker", "outsider"), ("attacker-2", "outsider")];
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
    Attack { name: "UDP between pods", run: |t| udp_answers(t, t.target()?), ..BASE },
    Attack { name: "TCP between pods", run: |t| tcp_answers(t, t.target()?), ..BASE },
    Attack {
        name: "UDP from and to nodes",
        cases: NODES,
        run: |t| udp_answers(t, t.target()?),
        ..BASE
    },
    Attack {
        name: "TCP from and to nodes",
        cases: NODES,
        run: |t| tcp_answers(t, t.target()?),
        ..BASE
    },
    Attack {
        name: "UDP to the outside, masqueraded",
        cases: OUTSIDE,
        run: |t| udp_answers(t, t.target()?),
        ..BASE
    },
    Attack {
        name: "TCP to the outside, masqueraded",
        cases: OUTSIDE,
        run: |t| tcp_answers(t, t.target()?),
        ..BASE
    },
    Attack {
        name: "a client outside that a block allows",
        cases: &[("outsider", "server"), ("outsider", "server-2")],
        run: |t| serves(t, SocketAddr::new(t.target()?, 8080)),
        ..BASE
    },
    Attack {
        name: "ClusterIP and load balancer's address",
        cases: &[
            ("friend", "server"),
            ("friend", "server-2"),
            ("friend-2", "server"),
            ("friend", "victim"),
            ("node-1", "server"),
        ],
        run: cluster_ips,
        ..BASE
    },
    Attack {
        name: "itself by its own ClusterIP",
        cases: &[("victim", "victim"), ("server", "server")],
        run: cluster_ips,
        ..BASE
    },
    Attack {
        name: "node port of the endpoint's node",
        cases: &[("friend", "server"), ("friend-2", "server"), ("outsider", "server")],
        run: |t| serves(t, node_port(t, 0, 30080)),
        ..BASE
    },
    Attack {
        name: "node port of another node",
        cases: &[("friend", "server-2"), ("friend-2", "server-2"), ("outsider", "server-2")],
        run: |t| serves(t, node_port(t, 0, 30081)),
        ..BASE
    },
    Attack {
        name: "node port of a node that is not the client's",
        cases: &[("friend-2", "server-2"), ("friend", "server-2"), ("outsider", "server-2")],
        run: |t| serves(t, node_port(t, 1, 30081)),
        ..BASE
    },
    Attack {
        name: "node port that keeps the client",
        cases: &[("friend", "server"), ("outsider", "server"), ("friend-2", "server")],
        run: |t| serves(t, node_port(t, 0, 30082)),
        ..BASE
    },
    Attack { name: "neighbours forgotten", run: forgotten, ..BASE },
    Attack { name: "echo request and reply", run: pinged, ..BASE },
    Attack { name: "large datagrams in fragments", run: large, ..BASE },
    Attack {
        name: "error of a closed port",
        cases: &[
            ("victim", "friend"),
            ("victim", "friend-2"),
            ("prisoner", "friend-2"),
            ("attacker", "bystander-2"),
            ("victim", "outsider"),
        ],
        run: refused,
        ..BASE
    },
    Attack {
        name: "error of the node: time is up",
        cases: &[("victim", "friend-2"), ("prisoner", "friend-2"), ("attacker", "bystander-2")],
        run: time_is_up,
        ..BASE
    },
    Attack {
        name: "error of the node: too big",
        networks: VXLAN,
        cases: &[("victim", "friend-2"), ("prisoner", "friend-2")],
        run: too_big,
        ..BASE
    },
    Attack { name: "SCTP", run: initiated, ..BASE },
    Attack {
        name: "the tunnel's port at a pod or outside",
        networks: TUNNELS,
        cases: &[("attacker", "bystander"), ("attacker", "bystander-2"), ("attacker", "outsider")],
        run: own_tunnel,
        ..BASE
    },
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

const PATIENCE: Duration = Duration::from_millis(300);

fn endpoint<'a>(t: &Try<'a>, name: &str) -> Result<&'a Endpoint> {
    t.arena.endpoint(name)
}

fn any(v6: bool) -> IpAddr {
    if v6 { Ipv6Addr::UNSPECIFIED.into() } else { Ipv4Addr::UNSPECIFIED.into() }
}

fn udp_answers(t: &Try<'_>, to: IpAddr) -> Result<bool> {
    udp_at(t, t.fresh(to), None, &marker())
}

fn tcp_answers(t: &Try<'_>, to: IpAddr) -> Result<bool> {
    // The attackers' own kernels answer nobody at higher ports.
    tcp_at(t, SocketAddr::new(to, 10_000 + t.arena.port() % 10_000), None)
}

/// Both protocols at a Service's address. The pod listens on port 8080.
fn serves(t: &Try<'_>, at: SocketAddr) -> Result<bool> {
    Ok(udp_at(t, at, Some(8080), &marker())? && tcp_at(t, at, Some(8080))?)
}

fn udp_at(t: &Try<'_>, at: SocketAddr, listen: Option<u16>, data: &[u8]) -> Result<bool> {
    let (client, server) = (endpoint(t, t.from)?, endpoint(t, t.to)?);
    let any = any(t.v6);
    // A node answers from the address that was asked.
    let listen = listen.map_or(at, |port| SocketAddr::new(any, port));
    let server = server.namespace.run(|| UdpSocket::bind(listen))??;
    let own = t.arena.port();
    let client = client.namespace.run(|| {
        let socket = UdpSocket::bind((any, own))?;
        socket.connect(at)?;
        socket.send(data)?;
        std::io::Result::Ok(socket)
    })??;
    for socket in [&server, &client] {
        socket.set_read_timeout(Some(PATIENCE))?;
    }
    let mut buffer = vec![0; 65_536];
    let Ok((length, from)) = server.recv_from(&mut buffer) else { return Ok(false) };
    let whole = buffer[..length] == *data;
    if server.send_to(&buffer[..length], from).is_err() {
        return Ok(false);
    }
    Ok(whole && client.recv(&mut buffer).is_ok_and(|length| buffer[..length] == *data))
}

fn tcp_at(t: &Try<'_>, at: SocketAddr, listen: Option<u16>) -> Result<bool> {
    let (client, server) = (endpoint(t, t.from)?, endpoint(t, t.to)?);
    let (any, port) = (any(t.v6), listen.unwrap_or(at.port()));
    let server = server.namespace.run(|| TcpListener::bind((any, port)))??;
    let client = client.namespace.run(|| TcpStream::connect_timeout(&at, PATIENCE))?;
    let Ok(mut client) = client else { return Ok(false) };
    let (mut served, _) = server.accept()?;
    let said = marker();
    client.write_all(&said)?;
    let mut heard = [0; 6];
    for stream in [&served, &client] {
        stream.set_read_timeout(Some(PATIENCE))?;
    }
    Ok(served.read_exact(&mut heard).is_ok()
        && served.write_all(&heard).is_ok()
        && client.read_exact(&mut heard).is_ok()
        && heard == said)
}

fn cluster_ips(t: &Try<'_>) -> Result<bool> {
    for service in CLUSTER_IPS.iter().filter(|service| service.pod == t.to) {
        let address: IpAddr = service.address[usize::from(t.v6)].parse()?;
        if !serves(t, SocketAddr::new(address, service.port))? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn node_port(t: &Try<'_>, node: usize, port: u16) -> SocketAddr {
    SocketAddr::new(t.arena.testbed().spec().node_address(node, t.v6), port)
}

fn forgotten(t: &Try<'_>) -> Result<bool> {
    for name in [t.from, t.to] {
        endpoint(t, name)?.namespace.ip("neigh flush all")?;
    }
    udp_answers(t, t.target()?)
}

/// The client's kernel sees the answer; the marker comes back in it.
fn pinged(t: &Try<'_>) -> Result<bool> {
    let marker = marker();
    t.send(&echo(t.source()?, t.target()?, t.arena.port(), &marker))?;
    t.arena.arrives(t.from, marker)
}

fn large(t: &Try<'_>) -> Result<bool> {
    let data = [7; 4000];
    // The first ones find out how much a tunnel takes, in each direction.
    for _ in 0..3 {
        if udp_at(t, t.fresh(t.target()?), None, &data)? {
            return Ok(true);
        }
    }
    Ok(false)
}

fn refused(t: &Try<'_>) -> Result<bool> {
    let (to, any) = (t.fresh(t.target()?), any(t.v6));
    let socket = endpoint(t, t.from)?.namespace.run(|| {
        let socket = UdpSocket::bind((any, 0))?;
        socket.connect(to)?;
        socket.send(b"anybody?")?;
        std::io::Result::Ok(socket)
    })??;
    socket.set_read_timeout(Some(PATIENCE))?;
    let error = socket.recv(&mut [0; 16]).err();
    Ok(error.is_some_and(|error| error.kind() == std::io::ErrorKind::ConnectionRefused))
}

fn time_is_up(t: &Try<'_>) -> Result<bool> {
    let marker = marker();
    t.send(&udp(t.fresh(t.source()?), t.fresh(t.target()?), &marker).hops(1))?;
    t.arena.arrives(t.from, marker)
}

/// The tunnel takes less than the pod's own link.
fn too_big(t: &Try<'_>) -> Result<bool> {
    let marker = marker();
    let data = [&marker[..], &[0; 1440]].concat();
    let mut packet = udp(t.fresh(t.source()?), t.fresh(t.target()?), &data).to_bytes();
    if !t.v6 {
        packet[6] |= 0x40; // don't fragment (RFC 791, 3.1)
        packet[10..12].fill(0);
        let sum = checksum(&packet[..20]);
        packet[10..12].copy_from_slice(&sum.to_be_bytes());
    }
    t.arena.bytes(t.from, t.way, t.to, &packet)?;
    t.arena.arrives(t.from, marker)
}

/// RFC 1071.
fn checksum(header: &[u8]) -> u16 {
    let words = header.chunks(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]])));
    let sum: u32 = words.sum();
    !(((sum & 0xffff) + (sum >> 16)) as u16)
}

fn initiated(t: &Try<'_>) -> Result<bool> {
    let marker = marker();
    t.send(&sctp(t.fresh(t.source()?), t.fresh(t.target()?), SCTP_INIT, &marker))?;
    t.arrives(marker)
}

/// A pod may end a tunnel of its own.
fn own_tunnel(t: &Try<'_>) -> Result<bool> {
    let mut arrived = true;
    for port in [8472, 8285] {
        let marker = marker();
        t.arena.datagram(t.from, SocketAddr::new(t.target()?, port), &marker)?;
        arrived &= t.arrives(marker)?;
    }
    Ok(arrived)
}

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

/// As the kernel does it, to the solicited-node group (RFC 4862, 5.4.2).
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

/// The neighbour's true hardware address is what the kernel learns.
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
