//! Pod: labels, addresses, named ports, phase.
//!
//! In: the fields of the API's object that policy needs.
//! Out: the model's pod, also for pods that ended or use the host's network.
//! Never: a decision whether policies apply to it (`policy::Pod::is_subject`).

use std::net::IpAddr;

use k8s_openapi::api::core::v1::ContainerPort;
use policy::{
    AttachedNetwork, Attachment, Diagnostic, MOST_ADDRESSES, MOST_NETWORKS, Mac, NamedPort, Phase,
    Pod, PodUid, Protocol,
};

use super::fields::{ContainerFields, PodFields, SpecFields, StatusFields};
use super::report::Report;
use super::{names, port};
use crate::Kind;
use crate::decode::Unreadable;
use crate::spelling::suggest;

/// Multus' annotation (Kubernetes Network Custom Resource Definition De-facto Standard,
/// version 1.3, 3.2.1).
pub(crate) const NETWORK_STATUS: &str = "k8s.v1.cni.cncf.io/network-status";

/// Of the object that kubelet makes for a static pod: the uid under which kubelet runs it
/// (`getPodHash` and `CreateMirrorPod`, pkg/kubelet/pod/mirror_client.go, Kubernetes 1.34).
pub(crate) const MIRROR: &str = "kubernetes.io/config.mirror";

/// The API's phases.
const PHASES: [&str; 5] = ["Pending", "Running", "Succeeded", "Failed", "Unknown"];

pub(crate) fn convert(object: &PodFields, unreadable: &Unreadable) -> (Pod, Vec<Diagnostic>) {
    let metadata = &object.metadata;
    let mut report = Report::new(Kind::Pod, metadata, unreadable);
    names::metadata(&mut report, metadata, names::dns_subdomain);
    let (no_spec, no_status) = (SpecFields::default(), StatusFields::default());
    let spec = object.spec.as_ref().unwrap_or(&no_spec);
    let status = object.status.as_ref().unwrap_or(&no_status);
    let pod = Pod {
        key: report.object().clone(),
        labels: metadata.labels.clone().into_iter().flatten().collect(),
        node: spec.node_name.clone().filter(|name| !name.is_empty()),
        addresses: pod_addresses(&mut report, status),
        host_addresses: host_addresses(&mut report, status),
        host_network: spec.host_network.unwrap_or_default(),
        phase: phase(&mut report, status),
        created: metadata.creation_timestamp.as_ref().map_or(0, |time| time.0.as_second()),
        is_ending: metadata.deletion_timestamp.is_some(),
        grace_seconds: grace_seconds(spec),
        attachment: attachment(object, status),
        ports: named_ports(&mut report, spec),
    };
    (pod, report.finish())
}

/// Anybody who may create pods can write the uid of a static pod into an object. kubelet runs
/// no such pod and deletes it, and only kubelet reports addresses. So the uid counts when
/// there are any. It cannot be added later (`ValidatePodSpecificAnnotationUpdates`,
/// pkg/apis/core/validation/validation.go, Kubernetes 1.36).
fn attachment(object: &PodFields, status: &StatusFields) -> Attachment {
    let annotations = object.metadata.annotations.as_ref();
    let has_addresses = status.pod_ips.as_ref().is_some_and(|all| !all.is_empty());
    let mirror = annotations.and_then(|all| all.get(MIRROR));
    let uid = mirror.filter(|_| has_addresses).or(object.metadata.uid.as_ref());
    let uid = uid.and_then(|uid| PodUid::parse(uid)).unwrap_or_default();
    let text = annotations.and_then(|all| all.get(NETWORK_STATUS)).map(String::as_str);
    let namespace = object.metadata.namespace.as_deref().unwrap_or_default();
    let (networks, is_unread) = text.map(|text| networks(text, namespace)).unwrap_or_default();
    Attachment { uid, is_mirror: mirror.is_some(), networks, is_unread }
}

/// An entry of the annotation.
#[derive(serde::Deserialize)]
struct NetworkStatus {
    #[serde(default)]
    name: String,
    #[serde(default)]
    interface: String,
    #[serde(default)]
    ips: Vec<String>,
    #[serde(default)]
    mac: String,
    #[serde(default)]
    default: bool,
}

/// The networks, and whether there may be others: the annotation is Multus', not the API
/// server's, which lets anything pass.
fn networks(text: &str, namespace: &str) -> (Box<[AttachedNetwork]>, bool) {
    if text.trim().is_empty() {
        return (Box::default(), false);
    }
    let Ok(entries) = serde_json::from_str::<Option<Vec<serde_json::Value>>>(text) else {
        return (Box::default(), true);
    };
    let mut is_unread = false;
    let mut networks: Vec<AttachedNetwork> = Vec::new();
    for entry in entries.into_iter().flatten() {
        let Ok(one) = serde_json::from_value::<NetworkStatus>(entry) else {
            is_unread = true;
            continue;
        };
        if one.default {
            continue;
        }
        let network = AttachedNetwork {
            mac: Mac::parse(&one.mac).unwrap_or(Mac::NONE),
            addresses: one.ips.iter().filter_map(|ip| ip.parse().ok()).collect(),
            network: one.name,
            interface: one.interface,
        };
        is_unread |= network.definition(namespace).is_none();
        networks.push(network);
    }
    let addresses: usize = networks.iter().map(|one| one.addresses.len()).sum();
    if networks.len() > MOST_NETWORKS || addresses > MOST_ADDRESSES {
        return (Box::default(), true);
    }
    (networks.into(), is_unread)
}

/// `spec.terminationGracePeriodSeconds`, 30 when absent (API reference, PodSpec).
fn grace_seconds(spec: &SpecFields) -> u32 {
    let seconds = spec.termination_grace_period_seconds.unwrap_or(30).max(0);
    u32::try_from(seconds).unwrap_or(u32::MAX)
}

/// All of both fields. An API server keeps the first of the list in the older single one.
fn pod_addresses(report: &mut Report<'_>, status: &StatusFields) -> Vec<IpAddr> {
    let list = status.pod_ips.as_deref().unwrap_or_default().iter().map(|item| item.ip.as_str());
    let mut read = addresses(report, list, "status.podIPs", None, "status.podIP");
    let single = addresses(report, [].into_iter(), "", status.pod_ip.as_deref(), "status.podIP");
    read.extend(single);
    let mut kept: Vec<IpAddr> = Vec::new();
    for address in read {
        if kept.contains(&address) {
            continue;
        }
        if kept.iter().any(|other| other.is_ipv4() == address.is_ipv4()) {
            report.error(
                "status.podIPs",
                format!(
                    "{address} is a second address of its family; at most one of each is valid"
                ),
            );
        }
        kept.push(address);
    }
    kept
}

fn host_addresses(report: &mut Report<'_>, status: &StatusFields) -> Vec<IpAddr> {
    let list = status.host_ips.as_deref().unwrap_or_default().iter().map(|item| item.ip.as_str());
    addresses(report, list, "status.hostIPs", status.host_ip.as_deref(), "status.hostIP")
}

/// The addresses of a list or, if it is empty, of the older single field.
fn addresses<'a>(
    report: &mut Report<'_>,
    list: impl Iterator<Item = &'a str>,
    list_field: &str,
    single: Option<&'a str>,
    single_field: &str,
) -> Vec<IpAddr> {
    let mut written: Vec<(String, &str)> =
        list.enumerate().map(|(index, text)| (format!("{list_field}[{index}].ip"), text)).collect();
    if written.is_empty() {
        written.extend(single.map(|text| (single_field.to_owned(), text)));
    }
    written
        .into_iter()
        .filter(|(_, text)| !text.is_empty())
        .filter_map(|(field, text)| address(report, text, &field))
        .collect()
}

fn address(report: &mut Report<'_>, text: &str, field: &str) -> Option<IpAddr> {
    let address = policy::cidr::parse_address(text).map(|address| address.to_canonical());
    if address.is_none() {
        report.error(field, format!("{text:?} is not an IP address"));
    }
    address
}

fn phase(report: &mut Report<'_>, status: &StatusFields) -> Phase {
    match status.phase.as_deref() {
        Some("Pending") => Phase::Pending,
        Some("Running") => Phase::Running,
        Some("Succeeded") => Phase::Succeeded,
        Some("Failed") => Phase::Failed,
        None | Some("" | "Unknown") => Phase::Unknown,
        Some(other) => {
            let message = match suggest(other, PHASES) {
                Some(meant) => format!("unknown phase {other:?}; did you mean {meant}?"),
                None => format!("unknown phase {other:?}; one of {}", PHASES.join(", ")),
            };
            report.error("status.phase", message);
            Phase::Unknown
        }
    }
}

/// The named ports of containers and of sidecars, which are init containers
/// that always restart (KEP-753). Other init containers have ended before the
/// pod gets traffic.
fn named_ports(report: &mut Report<'_>, spec: &SpecFields) -> Vec<NamedPort> {
    let mut ports = Vec::new();
    for (index, container) in spec.init_containers.iter().flatten().enumerate() {
        let mut of_container =
            container_ports(report, container, &format!("spec.initContainers[{index}]"));
        if container.restart_policy.as_deref() == Some("Always") {
            ports.append(&mut of_container);
        }
    }
    for (index, container) in spec.containers.iter().flatten().enumerate() {
        ports.append(&mut container_ports(report, container, &format!("spec.containers[{index}]")));
    }
    ports.sort();
    ports.dedup();
    ports
}

fn container_ports(
    report: &mut Report<'_>,
    container: &ContainerFields,
    field: &str,
) -> Vec<NamedPort> {
    let ports = container.ports.iter().flatten().enumerate();
    ports
        .filter_map(|(index, port)| named_port(report, port, &format!("{field}.ports[{index}]")))
        .collect()
}

fn named_port(report: &mut Report<'_>, item: &ContainerPort, field: &str) -> Option<NamedPort> {
    let usable = !report.is_unreadable(field);
    if report.is_replaced(field) {
        return None;
    }
    let number = port::number(report, item.container_port, &format!("{field}.containerPort"));
    let protocol = match item.protocol.as_deref() {
        None | Some("") => Some(Protocol::Tcp),
        Some(text) => port::protocol(report, text, &format!("{field}.protocol")),
    };
    let name = item.name.as_deref().filter(|name| !name.is_empty())?;
    if let Err(message) = names::port_name(name) {
        report.error(format!("{field}.name"), message);
        return None;
    }
    usable.then_some(NamedPort { name: name.to_owned(), protocol: protocol?, port: number? })
}
