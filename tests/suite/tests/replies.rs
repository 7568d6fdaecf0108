//! Replies and errors of allowed flows pass, whatever the policies say about the
//! direction in which they travel.

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::Duration;

use anyhow::{Context, Result};
use netbed::scenario;
use netbed::testbed::{Endpoint, Testbed};
use samples::fixtures;
use samples::testbed_spec::{Families, Network};

const PATIENCE: Duration = Duration::from_secs(5);
const MOMENT: Duration = Duration::from_millis(250);

/// `client` may open flows to `server` on TCP and UDP 7000 and nothing else: no flow
/// may enter the client or leave the server.
fn one_way() -> String {
    let ports = "[{port: 7000}, {protocol: UDP, port: 7000}]";
    let (client, server) = (fixtures::peer("client"), fixtures::peer("server"));
    let egress = format!("[{{to: [{server}], ports: {ports}}}]");
    let ingress = format!("[{{from: [{client}], ports: {ports}}}]");
    let both = ("policyTypes", "[Ingress, Egress]");
    let client = fixtures::policy_for("client", &[("egress", &egress), both]);
    let server = fixtures::policy_for("server", &[("ingress", &ingress), both]);
    format!("{client}---\n{server}")
}

/// Client and server, on two nodes or on one.
fn pair(network: Network, nodes: &[&str]) -> Result<Testbed> {
    let spec = fixtures::dev_pods(network, nodes, &["client", "server"], Families::Both);
    let testbed = scenario::connected(spec, "rp")?;
    scenario::apply(&testbed, &one_way())?;
    Ok(testbed)
}

fn on_every_network(test: impl Fn(&Testbed, &Endpoint, &Endpoint) -> Result<()>) -> Result<()> {
    for network in [Network::Bridge, Network::Routed] {
        for nodes in [&["node-1"][..], &["node-1", "node-2"]] {
            let testbed = pair(network, nodes)?;
            test(&testbed, testbed.endpoint("dev/client")?, testbed.endpoint("dev/server")?)
                .with_context(|| format!("{network:?}, {} nodes", nodes.len()))?;
        }
    }
    Ok(())
}

fn addresses(endpoint: &Endpoint) -> Result<[IpAddr; 2]> {
    let address = |v6| endpoint.address(v6).context("an address of each family");
    Ok([address(false)?, address(true)?])
}

/// Sends `length` bytes from client to server and waits for an answer.
fn transfer(client: &Endpoint, server: &Endpoint, to: SocketAddr, length: usize) -> Result<()> {
    let listener = server.namespace.run(|| TcpListener::bind(to))??;
    let stream = client.namespace.run(|| TcpStream::connect_timeout(&to, PATIENCE))?;
    let mut stream = stream.with_context(|| format!("connect to {to}"))?;
    let (mut served, _) = listener.accept()?;
    for end in [&stream, &served] {
        end.set_read_timeout(Some(PATIENCE))?;
        end.set_write_timeout(Some(PATIENCE))?;
    }
    std::thread::scope(|scope| {
        let receiver = scope.spawn(move || {
            let mut received = vec![0; length];
            served.read_exact(&mut received).context("receive")?;
            served.write_all(b"thanks").context("answer")
        });
        stream.write_all(&vec![7; length]).context("send")?;
        stream.read_exact(&mut [0; 6]).context("wait for the answer")?;
        receiver.join().expect("the receiver does not panic")
    })
}

#[test]
fn tcp_and_udp_are_answered_though_the_way_back_is_closed() -> Result<()> {
    on_every_network(|_, client, server| {
        for address in addresses(server)? {
            transfer(client, server, (address, 7000).into(), 100_000)?;
            let at = server.namespace.run(|| UdpSocket::bind((address, 7000)))??;
            at.set_read_timeout(Some(PATIENCE))?;
            let asker = udp(client, server, address, 7000)?;
            asker.send(b"question")?;
            let (_, from) = at.recv_from(&mut [0; 16]).context("the question")?;
            at.send_to(b"answer", from)?;
            asker.recv(&mut [0; 16]).context("the answer")?;
        }
        // No flow opens in the other direction.
        for address in addresses(client)? {
            let to = SocketAddr::from((address, 7000));
            let _listener = client.namespace.run(|| TcpListener::bind(to))??;
            let connected = server.namespace.run(|| TcpStream::connect_timeout(&to, MOMENT))?;
            assert_eq!(connected.unwrap_err().kind(), ErrorKind::TimedOut);
        }
        Ok(())
    })
}

/// A UDP socket of the client, connected to a port of the server.
fn udp(client: &Endpoint, server: &Endpoint, to: IpAddr, port: u16) -> Result<UdpSocket> {
    let own = client.address(to.is_ipv6()).context("an address of this family")?;
    let socket = client.namespace.run(|| {
        let socket = UdpSocket::bind((own, 0))?;
        socket.connect((to, port))?;
        std::io::Result::Ok(socket)
    })?;
    let socket = socket.with_context(|| format!("connect to {}", server.name))?;
    socket.set_read_timeout(Some(PATIENCE))?;
    Ok(socket)
}

/// The server's kernel answers with an ICMP error, which is `related` to the flow. It
/// passes although the server may send nothing and the client may receive nothing.
#[test]
fn port_unreachable_comes_back_for_allowed_flows_alone() -> Result<()> {
    on_every_network(|_, client, server| {
        for address in addresses(server)? {
            let allowed = udp(client, server, address, 7000)?;
            allowed.send(b"anybody there?")?;
            let error = allowed.recv(&mut [0; 16]).expect_err("nobody listens");
            assert_eq!(error.kind(), ErrorKind::ConnectionRefused, "{address}");
            let denied = udp(client, server, address, 7001)?;
            denied.set_read_timeout(Some(MOMENT))?;
            denied.send(b"anybody there?")?;
            let error = denied.recv(&mut [0; 16]).expect_err("nobody listens");
            assert_eq!(error.kind(), ErrorKind::WouldBlock, "{address}");
        }
        Ok(())
    })
}

/// Only the first fragment contains the ports.
#[test]
fn fragments_of_allowed_flows_pass() -> Result<()> {
    on_every_network(|_, client, server| {
        for address in addresses(server)? {
            for (port, allowed) in [(7000, true), (7001, false)] {
                let at = server.namespace.run(|| UdpSocket::bind((address, port)))??;
                at.set_read_timeout(Some(if allowed { PATIENCE } else { MOMENT }))?;
                udp(client, server, address, port)?.send(&[7; 5000])?;
                let received = at.recv(&mut [0; 6000]).ok();
                assert_eq!(received, allowed.then_some(5000), "{address} port {port}");
            }
        }
        Ok(())
    })
}

/// The minimum MTU of IPv6 in bytes (RFC 8200, 5).
const NARROW: u16 = 1280;

/// The last link is narrower than the first. Without fragmentation-needed and
/// packet-too-big from the far node, large segments vanish.
#[test]
fn path_mtu_discovery_works_for_allowed_flows() -> Result<()> {
    for network in [Network::Bridge, Network::Routed] {
        let testbed = pair(network, &["node-1", "node-2"])?;
        let interface = if network == Network::Bridge { "cni0" } else { "veth1" };
        let far = testbed.endpoint("node-2")?;
        far.namespace.ip(&format!("link set {interface} mtu {NARROW}"))?;
        let (client, server) = (testbed.endpoint("dev/client")?, testbed.endpoint("dev/server")?);
        for address in addresses(server)? {
            transfer(client, server, (address, 7000).into(), 200_000)
                .with_context(|| format!("{network:?} {address}"))?;
            let learnt = client.namespace.run(|| route_to(client, address))??;
            assert!(learnt.contains(&format!("mtu {NARROW}")), "{network:?} {learnt}");
        }
    }
    Ok(())
}

/// What the client's kernel knows about the route to an address.
fn route_to(client: &Endpoint, address: IpAddr) -> Result<String> {
    let arguments = ["-n", client.namespace.name(), "route", "get", &address.to_string()];
    let output = std::process::Command::new("ip").args(arguments).output()?;
    Ok(String::from_utf8(output.stdout)?)
}
