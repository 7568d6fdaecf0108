//! A Pod as policies see it: labels, addresses, named ports, whether it lives.

use std::net::IpAddr;

use crate::{Attachment, Labels, ObjectKey, Protocol};

/// `status.phase`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Phase {
    /// Accepted, containers not all started.
    Pending,
    /// Bound to a node, at least one container running.
    Running,
    /// All containers succeeded. The pod's addresses are ignored.
    Succeeded,
    /// All containers ended, at least one with an error. The pod's addresses are
    /// ignored.
    Failed,
    /// The node has not reported. Also the phase of a pod without a status in a
    /// file.
    #[default]
    Unknown,
}

/// A `containerPort` that has a name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct NamedPort {
    /// `containers[].ports[].name`.
    pub name: String,
    /// `containers[].ports[].protocol`, TCP when left out.
    pub protocol: Protocol,
    /// `containers[].ports[].containerPort`.
    pub port: u16,
}

/// A Pod object, reduced to the fields that NetworkPolicy looks at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pod {
    /// Namespace and name.
    pub key: ObjectKey,
    /// `metadata.labels`.
    pub labels: Labels,
    /// `spec.nodeName`.
    pub node: Option<String>,
    /// `status.podIPs` and `status.podIP`, each once. An API server allows one of each
    /// family; all that there are count.
    pub addresses: Vec<IpAddr>,
    /// `status.hostIPs`, else `status.hostIP`: addresses of the pod's node.
    pub host_addresses: Vec<IpAddr>,
    /// `spec.hostNetwork`: the pod has the node's addresses and no policy.
    pub host_network: bool,
    /// `status.phase`.
    pub phase: Phase,
    /// `metadata.creationTimestamp` in seconds since 1970, 0 when absent.
    /// Decides which of two live pods owns an address that both report.
    pub created: i64,
    /// `metadata.deletionTimestamp` is set: the pod is asked to end, and may still run.
    pub is_ending: bool,
    /// `spec.terminationGracePeriodSeconds`: how long it may run on after that. The
    /// API's default is 30.
    pub grace_seconds: u32,
    /// Named ports of containers and of restartable init containers.
    pub ports: Vec<NamedPort>,
    /// Its identity on the node, and its other networks.
    pub attachment: Attachment,
}

impl Pod {
    /// Whether policies select this pod and its addresses may be its own.
    ///
    /// hostNetwork pods have their node's addresses, and "NetworkPolicy behaviour
    /// is undefined" for them (concept page). In practice no policy applies.
    /// Succeeded and Failed pods keep `podIPs` that another pod may have now.
    pub fn is_subject(&self) -> bool {
        !self.host_network && !matches!(self.phase, Phase::Succeeded | Phase::Failed)
    }

    /// Gives back room that lists have for further items. For objects that are kept.
    pub fn shrink(&mut self) {
        self.addresses.shrink_to_fit();
        self.host_addresses.shrink_to_fit();
        self.ports.shrink_to_fit();
    }

    /// The numbers of a port name on this pod, ascending. Two containers can use
    /// one name.
    pub fn named_ports(&self, name: &str, protocol: Protocol) -> Vec<u16> {
        let mut numbers: Vec<u16> = self
            .ports
            .iter()
            .filter(|port| port.name == name && port.protocol == protocol)
            .map(|port| port.port)
            .collect();
        numbers.sort_unstable();
        numbers.dedup();
        numbers
    }
}
