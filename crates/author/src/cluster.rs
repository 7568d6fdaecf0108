//! The objects that an author's question is about.
//!
//! Workloads are pods here: a Deployment gives one pod with the labels and ports of its
//! template. A pod without addresses gets made-up ones, so that each answer of
//! [`policy::spec`] holds for it, too.
//!
//! In: what [`watcher`] read. Out: [`Cluster`].
//! Never: I/O.

mod addresses;
mod build;
mod network;
mod places;

use std::collections::{BTreeMap, BTreeSet};

use policy::{ObjectKey, Protocol, Snapshot};
use watcher::files::Finding;
pub use watcher::related::{
    Endpoints, Ingress, Node, Service, ServicePort, TargetPort, Workload, WorkloadTemplate,
};

pub use addresses::MadeUp;
pub use build::{Builder, twins};
pub use network::{Network, NetworkError, further_networks};
pub use places::{Place, Places};

/// All objects, and where each was written.
#[derive(Clone, Debug, Default)]
pub struct Cluster {
    /// Policies, pods (those of workloads included) and namespaces.
    pub snapshot: Snapshot,
    /// The workload of each pod that has one, by the pod's key.
    pub workloads: BTreeMap<ObjectKey, Workload>,
    /// The workloads themselves, by kind and key, those without a pod included.
    pub templates: BTreeMap<(String, ObjectKey), WorkloadTemplate>,
    /// The pods whose addresses are made up.
    pub symbolic: BTreeSet<ObjectKey>,
    /// Where made-up addresses come from.
    pub made_up: MadeUp,
    /// All ports that a pod's containers declare, those without a name included.
    pub listens: BTreeMap<ObjectKey, Vec<(Protocol, u16)>>,
    /// Services.
    pub services: BTreeMap<ObjectKey, Service>,
    /// Ingresses.
    pub ingresses: BTreeMap<ObjectKey, Ingress>,
    /// The addresses behind Services, by the Service's key.
    pub endpoints: BTreeMap<ObjectKey, Endpoints>,
    /// Nodes by name.
    pub nodes: BTreeMap<String, Node>,
    /// The namespaces that no file and no API server has: they are used, and their labels
    /// are not known.
    pub assumed_namespaces: BTreeSet<String>,
    /// The namespace of `--namespace`, else `default` or that of the kubeconfig.
    pub namespace: String,
    /// What `--namespace` limits the answers to; `None`: everything.
    pub focus: Option<String>,
    /// Whether all objects of a cluster are in it, and not only what files hold.
    pub is_whole: bool,
    /// Mistakes of syntax and validation, in files and of an API server.
    pub findings: Vec<Finding>,
    /// Where objects were written; empty for those of an API server.
    pub places: Places,
    /// What was made up or left out, a line each.
    pub notices: Vec<String>,
    /// The further networks of which there is a NetworkAttachmentDefinition.
    pub declared_networks: BTreeSet<ObjectKey>,
    /// The pods whose addresses on a further network are made up, with the network.
    pub symbolic_on: BTreeSet<(ObjectKey, ObjectKey)>,
    /// Whether NetworkAttachmentDefinitions could not be read.
    pub lacks_networks: bool,
    /// Whether there are MultiNetworkPolicies that could not be read.
    pub lacks_multi_policies: bool,
    /// The further network that it is about; `None`: the primary one.
    pub network: Option<Network>,
}

impl From<Snapshot> for Cluster {
    fn from(snapshot: Snapshot) -> Self {
        let namespace = "default".to_owned();
        Self { snapshot, namespace, is_whole: true, ..Self::default() }
    }
}
