//! One namespace with many pods, all of whose policies use a port name.
//!
//! The objects are always the same. Nothing is random.

use std::net::{IpAddr, Ipv4Addr};

use anyhow::Result;
use policy::{
    Labels, NamedPort, Namespace, NetworkPolicy, ObjectKey, Peer, Peers, Phase, Pod, PodPeer, Port,
    PortNumbers, Ports, Protocol, Requirement, Rule, Selector, Snapshot,
};

use crate::large::NODE;

/// Pods of the namespace that run on [`NODE`].
const LOCAL_PODS: usize = 25;
/// Policies of the namespace. Each isolates local pods.
const POLICIES: usize = 250;
/// Applications. A policy selects the pods of one.
const APPLICATIONS: usize = 5;
const NAMESPACE: &str = "crowd";

/// A namespace of `pods` pods with 250 policies. Each policy allows a port by a
/// name that no pod has, because the most costly question is whether any pod has a
/// name. The local pods and the policies are the same for every number of pods.
///
/// # Errors
/// When there are more pods than addresses.
pub fn crowd(pods: usize) -> Result<Snapshot> {
    let pods: Result<Vec<Pod>> = (0..pods).map(pod).collect();
    let policies = (0..POLICIES).map(policy);
    Ok(Snapshot::new(policies, pods?, [Namespace::synthesised(NAMESPACE.to_owned())]))
}

/// The key of a pod on another node.
pub fn remote_pod() -> ObjectKey {
    key(LOCAL_PODS)
}

fn key(number: usize) -> ObjectKey {
    ObjectKey::new(NAMESPACE, format!("pod-{number}"))
}

fn pod(number: usize) -> Result<Pod> {
    let [high, low] = u16::try_from(number)?.to_be_bytes();
    let is_local = number < LOCAL_PODS;
    Ok(Pod {
        key: key(number),
        labels: labels(number % APPLICATIONS),
        node: Some(if is_local { NODE.to_owned() } else { "elsewhere".to_owned() }),
        addresses: vec![IpAddr::V4(Ipv4Addr::new(10, 64, high, low))],
        host_addresses: Vec::new(),
        host_network: false,
        phase: Phase::Running,
        created: 0,
        is_ending: false,
        grace_seconds: 30,
        attachment: policy::Attachment::default(),
        ports: vec![NamedPort { name: "http".to_owned(), protocol: Protocol::Tcp, port: 80 }],
    })
}

fn labels(application: usize) -> Labels {
    [("app".to_owned(), format!("app-{application}"))].into()
}

fn policy(number: usize) -> NetworkPolicy {
    let application = format!("app-{}", number % APPLICATIONS);
    let named = PortNumbers::Named(format!("port-{number}"));
    let peer = PodPeer { namespaces: None, pods: equals("app", "app-0") };
    NetworkPolicy {
        key: ObjectKey::new(NAMESPACE, format!("policy-{number}")),
        uid: String::new(),
        audit: Default::default(),
        pod_selector: equals("app", &application),
        ingress: Some(vec![Rule {
            peers: Peers::Only(vec![Peer::Pods(peer)]),
            ports: Ports::Only(vec![Port { protocol: Protocol::Tcp, numbers: named }]),
        }]),
        egress: None,
    }
}

fn equals(key: &str, value: &str) -> Selector {
    Selector::new([Requirement::equals(key.to_owned(), value.to_owned())])
}
