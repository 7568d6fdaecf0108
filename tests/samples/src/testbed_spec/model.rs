//! The described Namespaces and Pods in the words of the policy model. The tests
//! compare the YAML reader with these, so no YAML is involved here.

use policy::{NamedPort, Namespace, ObjectKey, Phase, Pod};

use super::TestbedSpec;

impl TestbedSpec {
    /// Its pods.
    pub fn pods(&self) -> Vec<Pod> {
        self.pods
            .iter()
            .map(|pod| Pod {
                key: ObjectKey::new(&pod.namespace, &pod.name),
                labels: pod.labels.clone(),
                node: Some(self.nodes[pod.node].clone()),
                addresses: pod.addresses.clone(),
                host_addresses: [false, true].map(|v6| self.node_address(pod.node, v6)).to_vec(),
                host_network: pod.host_network,
                phase: Phase::Running,
                created: 0,
                is_ending: false,
                grace_seconds: 30,
                attachment: policy::Attachment::default(),
                ports: sorted(&pod.ports),
            })
            .collect()
    }

    /// Its namespaces.
    pub fn namespaces(&self) -> Vec<Namespace> {
        self.namespaces
            .iter()
            .map(|(name, labels)| {
                Namespace {
                    name: name.clone(),
                    labels: labels.clone(),
                    is_ending: false,
                    switch: Default::default(),
                }
                .with_metadata_name()
            })
            .collect()
    }
}

/// Sorted as the YAML reader sorts them. The order has no meaning.
fn sorted(ports: &[NamedPort]) -> Vec<NamedPort> {
    let mut ports = ports.to_vec();
    ports.sort();
    ports
}
