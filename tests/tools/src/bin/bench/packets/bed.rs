//! A node with a pod that sends and a pod that receives.
//!
//! Each table has a bed of its own, so that a round measures all tables one after the
//! other, without loading any. Neighbours are fixed, so that nobody looks for them while
//! packets are counted. Never: a packet that reaches a socket of the receiver's: its
//! device drops each one at the first hook, and counts it.

use std::fmt::Write as _;
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use netbed::net::{Namespace, veth};
use netbed::program;
use nix::net::if_::if_nametoindex;

use super::tables::Table;

/// The pods' addresses.
pub const SENDER: Ipv4Addr = Ipv4Addr::new(10, 244, 1, 2);
pub const RECEIVER: Ipv4Addr = Ipv4Addr::new(10, 244, 1, 3);
/// The node's ends of their veths.
pub const PORTS: [&str; 2] = ["pod0", "pod1"];
/// The pods' hardware addresses.
pub const MACS: [[u8; 6]; 2] = [[2, 0, 0, 0, 0, 0], [2, 0, 0, 0, 0, 1]];
/// The bridge and its hardware address.
pub const BRIDGE: &str = "cni0";
pub const BRIDGE_MAC: [u8; 6] = [2, 0, 0, 0, 1, 0];
/// The node's address for the pods.
pub const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 244, 1, 1);
/// Both ports of the established flow, and the port of connects.
pub const ESTABLISHED: u16 = 40_000;
const PATIENCE: Duration = Duration::from_secs(2);

/// How the pods are connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Links {
    /// A veth and a host route for each.
    Routed,
    /// Ports of one bridge, which hands packets to the forward hook (`br_netfilter`).
    Bridged,
}

/// One bed.
pub struct Bed {
    pub node: Namespace,
    pub sender: Namespace,
    receiver: Namespace,
}

impl Bed {
    /// Without a table.
    pub fn new(links: Links) -> Result<Self> {
        let node = Namespace::new("pkn")?;
        node.sysctl("ipv4.ip_forward", "1")?;
        let mut lines = String::new();
        if links == Links::Bridged {
            node.sysctl("bridge.bridge-nf-call-iptables", "1")?;
            let mac = written(BRIDGE_MAC);
            writeln!(lines, "link add {BRIDGE} address {mac} type bridge")?;
            writeln!(lines, "link set {BRIDGE} up\naddress add {GATEWAY}/24 dev {BRIDGE}")?;
        }
        let pods = [Namespace::new("pks")?, Namespace::new("pkr")?];
        // A port stays in use for a minute after a connect (TIME_WAIT).
        pods[0].sysctl("ipv4.ip_local_port_range", "1024 65535")?;
        for (index, (pod, address)) in pods.iter().zip([SENDER, RECEIVER]).enumerate() {
            let (port, mac) = (PORTS[index], written(MACS[index]));
            veth((&node, port), (pod, "eth0"))?;
            match links {
                Links::Routed => {
                    let node_mac = "ee:ee:ee:ee:ee:ee";
                    writeln!(lines, "link set {port} address {node_mac}")?;
                    writeln!(lines, "route add {address}/32 dev {port}")?;
                    writeln!(lines, "neighbour add {address} lladdr {mac} dev {port}")?;
                    pod.ip(&format!(
                        "link set eth0 address {mac}\n\
                         address add {address}/32 dev eth0\n\
                         route add {GATEWAY} dev eth0\n\
                         route add default via {GATEWAY} dev eth0\n\
                         neighbour add {GATEWAY} lladdr {node_mac} dev eth0"
                    ))?;
                }
                Links::Bridged => {
                    writeln!(lines, "link set {port} master {BRIDGE}")?;
                    let (other, other_mac) = if index == 0 {
                        (RECEIVER, written(MACS[1]))
                    } else {
                        (SENDER, written(MACS[0]))
                    };
                    pod.ip(&format!(
                        "link set eth0 address {mac}\n\
                         address add {address}/24 dev eth0\n\
                         neighbour add {other} lladdr {other_mac} dev eth0"
                    ))?;
                }
            }
        }
        node.ip(&lines)?;
        let [sender, receiver] = pods;
        Ok(Self { node, sender, receiver })
    }

    /// Loads a table.
    pub fn load(&self, links: Links, table: &Table) -> Result<()> {
        nft(&self.node, &table.script(links, self)?).with_context(|| table.name.clone())
    }

    /// Opens the established flow, and lets nothing arrive from then on.
    pub fn establish(&self, target: Ipv4Addr) -> Result<()> {
        self.ask(target)?;
        nft(
            &self.receiver,
            &format!(
                "table netdev sink {{
                    chain drops {{
                        type filter hook ingress device eth0 priority 0
                        ip saddr {SENDER} counter drop
                        drop
                    }}
                }}"
            ),
        )
    }

    /// A server of the receiver's for TCP connects.
    pub fn listen(&self) -> Result<TcpListener> {
        let listener = self.receiver.run(|| TcpListener::bind((RECEIVER, ESTABLISHED)))?;
        listener.context("listen for connects")
    }

    /// A datagram and its answer.
    fn ask(&self, target: Ipv4Addr) -> Result<()> {
        let open = |namespace: &Namespace, own: Ipv4Addr| -> Result<UdpSocket> {
            let socket = namespace.run(|| UdpSocket::bind((own, ESTABLISHED)))??;
            socket.set_read_timeout(Some(PATIENCE))?;
            Ok(socket)
        };
        let (one, other) = (open(&self.sender, SENDER)?, open(&self.receiver, RECEIVER)?);
        for _ in 0..2 {
            one.send_to(b"ask", (target, ESTABLISHED))?;
            let (_, from) = other.recv_from(&mut [0; 8]).context("the question is lost")?;
            other.send_to(b"yes", from)?;
            one.recv_from(&mut [0; 8]).context("the answer is lost")?;
        }
        Ok(())
    }

    /// How many packets have arrived since the flow was established.
    pub fn arrived(&self) -> Result<u64> {
        let mut command = self.receiver.command("nft");
        command.args(["list", "table", "netdev", "sink"]);
        let text = program::finish(command, "")?.success()?;
        let count = text.split("packets ").nth(1).and_then(|rest| rest.split(' ').next());
        count.and_then(|count| count.parse().ok()).context("no counter")
    }

    /// The number of an interface of the node.
    pub fn index(&self, name: &str) -> Result<u32> {
        let found = self.node.run(|| if_nametoindex(name))?;
        found.with_context(|| format!("find interface {name}"))
    }

    /// Removes all flows from connection tracking.
    pub fn forget_flows(&self) -> Result<()> {
        let mut command = self.node.command("conntrack");
        command.arg("--flush");
        program::finish(command, "")?.success().map(drop)
    }
}

/// Loads a script for nft(8).
pub fn nft(namespace: &Namespace, script: &str) -> Result<()> {
    let mut command = namespace.command("nft");
    command.args(["-f", "-"]);
    let done = program::finish(command, script)?;
    ensure!(done.code == Some(0), "nft: {}", done.stderr);
    Ok(())
}

/// `02:00:00:00:00:01`.
pub fn written(mac: [u8; 6]) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}
