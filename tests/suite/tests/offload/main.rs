//! A packet that changes after all hooks: the sender asks for a checksum at a place of
//! its choice.
//!
//! A pod with CAP_NET_RAW hands a frame to its device with the request to put a checksum
//! there (`PACKET_VNET_HDR`, packet(7)). veth and bridge pass the request on. The node's
//! exit device fulfils it if it has no checksum offload (`validate_xmit_skb` in
//! net/core/dev.c, Linux 6.18): behind the forward hook, and behind the egress hook of
//! netdev. So the sender's node judges other bytes than those that leave. The sender
//! chooses them by bytes that are added up: an IPv6 address, a port.
//!
//! nftables cannot see the request. This test shows what holds, and what does not.

mod packet;

use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use netbed::net::Namespace;
use netbed::program;
use netbed::scenario;
use netbed::testbed::{Endpoint, Testbed};
use samples::fixtures::{dev_pods, peer, policy_for};
use samples::testbed_spec::{Families, Network};

const PATIENCE: Duration = Duration::from_millis(400);
/// Ports of the victim's: for the friend alone, and for mallory.
const FRIENDS: u16 = 7000;
const MALLORYS: u16 = 7001;
/// The port of others that mallory may send to.
const ALLOWED: u16 = 53;
/// Mallory's node has this device between a pod's end and the hooks.
const NORMALISER: &str = "nft-csum";

/// What the packet says once it has changed.
#[derive(Clone, Copy, Debug)]
enum Forgery {
    /// The friend's IPv6 address as its source.
    Source,
    /// A port that mallory may not send to.
    Port,
}

const BOTH: [Forgery; 2] = [Forgery::Source, Forgery::Port];

#[test]
fn a_checksum_replaces_bytes_behind_the_hooks_of_the_senders_node() -> Result<()> {
    for network in [Network::Bridge, Network::Routed] {
        let pods = ["mallory", "victim", "friend"];
        let spec = dev_pods(network, &["node-1", "node-2"], &pods, Families::Both);
        let testbed = scenario::connected(spec, "of")?;
        let tried = Tried { testbed: &testbed, network };
        let exit = &testbed.endpoint("node-1")?.namespace;
        let own = &testbed.endpoint("dev/mallory")?.namespace;
        // An exit device with offload, as veth has it, hands the request on to hardware.
        tried.expect(false, "without a table, the exit device has checksum offload")?;
        checksums(exit, "eth0", "off")?;
        tried.expect(true, "without a table, the exit device has none")?;
        scenario::apply(&testbed, &policies())?;
        tried.expect(true, "what stays open: policies alone do not stop it")?;
        for feature in ["rx", "tx", "gro", "gso", "sg"] {
            ethtool(exit, tried.port(), feature, "off")?;
        }
        tried.expect(true, "no feature of the node's end of the veth stops it")?;
        checksums(own, "eth0", "off")?;
        tried.expect(false, "the pod's own device makes the checksum before all hooks")?;
        checksums(own, "eth0", "on")?;
        tried.expect(true, "a pod with CAP_NET_ADMIN can turn that on again")?;
        normalise(exit, tried.port())?;
        tried.expect(false, "a device without offload in front of the hooks makes it there")?;
        ensure!(tried.honest()?, "{network:?}: the friend does not reach the victim through it");
    }
    Ok(())
}

/// One network.
struct Tried<'a> {
    testbed: &'a Testbed,
    network: Network,
}

impl Tried<'_> {
    /// Whether both forgeries arrive.
    fn expect(&self, arrives: bool, what: &str) -> Result<()> {
        for forgery in BOTH {
            let seen = self.arrives(forgery).with_context(|| what.to_owned())?;
            let network = self.network;
            ensure!(seen == arrives, "{network:?}, {forgery:?}: arrives {seen}. {what}");
        }
        Ok(())
    }

    /// The node's end of mallory's veth.
    fn port(&self) -> &'static str {
        // The testbed numbers them as it was told about the pods.
        "veth0"
    }

    fn arrives(&self, forgery: Forgery) -> Result<bool> {
        let mallory = self.testbed.endpoint("dev/mallory")?;
        let friend = self.testbed.endpoint("dev/friend")?;
        let victim = self.testbed.endpoint("dev/victim")?;
        let gateway = match self.network {
            Network::Bridge => "cni0",
            Network::Routed | Network::Macvlan | Network::Moved => self.port(),
        };
        let node = self.testbed.endpoint("node-1")?;
        let gateway = packet::hardware(&node.namespace, gateway)?;
        let (from, to, says) = match forgery {
            Forgery::Source => {
                let says = at(friend, true, packet::SOURCE)?;
                (at(mallory, true, packet::SOURCE)?, at(victim, true, FRIENDS)?, says)
            }
            Forgery::Port => {
                let from = at(mallory, false, packet::SOURCE)?;
                (from, at(victim, false, MALLORYS)?, from)
            }
        };
        let ears = listen(victim, to)?;
        let sent = match forgery {
            Forgery::Source => packet::source(from, says, to)?,
            Forgery::Port => packet::port(from, to, ALLOWED)?,
        };
        sent.send(mallory, gateway)?;
        Ok(ears.recv_from(&mut [0; 64]).is_ok_and(|(_, seen)| seen == says))
    }

    /// Whether the friend's own datagrams arrive, which mallory's do not.
    fn honest(&self) -> Result<bool> {
        let victim = self.testbed.endpoint("dev/victim")?;
        let mut all = true;
        for v6 in [false, true] {
            for (name, port) in [("dev/friend", FRIENDS), ("dev/mallory", ALLOWED)] {
                let ears = listen(victim, at(victim, v6, port)?)?;
                let pod = self.testbed.endpoint(name)?;
                let mouth = listen(pod, at(pod, v6, 0)?)?;
                mouth.send_to(b"hi", at(victim, v6, port)?)?;
                // Mallory may send to this port, and the victim does not take it.
                all &= ears.recv_from(&mut [0; 8]).is_ok() == (port == FRIENDS);
            }
        }
        Ok(all)
    }
}

/// The friend may send to the victim, and mallory to one of its ports. Mallory may
/// send to two other ports.
fn policies() -> String {
    let udp = |port: u16| format!("{{protocol: UDP, port: {port}}}");
    let ingress = format!(
        "[{{from: [{}]}}, {{from: [{}], ports: [{}]}}]",
        peer("friend"),
        peer("mallory"),
        udp(MALLORYS)
    );
    let egress = format!("[{{ports: [{}, {}]}}]", udp(ALLOWED), udp(FRIENDS));
    [
        policy_for("victim", &[("policyTypes", "[Ingress]"), ("ingress", &ingress)]),
        policy_for("mallory", &[("policyTypes", "[Egress]"), ("egress", &egress)]),
    ]
    .join("---\n")
}

/// Puts a device without checksum offload between a port and all hooks. The hook
/// `ingress` of netdev hands each frame to it, and it hands the frame back (`fwd` of
/// nft(8); drivers/net/ifb.c, Linux 6.18).
fn normalise(node: &Namespace, port: &str) -> Result<()> {
    node.ip(&format!("link add {NORMALISER} type ifb\nlink set {NORMALISER} up"))?;
    checksums(node, NORMALISER, "off")?;
    let script = format!(
        "table netdev checksums {{
            chain {port} {{
                type filter hook ingress device {port} priority 0
                fwd to {NORMALISER}
            }}
        }}\n"
    );
    let mut nft = node.command("nft");
    nft.args(["-f", "-"]);
    program::finish(nft, &script)?.success().map(drop)
}

fn checksums(namespace: &Namespace, device: &str, word: &str) -> Result<()> {
    ethtool(namespace, device, "tx", word)
}

/// Turns a feature of a device on or off (ethtool(8)).
fn ethtool(namespace: &Namespace, device: &str, feature: &str, word: &str) -> Result<()> {
    let mut command = namespace.command("ethtool");
    command.args(["-K", device, feature, word]);
    program::finish(command, "")?.success().map(drop)
}

fn at(endpoint: &Endpoint, v6: bool, port: u16) -> Result<SocketAddr> {
    Ok(SocketAddr::new(endpoint.address(v6).context("an address")?, port))
}

fn listen(endpoint: &Endpoint, own: SocketAddr) -> Result<UdpSocket> {
    let socket = endpoint.namespace.run(|| UdpSocket::bind(own))??;
    socket.set_read_timeout(Some(PATIENCE))?;
    Ok(socket)
}
