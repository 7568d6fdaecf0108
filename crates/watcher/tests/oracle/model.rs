//! Converts k8s_openapi's objects to the model. Written from the API documentation,
//! for this test only.
//!
//! If a part is not valid, the part allows nothing, as nftpol promises. An invalid
//! peer or port is left out, and a list that becomes empty that way allows nobody.

use std::net::IpAddr;

use k8s_openapi::api::core::v1 as core;
use k8s_openapi::api::networking::v1 as networking;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use k8s_openapi::jiff::Timestamp;
use policy::{
    AttachedNetwork, Audit, IpBlock, Labels, Mac, Mode, MultiNetworkPolicy, NamedPort, Namespace,
    NetworkPolicy, ObjectKey, Operator, Peer, Peers, Phase, Pod, PodPeer, PolicyFor, Port,
    PortNumbers, Ports, Protocol, Requirement, Rule, Selector, Switch,
};
use watcher::Object;

/// What was compared.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) files: usize,
    pub(crate) documents: usize,
    pub(crate) objects: usize,
    policies: usize,
    pods: usize,
    namespaces: usize,
    rules: usize,
    peers: usize,
    ports: usize,
}

impl Counts {
    pub(crate) fn object(&mut self, object: &Object) {
        self.objects += 1;
        match object {
            Object::Pod(_) => self.pods += 1,
            Object::Namespace(_) => self.namespaces += 1,
            Object::MultiNetworkPolicy(policy) => self.policy(&policy.policy),
            Object::NetworkPolicy(policy) => self.policy(policy),
        }
    }

    fn policy(&mut self, policy: &NetworkPolicy) {
        self.policies += 1;
        for rule in policy.ingress.iter().chain(&policy.egress).flatten() {
            self.rules += 1;
            if let Peers::Only(peers) = &rule.peers {
                self.peers += peers.len();
            }
            if let Ports::Only(ports) = &rule.ports {
                self.ports += ports.len();
            }
        }
    }
}

fn key(metadata: &ObjectMeta) -> ObjectKey {
    let namespace = metadata.namespace.clone().filter(|namespace| !namespace.is_empty());
    let namespace = namespace.unwrap_or_else(|| "default".to_owned());
    ObjectKey { namespace, name: metadata.name.clone().unwrap_or_default() }
}

fn labels(metadata: &ObjectMeta) -> Labels {
    metadata.labels.clone().unwrap_or_default().into_iter().collect()
}

/// A Namespace. The API server adds the label with its name.
pub(crate) fn namespace(object: &core::Namespace) -> Namespace {
    let name = object.metadata.name.clone().unwrap_or_default();
    let mut labels = labels(&object.metadata);
    labels.insert("kubernetes.io/metadata.name".to_owned(), name.clone());
    let (is_ending, switch) =
        (object.metadata.deletion_timestamp.is_some(), switch(&object.metadata));
    Namespace { name, labels, is_ending, switch }
}

/// A Pod.
pub(crate) fn pod(object: &core::Pod) -> Pod {
    let spec = object.spec.clone().unwrap_or_default();
    let status = object.status.clone().unwrap_or_default();
    let pod_ips = status.pod_ips.unwrap_or_default().into_iter().map(|one| one.ip);
    let mut pod_ips: Vec<String> = pod_ips.collect();
    pod_ips.extend(status.pod_ip.filter(|single| !pod_ips.contains(single)));
    let host_ips = status.host_ips.unwrap_or_default().into_iter().map(|one| one.ip).collect();
    let phase = match status.phase.as_deref().unwrap_or_default() {
        "Pending" => Phase::Pending,
        "Running" => Phase::Running,
        "Succeeded" => Phase::Succeeded,
        "Failed" => Phase::Failed,
        _ => Phase::Unknown,
    };
    let grace = spec.termination_grace_period_seconds.unwrap_or(30);
    let sidecars = spec.init_containers.unwrap_or_default().into_iter();
    let sidecars = sidecars.filter(|one| one.restart_policy.as_deref() == Some("Always"));
    let mut ports: Vec<NamedPort> =
        sidecars.chain(spec.containers).flat_map(|one| named_ports(&one)).collect();
    ports.sort();
    ports.dedup();
    Pod {
        key: key(&object.metadata),
        labels: labels(&object.metadata),
        node: spec.node_name.filter(|name| !name.is_empty()),
        addresses: addresses(pod_ips, None),
        host_addresses: addresses(host_ips, status.host_ip),
        host_network: spec.host_network == Some(true),
        phase,
        created: object.metadata.creation_timestamp.as_ref().map_or(0, |one| one.0.as_second()),
        is_ending: object.metadata.deletion_timestamp.is_some(),
        grace_seconds: grace.try_into().unwrap_or_default(),
        attachment: policy::Attachment {
            uid: object.metadata.uid.as_ref().map_or(policy::PodUid(0), |uid| uid_of(uid)),
            is_mirror: object
                .metadata
                .annotations
                .as_ref()
                .is_some_and(|all| all.contains_key("kubernetes.io/config.mirror")),
            networks: networks(&object.metadata),
            is_unread: false,
        },
        ports,
    }
}

/// The networks beside the primary one, of an annotation in order: nothing here writes
/// another one.
fn networks(metadata: &ObjectMeta) -> Box<[AttachedNetwork]> {
    let annotations = metadata.annotations.iter().flatten();
    let status = annotations.filter(|(name, _)| *name == "k8s.v1.cni.cncf.io/network-status");
    let entries = status.flat_map(|(_, text)| {
        serde_json::from_str::<Vec<serde_json::Value>>(text).unwrap_or_default()
    });
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    let network = |entry: serde_json::Value| {
        let digits = text(&entry["mac"]).replace(':', "");
        let mac: Vec<u8> = (0..digits.len() / 2)
            .filter_map(|at| u8::from_str_radix(&digits[2 * at..2 * at + 2], 16).ok())
            .collect();
        let ips = entry["ips"].as_array().into_iter().flatten();
        AttachedNetwork {
            network: text(&entry["name"]),
            interface: text(&entry["interface"]),
            mac: mac.try_into().map_or(Mac::NONE, Mac),
            addresses: ips.filter_map(|ip| text(ip).parse().ok()).collect(),
        }
    };
    entries.filter(|entry| entry["default"] != true).map(network).collect()
}

/// A UUID as a number; 0 is none.
fn uid_of(text: &str) -> policy::PodUid {
    let digits = text.replace(['-', '_'], "");
    let number = u128::from_str_radix(&digits, 16).unwrap_or_default();
    policy::PodUid(if digits.len() == 32 { number } else { 0 })
}

/// The list, or the older single field if there is no list.
fn addresses(list: Vec<String>, single: Option<String>) -> Vec<IpAddr> {
    let all = if list.is_empty() { Vec::from_iter(single) } else { list };
    all.iter().filter_map(|text| text.parse().ok()).collect()
}

fn named_ports(container: &core::Container) -> Vec<NamedPort> {
    let ports = container.ports.iter().flatten();
    let named = ports.filter_map(|port| {
        Some(NamedPort {
            name: port.name.clone().filter(|name| is_port_name(name))?,
            protocol: protocol(port.protocol.as_deref())?,
            port: number(port.container_port)?,
        })
    });
    named.collect()
}

/// A MultiNetworkPolicy, of an object read as a NetworkPolicy.
pub(crate) fn multi_network_policy(object: &networking::NetworkPolicy) -> MultiNetworkPolicy {
    let annotations = object.metadata.annotations.clone().unwrap_or_default();
    let written = annotations.get("k8s.v1.cni.cncf.io/policy-for").cloned().unwrap_or_default();
    let policy = network_policy(object);
    let name = |text: &str| match text.trim().split('/').collect::<Vec<_>>()[..] {
        [""] => None,
        [name] => Some(ObjectKey::new(policy.key.namespace.as_str(), name)),
        [namespace, name] => Some(ObjectKey::new(namespace, name)),
        _ => None,
    };
    let networks = PolicyFor::Networks(written.split(',').filter_map(name).collect());
    MultiNetworkPolicy { networks, policy }
}

/// A NetworkPolicy.
pub(crate) fn network_policy(object: &networking::NetworkPolicy) -> NetworkPolicy {
    let spec = object.spec.clone().unwrap_or_default();
    let types = spec.policy_types.unwrap_or_default();
    let has_egress = spec.egress.as_ref().is_some_and(|rules| !rules.is_empty());
    let is_known = types.iter().all(|one| one == "Ingress" || one == "Egress");
    // "If this field is not specified, it will default based on the existence
    // of ingress or egress rules"; Ingress always.
    let isolates = |one: &str, by_default: bool| match &types[..] {
        [] => by_default,
        types => types.iter().any(|each| each == one) || !is_known,
    };
    let selected = selector(&spec.pod_selector.unwrap_or_default());
    // An unusable selector selects by its usable part and allows nothing.
    let usable = selected.is_whole;
    let ingress = spec.ingress.unwrap_or_default().into_iter().filter(|_| usable);
    let egress = spec.egress.unwrap_or_default().into_iter().filter(|_| usable);
    NetworkPolicy {
        key: key(&object.metadata),
        uid: object.metadata.uid.clone().unwrap_or_default(),
        pod_selector: selected.selector,
        ingress: isolates("Ingress", true)
            .then(|| ingress.map(|one| rule(one.from, one.ports)).collect()),
        egress: isolates("Egress", has_egress)
            .then(|| egress.map(|one| rule(one.to, one.ports)).collect()),
        audit: Audit::written(switch(&object.metadata)),
    }
}

/// The annotations `nftpol.dev/mode` and `nftpol.dev/audit-until`. If one of them cannot be
/// read, the object says enforce.
fn switch(metadata: &ObjectMeta) -> Switch {
    let annotation = |name: &str| metadata.annotations.as_ref()?.get(name);
    let mode = match annotation("nftpol.dev/mode").map(String::as_str) {
        None => Some(None),
        Some("audit") => Some(Some(Mode::Audit)),
        Some("enforce") => Some(Some(Mode::Enforce)),
        Some(_) => None,
    };
    let until = match annotation("nftpol.dev/audit-until") {
        None => Some(None),
        Some(text) => text.parse().ok().map(|time: Timestamp| Some(time.as_second())),
    };
    match (mode, until) {
        (Some(mode), Some(until)) => Switch { mode, until },
        (None, _) | (_, None) => Switch { mode: Some(Mode::Enforce), until: None },
    }
}

fn rule(
    peers: Option<Vec<networking::NetworkPolicyPeer>>,
    ports: Option<Vec<networking::NetworkPolicyPort>>,
) -> Rule {
    let peers = match peers.unwrap_or_default() {
        peers if peers.is_empty() => Peers::Anyone,
        peers => Peers::Only(peers.into_iter().filter_map(peer).collect()),
    };
    let ports = match ports.unwrap_or_default() {
        ports if ports.is_empty() => Ports::All,
        ports => Ports::Only(ports.into_iter().filter_map(port).collect()),
    };
    Rule { peers, ports }
}

fn peer(peer: networking::NetworkPolicyPeer) -> Option<Peer> {
    match (peer.ip_block, peer.namespace_selector, peer.pod_selector) {
        (Some(block), None, None) => {
            let except: Result<Vec<_>, _> =
                block.except.iter().flatten().map(|text| text.parse()).collect();
            IpBlock::new(block.cidr.parse().ok()?, except.ok()?).ok().map(Peer::IpBlock)
        }
        (None, None, None) | (Some(_), ..) => None,
        (None, namespaces, pods) => {
            let namespaces = namespaces.as_ref().map(selector);
            let pods = selector(&pods.unwrap_or_default());
            let usable = pods.is_whole && namespaces.as_ref().is_none_or(|one| one.is_whole);
            let namespaces = namespaces.map(|one| one.selector);
            usable.then_some(Peer::Pods(PodPeer { namespaces, pods: pods.selector }))
        }
    }
}

fn port(port: networking::NetworkPolicyPort) -> Option<Port> {
    let numbers = match (port.port, port.end_port) {
        (None, None) => PortNumbers::All,
        (Some(IntOrString::Int(first)), last) => {
            let (first, last) = (number(first)?, number(last.unwrap_or(first))?);
            (first <= last).then_some(PortNumbers::Range(first, last))?
        }
        (Some(IntOrString::String(name)), None) if is_port_name(&name) => PortNumbers::Named(name),
        _ => return None,
    };
    Some(Port { protocol: protocol(port.protocol.as_deref())?, numbers })
}

fn protocol(text: Option<&str>) -> Option<Protocol> {
    match text {
        None | Some("TCP") => Some(Protocol::Tcp),
        Some("UDP") => Some(Protocol::Udp),
        Some("SCTP") => Some(Protocol::Sctp),
        Some(_) => None,
    }
}

fn number(number: i32) -> Option<u16> {
    u16::try_from(number).ok().filter(|number| *number != 0)
}

/// A selector, and whether every part of it is usable.
struct Selected {
    selector: Selector,
    is_whole: bool,
}

fn selector(selector: &LabelSelector) -> Selected {
    let mut all: Vec<Option<Requirement>> = Vec::new();
    for (key, value) in selector.match_labels.iter().flatten() {
        let valid = is_label_key(key) && is_label_value(value);
        all.push(valid.then(|| Requirement::equals(key, value)));
    }
    for item in selector.match_expressions.iter().flatten() {
        let values = item.values.clone().unwrap_or_default();
        let valid = is_label_key(&item.key) && values.iter().all(|value| is_label_value(value));
        let operator = match (item.operator.as_str(), values.is_empty()) {
            ("In", false) => Some(Operator::In(values.into_iter().collect())),
            ("NotIn", false) => Some(Operator::NotIn(values.into_iter().collect())),
            ("Exists", true) => Some(Operator::Exists),
            ("DoesNotExist", true) => Some(Operator::DoesNotExist),
            _ => None,
        };
        let key = item.key.clone();
        all.push(operator.filter(|_| valid).map(|operator| Requirement { key, operator }));
    }
    let is_whole = all.iter().all(Option::is_some);
    Selected { selector: Selector::new(all.into_iter().flatten()), is_whole }
}

fn is_label_value(text: &str) -> bool {
    let is_edge = |one: Option<char>| one.is_none_or(|one| one.is_ascii_alphanumeric());
    text.len() <= 63
        && text.chars().all(|one| one.is_ascii_alphanumeric() || matches!(one, '-' | '_' | '.'))
        && is_edge(text.chars().next())
        && is_edge(text.chars().next_back())
}

fn is_label_key(text: &str) -> bool {
    let is_lower = |one: char| one.is_ascii_lowercase() || one.is_ascii_digit();
    let (prefix, name) = text.rsplit_once('/').unwrap_or(("a", text));
    let is_word = |word: &str| {
        word.starts_with(is_lower)
            && word.ends_with(is_lower)
            && word.chars().all(|one| is_lower(one) || one == '-')
    };
    !name.is_empty()
        && is_label_value(name)
        && prefix.len() <= 253
        && prefix.split('.').all(is_word)
}

fn is_port_name(text: &str) -> bool {
    let words: Vec<&str> = text.split('-').collect();
    let is_word = |word: &&str| {
        !word.is_empty() && word.chars().all(|one| one.is_ascii_lowercase() || one.is_ascii_digit())
    };
    text.len() <= 15
        && words.iter().all(is_word)
        && text.chars().any(|one| one.is_ascii_lowercase())
}
