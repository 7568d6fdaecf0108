//! Traffic between the pods of one bridge that does not use their reported addresses.
//!
//! Every pod has an IPv6 link-local address, and there are broadcast and multicast
//! groups. None of these addresses is in a set of pod addresses. From and to an isolated
//! pod, only neighbour discovery and MLD may pass between them, and only
//! in genuine form: neighbour discovery on one link, MLD to groups. While a pod of the node
//! is isolated, link-local addresses are shut for all, and groups, too, if its port is not
//! known.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result};
use netbed::datagram::{arrives, arrives_in_frame, icmpv6, link_local, receiver, scoped};
use netbed::probe::Knock;
use netbed::testbed::{Endpoint, Testbed};
use netbed::{program, scenario};
use samples::fixtures::{self, isolated_victim, victim_and};
use samples::objects;
use samples::testbed_spec::{Families, Network, TestbedSpec};
use socket2::{Domain, Protocol, Socket, Type};

fn three_pods(network: Network) -> Result<Testbed> {
    let testbed = scenario::connected(victim_and("other", network), "ed")?;
    if network == Network::Bridge {
        // Otherwise the bridge itself decides which pod gets which group.
        let node = &testbed.endpoint("node-1")?.namespace;
        node.ip("link set cni0 type bridge mcast_snooping 0")?;
    }
    Ok(testbed)
}

/// A path between two pods that does not use the reported addresses of both. Each
/// path has its own port, because all are tried at once.
struct Path {
    name: String,
    source: SocketAddr,
    /// The group to join, or any address of the family.
    receive: IpAddr,
    destination: SocketAddr,
}

fn paths(from: &Endpoint, to: &Endpoint, first_port: u16) -> Result<Vec<Path>> {
    let mut ports = first_port..;
    let mut port = || ports.next().context("a port");
    let (from_local, _) = link_local(from)?;
    let (to_local, _) = link_local(to)?;
    let to_global = to.address(true).context("an IPv6 address")?;
    let local: SocketAddr = scoped(from, from_local, 0)?;
    let global: SocketAddr = (from.address(true).context("an IPv6 address")?, 0).into();
    let mut paths = Vec::new();
    for (name, source, destination) in [
        ("link-local to link-local", local, scoped(from, to_local, port()?)?),
        ("global to link-local", global, scoped(from, to_local, port()?)?),
        ("link-local to global", local, (to_global, port()?).into()),
    ] {
        paths.push(Path { name: name.into(), source, receive: to_global, destination });
    }
    for group in ["255.255.255.255", "10.244.1.255", "224.0.0.251", "239.1.2.3"] {
        let receive: IpAddr = group.parse()?;
        let source = (Ipv4Addr::UNSPECIFIED, 0).into();
        paths.push(Path {
            name: group.into(),
            source,
            receive,
            destination: (receive, port()?).into(),
        });
    }
    for group in ["ff02::1", "ff02::fb", "ff05::1:3"] {
        let group: Ipv6Addr = group.parse()?;
        for source in [local, global] {
            paths.push(Path {
                name: format!("{group} from {}", source.ip()),
                source,
                receive: group.into(),
                destination: scoped(from, group, port()?)?,
            });
        }
    }
    Ok(paths)
}

/// Which paths work, all tried at once.
fn tried(from: &Endpoint, to: &Endpoint, first_port: u16) -> Result<Vec<(String, bool)>> {
    let paths = paths(from, to, first_port)?;
    let link_local_tcp = paths[0].destination;
    std::thread::scope(|scope| {
        let tries: Vec<_> = paths
            .into_iter()
            .map(|path| {
                scope.spawn(move || {
                    let at = receiver(to, path.receive, path.destination.port())?;
                    anyhow::Ok((path.name, arrives(from, path.source, path.destination, &at)?))
                })
            })
            .collect();
        let mut seen = vec![("TCP to link-local".into(), connects(from, to, link_local_tcp)?)];
        for one in tries {
            seen.push(one.join().expect("no path panics")?);
        }
        Ok(seen)
    })
}

fn connects(from: &Endpoint, to: &Endpoint, address: SocketAddr) -> Result<bool> {
    let _listener =
        to.namespace.run(|| TcpListener::bind((Ipv6Addr::UNSPECIFIED, address.port())))??;
    let timeout = Duration::from_millis(250);
    Ok(from.namespace.run(|| TcpStream::connect_timeout(&address, timeout))?.is_ok())
}

fn check(testbed: &Testbed, expected: bool, port: u16, when: &str) -> Result<()> {
    let (other, victim) = (testbed.endpoint("dev/other")?, testbed.endpoint("dev/victim")?);
    for (from, to) in [(other, victim), (victim, other)] {
        for (path, seen) in tried(from, to, port)? {
            assert_eq!(seen, expected, "{when}: {} to {}, {path}", from.name, to.name);
        }
    }
    Ok(())
}

#[test]
fn link_local_broadcast_and_multicast_pass_only_without_isolated_pods() -> Result<()> {
    let testbed = three_pods(Network::Bridge)?;
    check(&testbed, true, 7100, "without nftpol")?;
    scenario::apply(&testbed, "")?;
    check(&testbed, true, 7200, "without policies")?;
    for (direction, port) in [("Ingress", 7300), ("Egress", 7400)] {
        scenario::apply(&testbed, &isolated_victim(direction))?;
        check(&testbed, false, port, direction)?;
    }
    scenario::apply(&testbed, "")?;
    check(&testbed, true, 7500, "policies gone")
}

/// The link-local addresses of all pods are shut, but not the groups of pods that nobody
/// isolates.
fn check_others(testbed: &Testbed, port: u16, when: &str) -> Result<()> {
    let (other, third) = (testbed.endpoint("dev/other")?, testbed.endpoint("dev/third")?);
    for (from, to) in [(other, third), (third, other)] {
        for (path, seen) in tried(from, to, port)? {
            let expected = !path.contains("link-local");
            assert_eq!(seen, expected, "{when}: {} to {}, {path}", from.name, to.name);
        }
    }
    Ok(())
}

#[test]
fn groups_stay_open_to_pods_that_nobody_isolates() -> Result<()> {
    let testbed = three_pods(Network::Bridge)?;
    for (direction, port) in [("Ingress", 7800), ("Egress", 7850)] {
        scenario::apply(&testbed, &isolated_victim(direction))?;
        check_others(&testbed, port, direction)?;
        check(&testbed, false, port + 25, direction)?;
    }
    let nobody = fixtures::deny_all("dev");
    scenario::apply(&testbed, &nobody)?;
    let (other, third) = (testbed.endpoint("dev/other")?, testbed.endpoint("dev/third")?);
    let seen = tried(other, third, 7900)?;
    assert!(seen.iter().all(|(_, seen)| !seen), "all are isolated: {seen:?}");
    Ok(())
}

/// An isolated pod whose port is not known has no guard.
#[test]
fn groups_are_shut_for_all_while_an_isolated_pod_is_not_bound() -> Result<()> {
    let testbed = three_pods(Network::Bridge)?;
    let input = objects::manifests(testbed.spec(), &isolated_victim("Ingress"));
    let namespace = &testbed.endpoint("node-1")?.namespace;
    let arguments = ["apply", "-f", "-", "--node", "node-1", "--unbound", "dev/app=victim"];
    program::run(namespace, &arguments, &input)?.success()?;
    let (other, third) = (testbed.endpoint("dev/other")?, testbed.endpoint("dev/third")?);
    let seen = tried(other, third, 7950)?;
    assert!(seen.iter().all(|(_, seen)| !seen), "{seen:?}");
    Ok(())
}

/// Checks which groups reach a neighbour in a frame that is addressed to it alone.
fn check_frames(testbed: &Testbed, expected: bool, port: u16, when: &str) -> Result<()> {
    let (other, victim) = (testbed.endpoint("dev/other")?, testbed.endpoint("dev/victim")?);
    for (from, to) in [(other, victim), (victim, other)] {
        for group in ["255.255.255.255", "224.0.0.1", "239.1.2.3", "ff02::1", "ff05::1:3"] {
            let group: IpAddr = group.parse()?;
            let source = from.address(group.is_ipv6()).context("an address")?;
            let at = receiver(to, group, port)?;
            let (source, destination) = ((source, port).into(), (group, port).into());
            let seen = arrives_in_frame(from, to, source, destination, &at)?;
            assert_eq!(seen, expected, "{when}: {} to {}, {group}", from.name, to.name);
        }
    }
    Ok(())
}

#[test]
fn a_group_in_a_frame_for_one_neighbour_passes_only_without_isolated_pods() -> Result<()> {
    let testbed = three_pods(Network::Bridge)?;
    check_frames(&testbed, true, 7700, "without nftpol")?;
    scenario::apply(&testbed, "")?;
    check_frames(&testbed, true, 7701, "without policies")?;
    for (direction, port) in [("Ingress", 7702), ("Egress", 7703)] {
        scenario::apply(&testbed, &isolated_victim(direction))?;
        check_frames(&testbed, false, port, direction)?;
    }
    scenario::apply(&testbed, "")?;
    check_frames(&testbed, true, 7704, "policies gone")
}

/// Of the messages below, the only one of neighbour discovery that one pod may send to
/// another. No advertisement is among them: they name no address of their sender.
const SOLICITATION: u8 = 135;
/// ICMPv6 types of neighbour discovery (RFC 4861) and of MLD (RFC 2710; RFC 3810).
const DISCOVERY: [u8; 9] = [130, 131, 132, 133, 134, 135, 136, 137, 143];
/// The hop limit of neighbour discovery, and Linux's default.
const HOPS: [u8; 2] = [255, 64];

/// Checks which types of [`DISCOVERY`] get from one pod to the address of the other.
fn check_discovery(from: &Endpoint, to: &Endpoint, expected: [&[u8]; 2], when: &str) -> Result<()> {
    for (hops, expected) in HOPS.into_iter().zip(expected) {
        let seen = icmpv6(from, to, hops, &DISCOVERY)?;
        assert_eq!(seen, expected, "{when}: {} to {}, hop limit {hops}", from.name, to.name);
    }
    Ok(())
}

/// What no policy has to deny, by hop limit. No redirect is passed on. A pod sends no
/// router advertisement. On a bridge, its neighbour advertisements name its own
/// addresses, or a receiver would ignore them.
fn unjudged(network: Network, from: &Endpoint) -> [Vec<u8>; 2] {
    let is_pod = from.name != "outsider";
    HOPS.map(|hops| {
        let dropped = |kind: u8| match kind {
            134 => is_pod,
            136 => is_pod && network == Network::Bridge && hops == 255,
            137 => true,
            _ => false,
        };
        DISCOVERY.into_iter().filter(|kind| !dropped(*kind)).collect()
    })
}

#[test]
fn discovery_from_beyond_the_link_is_judged_like_any_packet() -> Result<()> {
    for network in [Network::Bridge, Network::Routed] {
        let spec = TestbedSpec::new(network, &["node-1", "node-2"])
            .namespace("dev", &[])
            .pod_on(0, "dev", "victim", &[("app", "victim")], Families::Both, &[])
            .pod_on(0, "dev", "near", &[("app", "near")], Families::Both, &[])
            .pod_on(1, "dev", "far", &[("app", "far")], Families::Both, &[]);
        let testbed = scenario::connected(spec, "ed")?;
        let victim = testbed.endpoint("dev/victim")?;
        let on_link: &[u8] = if network == Network::Bridge { &[SOLICITATION] } else { &[] };
        let others = [("dev/near", on_link), ("dev/far", &[]), ("outsider", &[])];
        for (other, neighbours) in others {
            let other = testbed.endpoint(other)?;
            for (from, to) in [(other, victim), (victim, other)] {
                let when = format!("{network:?} without policies");
                scenario::apply(&testbed, "")?;
                let [near, far] = unjudged(network, from);
                check_discovery(from, to, [&near, &far], &when)?;
            }
            for (direction, from, to) in [("Ingress", other, victim), ("Egress", victim, other)] {
                scenario::apply(&testbed, &isolated_victim(direction))?;
                let when = format!("{network:?} {direction}");
                check_discovery(from, to, [neighbours, &[]], &when)?;
            }
        }
    }
    Ok(())
}

/// Only `other` may send, and only to `victim`.
fn deny_all_but_one() -> String {
    let egress = format!("[{{to: [{}]}}]", fixtures::peer("victim"));
    let ingress = format!("[{{from: [{}]}}]", fixtures::peer("other"));
    let other = [("egress", egress.as_str()), ("policyTypes", "[Egress]")];
    let policies = [
        fixtures::deny_all("dev"),
        fixtures::policy_for("other", &other),
        fixtures::policy_for("victim", &[("ingress", &ingress)]),
    ];
    policies.join("---\n")
}

#[test]
fn neighbours_are_found_while_everything_is_denied() -> Result<()> {
    for network in [Network::Bridge, Network::Routed] {
        let testbed = three_pods(network)?;
        let scenario = scenario::Scenario::new(&testbed, &[Knock::Tcp(80), Knock::Icmp])?;
        scenario.enforce(&deny_all_but_one())?;
        for endpoint in testbed.endpoints() {
            endpoint.namespace.ip("neigh flush all")?;
        }
        let counts = scenario.check(&deny_all_but_one())?;
        assert!(counts.passed > 0 && counts.refused > 0, "{network:?}: {counts:?}");
    }
    Ok(())
}

/// The destination of MLDv2 reports (RFC 3810, 5.2.14), and their type.
const MLD_ROUTERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x16);
const MLD_REPORT: u8 = 143;

#[test]
fn listener_reports_pass_while_everything_is_denied() -> Result<()> {
    let testbed = three_pods(Network::Bridge)?;
    scenario::apply(&testbed, &deny_all_but_one())?;
    let (victim, third) = (testbed.endpoint("dev/victim")?, testbed.endpoint("dev/third")?);
    let (_, scope) = link_local(third)?;
    let ears = third.namespace.run(|| {
        let socket = Socket::new(Domain::IPV6, Type::RAW, Some(Protocol::ICMPV6))?;
        socket.join_multicast_v6(&MLD_ROUTERS, scope)?;
        socket.set_read_timeout(Some(Duration::from_secs(3)))?;
        std::io::Result::Ok(std::net::UdpSocket::from(std::os::fd::OwnedFd::from(socket)))
    })??;
    let _member = receiver(victim, "ff05::abcd".parse()?, 7600)?;
    let (reporter, _) = link_local(victim)?;
    let mut buffer = [0; 1500];
    loop {
        let (length, from) = ears.recv_from(&mut buffer).context("no report arrived")?;
        if length > 0 && buffer[0] == MLD_REPORT && from.ip() == reporter {
            return Ok(());
        }
    }
}
