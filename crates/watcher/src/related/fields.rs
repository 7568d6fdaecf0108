//! The related kinds as the API writes them, and how they become [`Related`].
//!
//! In: any of these kinds, from a file or from the API server.
//! Out: small values. A part that cannot be read is left out.
//! Never: fields that nothing here asks for.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use policy::{ObjectKey, Protocol, Requirement, Selector};
use serde::Deserialize;

use super::{
    Endpoints, Ingress, Node, PodDetails, Related, Service, ServicePort, TargetPort, Workload,
    WorkloadTemplate, networks,
};
use crate::convert::{self, PodFields, SpecFields};
use crate::decode::Unreadable;

/// The kinds, each with its API group.
pub(crate) const NAMES: [(&str, &str); 14] = [
    ("Pod", ""),
    ("Deployment", "apps"),
    ("StatefulSet", "apps"),
    ("DaemonSet", "apps"),
    ("ReplicaSet", "apps"),
    ("ReplicationController", ""),
    ("Job", "batch"),
    ("CronJob", "batch"),
    ("Service", ""),
    ("Ingress", "networking.k8s.io"),
    ("Endpoints", ""),
    ("EndpointSlice", "discovery.k8s.io"),
    ("Node", ""),
    ("NetworkAttachmentDefinition", "k8s.cni.cncf.io"),
];

/// The fields of all of these kinds. No field name means two things.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct Fields {
    metadata: MetadataFields,
    spec: Spec,
    status: Status,
    subsets: Option<Vec<Subset>>,
    endpoints: Option<Vec<Endpoint>>,
    ports: Option<Vec<PortFields>>,
}

/// The metadata of an object.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct MetadataFields {
    pub name: Option<String>,
    pub generate_name: Option<String>,
    pub namespace: Option<String>,
    pub labels: Option<BTreeMap<String, String>>,
    #[serde(deserialize_with = "convert::own_annotations")]
    pub annotations: Option<BTreeMap<String, String>>,
    pub owner_references: Option<Vec<OwnerFields>>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct OwnerFields {
    pub kind: String,
    pub name: String,
    pub controller: Option<bool>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Spec {
    replicas: Option<i64>,
    parallelism: Option<i64>,
    template: Option<PodFields>,
    job_template: Option<JobTemplate>,
    containers: Option<Vec<convert::ContainerFields>>,
    init_containers: Option<Vec<convert::ContainerFields>>,
    // Service.
    #[serde(rename = "type")]
    kind: Option<String>,
    selector: Option<serde_json::Value>,
    #[serde(rename = "clusterIP")]
    cluster_ip: Option<String>,
    #[serde(rename = "clusterIPs")]
    cluster_ips: Option<Vec<String>>,
    #[serde(rename = "externalIPs")]
    external_ips: Option<Vec<String>>,
    #[serde(rename = "loadBalancerIP")]
    load_balancer_ip: Option<String>,
    ports: Option<Vec<PortFields>>,
    external_traffic_policy: Option<String>,
    // Ingress.
    ingress_class_name: Option<String>,
    default_backend: Option<Backend>,
    rules: Option<Vec<IngressRule>>,
    // Node.
    #[serde(rename = "podCIDRs")]
    pod_cidrs: Option<Vec<String>>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct JobTemplate {
    spec: JobSpec,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct JobSpec {
    parallelism: Option<i64>,
    template: Option<PodFields>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct PortFields {
    name: Option<String>,
    protocol: Option<String>,
    port: Option<i64>,
    target_port: Option<IntOrString>,
    node_port: Option<i64>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Status {
    load_balancer: LoadBalancer,
    addresses: Option<Vec<NodeAddress>>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct LoadBalancer {
    ingress: Option<Vec<Address>>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Address {
    ip: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct NodeAddress {
    address: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct IngressRule {
    http: Http,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Http {
    paths: Option<Vec<IngressPath>>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct IngressPath {
    backend: Backend,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Backend {
    service: Option<BackendService>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct BackendService {
    name: String,
    port: BackendPort,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct BackendPort {
    name: Option<String>,
    number: Option<i64>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Subset {
    addresses: Option<Vec<Address>>,
    ports: Option<Vec<PortFields>>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Endpoint {
    addresses: Option<Vec<String>>,
}

/// An object of a kind of [`NAMES`]. `None` if it has no name.
pub(crate) fn convert(kind: &str, object: Fields, namespace: &str) -> Option<Related> {
    let Fields { metadata, spec, status, subsets, endpoints, ports } = object;
    let name = metadata.name.clone().filter(|name| convert::is_addressable(name))?;
    let namespace = match metadata.namespace.as_deref() {
        Some(written) if convert::is_addressable(written) => written,
        _ => namespace,
    };
    let key = ObjectKey::new(namespace, &name);
    match kind {
        "Pod" => {
            let spec = SpecFields {
                containers: spec.containers,
                init_containers: spec.init_containers,
                ..SpecFields::default()
            };
            let owner = controller(&metadata, namespace);
            let networks = networks_of(metadata.annotations.as_ref(), namespace);
            let listens = listens(Some(&spec));
            Some(Related::Pod(PodDetails { key, owner, listens, networks }))
        }
        "Service" => Some(Related::Service(key, service(spec, status))),
        "Ingress" => Some(Related::Ingress(key, ingress(spec))),
        "Endpoints" => {
            let mut all = Endpoints::default();
            for Subset { addresses, ports } in subsets.unwrap_or_default() {
                let ips = addresses.unwrap_or_default().into_iter().filter_map(|one| one.ip);
                all.addresses.extend(ips.filter_map(|ip| address(&ip)));
                all.ports.extend(ports.unwrap_or_default().iter().filter_map(port));
            }
            Some(Related::Endpoints(key, all))
        }
        "EndpointSlice" => {
            let labels = metadata.labels.unwrap_or_default();
            let service = labels.get("kubernetes.io/service-name")?;
            let addresses = endpoints.unwrap_or_default().into_iter();
            let addresses = addresses.flat_map(|one| one.addresses.unwrap_or_default());
            let addresses = addresses.filter_map(|one| address(&one)).collect();
            let ports = ports.unwrap_or_default().iter().filter_map(port).collect();
            let key = ObjectKey::new(namespace, service);
            Some(Related::Endpoints(key, Endpoints { addresses, ports }))
        }
        "Node" => {
            let addresses = status.addresses.unwrap_or_default().into_iter();
            let addresses = addresses.filter_map(|one| address(&one.address?)).collect();
            let cidrs = spec.pod_cidrs.unwrap_or_default();
            let pod_cidrs = cidrs.iter().filter_map(|one| policy::cidr::parse(one).ok()).collect();
            Some(Related::Node(Node { name, addresses, pod_cidrs }))
        }
        "NetworkAttachmentDefinition" => Some(Related::Network(key)),
        _ => workload(kind, key, &metadata, spec),
    }
}

fn networks_of(
    annotations: Option<&BTreeMap<String, String>>,
    namespace: &str,
) -> BTreeSet<ObjectKey> {
    let text = annotations.and_then(|all| all.get(networks::ASKED));
    text.map(|text| networks::asked(text, namespace)).unwrap_or_default()
}

fn workload(kind: &str, key: ObjectKey, metadata: &MetadataFields, spec: Spec) -> Option<Related> {
    let Spec { replicas, parallelism, template, job_template, .. } = spec;
    let (template, count) = match (kind, job_template) {
        ("CronJob", Some(JobTemplate { spec })) => (spec.template, spec.parallelism.or(Some(1))),
        ("CronJob", None) => (None, None),
        ("Job", _) => (template, parallelism.or(Some(1))),
        ("DaemonSet", _) => (template, None),
        _ => (template, replicas.or(Some(1))),
    };
    let mut template = template?;
    let meta = &mut template.metadata;
    let networks = networks_of(meta.annotations.as_ref(), &key.namespace);
    *meta = ObjectMeta {
        name: Some(key.name.clone()),
        namespace: Some(key.namespace.clone()),
        labels: meta.labels.take(),
        ..ObjectMeta::default()
    };
    template.status = None;
    let listens = listens(template.spec.as_ref());
    let (pod, _) = convert::pod_with_fields(&template, &Unreadable::default());
    let owner = controller(metadata, &key.namespace);
    let replicas = count.and_then(|count| u32::try_from(count).ok());
    let labels = metadata.labels.clone().unwrap_or_default().into_iter().collect();
    let workload = Workload { kind: kind.to_owned(), key, replicas };
    let template = WorkloadTemplate { workload, pod, listens, networks, owner, labels };
    Some(Related::Workload(Box::new(template)))
}

/// The owner that controls an object (API reference, OwnerReference).
fn controller(metadata: &MetadataFields, namespace: &str) -> Option<Workload> {
    let owners = metadata.owner_references.as_deref().unwrap_or_default();
    let owner = owners.iter().find(|owner| owner.controller == Some(true))?;
    let key = ObjectKey::new(namespace, &owner.name);
    Some(Workload { kind: owner.kind.clone(), key, replicas: None })
}

/// All ports that containers declare, ascending.
fn listens(spec: Option<&SpecFields>) -> Vec<(Protocol, u16)> {
    let Some(spec) = spec else { return Vec::new() };
    let init = spec.init_containers.iter().flatten();
    let init = init.filter(|one| one.restart_policy.as_deref() == Some("Always"));
    let ports = init.chain(spec.containers.iter().flatten()).flat_map(|one| &one.ports).flatten();
    let mut ports: Vec<_> = ports
        .filter_map(|one| {
            let number = u16::try_from(one.container_port).ok()?;
            Some((protocol(one.protocol.as_deref())?, number))
        })
        .collect();
    ports.sort_unstable();
    ports.dedup();
    ports
}

fn service(spec: Spec, status: Status) -> Service {
    let Spec { kind, selector, cluster_ip, cluster_ips, external_ips, .. } = spec;
    let labels = selector.as_ref().and_then(serde_json::Value::as_object);
    let labels = labels.filter(|labels| !labels.is_empty());
    let selector = labels.map(|labels| {
        Selector::new(
            labels
                .iter()
                .filter_map(|(key, value)| Some(Requirement::equals(key, value.as_str()?))),
        )
    });
    let balancers = status.load_balancer.ingress.unwrap_or_default();
    let internal = cluster_ips.into_iter().flatten().chain(cluster_ip);
    let external = external_ips.into_iter().flatten().chain(spec.load_balancer_ip);
    let external = external.chain(balancers.into_iter().filter_map(|one| one.ip));
    let mut addresses: Vec<IpAddr> = Vec::new();
    let mut add = |texts: &mut dyn Iterator<Item = String>| {
        for ip in texts.filter_map(|text| address(&text)) {
            if !addresses.contains(&ip) {
                addresses.push(ip);
            }
        }
        addresses.len()
    };
    let of_cluster = add(&mut { internal });
    add(&mut { external });
    Service {
        external_addresses: addresses[of_cluster..].to_vec(),
        selector,
        kind: kind.unwrap_or_else(|| "ClusterIP".to_owned()),
        addresses,
        ports: spec.ports.unwrap_or_default().into_iter().filter_map(service_port).collect(),
        keeps_client_address: spec.external_traffic_policy.as_deref() == Some("Local"),
    }
}

fn service_port(fields: PortFields) -> Option<ServicePort> {
    let (protocol, number) = port(&fields)?;
    let target = match fields.target_port {
        Some(IntOrString::String(name)) if name.parse::<u16>().is_err() => TargetPort::Name(name),
        Some(IntOrString::String(text)) => TargetPort::Number(text.parse().unwrap_or(number)),
        Some(IntOrString::Int(target)) => match u16::try_from(target) {
            // A template's zero counts as absent.
            Ok(0) | Err(_) => TargetPort::Number(number),
            Ok(target) => TargetPort::Number(target),
        },
        None => TargetPort::Number(number),
    };
    let node_port = fields.node_port.and_then(|one| u16::try_from(one).ok()).filter(|&one| one > 0);
    let name = fields.name.unwrap_or_default();
    Some(ServicePort { name, protocol, port: number, target, node_port })
}

fn ingress(spec: Spec) -> Ingress {
    let paths = spec.rules.unwrap_or_default().into_iter();
    let paths = paths.flat_map(|rule| rule.http.paths.unwrap_or_default());
    let backends = spec.default_backend.into_iter().chain(paths.map(|path| path.backend));
    let mut found = Ingress { class: spec.ingress_class_name, backends: Vec::new() };
    for BackendService { name, port } in backends.filter_map(|backend| backend.service) {
        let number = port.number.and_then(|number| u16::try_from(number).ok());
        let port = match (port.name, number) {
            (Some(name), _) if !name.is_empty() => TargetPort::Name(name),
            (_, number) => TargetPort::Number(number.unwrap_or_default()),
        };
        if !found.backends.contains(&(name.clone(), port.clone())) {
            found.backends.push((name, port));
        }
    }
    found
}

fn port(fields: &PortFields) -> Option<(Protocol, u16)> {
    let number = u16::try_from(fields.port?).ok().filter(|&number| number > 0)?;
    Some((protocol(fields.protocol.as_deref())?, number))
}

fn protocol(text: Option<&str>) -> Option<Protocol> {
    match text {
        None | Some("" | "TCP") => Some(Protocol::Tcp),
        Some("UDP") => Some(Protocol::Udp),
        Some("SCTP") => Some(Protocol::Sctp),
        Some(_) => None,
    }
}

fn address(text: &str) -> Option<IpAddr> {
    policy::cidr::parse_address(text).map(|address| address.to_canonical())
}
