//! The attacks: a pod speaks for another one through a node's tunnel, or at a NodePort.
//!
//! Each is tried with ports that no try used before, so that a flow of an earlier try
//! decides nothing.

use std::net::SocketAddr;
use std::thread;

use anyhow::{Context, Result};
use kubebed::kubernetes::Backend;
use netbed::frame;
use netbed::testbed::Endpoint;

use super::cast::{BACKEND, Cast, HTTP, NODE_PORTS};
use super::packet;
use super::socket::{at, bind, next_port, receive, refused};
use super::tunnel::{Tunnel, UDP, VXLAN};
use crate::scene::{HTTP as SERVED, Scene, Try, hold};

/// How often an attack is tried until it works once. Without nftpol it must work:
/// kube-proxy may need a moment for the Services.
const TRIES: usize = 2;
const TRIES_BEFORE: usize = 20;
const LIE: [u8; 4] = *b"lie!";
/// The port of the Services.
const SERVICE: u16 = 53;

/// One attack in one family.
pub struct Attack {
    pub name: String,
    pub v6: bool,
    way: Way,
}

#[derive(Clone, Copy)]
enum Way {
    /// An opener of the victim's, so that the attacker's packets count as answers.
    Opener(Door),
    /// The attacker passes for the friend.
    AsFriend(Door),
    /// A pod that may not send passes for the friend.
    SilentAsFriend(Door),
    /// A host that is no node passes for the friend.
    Outsider,
    /// An opener of the victim's to this node port of the attacker, on the victim's
    /// node.
    NodePort(u16),
}

/// How a datagram reaches a tunnel.
#[derive(Clone, Copy)]
enum Door {
    /// The sender's node.
    OwnNode,
    /// The address that the sender's node has on the pods' bridge.
    OwnGateway,
    /// The other node.
    OtherNode,
    /// The address that the other node has on its pods' bridge.
    OtherGateway,
    /// A ClusterIP that leads to the other node.
    Service,
    /// A node port of the other node that leads to its tunnel.
    NodePort,
    /// A node port of the own node that leads to the other one's tunnel.
    OwnNodePort,
}

/// What the attacks need to know of the cluster.
pub struct Stage<'a> {
    pub scene: &'a Scene,
    pub cast: &'a Cast,
    /// Of node-1 and node-2, by family.
    tunnels: Vec<(bool, [Tunnel; 2])>,
}

impl<'a> Stage<'a> {
    pub fn new(scene: &'a Scene, cast: &'a Cast) -> Result<Self> {
        let mut this = Self { scene, cast, tunnels: Vec::new() };
        let port = match scene.kubernetes.options().network.flannel() {
            Some(Backend::Vxlan | Backend::VxlanDirect) => VXLAN,
            Some(Backend::Udp) => UDP,
            Some(Backend::HostGw) | None => return Ok(this),
        };
        for &v6 in scene.kubernetes.options().families() {
            let tunnels =
                [scene.tunnel("node-1", v6, None)?, scene.tunnel("node-2", v6, Some(port))?];
            this.tunnels.push((v6, tunnels));
        }
        Ok(this)
    }

    /// All attacks that this cluster offers.
    pub fn attacks(&self) -> Result<Vec<Attack>> {
        let mut all = Vec::new();
        for (v6, [_, other]) in &self.tunnels {
            let mut add = |name: &str, way| all.push(Attack { name: name.into(), v6: *v6, way });
            add("tunnel: opener, other node", Way::Opener(Door::OtherNode));
            add("tunnel: opener, by a Service", Way::Opener(Door::Service));
            add("tunnel: opener, by a node port", Way::Opener(Door::NodePort));
            add("tunnel: as the friend, by a node port", Way::AsFriend(Door::NodePort));
            add("tunnel: as the friend, by the own node's port", Way::AsFriend(Door::OwnNodePort));
            add("tunnel: as the friend, other node", Way::AsFriend(Door::OtherNode));
            add("tunnel: as the friend, own node", Way::AsFriend(Door::OwnNode));
            add("tunnel: silent as the friend, own node", Way::SilentAsFriend(Door::OwnNode));
            add("tunnel: host on the LAN as the friend", Way::Outsider);
            // flannel's own socket takes only what is sent to the node's address.
            if other.port() == VXLAN {
                add("tunnel: opener, other node's bridge", Way::Opener(Door::OtherGateway));
                add(
                    "tunnel: silent as the friend, own bridge",
                    Way::SilentAsFriend(Door::OwnGateway),
                );
            }
        }
        for &v6 in self.scene.kubernetes.options().families() {
            for (policy, port) in NODE_PORTS {
                let name = format!("NodePort: opener, traffic policy {policy}");
                all.push(Attack { name, v6, way: Way::NodePort(port) });
            }
        }
        Ok(all)
    }

    /// Whether each of them works. Those that share a port follow one another, the
    /// others are tried at once. Where policies are not enforced, an opener that does not
    /// arrive shows nothing, because the attacker needs none.
    pub fn results(&self, attacks: &[Attack], enforced: bool) -> Result<Vec<bool>> {
        let shares = |attack: &Attack| matches!(attack.way, Way::NodePort(_));
        let (one_by_one, at_once): (Vec<_>, Vec<_>) =
            attacks.iter().enumerate().partition(|(_, attack)| shares(attack));
        let mut groups: Vec<_> = at_once.into_iter().map(|one| vec![one]).collect();
        groups.push(one_by_one);
        let mut results = thread::scope(|scope| {
            let started = groups.iter().map(|group| scope.spawn(|| self.tried(group, enforced)));
            let started: Vec<_> = started.collect();
            let done = started.into_iter().map(|one| match one.join() {
                Ok(result) => result,
                Err(panic) => std::panic::resume_unwind(panic),
            });
            done.collect::<Result<Vec<_>>>()
        })?
        .concat();
        results.sort_unstable();
        Ok(results.into_iter().map(|(_, works)| works).collect())
    }

    fn tried(&self, attacks: &[(usize, &Attack)], enforced: bool) -> Result<Vec<(usize, bool)>> {
        let tries = if enforced { TRIES } else { TRIES_BEFORE };
        let each = attacks.iter().map(|(index, attack)| {
            for _ in 0..tries {
                if self.works(attack, enforced).with_context(|| attack.to_string())? {
                    return Ok((*index, true));
                }
            }
            Ok((*index, false))
        });
        each.collect()
    }

    /// Waits until the policies are in force.
    pub fn in_force(&self) -> Result<()> {
        let Cast { friend, victim, choosy, silent, open, .. } = self.cast;
        let ways = [(friend, victim, false), (friend, choosy, true), (silent, open, false)];
        let mut tries = Vec::new();
        for &v6 in self.scene.kubernetes.options().families() {
            for (from, to, passes) in ways {
                let what = format!("{} to {}", from.name, to.name);
                tries.push(Try { what, from, to: at(to, v6, SERVED)?, passes });
            }
        }
        hold(&tries)
    }

    /// Removes the datagrams' flows from connection tracking, which the attacks left
    /// there. Connections to the API server live on.
    pub fn forget_flows(&self) -> Result<()> {
        for node in self.scene.kubernetes.cluster().nodes() {
            for family in ["ipv4", "ipv6"] {
                // It exits with 1 when there is nothing to delete (conntrack(8)).
                let delete = ["conntrack", "--delete", "--proto", "udp", "--family", family];
                self.scene.kubernetes.exec(&node.name, &delete)?;
            }
        }
        Ok(())
    }

    fn works(&self, attack: &Attack, enforced: bool) -> Result<bool> {
        let Cast { attacker, silent, choosy, open, .. } = self.cast;
        let v6 = attack.v6;
        match attack.way {
            Way::Opener(door) => {
                let back = at(attacker, v6, next_port())?;
                let send = |packet: &[u8]| self.enter(v6, attacker, door, packet);
                self.opener((back, back), enforced, &send)
            }
            Way::NodePort(port) => {
                let node = self.scene.kubernetes.cluster().endpoint("node-2")?;
                let to = at(node, v6, port)?;
                let send = |packet: &[u8]| packet::raw(attacker, packet, to.ip());
                self.opener((to, at(attacker, v6, BACKEND)?), enforced, &send)
            }
            Way::AsFriend(door) => {
                self.as_friend(v6, choosy, &|packet| self.enter(v6, attacker, door, packet))
            }
            Way::SilentAsFriend(door) => {
                self.as_friend(v6, open, &|packet| self.enter(v6, silent, door, packet))
            }
            Way::Outsider => self.as_friend(v6, choosy, &|packet| {
                let node = &self.tunnels_of(v6)?[1];
                let (to, bytes) = (at(&node.node, v6, node.port())?, node.wrap(packet));
                let outsider = self.scene.kubernetes.cluster().endpoint("outsider")?;
                let socket = bind(outsider, at(outsider, v6, 0)?)?;
                socket.send_to(&bytes, to).context("send to a tunnel").map(drop)
            }),
        }
    }

    /// The victim seems to open a flow to `to`, which leads to `back` at the attacker.
    /// The attacker answers. Whether the victim gets that, and the attacker its answer.
    fn opener<T>(
        &self,
        (to, back): (SocketAddr, SocketAddr),
        enforced: bool,
        send: &dyn Fn(&[u8]) -> Result<T>,
    ) -> Result<bool> {
        let Cast { attacker, victim, .. } = self.cast;
        let own = at(victim, to.is_ipv6(), next_port())?;
        let (at_victim, at_attacker) = (bind(victim, own)?, bind(attacker, back)?);
        let _sending = send(&frame::udp(own, to, LIE)?)?;
        let opened = receive(&at_attacker);
        if opened.is_none() && !enforced {
            return Ok(false);
        }
        // Where a node translated the opener, the answer goes to the node.
        let peer = opened.unwrap_or(own);
        at_attacker.send_to(&LIE, peer).or_else(refused).context("answer the opener")?;
        let Some(from) = receive(&at_victim) else { return Ok(false) };
        at_victim.send_to(&LIE, from).or_else(refused).context("the victim answers")?;
        Ok(receive(&at_attacker).is_some())
    }

    /// Whether a packet under the friend's address arrives.
    fn as_friend<T>(
        &self,
        v6: bool,
        target: &Endpoint,
        send: &dyn Fn(&[u8]) -> Result<T>,
    ) -> Result<bool> {
        let from = at(&self.cast.friend, v6, next_port())?;
        let to = at(target, v6, next_port())?;
        let socket = bind(target, to)?;
        let _sending = send(&frame::udp(from, to, LIE)?)?;
        // By a node port the source can be the node's: what the tunnel unwraps keeps the
        // mark with which kube-proxy asked for masquerading.
        Ok(receive(&socket).is_some())
    }

    /// A pod's program sends a packet into a tunnel. It is sending as long as the
    /// result lives.
    fn enter(
        &self,
        v6: bool,
        pod: &Endpoint,
        door: Door,
        packet: &[u8],
    ) -> Result<std::net::TcpStream> {
        let [own, other] = self.tunnels_of(v6)?;
        let address = |tunnel: &Tunnel| tunnel.node.address(v6).context("a node's address");
        let service = || other.service.context("no Service");
        let (tunnel, to, port) = match door {
            Door::OwnNode => (own, address(own)?, own.port()),
            Door::OwnGateway => (own, own.gateway, own.port()),
            Door::OtherNode => (other, address(other)?, other.port()),
            Door::OtherGateway => (other, other.gateway, other.port()),
            Door::Service => (other, service()?.0, SERVICE),
            Door::NodePort => (other, address(other)?, service()?.1),
            Door::OwnNodePort => (other, address(own)?, service()?.1),
        };
        let to = SocketAddr::new(to, port);
        packet::dial(&own.node.namespace, at(pod, v6, HTTP)?, to, &tunnel.wrap(packet))
    }

    fn tunnels_of(&self, v6: bool) -> Result<&[Tunnel; 2]> {
        let found = self.tunnels.iter().find(|(family, _)| *family == v6);
        found.map(|(_, tunnels)| tunnels).context("no tunnel of this family")
    }
}
