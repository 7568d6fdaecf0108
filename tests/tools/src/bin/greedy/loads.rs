//! What a tenant of one namespace can ask for.
//!
//! In: a cluster, the share of a load. Out: the cluster with the load in it. All pods of
//! the namespace are on [`NODE`], because there they cost most.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use anyhow::{Context, Result};
use policy::{
    IpBlock, Labels, Namespace, NetworkPolicy, ObjectKey, Operator, Peer, Peers, Phase, Pod,
    PodPeer, Port, PortNumbers, Ports, Protocol, Requirement, Rule, Selector, Snapshot, cidr,
};
use samples::large::NODE;

/// The namespace of the load.
pub const GREEDY: &str = "greedy";
/// A namespace whose pods become isolated meanwhile.
pub const CALM: &str = "calm";

/// A load.
#[derive(Clone, Copy)]
pub struct Load {
    /// For the command line.
    pub name: &'static str,
    /// What it is, whole.
    pub what: &'static str,
    /// The load: pods and policies. The number divides how many there are.
    make: fn(usize) -> Result<(usize, Vec<NetworkPolicy>)>,
}

/// All.
pub const LOADS: [Load; 10] = [
    Load { name: "policies", what: "1,000 policies of 50 peers", make: policies },
    Load { name: "names", what: "a policy with 10,000 port names, egress", make: names },
    Load { name: "resolved", what: "a policy with 10,000 port names, ingress", make: resolved },
    Load { name: "pods", what: "110 pods, each with a policy of 500 peers", make: pods },
    Load { name: "ports", what: "a policy with 32,768 single ports", make: ports },
    Load { name: "scattered", what: "the same, none beside another", make: scattered },
    Load { name: "peers", what: "1,000 policies of 1,000 peers", make: peers },
    Load { name: "blocks", what: "1,000 policies of 1,000 ipBlocks", make: blocks },
    Load {
        name: "signatures",
        what: "100 pods, 1,000 policies of 10 ports on half",
        make: signatures,
    },
    Load { name: "members", what: "1,000 peers that are all pods of the cluster", make: members },
];

impl Load {
    /// Adds a part of the load to a cluster: one of this many.
    ///
    /// # Errors
    /// When a CIDR is wrong.
    pub fn add(&self, cluster: &mut Snapshot, divisor: usize) -> Result<()> {
        let (pods, policies) = (self.make)(divisor)?;
        add_namespace(cluster, GREEDY, 1, pods)?;
        let policies = policies.into_iter().map(|one| (one.key.clone(), Arc::new(one)));
        cluster.policies.extend(policies);
        Ok(())
    }
}

/// Adds a namespace with this many pods, which no policy selects.
pub fn add_namespace(cluster: &mut Snapshot, name: &str, range: u8, pods: usize) -> Result<()> {
    let namespace = Namespace::synthesised(name.to_owned());
    cluster.namespaces.insert(name.to_owned(), Arc::new(namespace));
    for number in 0..pods {
        let pod = pod(name, range, u16::try_from(number)?);
        cluster.pods.insert(pod.key.clone(), Arc::new(pod));
    }
    Ok(())
}

/// The key of a pod that [`add_namespace`] makes.
pub fn pod_key(namespace: &str, number: usize) -> ObjectKey {
    ObjectKey::new(namespace, format!("pod-{number}"))
}

/// A policy that isolates one pod of [`CALM`].
pub fn isolating(number: usize) -> NetworkPolicy {
    let selector = Selector::new([Requirement::equals("pod", number.to_string())]);
    of(CALM, number, selector, Some(Vec::new()), None)
}

fn pod(namespace: &str, range: u8, number: u16) -> Pod {
    let [high, low] = number.to_be_bytes();
    let bits = (0..7).map(|bit| (format!("bit-{bit}"), (number >> bit & 1).to_string()));
    let labels: Labels = bits.chain([("pod".to_owned(), number.to_string())]).collect();
    Pod {
        key: pod_key(namespace, number.into()),
        labels,
        node: Some(NODE.to_owned()),
        addresses: vec![
            IpAddr::V4(Ipv4Addr::new(10, 200 + range, high, low)),
            IpAddr::V6(Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0xff00 | u16::from(range), number)),
        ],
        host_addresses: Vec::new(),
        host_network: false,
        phase: Phase::Running,
        created: 0,
        is_ending: false,
        grace_seconds: 30,
        attachment: policy::Attachment::default(),
        ports: Vec::new(),
    }
}

fn of(
    namespace: &str,
    number: usize,
    pod_selector: Selector,
    ingress: Option<Vec<Rule>>,
    egress: Option<Vec<Rule>>,
) -> NetworkPolicy {
    let key = ObjectKey::new(namespace, format!("policy-{number}"));
    NetworkPolicy {
        key,
        uid: number.to_string(),
        pod_selector,
        ingress,
        egress,
        audit: Default::default(),
    }
}

/// On all pods of the namespace, for ingress.
fn ingress(number: usize, peers: Peers, ports: Ports) -> NetworkPolicy {
    of(GREEDY, number, Selector::everything(), Some(vec![Rule { peers, ports }]), None)
}

/// Peers of a policy that no other has, and that are nobody.
fn own_peers(policy: usize, count: usize) -> Peers {
    let peer = |number| {
        let pods = Selector::new([Requirement::equals("peer", format!("{policy}-{number}"))]);
        Peer::Pods(PodPeer { namespaces: None, pods })
    };
    Peers::Only((0..count).map(peer).collect())
}

fn tcp(numbers: impl IntoIterator<Item = u16>) -> Ports {
    let port = |port| Port { protocol: Protocol::Tcp, numbers: PortNumbers::Range(port, port) };
    Ports::Only(numbers.into_iter().map(port).collect())
}

fn named(count: usize) -> Ports {
    let port = |number| {
        let numbers = PortNumbers::Named(format!("port-{number}"));
        Port { protocol: Protocol::Tcp, numbers }
    };
    Ports::Only((0..count).map(port).collect())
}

fn policies(divisor: usize) -> Result<(usize, Vec<NetworkPolicy>)> {
    let policy = |number| ingress(number, own_peers(number, 50), tcp([80]));
    Ok((10, (0..1_000 / divisor).map(policy).collect()))
}

fn names(divisor: usize) -> Result<(usize, Vec<NetworkPolicy>)> {
    let rule = Rule { peers: Peers::Anyone, ports: named(10_000 / divisor) };
    Ok((10, vec![of(GREEDY, 0, Selector::everything(), None, Some(vec![rule]))]))
}

fn resolved(divisor: usize) -> Result<(usize, Vec<NetworkPolicy>)> {
    Ok((10, vec![ingress(0, Peers::Anyone, named(10_000 / divisor))]))
}

fn pods(divisor: usize) -> Result<(usize, Vec<NetworkPolicy>)> {
    let policy = |number: usize| {
        let selector = Selector::new([Requirement::equals("pod", number.to_string())]);
        let rule = Rule { peers: own_peers(number, 500 / divisor), ports: tcp([80]) };
        of(GREEDY, number, selector, Some(vec![rule]), None)
    };
    Ok((110, (0..110).map(policy).collect()))
}

fn ports(divisor: usize) -> Result<(usize, Vec<NetworkPolicy>)> {
    let count = u16::try_from(32_768 / divisor)?;
    Ok((10, vec![ingress(0, Peers::Anyone, tcp(1..=count))]))
}

fn scattered(divisor: usize) -> Result<(usize, Vec<NetworkPolicy>)> {
    let count = u16::try_from(32_768 / divisor)?;
    let odd = (0..count).map(|number| number * 2 + 1);
    Ok((10, vec![ingress(0, Peers::Anyone, tcp(odd))]))
}

fn peers(divisor: usize) -> Result<(usize, Vec<NetworkPolicy>)> {
    let policy = |number| ingress(number, own_peers(number, 1_000), tcp([80]));
    Ok((10, (0..1_000 / divisor).map(policy).collect()))
}

fn blocks(divisor: usize) -> Result<(usize, Vec<NetworkPolicy>)> {
    let policy = |number: usize| {
        let block = |at: usize| {
            let [.., a, b, c] = u32::try_from(number * 1_000 + at)?.to_be_bytes();
            // Every second address, so that none is beside another.
            let net = format!("{}.{}.{b}.{c}/32", 100 + (c & 1), a);
            Ok(Peer::IpBlock(IpBlock::new(cidr::parse(&net)?, [])?))
        };
        let blocks: Result<Vec<Peer>> = (0..1_000).map(block).collect();
        Ok(ingress(number, Peers::Only(blocks?), tcp([80])))
    };
    let policies: Result<Vec<NetworkPolicy>> = (0..1_000 / divisor).map(policy).collect();
    Ok((10, policies?))
}

fn signatures(divisor: usize) -> Result<(usize, Vec<NetworkPolicy>)> {
    let policy = |number: usize| {
        let bit = format!("bit-{}", number % 7);
        let selector = Selector::new([Requirement::equals(bit, (number / 7 % 2).to_string())]);
        let rules = (0..10u16).map(|port| {
            let first = 1_000 + port * 10;
            let numbers = PortNumbers::Range(first, first + u16::try_from(number % 5)? + 1);
            let ports = Ports::Only(vec![Port { protocol: Protocol::Tcp, numbers }]);
            Ok(Rule { peers: own_peers(number, 1), ports })
        });
        let rules: Result<Vec<Rule>> = rules.collect();
        Ok(of(GREEDY, number, selector, Some(rules?), None))
    };
    let policies: Result<Vec<NetworkPolicy>> = (0..1_000 / divisor).map(policy).collect();
    Ok((100, policies?))
}

fn members(divisor: usize) -> Result<(usize, Vec<NetworkPolicy>)> {
    let peer = |number| {
        let absent = Requirement { key: format!("x-{number}"), operator: Operator::DoesNotExist };
        let namespaces = Some(Selector::everything());
        Peer::Pods(PodPeer { namespaces, pods: Selector::new([absent]) })
    };
    let policy = |number: usize| {
        let peers = Peers::Only((0..100).map(|at| peer(number * 100 + at)).collect());
        ingress(number, peers, tcp([80]))
    };
    Ok((10, (0..(10 / divisor).max(1)).map(policy).collect()))
}

/// The load of this name.
///
/// # Errors
/// Without one.
pub fn named_load(name: &str) -> Result<Load> {
    let found = LOADS.into_iter().find(|load| load.name == name);
    found.with_context(|| {
        let names = LOADS.map(|load| load.name).join(", ");
        format!("no load `{name}`; there are {names}")
    })
}
