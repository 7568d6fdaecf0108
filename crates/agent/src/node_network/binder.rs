//! Who has what on this node, and who had it before.
//!
//! In: looks at the node, its pods. Out: the [`NodeNetwork`] and what changed in
//! it. Never: I/O, or a claim that is forgotten while its interface lives.

use imbl::OrdSet;
use ipnet::IpNet;
use policy::{
    BindingFinding, Claims, NodeNetwork, Pod, PodRange, Resolved, Seen, TunnelSources, pod_ranges,
    resolve,
};

use super::seen::Given;

/// Concludes whose each interface is, and remembers it.
#[derive(Clone, Debug, Default)]
pub struct Binder {
    given: Given,
    resolved: Resolved,
}

/// What a new conclusion changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Update {
    /// Whether the network is another one.
    pub is_changed: bool,
    /// Findings that were not there before.
    pub came: Vec<BindingFinding>,
    /// Findings that are no more.
    pub went: Vec<BindingFinding>,
}

impl Binder {
    /// `claims` are from the kernel's tables, so that a restart keeps who had
    /// what.
    pub fn new(given: Given, claims: Claims) -> Self {
        let resolved = Resolved { claims, ..Resolved::default() };
        Self { given, resolved }
    }

    /// Concludes anew from a look that was made: what a picture lacks is
    /// forgotten. `pods` are this node's pods without those that the operator left
    /// out.
    pub fn update<'a>(&mut self, seen: &Seen, pods: impl IntoIterator<Item = &'a Pod>) -> Update {
        let Given { tunnels, tunnel_peers, any_source, pod_cidrs } = &self.given;
        let pods: Vec<&Pod> = pods.into_iter().collect();
        let mut now = resolve(seen, pods, &self.resolved.claims);
        let named = tunnels.iter().map(|tunnel| (*tunnel, TunnelSources::Nodes));
        now.network.tunnels.extend(named);
        now.network.tunnel_peers.extend(tunnel_peers.iter().copied());
        if *any_source {
            let all = now.network.tunnels.keys().map(|tunnel| (*tunnel, TunnelSources::Any));
            now.network.tunnels = all.collect();
        }
        let subnets = self.pod_subnets(seen, &now.network);
        now.network.pod_ranges = pod_ranges(pod_cidrs.iter().copied().chain(subnets));
        let before = std::mem::replace(&mut self.resolved, now);
        let now = &self.resolved;
        Update {
            is_changed: now.network != before.network,
            came: missing(&now.findings, &before.findings),
            went: missing(&before.findings, &now.findings),
        }
    }

    /// These ranges were pods' before: from the kernel's tables.
    pub fn remember(&mut self, ranges: OrdSet<PodRange>) {
        self.resolved.network.pod_ranges = ranges;
    }

    /// The subnets of the bridges that only pods are on. A bridge is pods' while a pod on
    /// it is bound, and from then on: its next pod may be its only one.
    fn pod_subnets(&self, seen: &Seen, now: &NodeNetwork) -> Vec<IpNet> {
        let before = &self.resolved.network.pod_ranges;
        let was_pods = |net: &IpNet| {
            let of_net = pod_ranges([*net]);
            let is_in = |range: &PodRange| before.iter().any(|one| one.covers(range));
            !of_net.is_empty() && of_net.iter().all(is_in)
        };
        let bridges = seen.bridges.iter().filter(|bridge| !bridge.has_other_ports);
        let subnets = bridges.flat_map(|bridge| {
            let is_bound = now.bridges.contains_key(&bridge.index);
            bridge.subnets.iter().filter(move |net| is_bound || was_pods(net)).copied()
        });
        subnets.collect()
    }

    /// What is bound now.
    pub const fn network(&self) -> &NodeNetwork {
        &self.resolved.network
    }

    /// What people should know now, in order.
    pub fn findings(&self) -> &[BindingFinding] {
        &self.resolved.findings
    }

    /// What the next conclusion begins with.
    pub const fn claims(&self) -> &Claims {
        &self.resolved.claims
    }
}

/// What `of` has and `others` lacks. Both are in order.
fn missing(of: &[BindingFinding], others: &[BindingFinding]) -> Vec<BindingFinding> {
    of.iter().filter(|one| others.binary_search(one).is_err()).cloned().collect()
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;
    use std::time::Instant;

    use policy::{
        InterfaceIndex, Labels, Mac, NetworkNamespace, ObjectKey, Phase, SeenAddress, SeenPort,
        Tunnel,
    };

    use super::*;

    fn address(number: u32) -> IpAddr {
        IpAddr::V4((0x0a00_0000 + number).into())
    }

    fn pod(number: u32) -> Pod {
        Pod {
            key: ObjectKey::new("default", format!("pod-{number}")),
            labels: Labels::default(),
            node: None,
            addresses: vec![address(number)],
            host_addresses: Vec::new(),
            host_network: false,
            phase: Phase::Running,
            created: 0,
            is_ending: false,
            grace_seconds: 0,
            ports: Vec::new(),
        }
    }

    fn port(number: u32) -> SeenPort {
        SeenPort {
            index: InterfaceIndex(number),
            name: format!("veth{number}"),
            namespace: NetworkNamespace(number.cast_signed()),
            bridge: None,
            is_uplink: false,
            mac: Mac([2, 0, 0, 0, (number >> 8) as u8, number as u8]),
            addresses: vec![SeenAddress { address: address(number), created: number.into() }],
            elsewhere: Vec::new(),
        }
    }

    fn seen(ports: impl IntoIterator<Item = u32>) -> Seen {
        Seen { ports: ports.into_iter().map(port).collect(), ..Seen::default() }
    }

    #[test]
    fn findings_come_and_go_once() {
        let pods = [pod(1), pod(2)];
        let missing = BindingFinding::NoInterface { pod: pods[1].key.clone(), address: address(2) };
        let mut binder = Binder::default();
        let first = binder.update(&seen([1]), &pods);
        let expected =
            Update { is_changed: true, came: vec![missing.clone()], ..Update::default() };
        assert_eq!(first, expected);
        assert_eq!(binder.update(&seen([1]), &pods), Update::default());
        assert_eq!(binder.findings(), std::slice::from_ref(&missing));
        let found = binder.update(&seen([1, 2]), &pods);
        assert_eq!(found, Update { is_changed: true, went: vec![missing], ..Update::default() });
        assert_eq!(binder.network().ports.len(), 2);
    }

    #[test]
    fn the_operators_word_is_added_to_what_is_seen() {
        let given = Given {
            tunnels: [Tunnel::Udp(4789), Tunnel::Protocol(4)].into(),
            tunnel_peers: [address(9)].into(),
            any_source: false,
            ..Given::default()
        };
        let mut binder = Binder::new(given.clone(), Claims::default());
        let seen = Seen {
            tunnels: [Tunnel::Udp(8472), Tunnel::Protocol(4), Tunnel::Protocol(47)]
                .map(|tunnel| (tunnel, TunnelSources::Any))
                .into(),
            tunnel_peers: [address(8)].into(),
            ..Seen::default()
        };
        assert!(binder.update(&seen, []).is_changed);
        let network = binder.network();
        let expected = [
            (Tunnel::Udp(4789), TunnelSources::Nodes),
            (Tunnel::Udp(8472), TunnelSources::Any),
            (Tunnel::Protocol(4), TunnelSources::Nodes),
            (Tunnel::Protocol(47), TunnelSources::Any),
        ];
        assert_eq!(network.tunnels, expected.into_iter().collect());
        assert_eq!(network.tunnel_peers, [address(8), address(9)].into_iter().collect());
        let mut binder = Binder::new(Given { any_source: true, ..given }, Claims::default());
        binder.update(&seen, []);
        let all = binder.network().tunnels.values().collect::<Vec<_>>();
        assert_eq!(all, [&TunnelSources::Any; 4], "also those that the operator names");
    }

    /// Prints what a conclusion costs.
    #[test]
    fn a_full_node_is_concluded_at_once() {
        const PODS: u32 = 250;
        let pods: Vec<Pod> = (0..PODS).map(pod).collect();
        let seen = seen(0..PODS);
        let mut binder = Binder::default();
        for _ in 0..3 {
            let start = Instant::now();
            binder.update(&seen, &pods);
            println!("{:?}", start.elapsed());
        }
        assert_eq!(binder.network().ports.len(), PODS as usize);
    }
}
