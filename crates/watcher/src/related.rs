//! Kinds that policies do not name, but that tell what policies mean: workloads,
//! Services, Ingresses, endpoints, nodes and further networks.
//!
//! In: manifests ([`crate::files::read_everything`]) or an API server ([`crate::api::everything`]).
//! Out: for each object the fields that an author's question needs.
//! Never: a finding about these objects. Their other fields are not looked at.

mod fields;
mod networks;

use std::collections::BTreeSet;
use std::net::IpAddr;

use ipnet::IpNet;
use policy::{ObjectKey, Pod, Protocol, Selector};

pub(crate) use fields::{Fields, NAMES, convert};
pub(crate) use networks::ASKED;

/// An object of one of these kinds.
#[derive(Clone, Debug, PartialEq)]
pub enum Related {
    /// What a Pod says beside what [`policy::Pod`] has.
    Pod(PodDetails),
    /// What makes pods.
    Workload(Box<WorkloadTemplate>),
    /// A Service.
    Service(ObjectKey, Service),
    /// An Ingress.
    Ingress(ObjectKey, Ingress),
    /// The addresses behind a Service: an EndpointSlice, or Endpoints.
    Endpoints(ObjectKey, Endpoints),
    /// A Node.
    Node(Node),
    /// A NetworkAttachmentDefinition: there is a network of this name.
    Network(ObjectKey),
}

/// What a Pod says beside what [`policy::Pod`] has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodDetails {
    /// Namespace and name.
    pub key: ObjectKey,
    /// The workload that it belongs to: its controller, as far as it names one.
    pub owner: Option<Workload>,
    /// All ports that its containers declare, those without a name included.
    pub listens: Vec<(Protocol, u16)>,
    /// The further networks that it asks for.
    pub networks: BTreeSet<ObjectKey>,
}

/// What makes pods, with the pod that it makes.
#[derive(Clone, Debug, PartialEq)]
pub struct WorkloadTemplate {
    /// What makes pods.
    pub workload: Workload,
    /// A pod of it: the labels, ports and network of its template, under the workload's
    /// name, without addresses.
    pub pod: Pod,
    /// All ports that its containers declare, those without a name included.
    pub listens: Vec<(Protocol, u16)>,
    /// The further networks that its pods ask for.
    pub networks: BTreeSet<ObjectKey>,
    /// The workload that it belongs to, such as the Deployment of a ReplicaSet.
    pub owner: Option<Workload>,
    /// The labels of the workload itself, which its pods do not have.
    pub labels: policy::Labels,
}

/// What a pod is made by.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Workload {
    /// The kind as the API names it, such as `Deployment`.
    pub kind: String,
    /// Namespace and name.
    pub key: ObjectKey,
    /// How many pods it makes; `None` where that depends on the cluster (a DaemonSet).
    pub replicas: Option<u32>,
}

/// A Service, reduced to what tells which pods a connection to it reaches.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Service {
    /// `spec.selector`; `None` if its endpoints are given by hand.
    pub selector: Option<Selector>,
    /// `spec.type`, `ClusterIP` when left out.
    pub kind: String,
    /// `spec.clusterIPs`, `spec.externalIPs` and the addresses of load balancers.
    pub addresses: Vec<IpAddr>,
    /// Those of them that are for clients outside: `spec.externalIPs`, load balancers.
    pub external_addresses: Vec<IpAddr>,
    /// `spec.ports`.
    pub ports: Vec<ServicePort>,
    /// `spec.externalTrafficPolicy` is `Local`: the pod sees the client's address.
    pub keeps_client_address: bool,
}

/// One of `spec.ports` of a Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServicePort {
    /// `name`.
    pub name: String,
    /// `protocol`, TCP when left out.
    pub protocol: Protocol,
    /// `port`.
    pub port: u16,
    /// `targetPort`, `port` when left out.
    pub target: TargetPort,
    /// `nodePort`.
    pub node_port: Option<u16>,
}

/// `targetPort` of a Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TargetPort {
    /// A number.
    Number(u16),
    /// The name of a container's port.
    Name(String),
}

/// An Ingress: the Services that it sends to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ingress {
    /// `spec.ingressClassName`.
    pub class: Option<String>,
    /// Services of its namespace by name, each with the port.
    pub backends: Vec<(String, TargetPort)>,
}

/// The addresses behind a Service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Endpoints {
    /// Addresses of pods and of others.
    pub addresses: Vec<IpAddr>,
    /// Ports there.
    pub ports: Vec<(Protocol, u16)>,
}

/// A Node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Node {
    /// `metadata.name`.
    pub name: String,
    /// `status.addresses`.
    pub addresses: Vec<IpAddr>,
    /// `spec.podCIDRs`.
    pub pod_cidrs: Vec<IpNet>,
}

impl Related {
    /// Namespace and name; a Node has an empty namespace.
    pub fn key(&self) -> ObjectKey {
        match self {
            Self::Pod(pod) => pod.key.clone(),
            Self::Workload(one) => one.workload.key.clone(),
            Self::Service(key, _)
            | Self::Ingress(key, _)
            | Self::Endpoints(key, _)
            | Self::Network(key) => key.clone(),
            Self::Node(node) => ObjectKey::new("", &node.name),
        }
    }
}
