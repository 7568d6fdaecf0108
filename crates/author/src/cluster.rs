//! The objects that an author's question is about.
//!
//! Workloads are pods here: a Deployment gives one pod with the labels and ports of its
//! template. A pod without addresses gets made-up ones, so that each answer of
//! [`policy::spec`] holds for it, too.

use std::collections::{BTreeMap, BTreeSet};

use policy::{ObjectKey, Protocol, Selector, Snapshot};
use watcher::files::Location;

/// All objects, and where each was written.
#[derive(Clone, Debug, Default)]
pub struct Cluster {
    /// Policies, pods (those of workloads included) and namespaces.
    pub snapshot: Snapshot,
    /// The workload of each pod that has one, by the pod's key.
    pub workloads: BTreeMap<ObjectKey, Workload>,
    /// The pods whose addresses are made up.
    pub symbolic: BTreeSet<ObjectKey>,
    /// Services.
    pub services: BTreeMap<ObjectKey, Service>,
    /// Where objects were written; empty for those of an API server.
    pub places: Places,
    /// What was made up or left out, a line each.
    pub notices: Vec<String>,
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
    pub addresses: Vec<std::net::IpAddr>,
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

/// Where objects and their fields were written.
#[derive(Clone, Debug, Default)]
pub struct Places {
    policies: BTreeMap<ObjectKey, BTreeMap<String, Location>>,
}

impl Places {
    /// Notes where a field of a policy was written.
    pub fn note(&mut self, policy: &ObjectKey, field: impl Into<String>, at: Location) {
        self.policies.entry(policy.clone()).or_default().insert(field.into(), at);
    }

    /// Where a field of a policy was written, such as `spec.ingress[0].from[1]`, or what
    /// is around it. The empty field is the object.
    pub fn of(&self, policy: &ObjectKey, field: &str) -> Option<&Location> {
        let fields = self.policies.get(policy)?;
        let mut field = field;
        loop {
            if let Some(location) = fields.get(field) {
                return Some(location);
            }
            if field.is_empty() {
                return None;
            }
            field = &field[..field.rfind(['.', '[']).unwrap_or(0)];
        }
    }
}

impl From<Snapshot> for Cluster {
    fn from(snapshot: Snapshot) -> Self {
        Self { snapshot, ..Self::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_that_was_not_noted_is_where_its_parent_is() {
        let key = ObjectKey::new("dev", "p");
        let at = |line| Location { file: "p.yaml".to_owned(), line, column: 1 };
        let mut places = Places::default();
        places.note(&key, "", at(1));
        places.note(&key, "spec.ingress[0]", at(7));
        assert_eq!(places.of(&key, "spec.ingress[0].from[1].podSelector"), Some(&at(7)));
        assert_eq!(places.of(&key, "spec.egress[0]"), Some(&at(1)));
        assert_eq!(places.of(&ObjectKey::new("dev", "q"), ""), None);
    }
}
