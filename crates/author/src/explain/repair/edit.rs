//! One change of one object.
//!
//! In: the change. Out: the objects after it, and its text.

mod text;

use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use policy::secondary::NETWORK;
use policy::spec::ProtocolPort;
use policy::{
    Direction, IpBlock, Labels, METADATA_NAME_LABEL, NetworkPolicy, ObjectKey, Operator, Peer,
    Peers, Pod, PodPeer, Port, PortNumbers, Ports, Requirement, Rule, Selector, Snapshot,
};

/// A change.
#[derive(Clone, Debug)]
pub enum Edit {
    /// A port more in a rule.
    Port(RulePlace, ProtocolPort),
    /// A value of a selector of a rule that was misspelt: the peer before and after.
    Selector(RulePlace, PodPeer, PodPeer),
    /// What a label of a pod must be.
    Pod(ObjectKey, Requirement),
    /// What a label of a namespace must be.
    Namespace(String, Requirement),
    /// A peer more in a rule.
    Peer(RulePlace, Peer),
    /// A rule more in a policy.
    Rule(ObjectKey, Direction, Peer, Option<ProtocolPort>),
}

/// Kinds of changes, the smallest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A port more.
    Port,
    /// A value of a selector.
    Selector,
    /// A pod's label.
    Pod,
    /// A namespace's label.
    Namespace,
    /// A peer more.
    Peer,
    /// A rule more.
    Rule,
}

/// Which rule.
#[derive(Clone, Debug)]
pub struct RulePlace {
    /// Its policy.
    pub policy: ObjectKey,
    /// `ingress` or `egress`.
    pub direction: Direction,
    /// Its index there.
    pub index: usize,
}

impl Edit {
    /// Its kind.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Port(..) => Kind::Port,
            Self::Selector(..) => Kind::Selector,
            Self::Pod(..) => Kind::Pod,
            Self::Namespace(..) => Kind::Namespace,
            Self::Peer(..) => Kind::Peer,
            Self::Rule(..) => Kind::Rule,
        }
    }

    /// Makes the change.
    pub fn make(&self, snapshot: &mut Snapshot) {
        match self {
            Self::Port(place, transport) => edit_rule(snapshot, place, |rule| {
                if let (Ports::Only(ports), Some(port)) = (&mut rule.ports, port_of(*transport)) {
                    ports.push(port);
                }
            }),
            Self::Selector(place, before, after) => edit_rule(snapshot, place, |rule| {
                if let Peers::Only(peers) = &mut rule.peers {
                    for peer in peers.iter_mut().filter(|one| **one == Peer::Pods(before.clone())) {
                        *peer = Peer::Pods(after.clone());
                    }
                }
            }),
            Self::Peer(place, peer) => edit_rule(snapshot, place, |rule| {
                if let Peers::Only(peers) = &mut rule.peers {
                    peers.push(peer.clone());
                }
            }),
            Self::Rule(policy, direction, peer, transport) => {
                let port = transport.and_then(port_of);
                let ports = port.map_or(Ports::All, |port| Ports::Only(vec![port]));
                let rule = Rule { peers: Peers::Only(vec![peer.clone()]), ports };
                edit_policy(snapshot, policy, *direction, |rules| rules.push(rule));
            }
            Self::Pod(key, requirement) => {
                if let Some(pod) = snapshot.pods.get(key) {
                    let mut pod = Pod::clone(pod);
                    pod.labels = meeting(&pod.labels, requirement);
                    snapshot.pods.insert(key.clone(), Arc::new(pod));
                }
            }
            Self::Namespace(name, requirement) => {
                if let Some(namespace) = snapshot.namespaces.get(name) {
                    let mut namespace = policy::Namespace::clone(namespace);
                    namespace.labels = meeting(&namespace.labels, requirement);
                    snapshot.namespaces.insert(name.clone(), Arc::new(namespace));
                }
            }
        }
    }
}

fn edit_policy(
    snapshot: &mut Snapshot,
    key: &ObjectKey,
    direction: Direction,
    edit: impl FnOnce(&mut Vec<Rule>),
) {
    let Some(policy) = snapshot.policies.get(key) else { return };
    let mut policy = NetworkPolicy::clone(policy);
    let rules = match direction {
        Direction::Egress => policy.egress.as_mut(),
        Direction::Ingress => policy.ingress.as_mut(),
    };
    if let Some(rules) = rules {
        edit(rules);
    }
    snapshot.policies.insert(key.clone(), Arc::new(policy));
}

fn edit_rule(snapshot: &mut Snapshot, place: &RulePlace, edit: impl FnOnce(&mut Rule)) {
    edit_policy(snapshot, &place.policy, place.direction, |rules| {
        if let Some(rule) = rules.get_mut(place.index) {
            edit(rule);
        }
    });
}

/// Labels of which a requirement holds.
fn meeting(labels: &Labels, requirement: &Requirement) -> Labels {
    let key = &requirement.key;
    let owned = |(key, value): (&str, &str)| (key.to_owned(), value.to_owned());
    let others = labels.iter().filter(|(one, _)| one != key).map(owned);
    let value = match &requirement.operator {
        Operator::In(values) => values.iter().next().cloned(),
        Operator::Exists => Some(String::new()),
        Operator::NotIn(_) | Operator::DoesNotExist => None,
    };
    others.chain(value.map(|value| (key.clone(), value))).collect()
}

/// Labels that tell what a pod is, the most usual first.
const TELLING: [&str; 4] = ["app.kubernetes.io/name", "app", "k8s-app", "name"];

/// A pod as a peer of policies of a namespace.
pub fn peer_of(pod: &Pod, namespace: &str) -> Peer {
    let telling = TELLING.iter().find_map(|key| Some((*key, pod.labels.get(key)?)));
    let requirements: Vec<Requirement> = match telling {
        Some((key, value)) => vec![Requirement::equals(key, value)],
        None => {
            let own = pod.labels.iter().filter(|(key, _)| *key != NETWORK);
            own.map(|(key, value)| Requirement::equals(key, value)).collect()
        }
    };
    let elsewhere = pod.key.namespace != namespace;
    let namespaces = elsewhere
        .then(|| Selector::new([Requirement::equals(METADATA_NAME_LABEL, &pod.key.namespace)]));
    Peer::Pods(PodPeer { namespaces, pods: Selector::new(requirements) })
}

/// An address as a peer; `all`: it stands for all of its family.
pub fn block_of(address: IpAddr, all: bool) -> Peer {
    let net = IpNet::from(address);
    let net = if all { IpNet::new(address, 0).map_or(net, |all| all.trunc()) } else { net };
    match IpBlock::new(net, []) {
        Ok(block) => Peer::IpBlock(block),
        // It has no excepts, so it is never refused.
        Err(_) => Peer::Pods(PodPeer { namespaces: None, pods: Selector::everything() }),
    }
}

/// A peer in which values that are nearly those of labels are those, if there are such.
pub fn respelt(peer: &PodPeer, pod: &Labels, namespace: &Labels) -> Option<PodPeer> {
    let respell = |selector: &Selector, labels: &Labels| {
        Selector::new(selector.requirements().map(|one| {
            let (Operator::In(values), Some(there)) = (&one.operator, labels.get(&one.key)) else {
                return one.clone();
            };
            let is_label = one.key != NETWORK;
            let is_near = values.iter().any(|value| is_near(value, there));
            match is_label && is_near && !one.matches(labels) {
                true => Requirement::equals(&one.key, there),
                false => one.clone(),
            }
        }))
    };
    let after = PodPeer {
        namespaces: peer.namespaces.as_ref().map(|one| respell(one, namespace)),
        pods: respell(&peer.pods, pod),
    };
    (after != *peer).then_some(after)
}

fn is_near(value: &str, there: &str) -> bool {
    watcher::suggest(value, [there]).is_some()
}

fn port_of(transport: ProtocolPort) -> Option<Port> {
    match transport {
        ProtocolPort::Port(protocol, number) => {
            Some(Port { protocol, numbers: PortNumbers::Range(number, number) })
        }
        ProtocolPort::Other(_) => None,
    }
}
