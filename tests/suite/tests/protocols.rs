//! Protocols that the API cannot name. They reach an isolated pod only by rules
//! without `ports`.

use std::net::{SocketAddr, UdpSocket};
use std::os::fd::OwnedFd;
use std::time::Duration;

use anyhow::{Context, Result};
use netbed::scenario;
use netbed::testbed::Endpoint;
use samples::fixtures;
use samples::testbed_spec::{Families, Network};
use socket2::{Domain, Protocol, Socket, Type};

/// "Use for experimentation and testing" (RFC 3692).
const EXPERIMENTAL: i32 = 253;

/// Allows `peer` by a rule without ports, and `ports` by a rule with every port of
/// every protocol that the API can name.
fn policy() -> String {
    let (peer, ports) = (fixtures::peer("peer"), fixtures::peer("ports"));
    let every = "[{protocol: TCP}, {protocol: UDP}, {protocol: SCTP}]";
    let ingress = format!("[{{from: [{peer}]}}, {{from: [{ports}], ports: {every}}}]");
    fixtures::policy_for("server", &[("ingress", &ingress)])
}

#[test]
fn other_protocols_pass_only_by_rules_without_ports() -> Result<()> {
    let names = ["server", "peer", "ports", "stranger"];
    let spec = fixtures::dev_pods(Network::Bridge, &["node-1"], &names, Families::Both);
    let testbed = scenario::connected(spec, "pr")?;
    scenario::apply(&testbed, &policy())?;
    let server = testbed.endpoint("dev/server")?;
    for (from, expected) in [("dev/peer", true), ("dev/ports", false), ("dev/stranger", false)] {
        for v6 in [false, true] {
            let arrived = arrives(testbed.endpoint(from)?, server, v6)?;
            assert_eq!(arrived, expected, "{from}, IPv6: {v6}");
        }
    }
    Ok(())
}

/// Connection tracking knows these protocols by their two addresses alone. So one packet
/// of an isolated pod's opens the whole protocol for that peer, until the flow is
/// forgotten (`nf_conntrack_generic_timeout`, 600 s).
#[test]
fn one_packet_of_an_isolated_pod_opens_a_protocol_without_ports_for_that_peer() -> Result<()> {
    let names = ["server", "peer", "ports", "stranger"];
    let spec = fixtures::dev_pods(Network::Bridge, &["node-1"], &names, Families::Both);
    let testbed = scenario::connected(spec, "pr")?;
    scenario::apply(&testbed, &policy())?;
    let end = |name: &str| testbed.endpoint(name);
    let (server, asked, stranger) = (end("dev/server")?, end("dev/ports")?, end("dev/stranger")?);
    for v6 in [false, true] {
        assert!(!arrives(asked, server, v6)?, "denied at first, IPv6: {v6}");
        assert!(arrives(server, asked, v6)?, "the server may send, IPv6: {v6}");
        assert!(arrives(asked, server, v6)?, "that opened the protocol, IPv6: {v6}");
        assert!(!arrives(stranger, server, v6)?, "not for others, IPv6: {v6}");
    }
    Ok(())
}

fn arrives(from: &Endpoint, to: &Endpoint, v6: bool) -> Result<bool> {
    let address = to.address(v6).context("an address of this family")?;
    let at = raw(to, SocketAddr::new(address, 0))?;
    let own = from.address(v6).context("an address of this family")?;
    raw(from, SocketAddr::new(own, 0))?.send_to(b"hello", (address, 0))?;
    Ok(at.recv(&mut [0; 64]).is_ok())
}

/// A raw socket as a `UdpSocket`, whose `recv` and `send_to` work with any datagrams.
fn raw(endpoint: &Endpoint, bind: SocketAddr) -> Result<UdpSocket> {
    endpoint.namespace.run(|| {
        let protocol = Protocol::from(EXPERIMENTAL);
        let socket = Socket::new(Domain::for_address(bind), Type::RAW, Some(protocol))?;
        socket.bind(&bind.into())?;
        socket.set_read_timeout(Some(Duration::from_millis(250)))?;
        Ok(OwnedFd::from(socket).into())
    })?
}
