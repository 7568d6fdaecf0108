//! The described Namespaces and Pods as YAML for `nftpol -f`. They have a status,
//! as from an API server.

use std::fmt::Write;

use policy::Labels;

use super::{PodSpec, TestbedSpec};

impl TestbedSpec {
    /// Namespaces and Pods, one document each.
    pub fn manifests(&self) -> String {
        let namespaces = self.namespaces.iter().map(|(name, labels)| namespace(name, labels));
        let pods = self.pods.iter().map(|pod| self.pod_manifest(pod));
        namespaces.chain(pods).collect::<Vec<_>>().join("---\n")
    }

    fn pod_manifest(&self, pod: &PodSpec) -> String {
        let mut text = format!(
            "apiVersion: v1\nkind: Pod\nmetadata:\n  name: {}\n  namespace: {}\n",
            pod.name, pod.namespace
        );
        labels(&mut text, &pod.labels);
        let node = &self.nodes[pod.node];
        let host = if pod.host_network { "  hostNetwork: true\n" } else { "" };
        let _ = write!(
            text,
            "spec:\n  nodeName: {node}\n{host}  containers:\n  - name: main\n    image: example.org/main:1\n"
        );
        if !pod.ports.is_empty() {
            text.push_str("    ports:\n");
        }
        for port in &pod.ports {
            let _ = writeln!(
                text,
                "    - {{name: {}, containerPort: {}, protocol: {}}}",
                port.name, port.port, port.protocol
            );
        }
        text.push_str("status:\n  phase: Running\n");
        let host = [false, true].map(|v6| self.node_address(pod.node, v6));
        let _ = write!(text, "  hostIP: {}\n  hostIPs:\n", host[0]);
        for address in host {
            let _ = writeln!(text, "  - ip: \"{address}\"");
        }
        if let Some(first) = pod.addresses.first() {
            let _ = write!(text, "  podIP: \"{first}\"\n  podIPs:\n");
        }
        for address in &pod.addresses {
            let _ = writeln!(text, "  - ip: \"{address}\"");
        }
        text
    }
}

fn namespace(name: &str, with: &Labels) -> String {
    let mut text = format!("apiVersion: v1\nkind: Namespace\nmetadata:\n  name: {name}\n");
    labels(&mut text, with);
    text
}

fn labels(text: &mut String, labels: &Labels) {
    if labels.is_empty() {
        return;
    }
    text.push_str("  labels:\n");
    for (key, value) in labels.iter() {
        let _ = writeln!(text, "    {key}: \"{value}\"");
    }
}
