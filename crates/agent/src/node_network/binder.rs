//! Who has what on this node, and who had it before.
//!
//! In: looks at the node, its pods. Out: the [`NodeNetwork`] and what changed in
//! it. Never: I/O, or a claim that is forgotten while its interface lives.

use std::net::IpAddr;

use imbl::OrdSet;
use ipnet::IpNet;
use policy::{
    BindingFinding, Claims, NodeNetwork, Placement, Placements, Pod, PodRange, Resolved, Seen,
    TunnelSources, joined_ranges, pod_ranges, resolve_placed,
};

use super::seen::Given;
use crate::node_ranges::NodeRanges;

/// Concludes whose each interface is, and remembers it.
#[derive(Clone, Debug, Default)]
pub struct Binder {
    given: Given,
    placements: Placements,
    resolved: Resolved,
    /// Ranges of the kernel's tables at start that no bridge here has had since.
    remembered: OrdSet<PodRange>,
    /// What the Node object says; `None`: it is not asked.
    node_ranges: Option<NodeRanges>,
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
        Self { given, resolved, ..Self::default() }
    }

    /// What the Node object says from now on of where its pods have their addresses.
    pub fn node_says(&mut self, ranges: NodeRanges) {
        self.node_ranges = Some(ranges);
    }

    /// Concludes anew from a look that was made: what a picture lacks is
    /// forgotten. `pods` are this node's pods without those that the operator left
    /// out.
    pub fn update<'a>(&mut self, seen: &Seen, pods: impl IntoIterator<Item = &'a Pod>) -> Update {
        let Given { tunnels, tunnel_peers, any_source, pod_cidrs } = &self.given;
        let pods: Vec<&Pod> = pods.into_iter().collect();
        self.placements.look(seen);
        let mut now = resolve_placed(seen, pods, &self.placements, &self.resolved.claims);
        let named = tunnels.iter().map(|tunnel| (*tunnel, TunnelSources::Nodes));
        now.network.tunnels.extend(named);
        now.network.tunnel_peers.extend(tunnel_peers.iter().copied());
        if *any_source {
            let all = now.network.tunnels.keys().map(|tunnel| (*tunnel, TunnelSources::Any));
            now.network.tunnels = all.collect();
        }
        let subnets = self.pod_subnets(seen, &now.network);
        let found = pod_ranges(pod_cidrs.iter().copied().chain(subnets));
        self.forget_ranges(seen, &now.network);
        let of_node = self.node_ranges.iter().flat_map(NodeRanges::cidrs);
        let found = with_remembered(found, &self.remembered);
        now.network.pod_ranges = joined_ranges(found + pod_ranges(of_node));
        let before = std::mem::replace(&mut self.resolved, now);
        let now = &self.resolved;
        Update {
            is_changed: now.network != before.network,
            came: missing(&now.findings, &before.findings),
            went: missing(&before.findings, &now.findings),
        }
    }

    /// The CNI plugin says that these interfaces lead to these pods.
    pub fn place(&mut self, placements: Vec<Placement>) {
        self.placements.set(placements);
    }

    /// These ranges were pods' before: from the kernel's tables. One that is wider than
    /// any pods' is of a node that did not know them when it started.
    pub fn remember(&mut self, ranges: OrdSet<PodRange>) {
        self.remembered = ranges.into_iter().filter(|range| !is_too_wide(range)).collect();
        self.resolved.network.pod_ranges = self.remembered.clone();
    }

    /// When a node starts, its pods' bridge comes with the first pod. Until a bridge has a
    /// remembered range, or pods are bound elsewhere, the next pod may be in it. A range that
    /// the Node object gave is no bridge's: it stays until that object can be read again.
    fn forget_ranges(&mut self, seen: &Seen, now: &NodeNetwork) {
        let is_node_unread = self.node_ranges.as_ref().is_some_and(|node| !node.are_known());
        if !now.ports.is_empty() && !is_node_unread {
            self.remembered.clear();
        }
        if self.remembered.is_empty() {
            return;
        }
        let of_bridges =
            pod_ranges(seen.bridges.iter().flat_map(|bridge| &bridge.subnets).copied());
        let is_there = |range: &PodRange| of_bridges.iter().any(|one| one.covers(range));
        let left = self.remembered.iter().filter(|range| !is_there(range));
        self.remembered = left.copied().collect();
    }

    /// The subnets of the bridges that only pods are on. A subnet is the pods' while one of
    /// them is bound there with an address of it, and from then on: the next pod may be its
    /// only one.
    fn pod_subnets(&self, seen: &Seen, now: &NodeNetwork) -> Vec<IpNet> {
        let before = &self.resolved.network.pod_ranges;
        let was_pods = |net: &IpNet| {
            let of_net = pod_ranges([*net]);
            let is_in = |range: &PodRange| before.iter().any(|one| one.covers(range));
            !of_net.is_empty() && of_net.iter().all(is_in)
        };
        let bridges = seen.bridges.iter().filter(|bridge| !bridge.has_other_ports);
        let subnets = bridges.flat_map(|bridge| {
            let ports = || now.ports.values().filter(|port| port.bridge == Some(bridge.index));
            let is_pods = move |net: &IpNet| {
                ports().any(|port| port.addresses.iter().any(|address| net.contains(address)))
            };
            bridge.subnets.iter().filter(move |net| is_pods(net) || was_pods(net)).copied()
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

/// Those of the remembered ranges that are not covered come to what was found.
fn with_remembered(found: OrdSet<PodRange>, remembered: &OrdSet<PodRange>) -> OrdSet<PodRange> {
    let is_new = |range: &&PodRange| {
        let meets = |one: &PodRange| one.contains(range.first) || range.contains(one.first);
        !found.iter().any(meets)
    };
    let new: Vec<PodRange> = remembered.iter().filter(is_new).copied().collect();
    found.into_iter().chain(new).collect()
}

/// Whether a range has more than a prefix of eight bits, the widest of pods.
fn is_too_wide(range: &PodRange) -> bool {
    match (range.first, range.last) {
        (IpAddr::V4(first), IpAddr::V4(last)) => u32::from(last) - u32::from(first) >= 1 << 24,
        (IpAddr::V6(first), IpAddr::V6(last)) => u128::from(last) - u128::from(first) >= 1 << 120,
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => true,
    }
}

/// What `of` has and `others` lacks. Both are in order.
fn missing(of: &[BindingFinding], others: &[BindingFinding]) -> Vec<BindingFinding> {
    of.iter().filter(|one| others.binary_search(one).is_err()).cloned().collect()
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use policy::{
        InterfaceIndex, Labels, Mac, NetworkNamespace, ObjectKey, Phase, SeenAddress, SeenBridge,
        SeenPort, Tunnel,
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
            attachment: policy::Attachment::default(),
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

    fn on_bridge(number: u32) -> SeenPort {
        SeenPort { bridge: Some(InterfaceIndex(1)), ..port(number) }
    }

    fn bridge(subnets: &[&str], has_other_ports: bool) -> SeenBridge {
        SeenBridge {
            index: InterfaceIndex(1),
            name: "cni0".to_owned(),
            mac: Mac([2, 0, 0, 0, 9, 9]),
            addresses: vec![address(254)],
            subnets: subnets.iter().map(|subnet| subnet.parse().unwrap()).collect(),
            vlan_filtering: false,
            has_other_ports,
        }
    }

    fn ranges(binder: &Binder) -> Vec<String> {
        binder.network().pod_ranges.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn pods_have_their_addresses_in_the_subnets_of_their_bridges() {
        let subnets = ["10.0.0.0/24", "10.9.0.0/24"];
        let with = |ports: &[u32], others| Seen {
            ports: ports.iter().map(|number| on_bridge(*number)).collect(),
            bridges: vec![bridge(&subnets, others)],
            ..Seen::default()
        };
        let mut binder = Binder::new(Given::default(), Claims::default());
        binder.update(&with(&[5], false), []);
        assert!(ranges(&binder).is_empty(), "nothing tells that pods are on it");
        binder.update(&with(&[5], true), [&pod(5)]);
        assert!(ranges(&binder).is_empty(), "others are on it, too");
        binder.update(&with(&[5], false), [&pod(5)]);
        assert_eq!(ranges(&binder), ["10.0.0.0-10.0.0.254"], "no pod is in the other subnet");
        binder.update(&with(&[], false), []);
        assert_eq!(ranges(&binder), ["10.0.0.0-10.0.0.254"], "the next pod may be the only one");
        let table = binder.network().pod_ranges.clone();

        let mut after_restart = Binder::new(Given::default(), Claims::default());
        after_restart.remember(table);
        after_restart.update(&with(&[], false), []);
        assert_eq!(ranges(&after_restart), ["10.0.0.0-10.0.0.254"]);
        after_restart.update(&Seen::default(), []);
        assert!(ranges(&after_restart).is_empty(), "the bridge is gone");
        let given = Given {
            pod_cidrs: ["10.0.0.0/25", "fd00::/64"].map(|cidr| cidr.parse().unwrap()).into(),
            ..Given::default()
        };
        let mut told = Binder::new(given, Claims::default());
        told.update(&Seen::default(), []);
        let expected = ["10.0.0.0-10.0.0.126", "fd00::-fd00::ffff:ffff:ffff:ffff"];
        assert_eq!(ranges(&told), expected);
    }

    /// A node starts again: its table knows the range, and the bridge comes with a pod.
    #[test]
    fn a_range_that_was_remembered_stays_until_a_bridge_or_a_pod_shows_better() {
        let range = pod_ranges(["10.0.0.0/24".parse().unwrap()]);
        let with = |ports: &[u32], subnets: &[&str]| Seen {
            ports: ports.iter().map(|number| on_bridge(*number)).collect(),
            bridges: vec![bridge(subnets, false)],
            ..Seen::default()
        };
        let started = || {
            let mut binder = Binder::new(Given::default(), Claims::default());
            binder.remember(range.clone());
            binder.update(&Seen::default(), []);
            assert_eq!(ranges(&binder), ["10.0.0.0-10.0.0.254"], "nothing is there yet");
            binder
        };
        let mut binder = started();
        binder.update(&with(&[], &["10.0.0.0/24"]), []);
        assert_eq!(ranges(&binder), ["10.0.0.0-10.0.0.254"], "its bridge comes");
        binder.update(&with(&[5], &["10.0.0.0/24"]), []);
        assert_eq!(ranges(&binder), ["10.0.0.0-10.0.0.254"], "a pod that nobody knows");
        binder.update(&Seen::default(), []);
        assert!(ranges(&binder).is_empty(), "the bridge goes");
        let mut moved = started();
        moved.update(&with(&[], &["10.7.0.0/24"]), []);
        assert_eq!(ranges(&moved), ["10.0.0.0-10.0.0.254"], "another bridge says nothing");
        let routed = Seen { ports: vec![port(5)], ..Seen::default() };
        moved.update(&routed, [&pod(5)]);
        assert!(ranges(&moved).is_empty(), "pods are elsewhere");
        let mut unknown = Binder::new(Given::default(), Claims::default());
        unknown.remember(compiler::boot::everything());
        unknown.update(&with(&[], &["10.0.0.0/24"]), []);
        assert!(ranges(&unknown).is_empty(), "all addresses are no pods' range");
    }

    #[test]
    fn what_the_node_object_says_is_shut_before_any_pod_and_takes_nothing_back() {
        let said = |cidrs: &[&str]| {
            let mut ranges = NodeRanges::default();
            let cidrs = cidrs.iter().map(|cidr| (*cidr).to_owned()).collect();
            ranges.read(&watcher::api::NodeAddresses { pod_cidrs: cidrs, own: Vec::new() });
            ranges
        };
        let mut binder = Binder::default();
        binder.node_says(NodeRanges::default());
        binder.remember(pod_ranges(["10.0.0.0/24".parse().unwrap()]));
        let routed = Seen { ports: vec![port(5)], ..Seen::default() };
        binder.update(&routed, [&pod(5)]);
        assert_eq!(ranges(&binder), ["10.0.0.0-10.0.0.254"], "the Node was not read yet");
        binder.update(&Seen::default(), []);
        binder.node_says(said(&["10.0.0.16/30"]));
        binder.update(&Seen::default(), []);
        assert_eq!(ranges(&binder), ["10.0.0.0-10.0.0.254"], "part of what is remembered");
        binder.node_says(said(&["10.0.0.0/23", "fd00::/120"]));
        binder.update(&routed, [&pod(5)]);
        assert_eq!(ranges(&binder), ["10.0.0.0-10.0.1.254", "fd00::-fd00::ff"]);
        binder.node_says(said(&["10.0.2.0/24"]));
        binder.update(&routed, [&pod(5)]);
        assert_eq!(ranges(&binder), ["10.0.2.0-10.0.2.254"], "the Node was made again");
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
